package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/filelock"
	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/weights"
)

// Config is what Train is told, in the options of sd-scripts' train_network.py, whose names the comments give where
// they are others. Zero values leave an option out unless a comment says otherwise.
type Config struct {
	// Device and Checkpoint are what is trained on; the caller closes them afterwards.
	Device     compute.Device
	Checkpoint *weights.Checkpoint
	// Dataset holds the pictures and the length of the training. Its seed fixes everything random.
	Dataset dataset.Config

	Network lora.Network
	Noise   Noise
	Trainer Options // its Accumulation is the dataset's gradient_accumulation_steps, its BlockLRWeight the network's
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
	// AutosaveEvery is how often a state is saved besides, OutputName-autosave-state, each in place of the last and removed at
	// the end; 0 means every ten minutes, a negative number never.
	AutosaveEvery time.Duration
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

// Train trains an adapter on folders of pictures and saves it as OutputDir/OutputName.safetensors, in kohya's form with
// its metadata. Everything wrong with the options is reported together, before anything is computed.
//
// When ctx is done it stops within one op. Then, and whatever else ends it, it saves what the steps so far have learned beside
// the final file as OutputName-step00000123.safetensors with its state, or in the user's cache if OutputDir does not take
// them, and returns an *InterruptedError. Files and states appear whole or not at all; what cannot be saved before the end is
// told as a warning. While it runs no other training writes to the same output. Equal configurations give equal factors,
// whether or not the training was stopped, or killed, and resumed between.
//
// A loss that is not finite, or gradients that no loss scale makes so, take the training back to its last state, with half
// the learning rates from there; the second time they end it.
func Train(ctx context.Context, cfg Config) error {
	r, err := newRun(ctx, cfg)
	if err != nil {
		return err
	}
	err = r.train(ctx)
	return errors.Join(err, r.close())
}

// run is one training.
type run struct {
	Config
	identity
	started   time.Time
	session   uint32
	dataset   *dataset.Dataset
	networks  *engine.Networks
	ids       map[string][]int32 // of captions
	schedule  optim.Schedule
	rates     Rates // at their highest
	encoder   *encoder
	latents   latents // nil if pictures are encoded each time they are used
	trainer   *Trainer
	base      map[string]string // metadata that stay
	log       *log
	logFailed bool // no reason to stop

	position
	pending   []float64 // losses of batches that no step has used yet
	lastState string    // saved or gone on from
	safe      time.Time // when that was
	lock      *filelock.Lock
	warnings  []string // to be told before anything else
}

// defaultOutputName is that of sd-scripts.
const defaultOutputName = "last"

// defaults fills in what is zero.
func (c Config) defaults() Config {
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
	c.AutosaveEvery = cmp.Or(c.AutosaveEvery, usualAutosave)
	c.Trainer.Accumulation, c.Trainer.BlockLRWeight = c.Dataset.GradientAccumulationSteps, c.Network.BlockLRWeight
	return c
}

// check reports everything that is wrong with the options but the schedule.
func (c Config) check() error {
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
func newRun(ctx context.Context, cfg Config) (_ *run, err error) {
	cfg = cfg.defaults()
	var n *engine.Networks
	if cfg.Checkpoint != nil {
		if n, err = engine.Open(cfg.Checkpoint); err != nil {
			return nil, err
		}
		if cfg.Trainer.Objective, err = cfg.Trainer.following(n); err != nil {
			return nil, err
		}
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &run{Config: cfg, networks: n, started: time.Now(), session: rand.Uint32(), ids: make(map[string][]int32), rates: Rates{cfg.TextEncoderLR, cfg.UNetLR}}
	r.position = r.start()
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if err := r.lockOutput(); err != nil {
		return nil, err
	}
	if r.dataset, err = dataset.Open(ctx, cfg.Dataset); err != nil {
		return nil, err
	}
	r.SaveEveryNEpochs = r.savesEvery(r.dataset.Steps().Epochs)
	if err := r.makeSchedule(); err != nil {
		return nil, err
	}
	modules, lost, err := r.network()
	if err != nil {
		return nil, err
	}
	r.warnings = append(r.warnings, lost...)
	r.encoder = newEncoder(cfg.Device, n)
	if r.trainer, err = newTrainer(cfg.Device, n, modules, cfg.Trainer); err != nil {
		return nil, err
	}
	if err := r.identify(); err != nil {
		return nil, err
	}
	if err := r.resume(); err != nil {
		return nil, err
	}
	if err := r.removeLeftovers(r.OutputDir, r.Resume); err != nil {
		r.warnings = append(r.warnings, fmt.Sprintf("%v; what another training left behind stays there", err))
	}
	if err := r.describe(ctx); err != nil {
		return nil, err
	}
	r.log, err = cfg.Logging.open(r.started)
	return r, err
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
	r.safe = time.Now()
	if err == nil && r.Step == 0 {
		err = r.sampleEpoch(ctx, 0)
	}
	if err == nil {
		err = r.learnAll(ctx)
	}
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		return r.stopped(ctx, err)
	}
	return nil
}

// cacheLatents encodes the pictures if that is to be done once.
func (r *run) cacheLatents(ctx context.Context) (err error) {
	if !r.Dataset.CacheLatents && !r.Dataset.CacheLatentsToDisk {
		return nil
	}
	r.latents, err = r.encoder.cacheLatents(ctx, r.dataset, func(n, total int) { r.report(Progress{Phase: "latents", Done: n, Total: total}) })
	if err != nil {
		return err
	}
	return r.encoder.Close()
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
		r.warn("%v; the training goes on", err)
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
	drop(r.Network, &b, r.trainer.modules, max(1, r.MaxTokenLength/chunkTokens), draw)
	if r.Scaler != nil {
		r.trainer.SetLossScale(r.Scaler.Scale())
	}
	loss, err := r.trainer.Step(ctx, b)
	if err != nil {
		return err
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
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
		r.warn("%v; the training goes on", err)
	}
	if err := r.autosave(done.State != ""); err != nil {
		r.warn("%v; the training goes on", err)
	}
	r.report(done)
	if err := r.validateStep(ctx); err != nil {
		return err
	}
	return r.sampleStep(ctx)
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
		errs = append(errs, r.encoder.Close())
	}
	if r.lock != nil {
		errs = append(errs, r.lock.Remove())
	}
	if err := r.log.close(); err != nil && !r.logFailed {
		r.warn("logging_dir: %v; the log may not be whole, what was trained is", err)
	}
	return errors.Join(errs...)
}
