package lora

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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
	Trainer TrainerOptions // its Accumulation is the dataset's gradient_accumulation_steps, its BlockLRWeight the network's
	// MaxTokenLength is how many tokens of a caption are learned, "max_token_length": 75, 150 or 225; 0 means 75.
	MaxTokenLength int

	// NetworkWeights is a file to continue from: modules it has begin with its factors and keep its alphas, others as usual. With
	// DimFromWeights exactly its modules are trained, whatever their ranks.
	NetworkWeights string
	DimFromWeights bool

	// LearningRate is for both networks where neither UNetLR nor TextEncoderLR is given. If only one of them is given, the
	// other network is not trained.
	LearningRate, UNetLR, TextEncoderLR float64

	// LRScheduler is constant if empty; LRWarmupSteps and LRDecaySteps are numbers of steps ("100") or parts of all ("0.1", "10%").
	LRScheduler                                string
	LRWarmupSteps, LRDecaySteps                string
	LRSchedulerNumCycles, LRSchedulerTimescale int
	LRSchedulerPower, LRSchedulerMinLRRatio    float64
	LRSchedulerArgs                            []string // "step_rules=1:10,0.1:20,0.01" of piecewise_constant

	// MixedPrecision tells what the device computes in: "no", "fp16" or "bf16"; "" means no. With fp16 losses are scaled.
	MixedPrecision string

	// OutputDir is created if need be. OutputName is "last" if empty.
	OutputDir, OutputName string
	// SavePrecision is F32, F16 or BF16; the zero value means F16.
	SavePrecision compute.DType
	// SaveEveryNEpochs and SaveEveryNSteps keep files of what is learned so far; of them SaveLastNEpochs and those of the
	// SaveLastNSteps last steps remain. SaveNEpochRatio, if not 0, replaces SaveEveryNEpochs by the epochs there are divided by it.
	SaveEveryNEpochs, SaveEveryNSteps, SaveNEpochRatio int
	SaveLastNEpochs, SaveLastNSteps                    int
	TrainingComment                                    string

	// SaveState saves a state beside each of these files and beside the last, SaveStateOnTrainEnd beside the last alone: a
	// folder called after the file, OutputName-step00000500-state, from which Resume goes on. Of states SaveLastNEpochsState and
	// those of the SaveLastNStepsState last steps remain; 0 keeps as many as of the files.
	SaveState, SaveStateOnTrainEnd            bool
	SaveLastNEpochsState, SaveLastNStepsState int
	// Resume is a state to go on from, at its step, to the same end as if there had been no stop. Options that change the
	// result, and the pictures, must be those it was saved with. See [LatestState].
	Resume string

	// SampleAtFirst, SampleEveryNEpochs and, without the latter, SampleEveryNSteps have Sample draw the prompts of the file
	// SamplePrompts, which is read anew each time; see [ParseSamplePrompts]. Pictures go to OutputDir/sample. SampleSampler is
	// for prompts that name no sampler; see [ParseSampleSampler]. What goes wrong with samples is told to Progress and stops nothing.
	SampleAtFirst                         bool
	SampleEveryNEpochs, SampleEveryNSteps int
	SamplePrompts, SampleSampler          string
	Sample                                func(ctx context.Context, s Sample) error

	// ValidateEveryNEpochs and ValidateEveryNSteps say when the loss on the pictures kept from training (validation_split) is
	// computed: without both after each epoch. MaxValidationSteps bounds the batches that it is computed of.
	ValidateEveryNEpochs, ValidateEveryNSteps int
	MaxValidationSteps                        int

	Logging Logging

	// Report, if there is one, is told what the training will be before anything is computed.
	Report func(Report)
	// Progress, if there is one, is told of every picture encoded, every step done and whatever else happens. Train waits for it.
	Progress func(Progress)
}

