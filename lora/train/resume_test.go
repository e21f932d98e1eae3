package train_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// changing are the metadata in which two runs of one training differ.
var changing = []string{"ss_session_id", "ss_training_started_at", "ss_training_finished_at", "modelspec.date", "sshs_legacy_hash"}

// sameFile compares two files of a training to the bit, but for those metadata.
func sameFile(t *testing.T, got, want string) {
	t.Helper()
	a, b := openFile(t, got), openFile(t, want)
	if !slices.Equal(a.Names(), b.Names()) {
		t.Errorf("%s has tensors %q, want %q", got, a.Names(), b.Names())
		return
	}
	for _, name := range a.Names() {
		x, err1 := a.Tensor(name)
		y, err2 := b.Tensor(name)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if x.DType != y.DType || !x.Shape.Equal(y.Shape) || !bytes.Equal(x.Data, y.Data) {
			t.Errorf("%s differs from that of %s", name, want)
		}
	}
	am, bm := a.Metadata(), b.Metadata()
	for _, key := range changing {
		delete(am, key)
		delete(bm, key)
	}
	if !maps.Equal(am, bm) {
		t.Errorf("metadata are %q\nwant         %q", am, bm)
	}
}

func openFile(t *testing.T, path string) *weights.File {
	t.Helper()
	f, err := weights.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// counting is a device that counts how often programs look whether to stop, as they do before each op, and calls stop at a count.
type counting struct {
	compute.Device
	left atomic.Int64
	stop context.CancelFunc
}

// countDown makes of a device one that ends the context when so many ops have begun.
func countDown(t *testing.T, dev compute.Device, ops int64) (context.Context, *counting) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c := &counting{Device: dev, stop: cancel}
	c.left.Store(ops)
	return ctx, c
}

func (c *counting) Compile(p *compute.Program, params compute.Params) (compute.Executable, error) {
	exe, err := c.Device.Compile(p, params)
	return &countingExecutable{exe, c}, err
}

type countingExecutable struct {
	compute.Executable
	device *counting
}

func (e *countingExecutable) Run(ctx context.Context, out, in []compute.Tensor) error {
	return e.Executable.Run(countedContext{ctx, e.device}, out, in)
}

type countedContext struct {
	context.Context
	device *counting
}

func (c countedContext) Done() <-chan struct{} {
	if c.device.left.Add(-1) == 0 {
		c.device.stop()
	}
	return c.Context.Done()
}

// TestResume stops trainings in the middle of an op, twice each, and goes on: the file must be that of the training without
// a stop (case 89).
func TestResume(t *testing.T) {
	long(t)
	for _, c := range []struct {
		name   string
		change func(c *train.Config)
	}{
		{"plain", func(c *train.Config) {}},
		{"Prodigy, accumulation, fp16, no cache, dropout", func(c *train.Config) {
			c.Dataset.GradientAccumulationSteps, c.MixedPrecision, c.Dataset.CacheLatents = 2, "fp16", false
			c.Trainer.OptimizerType, c.UNetLR, c.TextEncoderLR = "Prodigy", 1, 1
			c.Network.RankDropout, c.Noise.NoiseOffset, c.LRWarmupSteps = 0.2, 0.1, "25%"
			c.Dataset.Sets[0].Folder.FlipAug, c.Dataset.Sets[0].Folder.DropoutRate = true, 0.3
		}},
		{"Adafactor, norms bounded, steps that end in an epoch, latents on disk, alpha that is no float32", func(c *train.Config) {
			c.Trainer.OptimizerType, c.Trainer.OptimizerArgs, c.Trainer.ScaleWeightNorms = "Adafactor", []string{"relative_step=False"}, 0.01
			c.Dataset.MaxTrainEpochs, c.Dataset.MaxTrainSteps, c.Dataset.CacheLatentsToDisk, c.Network.Alpha = 0, 5, true, 0.7
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := trainConfig(t, 2)
			c.change(&cfg)
			ctx, whole := countDown(t, cfg.Device, 1<<40)
			cfg.Device = whole
			err := run(ctx, cfg)
			skipUnsupported(t, err)
			if err != nil {
				t.Fatal(err)
			}
			ops := 1<<40 - whole.left.Load()

			stopped := cfg // and on another number of threads, and with what changes no result
			stopped.OutputDir, stopped.Logging = t.TempDir(), train.Logging{Dir: t.TempDir()}
			other := trainConfig(t, 1).Device
			for _, part := range []float64{0.55, 0.4} {
				ctx, stopped.Device = countDown(t, other, int64(part*float64(ops)))
				err := run(ctx, stopped)
				var stop *train.InterruptedError
				if !errors.As(err, &stop) || stop.State == "" {
					t.Fatalf("the error is %v, want an InterruptedError with a state", err)
				}
				if latest, _, err := train.LatestState(stopped.OutputDir, "x"); latest != stop.State {
					t.Errorf("the latest state is %q, %v, want %q", latest, err, stop.State)
				}
				stopped.Resume, stopped.Logging = stop.State, train.Logging{}
			}
			stopped.Device = other
			var steps []train.StepDone
			mustTrain(t, stopped, collect(&steps))
			first := steps[0]
			if want := fmt.Sprintf("x-step%08d-state", first.Step-1); filepath.Base(stopped.Resume) != want {
				t.Errorf("resumed from %s, the first step is %d", stopped.Resume, first.Step)
			}
			sameFile(t, filepath.Join(stopped.OutputDir, "x.safetensors"), filepath.Join(cfg.OutputDir, "x.safetensors"))
		})
	}
}

