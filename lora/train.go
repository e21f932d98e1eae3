package lora

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/internal/tfevents"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/unet"
	"github.com/atelier-go/atelier/weights"
)

// TrainConfig is what Train is told, in the options of sd-scripts' train_network.py, whose names the comments give where
// they are others. Zero values leave an option out unless a comment says otherwise.
type TrainConfig struct {
	// Device and Checkpoint are what is trained on; the caller closes them afterwards.
	Device     compute.Device
	Checkpoint *weights.Checkpoint
	// Dataset holds the pictures and the length of the training. Its seed fixes everything random.
	Dataset dataset.Config

	Network Network
	Noise   Noise
	Trainer TrainerOptions // its Accumulation is the dataset's gradient_accumulation_steps

	// NetworkWeights is a file to continue from: modules it has begin with its factors and keep its alphas, others as usual. With
	// DimFromWeights exactly its modules are trained, whatever their ranks.
	NetworkWeights string
	DimFromWeights bool

	// LearningRate is for both networks where neither UNetLR nor TextEncoderLR is given. If only one of them is given, the
	// other network is not trained.
	LearningRate, UNetLR, TextEncoderLR float64
	// OptimizerType is AdamW, or AdamW8bit, which is taken for it: moments are kept in float32.
	OptimizerType string

	// LRScheduler is constant if empty; LRWarmupSteps and LRDecaySteps are numbers of steps ("100") or parts of all ("0.1", "10%").
	LRScheduler                                string
	LRWarmupSteps, LRDecaySteps                string
	LRSchedulerNumCycles, LRSchedulerTimescale int
	LRSchedulerPower, LRSchedulerMinLRRatio    float64

	// MixedPrecision tells what the device computes in: "no", "fp16" or "bf16"; "" means no. With fp16 losses are scaled.
	MixedPrecision string

	// OutputDir is created if need be. OutputName is "last" if empty.
	OutputDir, OutputName string
	// SavePrecision is F32, F16 or BF16; the zero value means F16.
	SavePrecision compute.DType
	// SaveEveryNEpochs and SaveEveryNSteps keep files of what is learned so far; of them SaveLastNEpochs and those of the
	// SaveLastNSteps last steps remain.
	SaveEveryNEpochs, SaveEveryNSteps int
	SaveLastNEpochs, SaveLastNSteps   int
	TrainingComment                   string

	Logging Logging

	// Report, if there is one, is told what the training will be before anything is computed.
	Report func(Report)
	// Progress, if there is one, is told of every picture encoded and every step done. Train waits for it.
	Progress func(Progress)
}

// Progress tells how far a training is.
type Progress struct {
	Phase       string // "latents" or "steps"
	Done, Total int    // pictures or steps
	Epoch       int
	Loss        float64 // of the last batch
	AverageLoss float64 // of the batches of the last epoch's length, "avr_loss"
	Norm        float64 // of the gradients, before it was bounded
	Skipped     bool    // gradients overflowed: nothing changed
	Rates       Rates   // of the step
	Saved       string  // the file written after the step, if any
}

// InterruptedError says that a training was stopped before its end.
type InterruptedError struct {
	Step, Steps int
	Path        string // of what was learned until then, "" if nothing was or it could not be saved
	Err         error  // why
}

// Error implements error.
func (e *InterruptedError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("lora: stopped after step %d of %d, nothing was saved: %v", e.Step, e.Steps, e.Err)
	}
	return fmt.Sprintf("lora: stopped after step %d of %d, what was learned is in %s: %v", e.Step, e.Steps, e.Path, e.Err)
}

// Unwrap is the cause.
func (e *InterruptedError) Unwrap() error { return e.Err }

// Train trains an adapter on folders of pictures and saves it as OutputDir/OutputName.safetensors, in kohya's form with
// its metadata. Everything wrong with the options is reported together, before anything is computed.
//
// When ctx is done it stops within one op, saves what the steps so far have learned beside the final file as
// OutputName-step00000123.safetensors, and returns an *InterruptedError. Files appear whole or not at all. Equal
// configurations give equal factors.
func Train(ctx context.Context, cfg TrainConfig) error {
	r, err := newRun(ctx, cfg)
	if err != nil {
		return err
	}
	if r.Report != nil {
		report, err := r.announce()
		if err != nil {
			return errors.Join(err, r.close())
		}
		r.Report(report)
	}
	err = r.train(ctx)
	return errors.Join(err, r.close())
}