// Progress tells how far a training is. Phase says what happened:
//
//	"latents"     a picture was encoded, Done of Total
//	"steps"       an optimizer step was done, Done of Total
//	"epoch"       an epoch came to its end, Done of Total, with what was saved then
//	"validation"  a part of the validation was done; ValidationLoss is set when Done is Total
//	"samples"     sample pictures are begun (Done is 0) or drawn, and then Saved is their folder
//	"warning"     Warning is to be read
type Progress struct {
	Phase       string
	Done, Total int
	Step, Epoch int     // steps done; the epoch they belong to, or that was completed
	Loss        float64 // of the last batch
	AverageLoss float64 // of the batches of the last epoch's length, "avr_loss"
	Norm        float64 // of the gradients, before it was bounded
	Skipped     bool    // gradients overflowed: nothing changed
	Rates       Rates   // of the step
	D           float64 // what Prodigy and DAdaptAdam multiply rates with
	Saved       string  // the file that was written, if any
	State       string  // the folder of the state that was saved, if any
	Warning     string

	// With scale_weight_norms: how many modules the step scaled down, and the mean and largest norm of changes after it.
	KeysScaled                 int
	AverageKeyNorm, MaxKeyNorm float64

	ValidationLoss       float64
	ValidationDivergence float64 // from AverageLoss
	EpochEnd             bool    // this validation is that of an epoch, not of a step
}

// InterruptedError says that a training was stopped before its end.
type InterruptedError struct {
	Step, Steps int
	Path        string // of what was learned until then, "" if nothing was or it could not be saved
	State       string // of the state to go on from, likewise
	Err         error  // why
}

// Error implements error.
func (e *InterruptedError) Error() string {
	s := fmt.Sprintf("lora: stopped after step %d of %d", e.Step, e.Steps)
	if e.Path == "" {
		s += ", nothing was saved"
	} else {
		s += ", what was learned is in " + e.Path
	}
	if e.State != "" {
		s += "; to go on, train with the same options and resume " + e.State
	}
	return fmt.Sprintf("%s: %v", s, e.Err)
}

// Unwrap is the cause.
func (e *InterruptedError) Unwrap() error { return e.Err }

// Train trains an adapter on folders of pictures and saves it as OutputDir/OutputName.safetensors, in kohya's form with
// its metadata. Everything wrong with the options is reported together, before anything is computed.
//
// When ctx is done it stops within one op, saves what the steps so far have learned beside the final file as
// OutputName-step00000123.safetensors with its state, and returns an *InterruptedError. Files and states appear whole or not
// at all. Equal configurations give equal factors, whether or not the training was stopped, or killed, and resumed between.
//
// A loss that is not finite, or gradients that no loss scale makes so, take the training back to its last state, with half
// the learning rates from there; the second time they end it.
func Train(ctx context.Context, cfg TrainConfig) error {
	r, err := newRun(ctx, cfg)
	if err != nil {
		return err
	}
	err = r.train(ctx)
	return errors.Join(err, r.close())
}

// run is one training.
type run struct {
	TrainConfig
	identity
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
	base      map[string]string // metadata that stay
	log       *log
	logFailed error // no reason to stop, so Train tells at the end

	position
	pending   []float64 // losses of batches that no step has used yet
	lastState string    // saved or gone on from
	warnings  []string  // to be told before anything else
}

// defaultOutputName is that of sd-scripts.
const defaultOutputName = "last"

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
		c.OutputName = defaultOutputName
	}
	if c.SavePrecision == compute.InvalidDType {
		c.SavePrecision = compute.F16
	}
	c.Trainer.Accumulation, c.Trainer.BlockLRWeight = c.Dataset.GradientAccumulationSteps, c.Network.BlockLRWeight
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
	if !slices.Contains([]string{"", "no", "fp16", "bf16"}, c.MixedPrecision) {
		complain("mixed_precision is %q, want no, fp16 or bf16", c.MixedPrecision)
	}
	if _, err := captionChunks(c.MaxTokenLength); err != nil {
		errs = append(errs, err)
	}
	if c.SavePrecision != compute.F32 && c.SavePrecision != compute.F16 && c.SavePrecision != compute.BF16 {
		complain("save_precision is %v, want F32, F16 or BF16", c.SavePrecision)
	}
	if c.DimFromWeights && c.NetworkWeights == "" {
		complain("dim_from_weights needs network_weights; name the file to continue from")
	}
	for _, o := range []struct {
		name string
		n    int
	}{
		{"save_every_n_epochs", c.SaveEveryNEpochs}, {"save_every_n_steps", c.SaveEveryNSteps}, {"save_n_epoch_ratio", c.SaveNEpochRatio},
		{"save_last_n_epochs", c.SaveLastNEpochs}, {"save_last_n_steps", c.SaveLastNSteps},
		{"save_last_n_epochs_state", c.SaveLastNEpochsState}, {"save_last_n_steps_state", c.SaveLastNStepsState},
		{"validate_every_n_epochs", c.ValidateEveryNEpochs}, {"validate_every_n_steps", c.ValidateEveryNSteps}, {"max_validation_steps", c.MaxValidationSteps},
	} {
		if o.n < 0 {
			complain("%s is %d, want a number from 0", o.name, o.n)
		}
	}
	errs = append(errs, c.checkSampling(), c.Trainer.Check(), c.Trainer.CheckRates(Rates{c.TextEncoderLR, c.UNetLR}), c.Noise.Check(), c.Logging.Check(), c.checkOutput())
	return errors.Join(errs...)
}

