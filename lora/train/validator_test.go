package train_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/lora/train"
)

// validations runs a training with a third of its pictures kept for validation and lists the losses.
func validations(t *testing.T, change func(c *train.Config), watch ...func(train.Event)) (told []train.Validated, hash string) {
	t.Helper()
	cfg := trainConfig(t, 2)
	cfg.Dataset.Sets[0].ValidationSplit = 0.34 // one picture of three; the others make two batches an epoch
	change(&cfg)
	hash = mustTrain(t, cfg, append(watch, collect(&told))...).Hash
	return told, hash
}

func losses(told []train.Validated) (all []float64) {
	for _, p := range told {
		all = append(all, p.Loss)
	}
	return all
}

// TestValidation computes the loss of a picture that is kept from training.
func TestValidation(t *testing.T) {
	long(t)
	var steps []train.StepDone
	var parts []train.Validating
	both, hash := validations(t, func(c *train.Config) { c.ValidateEveryNEpochs, c.ValidateEveryNSteps = 1, 1 }, collect(&steps), collect(&parts))
	if len(parts) != 4*len(both) || parts[3] != (train.Validating{Done: 4, Total: 4}) {
		t.Errorf("parts of validations are %v", parts)
	}
	if len(both) != 6 || len(steps) != 4 {
		t.Fatalf("%d validations and %d steps, want 6 and 4", len(both), len(steps))
	}
	for i, p := range both {
		step := []int{1, 2, 2, 3, 4, 4}[i]
		if p.Step != step || p.EpochEnd != (i == 2 || i == 5) || p.Epoch != (step+1)/2 || !(p.Loss > 0) {
			t.Errorf("validation %d is %+v, want step %d and four losses", i, p, step)
		}
		if want := p.Loss - steps[step-1].AverageLoss; math.Abs(p.Divergence-want) > 1e-12 {
			t.Errorf("validation %d diverges by %v, want %v", i, p.Divergence, want)
		}
	}
	if both[1].Loss != both[2].Loss || both[1].Loss == both[3].Loss {
		t.Errorf("losses are %v: want the same twice after a step, and others after another", losses(both))
	}

	epochs, same := validations(t, func(c *train.Config) {})
	if want := []float64{both[2].Loss, both[5].Loss}; !slices.Equal(losses(epochs), want) || same != hash {
		t.Errorf("by epochs alone losses are %v, want %v, and what is learned the same: %v", losses(epochs), want, same == hash)
	}
	atStart, _ := validations(t, func(c *train.Config) { // a rate of 0 in the first step
		c.ValidateEveryNSteps, c.Network.RankDropout, c.Network.ModuleDropout = 1, 0.5, 0.5
	})
	if atStart[0].Loss != both[0].Loss {
		t.Errorf("with dropout the loss before anything is learned is %v, want %v as without", atStart[0].Loss, both[0].Loss)
	}
	seeded, _ := validations(t, func(c *train.Config) {
		c.Dataset.Sets[0].ValidationSeed = new(uint64(7))
		c.ValidateEveryNEpochs = 2
	})
	if len(seeded) != 1 || seeded[0].Loss == both[5].Loss || seeded[0].Epoch != 2 {
		t.Errorf("every second epoch with another seed losses are %v; want one, and another", losses(seeded))
	}
}

// TestValidationResumed stops after the first epoch: the validation of the second is as without a stop.
func TestValidationResumed(t *testing.T) {
	long(t)
	dir := t.TempDir()
	whole, hash := validations(t, func(c *train.Config) { c.SaveState, c.SaveEveryNEpochs, c.OutputDir = true, 1, dir })
	rest, again := validations(t, func(c *train.Config) { c.Resume = filepath.Join(dir, "x-000001-state") })
	if len(whole) != 2 || len(rest) != 1 || rest[0].Loss != whole[1].Loss || rest[0].Divergence != whole[1].Divergence || again != hash {
		t.Errorf("after the stop validation is %+v, want %+v", rest, whole[1:])
	}
}
