package portrait

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/atelier-go/atelier/lora"
)

// Exam is what the epochs of a training are put to: the photos held out and as many of those trained, and prompts that ask for something
// besides the person.
type Exam struct {
	scorer         *Scorer
	heldOut        []Subject
	trained        []Subject
	heldOutLoss    []float64 // without a LoRA
	trainedLoss    []float64
	asked          []question  // what prompts change, with the person's name in them
	baseAnswers    [][]float32 // and without it, by the model without a LoRA
	promptsPerView int
}

// NewExam reads photos of a data set and asks the model without a LoRA.
func NewExam(ctx context.Context, s *Scorer, set DataSet) (*Exam, error) {
	x := &Exam{scorer: s}
	for _, part := range []struct {
		crops  []Crop
		into   *[]Subject
		losses *[]float64
	}{
		{set.HeldOut, &x.heldOut, &x.heldOutLoss},
		{spread(set.Training, max(len(set.HeldOut), 3)), &x.trained, &x.trainedLoss},
	} {
		var examples []Example
		var captions []string
		for _, c := range part.crops {
			e, err := set.Open(ctx, c)
			if err != nil {
				return nil, fmt.Errorf("portrait: %w", err)
			}
			examples, captions = append(examples, e), append(captions, c.Caption)
		}
		var err error
		if *part.into, err = s.Subjects(ctx, examples, captions); err != nil {
			return nil, err
		}
		if *part.losses, err = s.Loss(ctx, *part.into, nil, 0); err != nil {
			return nil, err
		}
	}
	return x, x.askBase(ctx, set)
}

// spread are n of several at equal distances.
func spread[T any](all []T, n int) (some []T) {
	n = min(n, len(all))
	for i := range n {
		some = append(some, all[(2*i+1)*len(all)/(2*n)])
	}
	return some
}

// requests are what prompts of a portrait ask for besides the person: each is compared to the next.
var requests = []string{"green jacket, blue background", "red sweater, white background", "black suit, grey background"}

// obedienceTimesteps are where prompts decide what is drawn.
var obedienceTimesteps = []int{600, 900}

// askBase asks the model without a LoRA what prompts change.
func (x *Exam) askBase(ctx context.Context, set DataSet) error {
	x.promptsPerView = len(requests)
	views := spread(slices.Concat(x.heldOut, x.trained), 3)
	var without []question
	for _, view := range views {
		for _, t := range obedienceTimesteps {
			for _, request := range requests {
				q := question{x.scorer.noisy(view.latents, t, 0), "portrait of a " + set.Class + ", " + request, nil}
				without = append(without, q)
				q.caption = "portrait of " + set.Name + " " + set.Class + ", " + request
				x.asked = append(x.asked, q)
			}
		}
	}
	answers := make([][]float32, len(without))
	err := x.scorer.ask(ctx, without, nil, 0, func(i int, p []float32) { answers[i] = slices.Clone(p) })
	x.baseAnswers = answers
	return err
}

// Trial is how an epoch does at a weight.
type Trial struct {
	Epoch  Epoch
	Weight float64
	// HeldOut and Trained are the Gain on photos that were not learned from, and on those that were. Without photos held out the first is
	// the second.
	HeldOut, Trained Score
	// Obedience is how much of what prompts ask for besides the person is still done: 1 as by the model without a LoRA, 0 nothing.
	Obedience Score
}

// Try puts a LoRA to the exam at a weight.
func (x *Exam) Try(ctx context.Context, a *lora.Adapter, e Epoch, weight float64) (t Trial, err error) {
	t = Trial{Epoch: e, Weight: weight}
	gain := func(subjects []Subject, base []float64) (Score, error) {
		with, err := x.scorer.Loss(ctx, subjects, a, weight)
		if err != nil {
			return Score{}, err
		}
		return x.scorer.Gain(base, with), nil
	}
	var errs [3]error
	t.Trained, errs[0] = gain(x.trained, x.trainedLoss)
	if t.HeldOut = t.Trained; len(x.heldOut) > 0 && errs[0] == nil {
		t.HeldOut, errs[1] = gain(x.heldOut, x.heldOutLoss)
	}
	if errs[0] == nil && errs[1] == nil {
		t.Obedience, errs[2] = x.obedience(ctx, a, weight)
	}
	return t, errors.Join(errs[:]...)
}

// obedience compares what prompts change to what they change without a LoRA.
func (x *Exam) obedience(ctx context.Context, a *lora.Adapter, weight float64) (Score, error) {
	answers := make([][]float32, len(x.asked))
	if err := x.scorer.ask(ctx, x.asked, a, weight, func(i int, p []float32) { answers[i] = slices.Clone(p) }); err != nil {
		return Score{}, err
	}
	var pairs []float64
	for i := range x.asked {
		if (i+1)%x.promptsPerView == 0 {
			continue
		}
		var both, square float64
		for j := range answers[i] {
			base := float64(x.baseAnswers[i+1][j] - x.baseAnswers[i][j])
			both += base * float64(answers[i+1][j]-answers[i][j])
			square += base * base
		}
		pairs = append(pairs, both/max(square, 1e-12))
	}
	return newScore(pairs, (x.promptsPerView-1)*len(obedienceTimesteps)), nil
}

// Choice is the epoch and the weight to draw with.
type Choice struct {
	Trial
	// Next is the best of the other epochs, and Margin how much more like the person the choice is, in standard errors of the difference: below 2
	// the two cannot be told apart by likeness.
	Next   Trial
	Margin float64
	// Overfit is the first epoch from which photos that were trained are known ever better and those held out no longer; 0 if there is none.
	Overfit int
	Reason  string // in plain words
}