// newRun prepares a training.
func newRun(ctx context.Context, cfg TrainConfig) (_ *run, err error) {
	cfg = cfg.defaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &run{TrainConfig: cfg, started: time.Now(), session: rand.Uint32(), ids: make(map[string][]int32), rates: Rates{cfg.TextEncoderLR, cfg.UNetLR}}
	r.position = r.start()
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.dataset, err = dataset.Open(ctx, cfg.Dataset); err != nil {
		return nil, err
	}
	r.SaveEveryNEpochs = r.savesEvery(r.dataset.Steps().Epochs)
	if err := r.makeSchedule(); err != nil {
		return nil, err
	}
	if err := r.identify(); err != nil {
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
	if err := r.resume(); err != nil {
		return nil, err
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
	if warmup != 0 && (r.LRScheduler == "" || r.LRScheduler == string(optim.Constant)) {
		r.warnings = append(r.warnings, fmt.Sprintf("lr_warmup_steps %s is ignored: lr_scheduler constant has none; constant_with_warmup has", r.LRWarmupSteps))
		warmup = 0
	}
	r.schedule = optim.Schedule{
		Type: optim.ScheduleType(r.LRScheduler), Steps: total, Warmup: warmup, Decay: decay, Cycles: r.LRSchedulerNumCycles,
		Power: r.LRSchedulerPower, Timescale: r.LRSchedulerTimescale, MinRatio: r.LRSchedulerMinLRRatio, LearningRate: r.LearningRate,
	}
	var err3, err4 error
	r.schedule.Rules, err3 = optim.StepRules(r.LRSchedulerArgs)
	r.schedule, err4 = r.Trainer.schedule(r.schedule)
	return errors.Join(err1, err2, err3, err4)
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

// train does everything once the training is prepared.
func (r *run) train(ctx context.Context) error {
	if r.Report != nil {
		report, err := r.announce()
		if err != nil {
			return err
		}
		r.Report(report)
	} else {
		for _, w := range r.pitfalls() {
			r.warn("%s", w)
		}
	}
	err := r.cacheLatents(ctx)
	if err == nil && r.Step == 0 {
		err = r.sampleEpoch(ctx, 0)
	}
	if err == nil {
		err = r.learnAll(ctx)
	}
	if err != nil {
		return r.interrupted(ctx, err)
	}
	return r.finish()
}

// pitfalls are options that are seldom meant, and those that are ignored.
func (r *run) pitfalls() []string {
	warnings := slices.Clone(r.warnings)
	for i := range r.trainer.modules {
		if m := &r.trainer.modules[i]; m.Scale() > 1 {
			warnings = append(warnings, fmt.Sprintf("alpha %v is above the rank, %d: changes are scaled up by %.3g, which has ended in NaN for many; lower alpha", m.Alpha, m.Rank(), m.Scale()))
			break
		}
	}
	if rate := max(r.rates.TextEncoder, r.rates.UNet); rate > usualRate && r.trainer.optimizer.AdamW != nil {
		warnings = append(warnings, fmt.Sprintf("a learning rate of %v is far above the usual 1e-4 and gives noise with most models", rate))
	}
	if steps := r.dataset.Steps().Total; steps >= longTraining && r.SaveEveryNEpochs == 0 && r.SaveEveryNSteps == 0 {
		warnings = append(warnings, fmt.Sprintf("%d steps without a file in between; save_every_n_epochs 1 keeps one of each epoch to choose from", steps))
	}
	return warnings
}

const (
	usualRate    = 1e-3 // the highest learning rate that makes sense with AdamW
	longTraining = 1000 // steps
)

// cacheLatents encodes the pictures if that is to be done once.
func (r *run) cacheLatents(ctx context.Context) (err error) {
	if !r.Dataset.CacheLatents && !r.Dataset.CacheLatentsToDisk {
		return nil
	}
	r.latents, err = r.encoder.cacheLatents(ctx, r.dataset, func(n, total int) { r.report(Progress{Phase: "latents", Done: n, Total: total}) })
	if err != nil {
		return err
	}
	return r.encoder.close()
}

// learnAll does all steps from where the training stands, and once more from its last state if numbers cease to be finite.
func (r *run) learnAll(ctx context.Context) error {
	err := r.learnEpochs(ctx)
	if d, ok := errors.AsType[*divergence](err); ok {
		if err = r.rollBack(d); err == nil {
			err = r.learnEpochs(ctx)
		}
	}
	if d, ok := errors.AsType[*divergence](err); ok {
		return r.giveUp(d)
	}
	return err
}

// learnEpochs does all steps from where the training stands.
func (r *run) learnEpochs(ctx context.Context) error {
	steps := r.dataset.Steps()
	for r.Epoch <= steps.Epochs {
		batches := steps.BatchesPerEpoch
		if r.Epoch == steps.Epochs {
			batches = steps.LastEpochBatches
		}
		for batch := range r.dataset.Epoch(r.Epoch) {
			if batch.Index < r.Batch {
				continue
			}
			if err := r.learn(ctx, batch, batch.Index+1 == batches); err != nil {
				return err
			}
		}
		if err := r.endEpoch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// endEpoch does what the end of an epoch calls for. A state that is saved before does all of it again.
func (r *run) endEpoch(ctx context.Context) (err error) {
	epoch, epochs := r.Epoch, r.dataset.Steps().Epochs
	if err := r.validateEpoch(ctx, epoch); err != nil {
		return err
	}
	if err := r.sampleEpoch(ctx, epoch); err != nil {
		return err
	}
	r.Epoch, r.Batch = epoch+1, 0
	if epoch == epochs {
		return nil
	}
	done := Progress{Phase: "epoch", Done: epoch, Total: epochs, Epoch: epoch, AverageLoss: r.Average.mean()}
	if done.Saved, done.State, err = r.saveEpoch(epoch); err != nil {
		return err
	}
	r.report(done)
	return nil
}

// learn does one batch, and the step that it completes.
func (r *run) learn(ctx context.Context, batch dataset.Batch, last bool) error {
	draw := stream(r.Dataset.Seed, batchStream, uint64(batch.Epoch), uint64(batch.Index))
	b, err := r.assemble(ctx, batch, draw)
	if err != nil {
		return err
	}
	r.Noise.draw(&b, r.channels(), draw)
	r.Network.drop(&b, r.trainer.modules, max(1, r.MaxTokenLength/chunkTokens), draw)
	if r.Scaler != nil {
		r.trainer.SetLossScale(r.Scaler.Scale())
	}
	loss, err := r.trainer.Step(ctx, b)
	if err != nil {
		return err
	}
	if loss-loss != 0 {
		return r.diverged(batch, fmt.Sprintf("the loss is %v", loss))
	}
	r.pending = append(r.pending, loss)
	if !last && (batch.Index+1)%max(1, r.Trainer.Accumulation) != 0 {
		return nil
	}
	return r.update(ctx, batch, loss)
}

// update does the step that a batch completes.
func (r *run) update(ctx context.Context, batch dataset.Batch, loss float64) error {
	factor := r.RateScale * r.schedule.Factor(r.Advanced)
	rates := Rates{factor * r.rates.TextEncoder, factor * r.rates.UNet}
	u, err := r.trainer.Update(rates)
	if err != nil {
		return err
	}
	if r.Scaler != nil {
		r.Scaler.Update(!u.Skipped)
	}
	if u.Skipped && (r.Scaler == nil || r.Scaler.Scale() < 1) {
		return r.diverged(batch, "the gradients are not finite")
	}
	for _, loss := range r.pending {
		r.Average.add(loss, r.dataset.Steps().BatchesPerEpoch)
	}
	r.pending = r.pending[:0]
	r.Batch = batch.Index + 1
	r.Step++
	if !u.Skipped {
		r.Advanced++
	}
	done := Progress{
		Phase: "steps", Done: r.Step, Total: r.dataset.Steps().Total, Epoch: batch.Epoch, Loss: loss, AverageLoss: r.Average.mean(),
		Norm: u.Norm, Skipped: u.Skipped, Rates: rates, D: u.D, KeysScaled: u.KeysScaled, AverageKeyNorm: u.AverageKeyNorm, MaxKeyNorm: u.MaxKeyNorm,
	}
	if done.Saved, done.State, err = r.saveStep(); err != nil {
		return err
	}
	r.report(done)
	if err := r.validateStep(ctx); err != nil {
		return err
	}
	return r.sampleStep(ctx)
}

// channels is the number of them in latents.
func (r *run) channels() int { return r.encoder.model.Config().LatentChannels }

// assemble makes the batch that the trainer gets, but for noise and dropout. Latents that are not cached are drawn.
func (r *run) assemble(ctx context.Context, batch dataset.Batch, draw *rng.Torch) (TrainBatch, error) {
	config := r.encoder.model.Config()
	factor := config.ScaleFactor()
	b := TrainBatch{Samples: len(batch.Items), Height: batch.Bucket.H / factor, Width: batch.Bucket.W / factor}
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
		ids, _ = CaptionIDs(r.tokenizer, caption, r.MaxTokenLength) // which was checked
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
	if p.Step = r.Step; r.Progress != nil {
		r.Progress(p)
	}
	if scalars := r.scalars(p); len(scalars) > 0 && r.logFailed == nil {
		if err := r.log.write(time.Now(), p.Done, p.Epoch, scalars); err != nil {
			r.logFailed = fmt.Errorf("lora: logging_dir: %w; the log ends before step %d, the training does not", err, p.Done)
		}
	}
}

// scalars are the charts of a step, under sd-scripts' names.
func (r *run) scalars(p Progress) []tfevents.Scalar {
	if p.Phase != "steps" {
		return nil
	}
	all := []tfevents.Scalar{
		{Tag: "loss/current", Value: p.Loss}, {Tag: "loss/average", Value: p.AverageLoss}, {Tag: "norm/gradient", Value: p.Norm},
	}
	for _, g := range r.trainer.GroupRates(p.Rates) {
		all = append(all, tfevents.Scalar{Tag: "lr/" + g.Name, Value: g.Rate})
		if p.D > 0 {
			all = append(all, tfevents.Scalar{Tag: "lr/d*lr/" + g.Name, Value: p.D * g.Rate})
		}
	}
	if r.Trainer.ScaleWeightNorms > 0 {
		all = append(all, tfevents.Scalar{Tag: "max_norm/keys_scaled", Value: float64(p.KeysScaled)},
			tfevents.Scalar{Tag: "max_norm/max_key_norm", Value: p.MaxKeyNorm}, tfevents.Scalar{Tag: "norm/avg_key_norm", Value: p.AverageKeyNorm})
	}
	return all
}

func (r *run) warn(format string, args ...any) {
	r.report(Progress{Phase: "warning", Epoch: r.Epoch, Warning: fmt.Sprintf(format, args...)})
}

// interrupted saves what was learned, and the state, if err comes of ctx being done.
func (r *run) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	stop := &InterruptedError{Step: r.Step, Steps: r.dataset.Steps().Total, Err: context.Cause(ctx)}
	if r.Step == 0 {
		return stop
	}
	path := r.stepPath(r.Step)
	if err := r.save(path, r.epochsDone()); err != nil {
		return errors.Join(stop, err)
	}
	stop.Path = path
	if err := r.saveState(statePath(path)); err != nil {
		return errors.Join(stop, err)
	}
	stop.State = statePath(path)
	return stop
}

// epochsDone is the number of whole epochs.
func (r *run) epochsDone() int { return r.Step / max(1, r.dataset.Steps().StepsPerEpoch) }

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
	Losses []float64 `json:"losses"`
	Next   int       `json:"next"` // to be replaced, once there are as many as batches
	Sum    float64   `json:"sum"`
}

// add adds a loss to the last size ones.
func (a *average) add(loss float64, size int) {
	if len(a.Losses) < size {
		a.Losses = append(a.Losses, loss)
		a.Sum += loss
		return
	}
	a.Sum += loss - a.Losses[a.Next]
	a.Losses[a.Next] = loss
	a.Next = (a.Next + 1) % len(a.Losses)
}

// mean is NaN if nothing was added.
func (a *average) mean() float64 {
	if len(a.Losses) == 0 {
		return math.NaN()
	}
	return a.Sum / float64(len(a.Losses))
}
