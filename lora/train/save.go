package train

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/filelock"
	"github.com/atelier-go/atelier/lora"
)

// extension is that of the files written.
const extension = ".safetensors"

// checkOutput makes the folder of the files and sees whether they can be written there, before hours of work.
func (c Config) checkOutput() error {
	if c.OutputDir == "" {
		return errors.New("lora: output_dir is empty; name the folder to save in")
	}
	if c.OutputName != filepath.Base(c.OutputName) || strings.ContainsAny(c.OutputName, `/\`) {
		return fmt.Errorf("lora: output_name is %q; want a file's name without folder and extension, such as personname_lora_v1", c.OutputName)
	}
	if err := os.MkdirAll(c.OutputDir, 0o777); err != nil {
		return fmt.Errorf("lora: output_dir: %w; name a folder that can be written to", err)
	}
	for _, path := range []string{c.path(), statePath(c.stepPath(math.MaxInt32))} { // the latter as the longest name there can be
		if err := atomicfile.Check(path); err != nil {
			return fmt.Errorf("lora: output_dir and output_name: %w; choose others", err)
		}
	}
	return nil
}

// lockOutput keeps other trainings from the files of this one.
func (r *run) lockOutput() (err error) {
	r.lock, err = filelock.Take(filepath.Join(r.OutputDir, "."+r.OutputName+".lock"))
	if held, ok := errors.AsType[*filelock.HeldError](err); ok {
		return fmt.Errorf("lora: output_name: another training writes %s: %w; wait for it, or choose another name", r.path(), held)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		r.warnings = append(r.warnings, fmt.Sprintf("%v; keep other trainings from saving under this name", err))
		return nil
	}
	return err
}

// path is the final file.
func (c Config) path() string { return filepath.Join(c.OutputDir, c.OutputName+extension) }

// epochPath is the file after an epoch.
func (c Config) epochPath(epoch int) string {
	return filepath.Join(c.OutputDir, fmt.Sprintf("%s-%06d%s", c.OutputName, epoch, extension))
}

// stepPath is the file after a step.
func (c Config) stepPath(step int) string {
	return filepath.Join(c.OutputDir, fmt.Sprintf("%s-step%08d%s", c.OutputName, step, extension))
}

// savesEvery tells how many epochs lie between two files, of so many epochs.
func (c Config) savesEvery(epochs int) int {
	if c.SaveNEpochRatio == 0 {
		return c.SaveEveryNEpochs
	}
	return max(1, epochs/c.SaveNEpochRatio)
}

// series are the files saved every so many epochs or steps, under their numbers.
type series struct {
	every int
	path  func(n int) string
	// last tells the last number that goes when n comes, so that as many remain as are to be kept; it may be below 1.
	last func(n, keep int) int
}

func (c Config) epochSeries() series {
	every := c.SaveEveryNEpochs
	return series{every, c.epochPath, func(n, keep int) int { return n - every*keep }}
}

// stepSeries keeps files of so many steps, not so many files.
func (c Config) stepSeries() series {
	every := c.SaveEveryNSteps
	return series{every, c.stepPath, func(n, keep int) int { return (n - keep - 1) / every * every }}
}

// has reports whether a file of number n is to be saved.
func (s series) has(n int) bool { return s.every > 0 && n%s.every == 0 }

// remove removes what goes when number n comes: path of the last number and of those before it, as many as there are.
// A keep of 0 keeps all.
func (s series) remove(n, keep int, path func(n int) string) error {
	if keep == 0 {
		return nil
	}
	for old := s.last(n, keep); old > 0; old -= s.every {
		if _, err := os.Lstat(path(old)); err != nil {
			break
		}
		if err := os.RemoveAll(path(old)); err != nil {
			return fmt.Errorf("lora: %w", err)
		}
	}
	return nil
}

// saveEpoch saves what an epoch calls for, and returns the paths of the LoRA and of the state.
func (r *run) saveEpoch(epoch int) (path, state string, err error) {
	return r.saveIn(r.epochSeries(), epoch, r.SaveLastNEpochs, cmp.Or(r.SaveLastNEpochsState, r.SaveLastNEpochs))
}

// saveStep saves what the step calls for.
func (r *run) saveStep() (path, state string, err error) {
	return r.saveIn(r.stepSeries(), r.Step, r.SaveLastNSteps, cmp.Or(r.SaveLastNStepsState, r.SaveLastNSteps))
}

// saveIn saves number n of a series, and a state beside it if states are saved, and then removes older ones.
func (r *run) saveIn(s series, n, keep, keepStates int) (path, state string, err error) {
	if !s.has(n) {
		return "", "", nil
	}
	path = s.path(n)
	if err := r.save(path, r.epochsDone()); err != nil {
		return "", "", err
	}
	if !r.SaveState {
		return path, "", s.remove(n, keep, s.path)
	}
	state = statePath(path)
	if err := r.saveState(state); err != nil {
		return path, "", err
	}
	states := func(n int) string { return statePath(s.path(n)) }
	return path, state, errors.Join(s.remove(n, keep, s.path), s.remove(n, keepStates, states))
}

// finish saves the result.
func (r *run) finish() error {
	done := Progress{Phase: "epoch", Done: r.dataset.Steps().Epochs, Total: r.dataset.Steps().Epochs, Epoch: r.dataset.Steps().Epochs, AverageLoss: r.Average.mean(), Saved: r.path()}
	if err := r.save(r.path(), r.dataset.Steps().Epochs); err != nil {
		return err
	}
	if r.SaveState || r.SaveStateOnTrainEnd {
		done.State = statePath(r.path())
		if err := r.saveState(done.State); err != nil {
			return err
		}
	}
	r.report(done)
	if err := r.removeAutosave(); err != nil {
		r.warn("%v", err)
	}
	return nil
}

// save writes what is learned so far.
func (r *run) save(path string, epoch int) error {
	modules, err := r.trainer.Modules()
	if err != nil {
		return err
	}
	return lora.Write(path, modules, r.SavePrecision, r.metadata(epoch))
}