const (
	// alikeErrors is how many standard errors a difference is to be, to be told from chance.
	alikeErrors = 2
	// leastObedience is what is to be left of what prompts ask for, moreObedience how much more is worth something, and allObedience from
	// where on more is worth nothing: epochs that have learned little change more by prompts than the model without a LoRA does.
	leastObedience = 0.3
	moreObedience  = 0.1
	allObedience   = 0.9
)

// Choose is the choice among trials: of those as like the person as the best of them, as far as can be told on photos that were not
// learned, those with the greatest weight, and of these the epoch that has learned most, or one that follows prompts clearly better. What
// is drawn grows more like with the weight, and with what is learned, for longer than the loss on photos tells: at 0.8 and at 1 of a LoRA
// that does about equally well by that, the tiny model drew all that makes its person in 23 of 56 and in 7 of 8 pictures.
func Choose(trials []Trial) (Choice, error) {
	if len(trials) == 0 {
		return Choice{}, errors.New("portrait: there is no epoch to choose from: none was saved, or none was tried")
	}
	obedient := slices.DeleteFunc(slices.Clone(trials), func(t Trial) bool { return t.Obedience.Mean < leastObedience })
	if len(obedient) == 0 {
		obedient = trials
	}
	best := slices.MaxFunc(obedient, func(a, b Trial) int { return cmp.Compare(a.HeldOut.Mean, b.HeldOut.Mean) })
	alike := slices.DeleteFunc(obedient, func(t Trial) bool { return best.HeldOut.Minus(t.HeldOut).surely(0) })
	chosen := slices.MaxFunc(alike, func(a, b Trial) int {
		return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.Trained.Mean, b.Trained.Mean))
	})
	for _, t := range alike {
		if t.Weight == chosen.Weight && chosen.Obedience.Mean < allObedience && t.Obedience.Minus(chosen.Obedience).surely(moreObedience) {
			chosen = t
		}
	}
	c := Choice{Trial: chosen, Overfit: overfit(trials)}
	for _, t := range trials {
		if t.Epoch != chosen.Epoch && (c.Next.Weight == 0 || t.HeldOut.Mean > c.Next.HeldOut.Mean) {
			c.Next = t
		}
	}
	if c.Next.Weight != 0 {
		more := chosen.HeldOut.Minus(c.Next.HeldOut)
		c.Margin = more.Mean / max(more.Error, 1e-12)
	}
	c.Reason = c.reason(best)
	return c, nil
}

// surely reports whether a difference is more than chance makes it, and more than so much.
func (s Score) surely(least float64) bool { return s.Mean > max(least, alikeErrors*s.Error) }

// overfit is the first epoch after the one that knows held-out photos best, at the weight of most trials, from which on they are known worse for
// sure while those trained are known better.
func overfit(trials []Trial) int {
	weight := 0.0
	count := make(map[float64]int)
	for _, t := range trials {
		if count[t.Weight]++; count[t.Weight] > count[weight] {
			weight = t.Weight
		}
	}
	var line []Trial
	for _, t := range trials {
		if t.Weight == weight {
			line = append(line, t)
		}
	}
	slices.SortFunc(line, func(a, b Trial) int { return cmp.Compare(a.Epoch.Number, b.Epoch.Number) })
	peak := slices.MaxFunc(line, func(a, b Trial) int { return cmp.Compare(a.HeldOut.Mean, b.HeldOut.Mean) })
	for _, t := range line {
		lost := peak.HeldOut.Minus(t.HeldOut)
		if t.Epoch.Number > peak.Epoch.Number && lost.surely(0) && t.Trained.Mean > peak.Trained.Mean {
			return t.Epoch.Number
		}
	}
	return 0
}

// reason says why, in plain words.
func (c Choice) reason(best Trial) string {
	percent := func(gain float64) float64 { return 100 * (1 - math.Exp(-gain)) }
	s := fmt.Sprintf("Epoch %d at weight %.1f: with it the model is wrong by %.0f %% less about photos of the person that it has not learned", c.Epoch.Number, c.Weight, percent(c.HeldOut.Mean))
	if best.Epoch == c.Epoch && best.Weight == c.Weight {
		s += ", the most of all that were tried"
	} else {
		more := "with more weight"
		switch {
		case c.Weight != best.Weight:
		case c.Obedience.Minus(best.Obedience).surely(0):
			more = "following prompts better"
		default:
			more = "having learned more"
		}
		s += fmt.Sprintf(", which cannot be told from the most there is (%.0f %%, epoch %d at %.1f), %s", percent(best.HeldOut.Mean), best.Epoch.Number, best.Weight, more)
	}
	s += fmt.Sprintf("; of what a prompt asks for besides, %.0f %% is left.", 100*c.Obedience.Mean)
	switch {
	case c.Next.Weight == 0:
	case math.Abs(c.Margin) < 2:
		s += fmt.Sprintf(" Epoch %d is as like (%.1f standard errors apart): look at both.", c.Next.Epoch.Number, math.Abs(c.Margin))
	case c.Margin > 0:
		s += fmt.Sprintf(" Epoch %d, the next, is less like by %.1f standard errors.", c.Next.Epoch.Number, c.Margin)
	default:
		s += fmt.Sprintf(" Epoch %d is a little more like, and follows prompts less.", c.Next.Epoch.Number)
	}
	if c.Overfit > 0 {
		s += fmt.Sprintf(" From epoch %d on photos are learned by heart: those held out are known worse again.", c.Overfit)
	}
	return s
}
