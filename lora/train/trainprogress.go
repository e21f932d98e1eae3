package train

import (
	"fmt"
	"math"
	"time"

	"github.com/atelier-go/atelier/internal/tfevents"
)

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

// report tells of what was done, in the log too.
func (r *run) report(p Progress) {
	if p.Step = r.Step; r.Progress != nil {
		r.Progress(p)
	}
	if r.logFailed {
		return
	}
	if err := r.log.write(time.Now(), p, r.scalars(p)); err != nil {
		r.logFailed = true
		r.warn("logging_dir: %v; the log ends at step %d, the training does not", err, p.Step)
	}
}

// scalars are the charts of what was done, under sd-scripts' names.
func (r *run) scalars(p Progress) (all []tfevents.Scalar) {
	add := func(tag string, value float64) { all = append(all, tfevents.Scalar{Tag: tag, Value: value}) }
	switch {
	case p.Phase == "steps":
		add("loss/current", p.Loss)
		add("loss/average", p.AverageLoss)
		add("norm/gradient", p.Norm)
		for _, g := range r.trainer.GroupRates(p.Rates) {
			add("lr/"+g.Name, g.Rate)
			if p.D > 0 {
				add("lr/d*lr/"+g.Name, p.D*g.Rate)
			}
		}
		if r.Trainer.ScaleWeightNorms > 0 {
			add("max_norm/keys_scaled", float64(p.KeysScaled))
			add("max_norm/max_key_norm", p.MaxKeyNorm)
			add("norm/avg_key_norm", p.AverageKeyNorm)
		}
	case p.Phase == "epoch":
		add("loss/epoch_average", p.AverageLoss)
	case p.Phase == "validation" && p.Done == p.Total:
		of := "loss/validation/step_"
		if p.EpochEnd {
			of = "loss/validation/epoch_"
		}
		add(of+"average", p.ValidationLoss)
		add(of+"divergence", p.ValidationDivergence)
	}
	return all
}

func (r *run) warn(format string, args ...any) {
	r.report(Progress{Phase: "warning", Epoch: r.Epoch, Warning: fmt.Sprintf(format, args...)})
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