// run is one training.
type run struct {
	TrainConfig
	started   time.Time
	session   uint32
	dataset   *dataset.Dataset
	tokenizer *clip.Tokenizer
	ids       map[string][]int32 // of captions
	schedule  optim.Schedule
	rates     Rates // at their highest
	encoder   *encoder
	latents   latents // nil if pictures are encoded each time they are used
	trainer   *Trainer
	scaler    *optim.Scaler     // nil but for fp16
	base      map[string]string // metadata that stay
	log       *log
	logFailed error // no reason to stop, so Train tells at the end

	step     int // optimizer steps, skipped ones included
	advanced int // those not skipped: where the schedule is
	average  average
}

// defaults fills in what is zero.
func (c TrainConfig) defaults() TrainConfig {
	if c.UNetLR == 0 && c.TextEncoderLR == 0 {
		c.UNetLR, c.TextEncoderLR = c.LearningRate, c.LearningRate
		switch {
		case c.Network.UNetOnly:
			c.TextEncoderLR = 0
		case c.Network.TextEncoderOnly:
			c.UNetLR = 0
		}
	}
	c.Network.UNetOnly = c.Network.UNetOnly || c.TextEncoderLR == 0
	c.Network.TextEncoderOnly = c.Network.TextEncoderOnly || c.UNetLR == 0
	if c.OutputName == "" {
		c.OutputName = "last"
	}
	if c.SavePrecision == compute.InvalidDType {
		c.SavePrecision = compute.F16
	}
	c.Trainer.Accumulation = c.Dataset.GradientAccumulationSteps
	return c
}

// check reports everything that is wrong with the options but the schedule.
func (c TrainConfig) check() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf("lora: "+format, args...)) }
	if c.Device == nil || c.Checkpoint == nil {
		complain("training needs a device and a checkpoint")
	}
	for _, o := range []struct {
		name string
		lr   float64
	}{{"learning_rate", c.LearningRate}, {"unet_lr", c.UNetLR}, {"text_encoder_lr", c.TextEncoderLR}} {
		if !(o.lr >= 0 && o.lr <= 1) {
			complain("%s is %v, want a number up to 1 such as 1e-4", o.name, o.lr)
		}
	}
	if c.UNetLR == 0 && c.TextEncoderLR == 0 {
		complain("learning_rate, unet_lr and text_encoder_lr are all 0; want a number such as 1e-4")
	} else {
		errs = append(errs, c.Network.Check())
	}
	if o := strings.ToLower(c.OptimizerType); !slices.Contains([]string{"", "adamw", "adamw8bit"}, o) {
		complain("optimizer_type is %q, want AdamW or AdamW8bit", c.OptimizerType)
	}
	if !slices.Contains([]string{"", "no", "fp16", "bf16"}, c.MixedPrecision) {
		complain("mixed_precision is %q, want no, fp16 or bf16", c.MixedPrecision)
	}
	if c.SavePrecision != compute.F32 && c.SavePrecision != compute.F16 && c.SavePrecision != compute.BF16 {
		complain("save_precision is %v, want F32, F16 or BF16", c.SavePrecision)
	}
	if c.DimFromWeights && c.NetworkWeights == "" {
		complain("dim_from_weights needs network_weights; name the file to continue from")
	}
	if c.SaveEveryNEpochs < 0 || c.SaveEveryNSteps < 0 || c.SaveLastNEpochs < 0 || c.SaveLastNSteps < 0 {
		complain("save_every_n_epochs %d, save_every_n_steps %d, save_last_n_epochs %d, save_last_n_steps %d: none may be negative",
			c.SaveEveryNEpochs, c.SaveEveryNSteps, c.SaveLastNEpochs, c.SaveLastNSteps)
	}
	errs = append(errs, c.Trainer.Objective.Check(), c.Trainer.AdamW.Check(), c.Noise.Check(), c.Logging.Check(), c.checkOutput())
	return errors.Join(errs...)
}

