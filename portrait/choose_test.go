package portrait_test

import (
	"strings"
	"testing"

	"github.com/atelier-go/atelier/portrait"
)

// trial is one that was never run: likeness on four pairs about a mean, which move together with the number of the pair.
func trial(epoch int, weight, heldOut, trained, obedience float64) portrait.Trial {
	score := func(mean, apart float64) portrait.Score {
		base, with := []float64{1, 1, 1, 1}, []float64{1, 1, 1, 1}
		s := portrait.Gain(base, with)
		for i, d := range []float64{-1, 1, -2, 2} {
			s.Pairs[i] = mean + 0.05*d + apart*float64(i%2)*float64(epoch)
		}
		s.Mean = (s.Pairs[0] + s.Pairs[1] + s.Pairs[2] + s.Pairs[3]) / 4
		return s
	}
	return portrait.Trial{Epoch: portrait.Epoch{Number: epoch}, Weight: weight, HeldOut: score(heldOut, 0.002), Trained: score(trained, 0), Obedience: score(obedience, 0)}
}

// TestChoose has trainings of which it is known what to choose.
func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name    string
		trials  []portrait.Trial
		epoch   int
		weight  float64
		overfit int
		say     string
	}{
		{"still learning", []portrait.Trial{trial(1, 1, 0.1, 0.1, 0.9), trial(2, 1, 0.3, 0.3, 0.8), trial(3, 1, 0.5, 0.5, 0.7)}, 3, 1, 0, "the most of all"},
		{"learned by heart", []portrait.Trial{trial(1, 1, 0.3, 0.3, 0.9), trial(2, 1, 0.5, 0.6, 0.8), trial(3, 1, 0.3, 0.9, 0.5)}, 2, 1, 3, "From epoch 3"},
		{"as like, and more obedient", []portrait.Trial{trial(1, 1, 0.2, 0.3, 0.9), trial(2, 0.6, 0.495, 0.6, 0.9), trial(2, 1, 0.5, 0.6, 0.5), trial(3, 1, 0.499, 0.9, 0.4)}, 2, 0.6, 0, "cannot be told"},
		{"alone", []portrait.Trial{trial(4, 0.8, 0.2, 0.3, 0.9)}, 4, 0.8, 0, "Epoch 4 at weight 0.8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := portrait.Choose(c.trials)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(got.Reason)
			if got.Epoch.Number != c.epoch || got.Weight != c.weight || got.Overfit != c.overfit || !strings.Contains(got.Reason, c.say) {
				t.Errorf("epoch %d at %v, over-fitted from %d, want %d at %v, %d", got.Epoch.Number, got.Weight, got.Overfit, c.epoch, c.weight, c.overfit)
			}
			if len(c.trials) > 1 && (got.Next.Epoch.Number == c.epoch || got.Next.Epoch.Number == 0 || got.Margin == 0) {
				t.Errorf("next is epoch %d, by %.1f", got.Next.Epoch.Number, got.Margin)
			}
		})
	}
	if _, err := portrait.Choose(nil); err == nil {
		t.Error("chosen among nothing")
	}
}
