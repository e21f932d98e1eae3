package train

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/filelock"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
)

// extension is that of the files written.
const extension = ".safetensors"

// saver keeps the files and states of a training.
type saver struct {
	config        Config
	epochs, steps series
	lock          *filelock.Lock
	lastState     string    // saved or gone on from
	safe          time.Time // when that was
	begun         time.Time // when the training began
}

// snapshot is what a training has learned.
type snapshot struct {
	trainer  *Trainer
	metadata map[string]string
	state    trainState // but for what the trainer and the files add to it
	epoch    int        // whole ones
}

// snapshot is of now, in so many whole epochs.
func (r *run) snapshot(epoch int) snapshot {
	state := trainState{Format: stateFormat, position: r.at, Session: r.session, Started: r.started, identity: r.identity}
	return snapshot{r.trainer, r.metadata(epoch), state, epoch}
}

// newSaver keeps other trainings from the files of this one; what it says is that it cannot, on a file system without locks.
func newSaver(c Config) (s *saver, unlocked string, err error) {
	s = &saver{config: c}
	s.lock, err = filelock.Take(filepath.Join(c.OutputDir, "."+c.OutputName+".lock"))
	if held, ok := errors.AsType[*filelock.HeldError](err); ok {
		return nil, "", &invalid.FieldError{Field: "Config.OutputName", Value: c.OutputName, Want: "another name, or to wait: another training writes " + c.path(), Err: held}
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return s, fmt.Sprintf("%v; keep other trainings from saving under this name", err), nil
	}
	return s, "", err
}

// count fits what is saved to a number of epochs.
func (s *saver) count(epochs int) {
	s.epochs, s.steps = s.config.epochSeries(epochs), s.config.stepSeries()
}

// close lets others save. Closing twice is harmless.
func (s *saver) close() error {
	if s.lock == nil {
		return nil
	}
	lock := s.lock
	s.lock = nil
	return lock.Remove()
}

// checkOutput makes the folder of the files and sees whether they can be written there, before hours of work.
func (c Config) checkOutput() error {
	if c.OutputDir == "" {
		return invalid.Field("Config.OutputDir", nil, "the folder to save in")
	}
	if c.OutputName != filepath.Base(c.OutputName) || strings.ContainsAny(c.OutputName, `/\`) {
		return invalid.Field("Config.OutputName", c.OutputName, "a file's name without folder and extension, such as personname_lora_v1")
	}
	if err := os.MkdirAll(c.OutputDir, 0o777); err != nil {
		return &invalid.FieldError{Field: "Config.OutputDir", Value: c.OutputDir, Want: "a folder that can be written to", Err: err}
	}
	for _, path := range []string{c.path(), statePath(c.stepPath(math.MaxInt32))} { // the latter as the longest name there can be
		if err := atomicfile.Check(path); err != nil {
			return &invalid.FieldError{Field: "Config.OutputName", Value: c.OutputName, Want: "another, or another Config.OutputDir", Err: err}
		}
	}
	return nil
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

// autosavePath is the state that is replaced every AutosaveEvery.
func (c Config) autosavePath() string {
	return filepath.Join(c.OutputDir, c.OutputName+"-autosave-state")
}

// series are the files saved every so many epochs or steps, under their numbers.
type series struct {
	every            int
	keep, keepStates int // how much remains; 0 is all
	path             func(n int) string
	// last tells the last number that goes when n comes, so that as many remain as are to be kept; it may be below 1.
	last func(n, keep int) int
}

// epochSeries keeps so many files of those of a number of epochs.
func (c Config) epochSeries(epochs int) series {
	every := c.SaveEveryNEpochs
	if c.SaveNEpochRatio > 0 {
		every = max(1, epochs/c.SaveNEpochRatio)
	}
	return series{every, c.SaveLastNEpochs, cmp.Or(c.SaveLastNEpochsState, c.SaveLastNEpochs), c.epochPath, func(n, keep int) int { return n - every*keep }}
}

// stepSeries keeps files of so many steps, not so many files.
func (c Config) stepSeries() series {
	every := c.SaveEveryNSteps
	return series{every, c.SaveLastNSteps, cmp.Or(c.SaveLastNStepsState, c.SaveLastNSteps), c.stepPath, func(n, keep int) int { return (n - keep - 1) / every * every }}
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

// number saves number n of a series, and a state beside it if states are saved, and then removes older ones.
func (s *saver) number(of series, n int, now snapshot) (Saved, error) {
	saved, err := s.save(of.path(n), now, s.config.SaveState)
	if err != nil {
		return saved, err
	}
	err = of.remove(n, of.keep, of.path)
	if saved.State != "" {
		err = errors.Join(err, of.remove(n, of.keepStates, func(n int) string { return statePath(of.path(n)) }))
	}
	return saved, err
}

// last saves the result.
func (s *saver) last(now snapshot) (Saved, error) {
	return s.save(s.config.path(), now, s.config.SaveState || s.config.SaveStateOnTrainEnd)
}

// save saves a file, and with it a state. What is said to be saved is, whatever the error is.
func (s *saver) save(path string, now snapshot, state bool) (saved Saved, err error) {
	saved.Step, saved.Epoch = now.state.Step, now.epoch
	if err := s.file(path, now); err != nil {
		return saved, err
	}
	saved.Path = path
	if !state {
		return saved, nil
	}
	if err := s.state(statePath(path), now); err != nil {
		return saved, err
	}
	saved.State = statePath(path)
	return saved, nil
}

// file writes what is learned so far.
func (s *saver) file(path string, now snapshot) error {
	modules, err := now.trainer.Modules()
	if err != nil {
		return err
	}
	return lora.Write(path, modules, s.config.SavePrecision, now.metadata)
}

// overdue reports whether the last state was saved too long ago: AutosaveEvery, and before the training has run for that long as long as it had
// run then, or a minute. So no more is lost than half of a short training.
func (s *saver) overdue(now time.Time) bool {
	every := min(s.config.AutosaveEvery, max(s.safe.Sub(s.begun), time.Minute))
	return every > 0 && now.Sub(s.safe) >= every
}

// autosave saves a state in place of the last one of this kind.
func (s *saver) autosave(now snapshot) error {
	s.safe = time.Now() // also if it fails: not with every step
	return s.state(s.config.autosavePath(), now)
}

// removeAutosave removes the state that a later one, or the end of the training, makes useless.
func (s *saver) removeAutosave() error {
	if s.lastState == s.config.autosavePath() {
		s.lastState = ""
	}
	return os.RemoveAll(s.config.autosavePath())
}