// newRun prepares a training.
func newRun(ctx context.Context, cfg TrainConfig) (_ *run, err error) {
	cfg = cfg.defaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &run{TrainConfig: cfg, started: time.Now(), ids: make(map[string][]int32), rates: Rates{cfg.TextEncoderLR, cfg.UNetLR}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.dataset, err = dataset.Open(ctx, cfg.Dataset); err != nil {
		return nil, err
	}
	r.average.size = r.dataset.Steps().BatchesPerEpoch
	if err := r.makeSchedule(); err != nil {
		return nil, err
	}
	r.tokenizer = clip.Default()
	if folder := cfg.Checkpoint.Tokenizer(); folder != nil {
		if r.tokenizer, err = clip.OpenTokenizer(folder); err != nil {
			return nil, err
		}
	}
	modules, err := r.network()
	if err != nil {
		return nil, err
	}
	if r.encoder, err = newEncoder(cfg.Device, cfg.Checkpoint); err != nil {
		return nil, err
	}
	if r.trainer, err = NewTrainer(cfg.Device, cfg.Checkpoint, modules, cfg.Trainer); err != nil {
		return nil, err
	}
	if cfg.MixedPrecision == "fp16" {
		r.scaler = new(optim.Scaler)
	}
	if err := r.describe(); err != nil {
		return nil, err
	}
	r.log, err = cfg.Logging.open(r.started)
	return r, err
}

// makeSchedule counts the options' steps.
func (r *run) makeSchedule() error {
	total := r.dataset.Steps().Total
	warmup, err1 := optim.Count(r.LRWarmupSteps, total)
	decay, err2 := optim.Count(r.LRDecaySteps, total)
	if err1 != nil {
		err1 = fmt.Errorf("lora: lr_warmup_steps: %w", err1)
	}
	if err2 != nil {
		err2 = fmt.Errorf("lora: lr_decay_steps: %w", err2)
	}
	r.schedule = optim.Schedule{
		Type: optim.ScheduleType(r.LRScheduler), Steps: total, Warmup: warmup, Decay: decay, Cycles: r.LRSchedulerNumCycles,
		Power: r.LRSchedulerPower, Timescale: r.LRSchedulerTimescale, MinRatio: r.LRSchedulerMinLRRatio, LearningRate: r.LearningRate,
	}
	return errors.Join(err1, err2, r.schedule.Check())
}

// network makes the modules that are trained.
func (r *run) network() ([]Module, error) {
	text, err1 := r.Checkpoint.TextEncoder()
	net, err2 := r.Checkpoint.UNet()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	textConfig, err1 := clip.ParseConfig(text.Config())
	unetConfig, err2 := unet.ParseConfig(net.Config())
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("lora: %s: %w", r.Checkpoint.Path(), err)
	}
	targets, err := NewTargets(textConfig, unetConfig)
	if err != nil {
		return nil, err
	}
	modules, err := r.Network.New(targets, mix(r.Dataset.Seed, networkStream))
	if err != nil || r.NetworkWeights == "" {
		return modules, err
	}
	return r.continued(modules, targets)
}

// continued puts the factors of NetworkWeights into modules, or makes modules of them.
func (r *run) continued(modules []Module, targets *Targets) ([]Module, error) {
	a, err := Open(r.NetworkWeights, targets)
	if err != nil {
		return nil, fmt.Errorf("lora: network_weights: %w", err)
	}
	place := make(map[string]int)
	for i := range modules {
		place[modules[i].Key()] = i
	}
	var exact []Module
	for _, m := range a.Modules {
		if m.Kind == weights.KindTextEncoder && r.Network.UNetOnly || m.Kind == weights.KindUNet && r.Network.TextEncoderOnly {
			continue
		}
		exact = append(exact, m)
		i, ok := place[m.Key()]
		if !ok || r.DimFromWeights {
			continue
		}
		if have, want := m.Rank(), modules[i].Rank(); have != want {
			return nil, fmt.Errorf("lora: network_weights: %s: %q has rank %d, the network %d; set network_dim to it, or dim_from_weights", a.Path, m.Key(), have, want)
		}
		modules[i] = m
	}
	if r.DimFromWeights {
		return exact, nil
	}
	return modules, nil
}

