package train

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/weights"
)

// Config describes a training, in the options of sd-scripts' train_network.py, whose names the comments give where they are
// others. Zero values leave an option out unless a comment says otherwise. It can be kept as JSON, but for what it runs on.
type Config struct {
	// Device and Checkpoint are what is trained on; the caller closes them afterwards.
	Device     compute.Device      `json:"-"`
	Checkpoint *weights.Checkpoint `json:"-"`
	// Dataset holds the pictures and the length of the training. Its seed fixes everything random.
	Dataset dataset.Config

	Network lora.Network
	Noise   Noise
	Trainer Options // its Accumulation is the dataset's gradient_accumulation_steps, its BlockLRWeight the network's
	// MaxTokenLength is how many tokens of a caption are learned, "max_token_length": 75, 150 or 225; 0 means 75.
	MaxTokenLength int `json:"max_token_length"`

	// NetworkWeights is a file to continue from: modules it has begin with its factors and keep its alphas, others as usual. With
	// DimFromWeights exactly its modules are trained, whatever their ranks.
	NetworkWeights string `json:"network_weights" resume:"-"`
	DimFromWeights bool   `json:"dim_from_weights"`

	// LearningRate is for both networks where neither UNetLR nor TextEncoderLR is given. If only one of them is given, the
	// other network is not trained.
	LearningRate  float64 `json:"learning_rate"`
	UNetLR        float64 `json:"unet_lr"`
	TextEncoderLR float64 `json:"text_encoder_lr"`

	// LRScheduler is constant if empty; LRWarmupSteps and LRDecaySteps are numbers of steps ("100") or parts of all ("0.1", "10%").
	LRScheduler           string   `json:"lr_scheduler"`
	LRWarmupSteps         string   `json:"lr_warmup_steps"`
	LRDecaySteps          string   `json:"lr_decay_steps"`
	LRSchedulerNumCycles  int      `json:"lr_scheduler_num_cycles"`
	LRSchedulerTimescale  int      `json:"lr_scheduler_timescale"`
	LRSchedulerPower      float64  `json:"lr_scheduler_power"`
	LRSchedulerMinLRRatio float64  `json:"lr_scheduler_min_lr_ratio"`
	LRSchedulerArgs       []string `json:"lr_scheduler_args"` // what transformers' schedule takes besides: step_rules=1:10,0.1:20,0.01 of piecewise_constant, which needs it, num_cycles of cosine, lr_end of polynomial, min_lr of cosine_with_min_lr, warmup_type and decay_type of warmup_stable_decay

	// MixedPrecision tells what the device computes in: "no", "fp16" or "bf16"; "" means no. With fp16 losses are scaled.
	MixedPrecision string `json:"mixed_precision"`

	// OutputDir is created if need be, and must be given. OutputName is "last" if empty.
	OutputDir  string `json:"output_dir" resume:"-"`
	OutputName string `json:"output_name" resume:"-"`
	// SavePrecision is F32, F16 or BF16; the zero value means F16.
	SavePrecision compute.DType `json:"save_precision" resume:"-"`
	// SaveEveryNEpochs and SaveEveryNSteps keep files of what is learned so far; of them SaveLastNEpochs and those of the
	// SaveLastNSteps last steps remain. SaveNEpochRatio, if not 0, replaces SaveEveryNEpochs by the epochs there are divided by it.
	SaveEveryNEpochs int    `json:"save_every_n_epochs" resume:"-"`
	SaveEveryNSteps  int    `json:"save_every_n_steps" resume:"-"`
	SaveNEpochRatio  int    `json:"save_n_epoch_ratio" resume:"-"`
	SaveLastNEpochs  int    `json:"save_last_n_epochs" resume:"-"`
	SaveLastNSteps   int    `json:"save_last_n_steps" resume:"-"`
	TrainingComment  string `json:"training_comment" resume:"-"`
	// Metadata are entries of the files' metadata, in place of those that tell of the training and besides them, by kohya's names.
	Metadata map[string]string `json:"metadata,omitempty" resume:"-"`

	// SaveState saves a state beside each of these files and beside the last, SaveStateOnTrainEnd beside the last alone: a
	// folder called after the file, OutputName-step00000500-state, from which Resume goes on. Of states SaveLastNEpochsState and
	// those of the SaveLastNStepsState last steps remain; 0 keeps as many as of the files.
	SaveState            bool `json:"save_state" resume:"-"`
	SaveStateOnTrainEnd  bool `json:"save_state_on_train_end" resume:"-"`
	SaveLastNEpochsState int  `json:"save_last_n_epochs_state" resume:"-"`
	SaveLastNStepsState  int  `json:"save_last_n_steps_state" resume:"-"`
	// AutosaveEvery is how often a state is saved besides, OutputName-autosave-state, each in place of the last and removed at
	// the end; 0 means every ten minutes, a negative number never. The first are saved sooner: after a minute, two, four and eight.
	AutosaveEvery time.Duration `json:"autosave_every" resume:"-"`
	// Resume is a state to go on from, at its step, to the same end as if there had been no stop. Options that change the
	// result, and the pictures, must be those it was saved with. See [LatestState].
	Resume string `json:"resume" resume:"-"`

	// SampleAtFirst, SampleEveryNEpochs and, without the latter, SampleEveryNSteps say when the prompts of the file SamplePrompts
	// are drawn, which is read anew each time; see [ParseSamplePrompts]. Pictures go to OutputDir/sample. SampleSampler is for
	// prompts that name no sampler; see [ParseSampleSampler]. What goes wrong with samples is a Warning and stops nothing.
	SampleAtFirst      bool   `json:"sample_at_first" resume:"-"`
	SampleEveryNEpochs int    `json:"sample_every_n_epochs" resume:"-"`
	SampleEveryNSteps  int    `json:"sample_every_n_steps" resume:"-"`
	SamplePrompts      string `json:"sample_prompts" resume:"-"`
	SampleSampler      string `json:"sample_sampler" resume:"-"`

	// ValidateEveryNEpochs and ValidateEveryNSteps say when the loss on the pictures kept from training (validation_split) is
	// computed: without both after each epoch. MaxValidationSteps bounds the batches that it is computed of.
	ValidateEveryNEpochs int `json:"validate_every_n_epochs" resume:"-"`
	ValidateEveryNSteps  int `json:"validate_every_n_steps" resume:"-"`
	MaxValidationSteps   int `json:"max_validation_steps" resume:"-"`

	Logging Logging `resume:"-"`
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

// check reports everything that is wrong with the options but the schedule; fields of the configuration as [invalid.FieldError]s.
func (c Config) check() error {
	var errs []error
	refuse := func(field string, value any, want string) {
		errs = append(errs, invalid.Field("Config."+field, value, "%s", want))
	}
	if c.Device == nil || c.Checkpoint == nil {
		errs = append(errs, errors.New("lora: training needs a device and a checkpoint"))
	}
	for _, o := range []struct {
		field string
		lr    float64
	}{{"LearningRate", c.LearningRate}, {"UNetLR", c.UNetLR}, {"TextEncoderLR", c.TextEncoderLR}} {
		if !(o.lr >= 0 && o.lr <= 1) {
			refuse(o.field, o.lr, "a number up to 1 such as 1e-4")
		}
	}
	if c.UNetLR == 0 && c.TextEncoderLR == 0 {
		refuse("LearningRate", 0, "a number such as 1e-4: neither network has a learning rate of its own")
	} else {
		errs = append(errs, invalid.Under("Config.Network", c.Network.Check()))
	}
	if !slices.Contains([]string{"", "no", "fp16", "bf16"}, c.MixedPrecision) {
		refuse("MixedPrecision", c.MixedPrecision, "no, fp16 or bf16")
	}
	if _, err := captionChunks(c.MaxTokenLength); err != nil {
		refuse("MaxTokenLength", c.MaxTokenLength, "75, 150 or 225")
	}
	if c.SavePrecision != compute.F32 && c.SavePrecision != compute.F16 && c.SavePrecision != compute.BF16 {
		refuse("SavePrecision", c.SavePrecision, "F32, F16 or BF16")
	}
	if c.DimFromWeights && c.NetworkWeights == "" {
		refuse("NetworkWeights", nil, "the file to continue from, whose ranks are asked for")
	}
	for _, o := range []struct {
		field string
		n     int
	}{
		{"SaveEveryNEpochs", c.SaveEveryNEpochs}, {"SaveEveryNSteps", c.SaveEveryNSteps}, {"SaveNEpochRatio", c.SaveNEpochRatio},
		{"SaveLastNEpochs", c.SaveLastNEpochs}, {"SaveLastNSteps", c.SaveLastNSteps},
		{"SaveLastNEpochsState", c.SaveLastNEpochsState}, {"SaveLastNStepsState", c.SaveLastNStepsState},
		{"ValidateEveryNEpochs", c.ValidateEveryNEpochs}, {"ValidateEveryNSteps", c.ValidateEveryNSteps}, {"MaxValidationSteps", c.MaxValidationSteps},
	} {
		if o.n < 0 {
			refuse(o.field, o.n, "a number from 0")
		}
	}
	errs = append(errs, c.checkSampling(), invalid.Under("Config.Trainer", errors.Join(c.Trainer.Check(), c.Trainer.CheckRates(Rates{c.TextEncoderLR, c.UNetLR}))),
		invalid.Under("Config.Noise", c.Noise.Check()), invalid.Under("Config.Logging", c.Logging.Check()), c.checkOutput())
	return errors.Join(errs...)
}
