package train

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/atomicfile"
	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/internal/optim"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// The files of a state. The factors are in kohya's form, so that modelFile is a LoRA by itself; stateFile is written last.
const (
	modelFile     = "model" + extension
	optimizerFile = "optimizer" + extension
	stateFile     = "train_state.json"
)

// stateFormat is the version of what stateFile means.
const stateFormat = 1

// maxStateBytes bounds stateFile: 26 bytes for the loss of each batch of an epoch, and the captions.
const maxStateBytes = 256 << 20

// position is where a training stands between two steps.
type position struct {
	// Epoch is the one being learned, from 1, and Batch how many of its batches are done. After its end, with everything that
	// is saved then, Epoch is the next one.
	Epoch int `json:"current_epoch"`
	Batch int `json:"current_batch"`
	// Step counts the optimizer's steps, those skipped for an overflow included, Advanced those of the schedule.
	Step     int           `json:"current_step"`
	Advanced int           `json:"scheduler_step"`
	Scaler   *optim.Scaler `json:"scaler,omitempty"` // nil but with fp16
	Average  average       `json:"average_loss"`
	// RateScale multiplies the learning rates: 1, and 1/2 after a roll-back.
	RateScale float64 `json:"rate_scale"`
}

// trainState is the content of stateFile.
type trainState struct {
	Format int `json:"format"`
	position
	Optimizer map[string]float64 `json:"optimizer"`
	Session   uint32             `json:"session_id"`
	Started   time.Time          `json:"training_started_at"`
	Saved     time.Time          `json:"saved_at"`
	Sums      map[string]string  `json:"sha256"`      // the other files' hashes, by name
	Sum       string             `json:"sha256_here"` // of this file, with zeros in its place
	identity
}

// statePath is the state that belongs to a LoRA file.
func statePath(path string) string { return strings.TrimSuffix(path, extension) + "-state" }

// isState reports whether a folder called base may be a state of a training called name.
func isState(base, name string) bool {
	rest, ok := strings.CutPrefix(base, name+"-")
	if !ok || rest == "state" || rest == "autosave-state" {
		return ok
	}
	number, ok := strings.CutSuffix(rest, "-state")
	digits, step := strings.CutPrefix(number, "step")
	_, err := strconv.ParseUint(digits, 10, 63)
	return ok && err == nil && (step && len(digits) >= 8 || !step && len(digits) >= 6)
}

// isLeftover reports whether a folder is a state that did not get its name, or lost it to a newer one; see tempFolder.
func isLeftover(base, name string) bool {
	rest, ok := strings.CutPrefix(base, ".")
	return ok && isState(strings.TrimSuffix(rest, filepath.Ext(rest)), name)
}

// tempFolder makes a folder beside path and called after it.
func tempFolder(path string) (string, error) {
	temp := atomicfile.Temporary(path)
	return temp, os.Mkdir(temp, 0o777)
}

// LatestState finds the state to go on from that a training left under outputName in outputDir, as Config.Resume: of the
// training that saved last the one of most steps. Only whole states count, among them one that the end of the program kept from
// getting its name. Those that are there and cannot be read, or are not as they were saved, are listed as damaged. Without
// any state the error is fs.ErrNotExist; if all are damaged it says how.
func LatestState(outputDir, outputName string) (path string, damaged []error, err error) {
	outputName = cmp.Or(outputName, defaultOutputName)
	entries, err := os.ReadDir(outputDir)
	if err != nil {
		return "", nil, fmt.Errorf("lora: %w", err)
	}
	var states []savedState
	saved := make(map[uint32]time.Time) // by trainings, when they did last
	for _, e := range entries {
		whole := isState(e.Name(), outputName)
		if !e.IsDir() || !whole && !isLeftover(e.Name(), outputName) {
			continue
		}
		dir := filepath.Join(outputDir, e.Name())
		if s, err := readTrainState(dir); err == nil {
			states = append(states, savedState{dir, s})
			saved[s.Session] = latest(saved[s.Session], s.Saved)
		} else if whole {
			damaged = append(damaged, err)
		}
	}
	slices.SortFunc(states, func(a, b savedState) int {
		return cmp.Or(saved[b.Session].Compare(saved[a.Session]), cmp.Compare(b.Session, a.Session), b.compare(a.trainState))
	})
	for _, s := range states {
		err := s.verify(s.dir)
		if err == nil {
			return s.dir, damaged, nil
		}
		damaged = append(damaged, err)
	}
	if len(damaged) > 0 {
		return "", damaged, fmt.Errorf("lora: %s: none of its states is whole: %w", outputDir, errors.Join(damaged...))
	}
	return "", nil, fmt.Errorf("lora: %s: no state %s-…-state is in it; save some with Config.SaveState: %w", outputDir, outputName, fs.ErrNotExist)
}