// train is the loop.
func (r *run) train(ctx context.Context) error {
	if r.Dataset.CacheLatents || r.Dataset.CacheLatentsToDisk {
		var err error
		r.latents, err = r.encoder.cacheLatents(ctx, r.dataset, func(n, total int) { r.report(Progress{Phase: "latents", Done: n, Total: total}) })
		if err == nil {
			err = r.encoder.close()
		}
		if err != nil {
			return r.interrupted(ctx, err)
		}
	}
	steps := r.dataset.Steps()
	for epoch := 1; epoch <= steps.Epochs; epoch++ {
		batches := steps.BatchesPerEpoch
		if epoch == steps.Epochs {
			batches = steps.LastEpochBatches
		}
		for batch := range r.dataset.Epoch(epoch) {
			last := batch.Index+1 == batches
			if err := r.learn(ctx, batch, last); err != nil {
				return r.interrupted(ctx, err)
			}
		}
		if epoch == steps.Epochs {
			break
		}
		if err := r.saveEpoch(epoch); err != nil {
			return err
		}
	}
	return r.save(r.path(), steps.Epochs)
}

// learn does one batch, and the step that it completes.
func (r *run) learn(ctx context.Context, batch dataset.Batch, last bool) error {
	b, err := r.assemble(ctx, batch)
	if err != nil {
		return err
	}
	if r.scaler != nil {
		r.trainer.SetLossScale(r.scaler.Scale())
	}
	loss, err := r.trainer.Step(ctx, b)
	if err != nil {
		return err
	}
	r.average.add(loss)
	if !last && (batch.Index+1)%max(1, r.Trainer.Accumulation) != 0 {
		return nil
	}
	factor := r.schedule.Factor(r.advanced)
	rates := Rates{factor * r.rates.TextEncoder, factor * r.rates.UNet}
	u, err := r.trainer.Update(rates)
	if err != nil {
		return err
	}
	if r.scaler != nil {
		r.scaler.Update(!u.Skipped)
	}
	if u.Skipped && (r.scaler == nil || r.scaler.Scale() < 1) {
		return fmt.Errorf("lora: step %d of epoch %d: the gradients are not finite (loss %v); lower the learning rate or look at the pictures of %s",
			r.step+1, batch.Epoch, loss, batch.Items[0].Picture.Path)
	}
	r.step++
	if !u.Skipped {
		r.advanced++
	}
	saved, err := r.saveStep()
	if err != nil {
		return err
	}
	r.report(Progress{
		Phase: "steps", Done: r.step, Total: r.dataset.Steps().Total, Epoch: batch.Epoch, Loss: loss, AverageLoss: r.average.mean(),
		Norm: u.Norm, Skipped: u.Skipped, Rates: rates, Saved: saved,
	})
	return nil
}

// assemble makes the batch that the trainer gets, with everything random in it.
func (r *run) assemble(ctx context.Context, batch dataset.Batch) (TrainBatch, error) {
	config := r.encoder.model.Config()
	factor, channels := config.ScaleFactor(), config.LatentChannels
	b := TrainBatch{Samples: len(batch.Items), Height: batch.Bucket.H / factor, Width: batch.Bucket.W / factor}
	draw := stream(r.Dataset.Seed, batchStream, uint64(batch.Epoch), uint64(batch.Index))
	masks := make([][]float32, len(batch.Items))
	masked := false
	for i, item := range batch.Items {
		z, err := r.encoded(ctx, item, draw)
		if err != nil {
			return b, err
		}
		for _, v := range z {
			b.Latents = append(b.Latents, v*float32(config.ScalingFactor))
		}
		b.IDs = append(b.IDs, r.tokens(item.Caption)...)
		b.Weights = append(b.Weights, item.LossWeight)
		if masks[i], err = item.Mask(); err != nil {
			return b, fmt.Errorf("lora: %w", err)
		}
		masked = masked || masks[i] != nil
	}
	if masked {
		for _, mask := range masks {
			b.Mask = append(b.Mask, shrink(mask, b.Height, b.Width, factor)...)
		}
	}
	r.Noise.draw(&b, channels, draw)
	b.Dropout = r.Network.dropout(r.trainer.modules, b.Samples, draw)
	return b, nil
}

