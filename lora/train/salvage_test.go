package train_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/lora/train"
)

// atStep calls what when so many steps are done.
func atStep(n int, what func()) func(train.Event) {
	return func(e train.Event) {
		if s, ok := e.(train.StepDone); ok && s.Step == n {
			what()
		}
	}
}

// interruption is the error of a training that ended after a step, with everything saved.
func interruption(t *testing.T, err error, step int) *train.InterruptedError {
	t.Helper()
	skipUnsupported(t, err)
	stop, ok := errors.AsType[*train.InterruptedError](err)
	if !ok || stop.Step != step || stop.Path == "" || stop.State == "" {
		t.Fatalf("the error is %v, want an InterruptedError after step %d with a file and a state", err, step)
	}
	if errors.Is(err, context.Canceled) {
		t.Errorf("the error %v says that somebody interrupted it", err)
	}
	openTrained(t, stop.Path)
	return stop
}

// TestSalvage ends trainings in every way but an interrupt, and goes on from what they leave to the file of one that was
// not stopped.
func TestSalvage(t *testing.T) {
	long(t)
	whole := trainConfig(t, 2)
	whole.Dataset.CacheLatents = false
	mustTrain(t, whole)
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		step  int
		spoil func(t *testing.T, c *train.Config) (mend func())
		say   string
		aside bool // nothing can be saved in the output folder
	}{
		{"a folder where the last file is to be", 6, func(t *testing.T, c *train.Config) func() {
			must(t, os.Mkdir(filepath.Join(c.OutputDir, "x.safetensors"), 0o777))
			return func() {}
		}, "x.safetensors", false},
		{"output folder removed", 6, func(t *testing.T, c *train.Config) func() {
			must(t, os.RemoveAll(c.OutputDir))
			return func() {}
		}, "there is no folder", true},
		{"output folder replaced by a file", 6, func(t *testing.T, c *train.Config) func() {
			must(t, os.RemoveAll(c.OutputDir))
			must(t, os.WriteFile(c.OutputDir, nil, 0o666))
			return func() {}
		}, "x.safetensors", true},
		{"photo that cannot be read", 2, func(t *testing.T, c *train.Config) func() {
			path := filepath.Join(c.Dataset.Sets[0].TrainDataDir, "2_personname man")
			must(t, os.Rename(path, path+" away"))
			return func() { must(t, os.Rename(path+" away", path)) }
		}, "2_personname man", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && c.aside {
				t.Skip("Windows keeps the output folder of a training that runs: its lock file is open")
			}
			cache := t.TempDir()
			for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
				t.Setenv(name, cache)
			}
			cfg := trainConfig(t, 2)
			cfg.Dataset.CacheLatents = false
			mend := func() {}
			err := run(t.Context(), cfg, atStep(2, func() { mend = c.spoil(t, &cfg) }))
			stop := interruption(t, err, c.step)
			if !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v, want %q in it", err, c.say)
			}
			if in := strings.HasPrefix(stop.Path, cache); in != c.aside {
				t.Errorf("saved as %s, the output folder is %s", stop.Path, cfg.OutputDir)
			}
			mend()
			cfg.Resume, cfg.OutputDir = stop.State, t.TempDir()
			mustTrain(t, cfg)
			sameFile(t, filepath.Join(cfg.OutputDir, "x.safetensors"), filepath.Join(whole.OutputDir, "x.safetensors"))
		})
	}
}

// TestOutputBefore tells before the first step that the last file, or one between, could not be saved.
func TestOutputBefore(t *testing.T) {
	long(t)
	for _, c := range []struct{ name, say string }{
		{strings.Repeat("n", 235), "too long"}, {strings.Repeat("ü", 235), "too long"}, {"folder", "folder.safetensors"},
	} {
		cfg := trainConfig(t, 1)
		cfg.OutputName = c.name
		if c.name == "folder" {
			if err := os.Mkdir(filepath.Join(cfg.OutputDir, "folder.safetensors"), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		begins := func(e train.Event) { t.Errorf("%.10s: begins with %+v", c.name, e) }
		if err := run(t.Context(), cfg, begins); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%.10s: the error is %v, want %q in it", c.name, err, c.say)
		}
	}
}

// TestAutosave saves a state after each step, as if ten minutes had gone by, and goes on from it after the computer went off:
// nothing but that state is left then.
func TestAutosave(t *testing.T) {
	long(t)
	cfg := trainConfig(t, 2)
	cfg.AutosaveEvery = time.Nanosecond
	off := filepath.Join(t.TempDir(), "x-autosave-state")
	mustTrain(t, cfg, atStep(4, func() {
		if err := os.CopyFS(off, os.DirFS(filepath.Join(cfg.OutputDir, "x-autosave-state"))); err != nil {
			t.Error(err)
		}
	}))
	if got := files(t, cfg.OutputDir); !slices.Equal(got, []string{"x.safetensors"}) {
		t.Errorf("files are %q, want the last alone", got)
	}
	again := trainConfig(t, 2)
	var err error
	if again.Resume, _, err = train.LatestState(filepath.Dir(off), "x"); err != nil || again.Resume != off {
		t.Fatalf("the latest state is %q, %v", again.Resume, err)
	}
	again.AutosaveEvery = -1
	mustTrain(t, again)
	sameFile(t, filepath.Join(again.OutputDir, "x.safetensors"), filepath.Join(cfg.OutputDir, "x.safetensors"))
}

// TestOutputLocked begins a training under the name of one that is running, and one under another name.
func TestOutputLocked(t *testing.T) {
	long(t)
	cfg, second := trainConfig(t, 1), trainConfig(t, 1)
	second.OutputDir = cfg.OutputDir
	mustTrain(t, cfg, atStep(2, func() {
		err := run(t.Context(), second)
		if err == nil || !strings.Contains(err.Error(), "another training writes") || !strings.Contains(err.Error(), "process ") {
			t.Errorf("a second training ends with %v, want who holds its output", err)
		}
		second.OutputName = "other"
		if err := run(t.Context(), second); err != nil {
			t.Error(err)
		}
	}))
}
