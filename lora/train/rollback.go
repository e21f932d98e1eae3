package train

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/lora/dataset"
)

// rollBackFactor is what a roll-back multiplies the learning rates with.
const rollBackFactor = 0.5

// divergence is the end of a training whose numbers are not finite any more.
type divergence struct {
	what        string
	step, epoch int
	pictures    []string // those of the last batch, by path
}

func (d *divergence) Error() string {
	return fmt.Sprintf("lora: step %d of epoch %d: %s (pictures %s)", d.step, d.epoch, d.what, strings.Join(d.pictures, ", "))
}

// diverged says what is not finite after a batch.
func (r *run) diverged(batch dataset.Batch, what string) error {
	d := &divergence{what: what, step: r.at.Step + 1, epoch: batch.Epoch}
	for _, item := range batch.Items {
		d.pictures = append(d.pictures, item.Picture.Path)
	}
	return d
}

// rollBack takes the training back to the last state that it saved or went on from, or to its start, and halves the
// learning rates. It does so once: the second time d is the error.
func (r *run) rollBack(d *divergence) error {
	if r.at.RateScale != 1 {
		return d
	}
	back := "the start"
	if r.saver.lastState != "" {
		back = filepath.Base(r.saver.lastState)
		if err := r.restore(r.saver.lastState); err != nil {
			return fmt.Errorf("%w; going back to %s: %w", d, r.saver.lastState, err)
		}
	} else if err := r.restart(); err != nil {
		return fmt.Errorf("%w; going back to the start: %w", d, err)
	}
	r.at.RateScale, r.pending = rollBackFactor, nil
	r.warn("%v; going back to %s, with half the learning rates from there", d, back)
	return nil
}

// giveUp says what to do after the second divergence.
func (r *run) giveUp(d *divergence) error {
	return fmt.Errorf("%w again, with half the learning rates; what was saved before is good. Lower the learning rates, or look at the pictures", d)
}

// restart makes the factors anew from the seed.
func (r *run) restart() error {
	modules, _, err := r.network()
	if err != nil {
		return err
	}
	if err := r.trainer.Close(); err != nil {
		return err
	}
	if r.trainer, err = newTrainer(r.config.Device, r.networks, modules, r.config.Trainer); err != nil {
		return err
	}
	r.at = r.start()
	return nil
}

// start is where a training begins.
func (r *run) start() position {
	p := position{Epoch: 1, RateScale: 1}
	if r.config.MixedPrecision == "fp16" {
		p.Scaler = new(optim.Scaler)
	}
	return p
}
