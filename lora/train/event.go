package train

// Event is something that happened in a training that [Run] does: one of the types below.
type Event interface{ event() }

// Started is the first event: what the training will be, before anything is computed.
type Started struct{ Report Report }

// LatentsCached tells that Done of Total pictures are encoded.
type LatentsCached struct{ Done, Total int }

// StepDone is an optimizer step.
type StepDone struct {
	Step, Steps int     // done, and in all
	Epoch       int     // the epoch that it belongs to, from 1
	Loss        float64 // the mean over the last batch
	AverageLoss float64 // the mean over as many batches as an epoch has, "avr_loss"
	Rates       Rates
	Update
}

// EpochDone is the end of an epoch, after its validation and sample pictures.
type EpochDone struct {
	Epoch, Epochs int // done, and in all
	Step          int // optimizer steps done
	AverageLoss   float64
}

// Validating tells that Done of Total losses of a validation are computed.
type Validating struct{ Done, Total int }

// Validated is the mean loss of the pictures that are kept from training.
type Validated struct {
	Step, Epoch int
	EpochEnd    bool // it is due after the epoch, not after the step
	Loss        float64
	Divergence  float64 // from AverageLoss
}

// Sampling tells that so many sample pictures are to be drawn. The epoch counts when it is complete.
type Sampling struct{ Step, Epoch, Pictures int }

// Sampled is a sample picture that was drawn and saved.
type Sampled struct {
	Step, Epoch int
	Prompt      SamplePrompt
	Path        string // the PNG file
}

// Saved tells that files were written. The epoch counts when it is complete.
type Saved struct {
	Step, Epoch int
	Path        string // the file of the LoRA
	State       string // the folder of the state, "" if none was to be saved
}

// Warning is something to be read that does not end the training.
type Warning struct{ Text string }

func (Started) event()       {}
func (LatentsCached) event() {}
func (StepDone) event()      {}
func (EpochDone) event()     {}
func (Validating) event()    {}
func (Validated) event()     {}
func (Sampling) event()      {}
func (Sampled) event()       {}
func (Saved) event()         {}
func (Warning) event()       {}