// TestStates saves states with every file and at the end, keeps the last two, and goes on from one in the middle and one
// at the end, after which an epoch and the training are still to be ended.
func TestStates(t *testing.T) {
	long(t)
	cfg := trainConfig(t, 2)
	cfg.SaveState, cfg.SaveEveryNSteps, cfg.SaveLastNSteps, cfg.SaveLastNStepsState, cfg.SaveEveryNEpochs = true, 1, 4, 1, 1
	for _, left := range []string{".x-step00000004-state.0123456789ab", "x-step00000005-state", "x-000001-state"} { // of a run that was killed, and of another
		if err := os.MkdirAll(filepath.Join(cfg.OutputDir, left, "old"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	var saved []train.Saved
	mustTrain(t, cfg, collect(&saved))
	var states []string
	for _, e := range saved {
		states = append(states, filepath.Base(e.State))
	}
	want := []string{
		"x-000001-state", "x-000001.safetensors", "x-state", "x-step00000002.safetensors", "x-step00000003.safetensors", "x-step00000004.safetensors",
		"x-step00000005-state", "x-step00000005.safetensors", "x-step00000006-state", "x-step00000006.safetensors", "x.safetensors",
	}
	if got := files(t, cfg.OutputDir); !slices.Equal(got, want) {
		t.Errorf("files are %q\nwant      %q", got, want)
	}
	if got, want := files(t, filepath.Join(cfg.OutputDir, "x-000001-state")), []string{"model.safetensors", "optimizer.safetensors", "train_state.json"}; !slices.Equal(got, want) {
		t.Errorf("a state holds %q, want %q", got, want)
	}
	told := []string{"x-step00000001-state", "x-step00000002-state", "x-step00000003-state", "x-000001-state", "x-step00000004-state", "x-step00000005-state", "x-step00000006-state", "x-state"}
	if !slices.Equal(states, told) {
		t.Errorf("states are told as %q, want %q", states, told)
	}
	if latest, _, err := train.LatestState(cfg.OutputDir, "x"); filepath.Base(latest) != "x-state" {
		t.Errorf("the latest state is %q, %v", latest, err)
	}
	again := cfg
	again.SaveState = false
	for _, state := range []string{"x-000001-state", "x-step00000006-state"} {
		again.OutputDir, again.Resume = t.TempDir(), filepath.Join(cfg.OutputDir, state)
		mustTrain(t, again)
		sameFile(t, filepath.Join(again.OutputDir, "x.safetensors"), filepath.Join(cfg.OutputDir, "x.safetensors"))
		if a := openTrained(t, filepath.Join(again.Resume, "model.safetensors")); a.Metadata["ss_session_id"] != openTrained(t, filepath.Join(again.OutputDir, "x.safetensors")).Metadata["ss_session_id"] {
			t.Error("the session has another id after it was resumed")
		}
	}
}

// TestSaveFails cannot save the file of a step, which is a warning, and the last file, which is an error.
func TestSaveFails(t *testing.T) {
	long(t)
	cfg := trainConfig(t, 2)
	cfg.SaveState, cfg.SaveEveryNSteps, cfg.SaveEveryNEpochs = true, 2, 1
	if err := os.MkdirAll(filepath.Join(cfg.OutputDir, "x-step00000002.safetensors", "full"), 0o777); err != nil {
		t.Fatal(err)
	}
	var warnings []train.Warning
	mustTrain(t, cfg, collect(&warnings))
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, "x-step00000002.safetensors: ") || !strings.HasSuffix(warnings[0].Text, "; the training goes on") {
		t.Errorf("warnings are %q, want one about the file of step 2", warnings)
	}
	if got := states(files(t, cfg.OutputDir)); !slices.Equal(got, []string{"x-000001-state", "x-state", "x-step00000004-state", "x-step00000006-state"}) {
		t.Errorf("states are %q", got)
	}
	cfg.OutputName, cfg.Dataset.MaxTrainEpochs, cfg.SaveEveryNSteps = "y", 1, 0
	if err := os.MkdirAll(filepath.Join(cfg.OutputDir, "y.safetensors", "full"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "y.safetensors: ") {
		t.Errorf("without the last file the error is %v", err)
	}
}

// TestLatestState lists states in the order in which they were saved by the clock. "x-extra-state" is another training's.
func TestLatestState(t *testing.T) {
	type state struct{ name, json string }
	at := func(second, session, step int, scale float64) string {
		return fmt.Sprintf(`{"format": 1, "current_epoch": 1, "rate_scale": %v, "session_id": %d, "current_step": %d, "saved_at": "2026-01-01T00:00:%02dZ"}`, scale, session, step, second)
	}
	for _, c := range []struct {
		name    string
		states  []state
		want    string
		damaged []string
	}{
		{"one that did not get its name", []state{
			{"x-step00000009-state", at(0, 0, 0, 1)}, {"x-000001-state", at(1, 0, 0, 1)}, {".x-000003-state.0123456789ab", at(2, 0, 0, 1)},
			{"y-state", at(3, 0, 0, 1)}, {"x-extra-state", at(4, 0, 0, 1)}, {"x-step1-state", at(5, 0, 0, 1)}, {"x-000009-state", at(6, 0, 0, 1)[:20]},
		}, ".x-000003-state.0123456789ab", []string{"x-000009-state"}},
		{"of a clock that was set back", []state{{"x-step00000009-state", at(1, 7, 9, 1)}, {"x-step00000005-state", at(5, 7, 5, 1)}}, "x-step00000009-state", nil},
		{"of another training", []state{{"x-state", at(1, 7, 9, 1)}, {"x-step00000005-state", at(5, 8, 5, 1)}}, "x-step00000005-state", nil},
		{"of a roll-back", []state{{"x-step00000009-state", at(1, 7, 9, 1)}, {"x-step00000005-state", at(5, 7, 5, 0.5)}}, "x-step00000005-state", nil},
		{"whose files are gone", []state{{"x-step00000009-state", at(1, 7, 9, 1)[:1] + `"sha256": {"model.safetensors": "00"}, ` + at(1, 7, 9, 1)[1:]}, {"x-step00000005-state", at(5, 7, 5, 1)}},
			"x-step00000005-state", []string{filepath.Join("x-step00000009-state", "model.safetensors")}},
		{"none whole", []state{{"x-state", "{"}}, "", []string{"x-state"}},
		{"none", nil, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, s := range c.states {
				if err := errors.Join(os.Mkdir(filepath.Join(dir, s.name), 0o777), os.WriteFile(filepath.Join(dir, s.name, "train_state.json"), []byte(s.json), 0o666)); err != nil {
					t.Fatal(err)
				}
			}
			path, damaged, err := train.LatestState(dir, "x")
			if path != "" && filepath.Base(path) != c.want || (path == "") != (c.want == "") {
				t.Errorf("the latest state is %q, %v, want %q", path, err, c.want)
			}
			if c.want == "" && errors.Is(err, fs.ErrNotExist) != (len(c.states) == 0) {
				t.Errorf("the error is %v", err)
			}
			for i, say := range c.damaged {
				if len(damaged) != len(c.damaged) || !strings.Contains(damaged[i].Error(), say) || c.want == "" && !strings.Contains(err.Error(), say) {
					t.Errorf("damaged are %q, the error is %v, want %q", damaged, err, c.damaged)
				}
			}
		})
	}
	if latest, _, err := train.LatestState(filepath.Join(t.TempDir(), "no"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder the latest state is %q, %v", latest, err)
	}
}

// TestStateDamaged changes a byte of each file of a state, wherever it may be: the one before it is gone on from.
func TestStateDamaged(t *testing.T) {
	cfg := trainConfig(t, 1)
	cfg.SaveState, cfg.SaveEveryNSteps, cfg.Dataset.MaxTrainEpochs, cfg.Dataset.MaxTrainSteps = true, 1, 0, 2
	mustTrain(t, cfg)
	last := filepath.Join(cfg.OutputDir, "x-state")
	before, err := os.ReadDir(last)
	if err != nil || len(before) != 3 {
		t.Fatalf("the state has %v, %v", before, err)
	}
	for _, e := range before {
		path := filepath.Join(last, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []float64{0.1, 0.5, 0.9} {
			damaged := slices.Clone(data)
			damaged[int(part*float64(len(data)))] ^= 0x15
			replaceFile(t, path, string(damaged))
			if latest, passed, err := train.LatestState(cfg.OutputDir, "x"); err != nil || latest == last || len(passed) != 1 {
				t.Errorf("%s at %v: the latest state is %s, passed over %v, %v", e.Name(), part, latest, passed, err)
			}
		}
		replaceFile(t, path, string(data))
	}
	if latest, _, err := train.LatestState(cfg.OutputDir, "x"); latest != last {
		t.Errorf("the whole state is not found: %s, %v", latest, err)
	}
}

// TestResumeLonger goes on with more steps than the state's training had: to the file of a training that had them from the
// start where nothing depends on their number, else with a warning.
func TestResumeLonger(t *testing.T) {
	long(t)
	longer := func(c *train.Config) { c.Dataset.MaxTrainEpochs, c.Dataset.MaxTrainSteps = 2, 0 }
	for _, c := range []struct {
		name   string
		change func(c *train.Config)
		longer func(c *train.Config)
		say    string // of the warning; without one the files are the same
	}{
		{"constant with warm-up, from the end", func(c *train.Config) { c.LRScheduler, c.Dataset.MaxTrainEpochs = "constant_with_warmup", 1 }, longer, ""},
		{"constant, from an epoch that ended early", func(c *train.Config) {
			c.LRScheduler, c.LRWarmupSteps, c.Dataset.MaxTrainEpochs, c.Dataset.MaxTrainSteps = "constant", "", 0, 4
		}, longer, ""},
		{"in batches that are accumulated", func(c *train.Config) {
			c.LRScheduler, c.Dataset.MaxTrainEpochs, c.Dataset.MaxTrainSteps, c.Dataset.GradientAccumulationSteps = "constant_with_warmup", 0, 1, 2
		}, longer, ""},
		{"cosine", func(c *train.Config) { c.Dataset.MaxTrainEpochs = 1 }, longer, "of 3 steps, this one has 6: Config.LRScheduler cosine"},
		{"a part of all steps", func(c *train.Config) {
			c.LRScheduler, c.LRWarmupSteps, c.Dataset.MaxTrainEpochs = "constant_with_warmup", "70%", 1
		}, longer, "Config.LRScheduler constant_with_warmup"},
		{"captions that grow", func(c *train.Config) {
			c.LRScheduler, c.Dataset.MaxTrainEpochs, c.Dataset.Sets[0].Folder.TokenWarmupStep = "constant_with_warmup", 1, 0.5
		}, longer, "TokenWarmupStep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := trainConfig(t, 2)
			c.change(&cfg)
			cfg.SaveStateOnTrainEnd = true
			mustTrain(t, cfg)
			whole := cfg
			longer(&whole)
			whole.OutputDir, whole.SaveStateOnTrainEnd = t.TempDir(), false
			again := whole
			again.Resume, again.OutputDir = filepath.Join(cfg.OutputDir, "x-state"), t.TempDir()
			var started []train.Started
			mustTrain(t, again, collect(&started))
			report := started[0].Report
			told := strings.Contains(strings.Join(report.Warnings, "\n"), "the state is of a training")
			if told != (c.say != "") || !strings.Contains(strings.Join(report.Warnings, "\n"), c.say) {
				t.Errorf("warnings are %q, want %q", report.Warnings, c.say)
			}
			if c.say == "" {
				mustTrain(t, whole)
				sameFile(t, filepath.Join(again.OutputDir, "x.safetensors"), filepath.Join(whole.OutputDir, "x.safetensors"))
			}
			if report.Resumed != again.Resume || !strings.Contains(report.String(), "resumed: "+again.Resume+", after step ") {
				t.Errorf("the report does not name the state:\n%v", report)
			}
		})
	}
}

// TestResumeErrors resumes with other options, other pictures and from what is no state.
func TestResumeErrors(t *testing.T) {
	long(t)
	cfg := trainConfig(t, 2)
	cfg.Dataset.MaxTrainEpochs, cfg.SaveStateOnTrainEnd = 1, true
	mustTrain(t, cfg)
	state := filepath.Join(cfg.OutputDir, "x-state")
	cfg.Resume, cfg.OutputDir = state, t.TempDir()
	edit := func(file string, change func(data []byte) []byte) func(t *testing.T, c *train.Config) {
		return func(t *testing.T, c *train.Config) {
			c.Resume = filepath.Join(t.TempDir(), "state")
			if err := os.CopyFS(c.Resume, os.DirFS(state)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(c.Resume, file)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if data = change(data); data == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, data, 0o666)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	sums := regexp.MustCompile(`(?s)"sha256": \{.*?\},\s*|"sha256_here": ".*?",\s*`)
	unsummed := func(change func(t *testing.T, c *train.Config)) func(t *testing.T, c *train.Config) { // as of an earlier version
		return func(t *testing.T, c *train.Config) {
			change(t, c)
			path := filepath.Join(c.Resume, "train_state.json")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			replaceFile(t, path, sums.ReplaceAllString(string(data), ""))
		}
	}
	replace := func(old, new string) func(data []byte) []byte {
		return func(data []byte) []byte { return bytes.Replace(data, []byte(old), []byte(new), 1) }
	}
	folder := filepath.Join(cfg.Dataset.Sets[0].TrainDataDir, "2_personname man")
	for _, c := range []struct {
		name   string
		change func(t *testing.T, c *train.Config)
		say    []string
	}{
		{"options", func(t *testing.T, c *train.Config) {
			c.UNetLR, c.Network.Dim, c.Dataset.Seed, c.Trainer.MinSNRGamma, c.LRWarmupSteps = 2e-3, 3, 43, 5, ""
			c.Dataset.Sets = slices.Clone(c.Dataset.Sets)
			c.Dataset.Sets[0].Folder.FlipAug, c.Dataset.Sets[0].Resolution.W = true, 128
		}, []string{
			"x-state belongs to another training", "unet_lr is 0.002, in the state 0.001", "network_dim is 3, in the state 2", "seed is 43, in the state 42",
			"min_snr_gamma is 5, in the state unset", "lr_warmup_steps is unset, in the state 1", "datasets[0].folder.flip_aug is true, in the state unset",
			"datasets[0].resolution is 128x64, in the state 64x64", "as Config.NetworkWeights",
		}},
		{"length", func(t *testing.T, c *train.Config) { c.Dataset.MaxTrainEpochs, c.Dataset.MaxTrainSteps = 0, 2 }, []string{"of step 3, but the training ends at step 2"}},
		{"latents that are not kept", func(t *testing.T, c *train.Config) { c.Dataset.CacheLatents = false }, []string{"cache_latents is unset, in the state true"}},
		{"weights to continue from", func(t *testing.T, c *train.Config) {
			c.NetworkWeights = filepath.Join(filepath.Dir(state), "x.safetensors")
		}, []string{"network_weights is "}},
		{"caption", func(t *testing.T, c *train.Config) {
			replaceFile(t, filepath.Join(folder, "001.txt"), "a dog")
		}, []string{`the caption of 2_personname man/001.jpg is "a dog", in the state "`}},
		{"another picture of a name, and one more", func(t *testing.T, c *train.Config) {
			data, err := os.ReadFile(filepath.Join(folder, "004.png"))
			if err != nil {
				t.Fatal(err)
			}
			replaceFile(t, filepath.Join(folder, "004.png"), string(data)+"more")
			replaceFile(t, filepath.Join(folder, "005.png"), string(data))
		}, []string{"picture 2_personname man/004.png is of SHA-256 ", "picture 2_personname man/005.png is of SHA-256 ", ", in the state not there"}},

		{"nothing there", func(t *testing.T, c *train.Config) { c.Resume = filepath.Join(t.TempDir(), "no") }, []string{"Config.Resume: ", absent(t)}},
		{"a file", func(t *testing.T, c *train.Config) { c.Resume = filepath.Join(state, "model.safetensors") }, []string{"is a file; name the folder"}},
		{"another folder", func(t *testing.T, c *train.Config) { c.Resume = folder }, []string{"is no state: it has no train_state.json"}},
		{"kohya's", func(t *testing.T, c *train.Config) {
			c.Resume = t.TempDir()
			for _, name := range []string{"model.safetensors", "optimizer.bin", "random_states_0.pkl", "scheduler.bin", "train_state.json"} {
				replaceFile(t, filepath.Join(c.Resume, name), `{"current_epoch": 1, "current_step": 3}`)
			}
		}, []string{"is a state of sd-scripts; its pickled files", "as Config.NetworkWeights"}},
		{"no JSON", edit("train_state.json", func(data []byte) []byte { return data[:len(data)/2] }), []string{"train_state.json: ", "take an earlier state"}},
		{"another format", unsummed(edit("train_state.json", replace(`"format": 1`, `"format": 2`))), []string{"format is 2, want 1"}},
		{"no place", unsummed(edit("train_state.json", replace(`"current_step": 3`, `"current_step": -3`))), []string{"no place in a training"}},
		{"another place", unsummed(edit("train_state.json", replace(`"current_epoch": 2`, `"current_epoch": 1`))), []string{"step 3 of 3 is not that of batch 0 of epoch 1"}},
		{"scaler", unsummed(edit("train_state.json", replace(`"rate_scale"`, `"scaler": {"Exponent": 1}, "rate_scale"`))), []string{"the scaler of fp16"}},
		{"no model", edit("model.safetensors", func([]byte) []byte { return nil }), []string{"model.safetensors"}},
		{"half a model", edit("model.safetensors", func(data []byte) []byte { return data[:len(data)/2] }), []string{"model.safetensors", "take an earlier state"}},
		{"half an optimizer", edit("optimizer.safetensors", func(data []byte) []byte { return data[:len(data)-1] }), []string{"optimizer.safetensors", "take an earlier state"}},
		{"a bit that fell over", edit("model.safetensors", func(data []byte) []byte {
			data[len(data)-1] ^= 1
			return data
		}), []string{"model.safetensors has another SHA-256", "take an earlier state"}},
		{"the model twice", unsummed(edit("optimizer.safetensors", func([]byte) []byte {
			data, err := os.ReadFile(filepath.Join(state, "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			return data
		})), []string{".m\" is missing"}},
		{"of another step", unsummed(edit("optimizer.safetensors", replace(`"ss_steps":"3"`, `"ss_steps":"2"`))), []string{"the files do not belong together"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := cfg
			c.change(t, &changed)
			err := run(t.Context(), changed)
			if err == nil {
				t.Fatal("no error")
			}
			for _, say := range c.say {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("the error is %v\nwant %q in it", err, say)
				}
			}
		})
	}
}

// replaceFile writes a file, and puts back what was there when the test is over.
func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	before, err := os.ReadFile(path)
	t.Cleanup(func() {
		if err != nil {
			os.Remove(path)
		} else if err := os.WriteFile(path, before, 0o666); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// killedTraining names the folder in which this program, run once more, trains.
const killedTraining = "ATELIER_TEST_TRAIN_IN"

func TestMain(m *testing.M) {
	dir := os.Getenv(killedTraining)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := trainIn(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// trainIn trains eleven epochs of three steps with the pictures in a folder, saving after each step, from the latest state
// there is. It writes a line before it begins and after each step.
func trainIn(dir string) error {
	dev, err := cpu.Open(cpu.Options{Workers: 1})
	if err != nil {
		return err
	}
	defer dev.Close()
	ckpt, err := weights.Open(filepath.Join("..", "..", "testdata", "tiny-random", "model"), weights.Options{})
	if err != nil {
		return err
	}
	defer ckpt.Close()
	cfg := train.Config{
		Device: dev, Checkpoint: ckpt,
		Dataset: dataset.Config{
			Sets: []dataset.Set{{Resolution: dataset.Size{W: 64, H: 64}, BatchSize: 2, TrainDataDir: dir}}, Seed: 42, MaxTrainEpochs: 11, CacheLatents: true,
		},
		Network: lora.Network{Dim: 2, Alpha: 2}, UNetLR: 1e-3, LRScheduler: "cosine", OutputDir: filepath.Join(dir, "out"), OutputName: "x", SavePrecision: compute.F32,
		SaveEveryNSteps: 1, SaveEveryNEpochs: 2, SaveState: true, SaveLastNStepsState: 2,
	}
	if cfg.Resume, _, err = train.LatestState(cfg.OutputDir, cfg.OutputName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fmt.Println("begin")
	return run(context.Background(), cfg, func(e train.Event) {
		if s, ok := e.(train.StepDone); ok {
			fmt.Println("step", s.Step)
		}
	})
}

// TestKilled kills a training at ten moments, each time goes on from the latest state, and compares what it comes to with a
// training that was left alone.
func TestKilled(t *testing.T) {
	long(t)
	start := func(dir string) (*exec.Cmd, io.Reader) {
		t.Helper()
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), killedTraining+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		return child, out
	}
	finish := func(dir string) (took time.Duration) {
		t.Helper()
		begun := time.Now()
		child, out := start(dir)
		if _, err := io.Copy(io.Discard, out); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err != nil {
			t.Fatal(err)
		}
		return time.Since(begun)
	}
	alone, killed := photos(t), photos(t)
	for _, dir := range []string{alone, killed} {
		if err := os.Mkdir(filepath.Join(dir, "out"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	step := finish(alone) / 33

	r := rand.New(rand.NewPCG(1, 2))
	reached := 0
	for range 10 {
		child, out := start(killed)
		for line := range r.IntN(4) { // "begin" and up to two steps, or right away
			if n, err := fmt.Fscanln(out, new(string), new(int)); err != nil && line > 0 {
				t.Fatalf("line %d of a training after step %d: %d fields, %v", line, reached, n, err)
			} else if n == 2 {
				reached++
			}
		}
		time.Sleep(time.Duration(r.Float64() * float64(step)))
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		child.Wait()
	}
	if _, err := os.Stat(filepath.Join(killed, "out", "x.safetensors")); err == nil {
		t.Fatal("the training was over before it was killed ten times")
	}
	latest, _, err := train.LatestState(filepath.Join(killed, "out"), "x")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ten kills during and after %d steps of %v; the latest state is %s", reached, step, filepath.Base(latest))
	finish(killed)
	for _, name := range []string{"x.safetensors", "x-000010.safetensors", "x-step00000033.safetensors"} {
		sameFile(t, filepath.Join(killed, "out", name), filepath.Join(alone, "out", name))
	}
	if got, want := files(t, filepath.Join(killed, "out")), files(t, filepath.Join(alone, "out")); !slices.Equal(states(got), states(want)) {
		t.Errorf("states left are %q, want %q", states(got), states(want))
	}
}

// states are the folders of states, in any form, among files.
func states(files []string) []string {
	return slices.DeleteFunc(slices.Clone(files), func(name string) bool { return !strings.Contains(name, "-state") })
}

// absent is what this system says of a file that is not there.
func absent(t *testing.T) string {
	t.Helper()
	_, err := os.Stat(filepath.Join(t.TempDir(), "no"))
	missing, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		t.Fatal(err)
	}
	return missing.Err.Error()
}
