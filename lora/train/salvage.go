package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/atelier-go/atelier/lora"
)

// usualAutosave is how much of a training is lost at most when the computer goes off.
const usualAutosave = 10 * time.Minute

// InterruptedError says that a training ended before its end, for whatever reason, after it had begun to learn.
// errors.Is finds context.Canceled or context.DeadlineExceeded in it if that is because its context was done.
type InterruptedError struct {
	Step, Steps int
	Path        string // the file of what was learned until then, "" if nothing was or it could not be saved
	State       string // the folder of the state to go on from, likewise; of a step before, if the device was lost with all that it held
	Err         error  // why
	done        error  // the context's, nil if that is not done
}

// Error says why, and where what was learned is.
func (e *InterruptedError) Error() string {
	s := fmt.Sprintf("lora: stopped after step %d of %d", e.Step, e.Steps)
	switch {
	case e.Path != "":
		s += ", what was learned is in " + e.Path
	case e.State != "":
		s += ", what was learned since the last state was saved is lost with the device"
	default:
		s += ", nothing was saved"
	}
	if e.State != "" {
		s += "; to go on, train with the same options and resume " + e.State
	}
	return fmt.Sprintf("%s: %v", s, e.Err)
}

// Unwrap is the cause.
func (e *InterruptedError) Unwrap() []error { return slices.DeleteFunc([]error{e.Err, e.done}, isNil) }

func isNil(err error) bool { return err == nil }

// stopped saves what was learned before err ended the training, and its state. A training that has learned nothing ends
// with err itself, unless its context is done. What a device held that is lost is gone: then the last state is what there is.
func (r *run) stopped(ctx context.Context, err error) error {
	stop := &InterruptedError{Step: r.at.Step, Steps: r.dataset.Steps().Total, Err: err, done: ctx.Err()}
	if stop.done != nil {
		stop.Err = context.Cause(ctx)
	}
	switch {
	case r.at.Step == 0 && stop.done == nil:
		return err
	case r.at.Step == 0:
		return stop
	}
	modules, err := r.trainer.Modules()
	if err != nil {
		stop.State = r.saver.lastState
		return errors.Join(stop, err)
	}
	if err := finite(modules); err != nil {
		return errors.Join(stop, err)
	}
	return errors.Join(stop, r.salvage(stop))
}

// finite reports the first module whose numbers are not finite any more.
func finite(modules []lora.Module) error {
	for i := range modules {
		l, _ := modules[i].Delta.(lora.LowRank)
		for _, f := range []lora.Factor{l.Down, l.Up} {
			if slices.ContainsFunc(f.Data, notFinite) {
				return fmt.Errorf("lora: %s: its numbers are not finite, so what was learned is not saved; the last file and state are good", modules[i].Key())
			}
		}
	}
	return nil
}

func notFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }

// salvage saves the LoRA and the state of the step, each in the first folder that takes it. The error tells of folders that
// took neither.
func (r *run) salvage(stop *InterruptedError) error {
	var errs []error
	now := r.snapshot(r.epochsDone())
	for i, dir := range r.refuges() {
		if i > 0 {
			_ = os.MkdirAll(dir, 0o777) // saving says what is wrong
		}
		path := filepath.Join(dir, filepath.Base(r.config.stepPath(r.at.Step)))
		if stop.Path == "" {
			if err := r.saver.file(path, now); err != nil {
				errs = append(errs, err)
			} else {
				stop.Path = path
			}
		}
		if stop.State == "" {
			if err := r.saver.state(statePath(path), now); err != nil {
				errs = append(errs, err)
			} else {
				stop.State = statePath(path)
			}
		}
		if stop.Path != "" && stop.State != "" {
			return errors.Join(append(errs, r.saver.removeAutosave())...)
		}
	}
	return errors.Join(errs...)
}

// refuges are the folders that what was learned may be saved in: output_dir, and one of this training's own, made if need be,
// in the user's cache or else among temporary files.
func (r *run) refuges() []string {
	dirs, own := []string{r.config.OutputDir}, filepath.Join("atelier", "salvaged", fmt.Sprintf("%s-%08x", r.started.Format("20060102150405"), r.session))
	if cache, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(cache, own))
	}
	return append(dirs, filepath.Join(os.TempDir(), own))
}
