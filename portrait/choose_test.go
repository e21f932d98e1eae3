package portrait_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/portrait"
)

// trial is one that was never run: likeness on four pairs about a mean, which move together with the number of the pair.
func trial(epoch int, weight, heldOut, trained, obedience float64) portrait.Trial {
	score := func(mean, apart float64) portrait.Score {
		s := portrait.Score{Kinds: 1}
		for i, d := range []float64{-1, 1, -2, 2} {
			s.Pairs = append(s.Pairs, mean+0.05*d+apart*float64(i%2)*float64(epoch)/weight)
		}
		return s.Minus(portrait.Score{Pairs: make([]float64, 4)})
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
		{"as like, and with more of it", []portrait.Trial{trial(1, 1, 0.2, 0.3, 0.9), trial(2, 0.6, 0.5, 0.6, 0.9), trial(2, 1, 0.5, 0.6, 0.5)}, 2, 1, 0, "cannot be told"},
		{"as like, and more obedient", []portrait.Trial{trial(1, 1, 0.2, 0.3, 0.9), trial(3, 1, 0.5, 0.6, 0.5), trial(2, 1, 0.5, 0.5, 0.8)}, 2, 1, 0, "cannot be told"},
		{"as like, and obedient enough", []portrait.Trial{trial(1, 1, 0.2, 0.3, 0.9), trial(3, 1, 0.5, 0.6, 1.1), trial(2, 1, 0.5, 0.5, 1.4)}, 3, 1, 0, "the most of all"},
		{"as like, and learned more", []portrait.Trial{trial(1, 1, 0.2, 0.3, 0.9), trial(2, 1, 0.5, 0.6, 0.55), trial(3, 1, 0.4985, 0.9, 0.5)}, 3, 1, 0, "having learned more"},
		{"deaf to prompts", []portrait.Trial{trial(1, 0.6, 0.4, 0.3, 0.5), trial(1, 1, 0.5, 0.6, 0.1)}, 1, 0.6, 0, "the most of all"},
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
			if len(c.trials) > 2 && (got.Next.Epoch.Number == c.epoch || got.Next.Epoch.Number == 0 || got.Margin == 0) {
				t.Errorf("next is epoch %d, by %.1f", got.Next.Epoch.Number, got.Margin)
			}
		})
	}
	if _, err := portrait.Choose(nil); err == nil {
		t.Error("chosen among nothing")
	}
}

// TestExam puts a LoRA of the person to the exam: on held-out photos it is less sure than on those it was trained on, and the more of it
// there is the less do prompts matter.
func TestExam(t *testing.T) {
	long(t)
	s := scorer(t, portrait.ScoreOptions{Timesteps: []int{300, 600}, Noises: 1})
	x, err := portrait.NewExam(t.Context(), s, dataSet(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Open(filepath.Join("testdata", people[0].file))
	if err != nil {
		t.Fatal(err)
	}
	var trials []portrait.Trial
	for _, weight := range []float64{0, 0.5, 1} {
		one, err := x.Try(t.Context(), a, portrait.Epoch{Number: 1}, weight)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("at %v: held out %.3f ± %.3f, trained %.3f ± %.3f, obedience %.3f ± %.3f", weight, one.HeldOut.Mean, one.HeldOut.Error, one.Trained.Mean, one.Trained.Error, one.Obedience.Mean, one.Obedience.Error)
		trials = append(trials, one)
	}
	if none := trials[0]; none.HeldOut.Mean != 0 || none.Trained.Mean != 0 || none.Obedience.Mean < 0.8 || none.Obedience.Mean > 1.2 {
		t.Errorf("without a LoRA: %+v", none)
	}
	if trials[1].HeldOut.Mean <= 0 || trials[2].Obedience.Mean >= trials[0].Obedience.Mean {
		t.Errorf("at half weight the gain is %v, at full weight the obedience %v", trials[1].HeldOut.Mean, trials[2].Obedience.Mean)
	}
	choice, err := portrait.Choose(trials[1:])
	if err != nil || choice.HeldOut.Mean <= 0 {
		t.Errorf("%+v, %v", choice, err)
	}
	t.Log(choice.Reason)
}