// encoded is the latents of an item, not scaled.
func (r *run) encoded(ctx context.Context, item dataset.Item, draw *rng.Torch) ([]float32, error) {
	if r.latents != nil {
		if item.Flip {
			return r.latents[item.Picture][1], nil
		}
		return r.latents[item.Picture][0], nil
	}
	pixels, err := item.Image()
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	return r.encoder.encode(ctx, pixels, item.Bucket, draw)
}

// tokens are the ids of a caption, cut off where the text encoder ends.
func (r *run) tokens(caption string) []int32 {
	ids, ok := r.ids[caption]
	if !ok {
		ids, _ = r.tokenizer.Sequence(r.tokenizer.Encode(caption))
		r.ids[caption] = ids
	}
	return ids
}

// shrink averages a mask of pixels over latents of factor×factor; without a mask it is ones.
func shrink(mask []float32, height, width, factor int) []float32 {
	small := make([]float32, height*width)
	for i := range small {
		if mask == nil {
			small[i] = 1
			continue
		}
		sum := float32(0)
		for y := range factor {
			row := mask[(i/width*factor+y)*width*factor+i%width*factor:]
			for _, v := range row[:factor] {
				sum += v
			}
		}
		small[i] = sum / float32(factor*factor)
	}
	return small
}

// report tells of what was done, in the log too.
func (r *run) report(p Progress) {
	if r.Progress != nil {
		r.Progress(p)
	}
	if scalars := p.scalars(); len(scalars) > 0 && r.logFailed == nil {
		if err := r.log.write(time.Now(), p.Done, p.Epoch, scalars); err != nil {
			r.logFailed = fmt.Errorf("lora: logging_dir: %w; the log ends before step %d, the training does not", err, p.Done)
		}
	}
}

// scalars are the charts of a step, under sd-scripts' names.
func (p Progress) scalars() []tfevents.Scalar {
	if p.Phase != "steps" {
		return nil
	}
	return []tfevents.Scalar{
		{Tag: "loss/current", Value: p.Loss}, {Tag: "loss/average", Value: p.AverageLoss}, {Tag: "norm/gradient", Value: p.Norm},
		{Tag: "lr/textencoder", Value: p.Rates.TextEncoder}, {Tag: "lr/unet", Value: p.Rates.UNet},
	}
}

// interrupted saves what was learned if err comes of ctx being done.
func (r *run) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	stop := &InterruptedError{Step: r.step, Steps: r.dataset.Steps().Total, Err: context.Cause(ctx)}
	if r.step > 0 {
		stop.Path = r.stepPath(r.step)
		if err := r.save(stop.Path, r.epochsDone()); err != nil {
			return errors.Join(&InterruptedError{Step: r.step, Steps: stop.Steps, Err: stop.Err}, err)
		}
	}
	return stop
}

// epochsDone is the number of whole epochs.
func (r *run) epochsDone() int { return r.step / max(1, r.dataset.Steps().StepsPerEpoch) }

// close gives the memory back.
func (r *run) close() error {
	var errs []error
	if r.trainer != nil {
		errs = append(errs, r.trainer.Close())
	}
	if r.encoder != nil {
		errs = append(errs, r.encoder.close())
	}
	return errors.Join(append(errs, r.log.close(), r.logFailed)...)
}

// average is the mean of the losses of an epoch's length of batches.
type average struct {
	size   int
	losses []float64
	next   int
	sum    float64
}

func (a *average) add(loss float64) {
	if len(a.losses) < a.size {
		a.losses = append(a.losses, loss)
		a.sum += loss
		return
	}
	a.sum += loss - a.losses[a.next]
	a.losses[a.next] = loss
	a.next = (a.next + 1) % a.size
}

// mean is NaN if nothing was added.
func (a *average) mean() float64 {
	if len(a.losses) == 0 {
		return math.NaN()
	}
	return a.sum / float64(len(a.losses))
}
