package train_test

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora/train"
)

// faulty is a device whose losses are NaN in the given runs of training programs, counted from 1.
type faulty struct {
	compute.Device
	when []int
	runs int
}

func (f *faulty) Compile(p *compute.Program, params compute.Params) (compute.Executable, error) {
	exe, err := f.Device.Compile(p, params)
	if len(p.Outputs) == 1 || p.Shape(p.Outputs[0]).Elements() != 1 {
		return exe, err
	}
	return &faultyExecutable{exe, f}, err
}

type faultyExecutable struct {
	compute.Executable
	device *faulty
}

func (e *faultyExecutable) Run(ctx context.Context, out, in []compute.Tensor) error {
	if err := e.Executable.Run(ctx, out, in); err != nil {
		return err
	}
	if e.device.runs++; slices.Contains(e.device.when, e.device.runs) {
		return out[0].Upload(compute.Floats([]float32{float32(math.NaN())}))
	}
	return nil
}

// TestRollBack makes a loss NaN: the training goes back to what it has, with half the learning rates from there.
func TestRollBack(t *testing.T) {
	long(t)
	plain := trainConfig(t, 2)
	half := trainConfig(t, 2)
	half.UNetLR, half.TextEncoderLR = half.UNetLR/2, half.TextEncoderLR/2
	slow := mustTrain(t, half)
	for _, c := range []struct {
		name    string
		fail    []int
		state   int // saved every so many steps
		done    []int
		halved  int // the step from which on rates are half
		warning string
		sameAs  string // the factors are those of this training
	}{
		{"to the start", []int{3}, 0, []int{1, 2, 1, 2, 3, 4, 5, 6}, 1, "step 3 of epoch 1: the loss is NaN", slow.Hash},
		{"to a state", []int{4}, 2, []int{1, 2, 3, 3, 4, 5, 6}, 3, "going back to x-step00000002-state", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := plain
			cfg.Device, cfg.OutputDir = &faulty{Device: plain.Device, when: c.fail}, t.TempDir()
			cfg.SaveState, cfg.SaveEveryNSteps = c.state > 0, c.state
			var steps []train.StepDone
			var warnings []train.Warning
			a := mustTrain(t, cfg, collect(&steps), collect(&warnings))
			var done []int
			for _, p := range steps {
				done = append(done, p.Step)
			}
			if !slices.Equal(done, c.done) {
				t.Errorf("steps done are %v, want %v", done, c.done)
			}
			for _, p := range steps[len(steps)-(6-c.halved+1):] {
				if p.Step == 1 {
					continue // of the warm-up
				}
				want := plain.UNetLR * (1 + math.Cos(math.Pi*float64(p.Step-2)/5)) / 4 // cosine after one step of warm-up
				if math.Abs(p.Rates.UNet-want) > 1e-12 {
					t.Errorf("step %d has the rate %v, want half of the schedule's, %v", p.Step, p.Rates.UNet, want)
				}
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0].Text, c.warning) || !strings.Contains(warnings[0].Text, filepath.FromSlash("2_personname man/0")) {
				t.Errorf("warnings are %q, want one with %q", warnings, c.warning)
			}
			if c.sameAs != "" && a.Hash != c.sameAs {
				t.Error("the factors are not those of a training with half the rates")
			}
			if c.state == 0 {
				return
			}
			resumed := plain // that the rates are half is in the states
			resumed.OutputDir, resumed.Resume = t.TempDir(), filepath.Join(cfg.OutputDir, "x-step00000004-state")
			mustTrain(t, resumed)
			sameFile(t, filepath.Join(resumed.OutputDir, "x.safetensors"), a.Path)
			again := resumed
			again.Resume, again.OutputDir = filepath.Join(cfg.OutputDir, "x-step00000002-state"), t.TempDir()
			if b := mustTrain(t, again); b.Hash == a.Hash {
				t.Error("with whole rates from the state before the fault the factors are the same")
			}
		})
	}
}

// TestDiverged makes the loss NaN twice at one step: the error names it, and what was saved stays.
func TestDiverged(t *testing.T) {
	long(t)
	cfg := trainConfig(t, 2)
	cfg.Device = &faulty{Device: cfg.Device, when: []int{5, 6}}
	cfg.SaveEveryNSteps, cfg.SaveState = 2, true
	err := tryTrain(t, cfg)
	if err == nil {
		t.Fatal("no error")
	}
	for _, say := range []string{"step 5 of epoch 2", "the loss is NaN", "2_personname man", "again, with half the learning rates"} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("the error is %v\nwant %q in it", err, say)
		}
	}
	want := []string{"x-step00000002-state", "x-step00000002.safetensors", "x-step00000004-state", "x-step00000004.safetensors"}
	if got := files(t, cfg.OutputDir); !slices.Equal(got, want) {
		t.Errorf("files are %q, want %q", got, want)
	}
	openTrained(t, filepath.Join(cfg.OutputDir, want[3]))
}

// TestTrainNotFinite trains until numbers overflow, which half the rates do not prevent.
func TestTrainNotFinite(t *testing.T) {
	long(t)
	cfg := trainConfig(t, 2)
	cfg.SaveEveryNSteps = 1
	cfg.Trainer.MaxGradNorm = 0
	cfg.Network.Alpha, cfg.SavePrecision = 1e30, compute.F32
	cfg.LRScheduler, cfg.LRWarmupSteps = "constant", ""
	var warnings []train.Warning
	var started []train.Started
	err := tryTrain(t, cfg, collect(&warnings), collect(&started))
	if err == nil || !strings.Contains(err.Error(), "again, with half the learning rates") {
		t.Fatalf("the error is %v, want one about numbers that are not finite", err)
	}
	if told := started[0].Report.Warnings; len(told) != 1 || !strings.Contains(told[0], "alpha 1e+30 is above the rank, 2") {
		t.Errorf("the report warns %q, want one warning about alpha", told)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, "going back to the start") {
		t.Errorf("warnings are %q, want one about going back", warnings)
	}
	if got := files(t, cfg.OutputDir); slices.Contains(got, "x.safetensors") {
		t.Errorf("files are %q; the final one must not be there", got)
	}
}