// savedState is a state and its folder.
type savedState struct {
	dir string
	trainState
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// compare orders the states of one training: a roll-back takes it to earlier steps, and the clock may be set back.
func (s trainState) compare(other trainState) int {
	return cmp.Or(cmp.Compare(other.RateScale, s.RateScale), cmp.Compare(s.Step, other.Step), cmp.Compare(s.Epoch, other.Epoch), s.Saved.Compare(other.Saved))
}

// verify reports files of the state that are not as they were saved. States of earlier versions have no sums.
func (s trainState) verify(dir string) error {
	for _, name := range slices.Sorted(maps.Keys(s.Sums)) {
		sum, err := openfile.SHA256(filepath.Join(dir, filepath.Base(name)))
		if err != nil {
			return err
		}
		if sum != s.Sums[name] {
			return fmt.Errorf("%s has another SHA-256 than when it was saved: the file is damaged; take an earlier state", filepath.Join(dir, name))
		}
	}
	return nil
}

// state writes a state to the folder at path. It appears whole or not at all.
func (s *saver) state(path string, now snapshot) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("lora: saving the state %s: %w", path, err)
		}
	}()
	temp, err := tempFolder(path)
	if err != nil {
		return err
	}
	if err := now.write(temp); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	if err := replaceFolder(path, temp); err != nil {
		return err
	}
	s.lastState, s.safe = path, time.Now()
	return s.removeLeftovers(filepath.Dir(path), path)
}

// write writes the files of a state.
func (now snapshot) write(dir string) error {
	state, err := now.trainer.State()
	if err != nil {
		return err
	}
	modules, err := now.trainer.Modules()
	if err != nil {
		return err
	}
	if err := lora.Write(filepath.Join(dir, modelFile), modules, compute.F32, now.metadata); err != nil {
		return err
	}
	for i := range modules {
		for _, part := range factorParts {
			delete(state.Tensors, modules[i].Key()+part)
		}
	}
	var tensors []weights.Tensor
	for name, f := range state.Tensors {
		x := weights.Tensor{Name: name, DType: weights.F32, Shape: f.Shape, Data: make([]byte, 4*len(f.Data))}
		weights.Narrow(x.Data, f.Data, compute.F32)
		tensors = append(tensors, x)
	}
	metadata := map[string]string{"ss_session_id": now.metadata["ss_session_id"], "ss_steps": now.metadata["ss_steps"]}
	if err := weights.Write(filepath.Join(dir, optimizerFile), tensors, metadata); err != nil {
		return err
	}
	whole := now.state
	whole.Optimizer, whole.Saved, whole.Sums = state.Numbers, time.Now(), make(map[string]string)
	for _, name := range []string{modelFile, optimizerFile} {
		if whole.Sums[name], err = openfile.SHA256(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	data, err := whole.marshal()
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, stateFile), data)
}

// noSum stands where a file has its own sum while that is taken.
var noSum = strings.Repeat("0", 2*sha256.Size)

// marshal is the content of stateFile.
func (s trainState) marshal() ([]byte, error) {
	s.Sum = noSum
	data, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return nil, err
	}
	return bytes.Replace(data, []byte(noSum), []byte(sumOf(data)), 1), nil
}

func sumOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// replaceFolder gives a folder beside path its name. What has it is moved aside first, so that at every moment one of the
// two is there in whole.
func replaceFolder(path, temp string) error {
	var old string
	if _, err := os.Lstat(path); err == nil {
		if old, err = tempFolder(path); err != nil {
			return err
		}
		if err := errors.Join(os.Remove(old), os.Rename(path, old)); err != nil {
			return err
		}
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	atomicfile.SyncFolder(filepath.Dir(path))
	if old == "" {
		return nil
	}
	return os.RemoveAll(old)
}

// removeLeftovers removes what programs that ended while saving states of this name left behind, but for the state kept.
func (s *saver) removeLeftovers(dir, kept string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if isLeftover(e.Name(), s.config.OutputName) && e.Name() != filepath.Base(kept) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// readTrainState reads stateFile.
func readTrainState(dir string) (s trainState, err error) {
	path := filepath.Join(dir, stateFile)
	data, err := openfile.ReadFile(path, maxStateBytes)
	if err != nil {
		return s, err
	}
	if err := s.parse(data); err != nil {
		return s, fmt.Errorf("%s: %w; take an earlier state", path, err)
	}
	return s, nil
}

// parse reads the content of stateFile and checks what goes for every training.
func (s *trainState) parse(data []byte) error {
	if err := json.Unmarshal(data, s); err != nil {
		return err
	}
	if s.Sum != "" && s.Sum != sumOf(bytes.Replace(data, []byte(s.Sum), []byte(noSum), 1)) {
		return errors.New("it has another SHA-256 than when it was saved: the file is damaged")
	}
	switch a := s.Average; {
	case s.Format != stateFormat:
		return fmt.Errorf("format is %d, want %d: this is no state of this program, or of another version of it", s.Format, stateFormat)
	case s.Epoch < 1 || s.Batch < 0 || s.Step < 0 || s.Advanced < 0 || s.Advanced > s.Step || a.Next < 0 || a.Next >= max(1, len(a.Losses)),
		s.RateScale != 1 && s.RateScale != rollBackFactor, s.Scaler != nil && (s.Scaler.Exponent < -1000 || s.Scaler.Exponent > 1000 || s.Scaler.Good < 0):
		return fmt.Errorf("epoch %d, batch %d, step %d: no place in a training", s.Epoch, s.Batch, s.Step)
	}
	return nil
}

// readState reads the whole of a state.
func readState(dir string) (trainState, State, error) {
	s, err := readTrainState(dir)
	if err == nil {
		err = s.verify(dir)
	}
	if err != nil {
		return s, State{}, err
	}
	all := State{Tensors: make(map[string]lora.Factor), Numbers: maps.Clone(s.Optimizer)}
	for _, name := range []string{modelFile, optimizerFile} {
		if err := all.read(filepath.Join(dir, name), s); err != nil {
			return s, State{}, fmt.Errorf("%w; take an earlier state", err)
		}
	}
	return s, all, nil
}

// read adds the tensors of a file that belongs to a state.
func (all State) read(path string, s trainState) error {
	f, err := weights.OpenFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if m := f.Metadata(); m["ss_session_id"] != strconv.FormatUint(uint64(s.Session), 10) || m["ss_steps"] != strconv.Itoa(s.Step) {
		return fmt.Errorf("%s: of step %q of training %q, %s of step %d of %d: the files do not belong together",
			path, m["ss_steps"], m["ss_session_id"], stateFile, s.Step, s.Session)
	}
	for _, name := range f.Names() {
		if strings.HasSuffix(name, ".alpha") {
			continue
		}
		if info, _ := f.Info(name); info.DType != weights.F32 {
			return fmt.Errorf("%s: tensor %.200q is %s, want F32", path, name, info.DType)
		}
		if all.Tensors[name], err = lora.ReadFactor(f, name); err != nil {
			return err
		}
	}
	return nil
}

// foreignState says what is wrong with a folder that is no state of this program.
func foreignState(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is a file; name the folder of a state, NAME-step00000500-state", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return slices.Contains([]string{".bin", ".pkl", ".pt"}, filepath.Ext(e.Name()))
	}) {
		return fmt.Errorf("%s is a state of sd-scripts; its pickled files can only be read there. Begin anew with its %s as Config.NetworkWeights", dir, modelFile)
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == stateFile }) {
		return fmt.Errorf("%s is no state: it has no %s; name a folder called NAME-step00000500-state", dir, stateFile)
	}
	return nil
}
