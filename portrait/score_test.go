package portrait_test

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

// update trains the two small LoRAs anew that the tests of likeness compare: two minutes.
var update = flag.Bool("update", false, "train testdata/*.safetensors anew")

// tiny opens the tiny model on the processor.
func tiny(t *testing.T) (compute.Device, *weights.Checkpoint) {
	t.Helper()
	c, err := weights.OpenFS(tinyportrait.FS(), tinyportrait.Name, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev, c
}

// long leaves out what asks the tiny model often: with the race detector it takes minutes.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out with -short: the tiny model is asked a few hundred times")
	}
}

// scorer scores with the tiny model.
func scorer(t *testing.T, o portrait.ScoreOptions) *portrait.Scorer {
	t.Helper()
	dev, c := tiny(t)
	s, err := portrait.NewScorer(dev, c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// people are the two whom the tests know: the person of the sample photos, and a woman whom the tiny model drew.
var people = []struct{ photos, name, class, file string }{
	{samples("12_personname man"), "personname", "man", "person.safetensors"},
	{filepath.Join("testdata", "other"), "othername", "woman", "other.safetensors"},
}

// dataSet prepares the photos of one of them.
func dataSet(t *testing.T, number int) portrait.DataSet {
	t.Helper()
	p := people[number]
	set, err := portrait.Prepare(t.Context(), filepath.Join(t.TempDir(), "data"), looked(t, p.photos), portrait.PrepareOptions{Name: p.name, Class: p.class, Resolution: 128, HeldOut: 2})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// trained trains a small LoRA for 45 steps, which is enough to tell the two.
func trained(t *testing.T, set portrait.DataSet, file string) {
	dev, c := tiny(t)
	cfg := portrait.Recipe(set, c)
	cfg.Device, cfg.OutputDir, cfg.OutputName = dev, t.TempDir(), strings.TrimSuffix(file, ".safetensors")
	cfg.Network, cfg.LRScheduler = lora.Network{Dim: 4, Alpha: 4, ConvDim: 2}, "constant"
	cfg.Dataset.MaxTrainEpochs, cfg.Dataset.MaxTrainSteps = 0, 45
	cfg.SaveState, cfg.SaveEveryNEpochs = false, 0
	for _, err := range train.Run(t.Context(), cfg) {
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(cfg.OutputDir, file))
	if err == nil {
		err = os.WriteFile(filepath.Join("testdata", file), data, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLikenessByLoss holds the loss with LoRAs of two people against the loss without: it is better with each on that person's held-out
// photos, for nobody with one of no effect, and the more so the more of it there is, up to a maximum.
func TestLikenessByLoss(t *testing.T) {
	long(t)
	var sets []portrait.DataSet
	for i, p := range people {
		sets = append(sets, dataSet(t, i))
		if *update {
			trained(t, sets[i], p.file)
		}
	}
	s := scorer(t, portrait.ScoreOptions{Timesteps: []int{250, 500, 750}, Noises: 2})
	adapters := make([]*lora.Adapter, len(people))
	subjects := make([][]portrait.Subject, len(people))
	base := make([][]float64, len(people))
	for i, p := range people {
		var err error
		if adapters[i], err = s.Open(filepath.Join("testdata", p.file)); err != nil {
			t.Fatal(err)
		}
		subjects[i] = ready(t, s, sets[i], sets[i].HeldOut)
		base[i] = loss(t, s, subjects[i], nil, 1)
		if again := loss(t, s, subjects[i], adapters[i], 0); !slices.Equal(again, base[i]) {
			t.Errorf("%s: at weight 0 the losses are %v, not %v", p.name, again, base[i])
		}
	}
	for i, p := range people { // each is known better by their own LoRA, both ways
		own := s.Gain(base[i], loss(t, s, subjects[i], adapters[i], 1))
		other := s.Gain(base[i], loss(t, s, subjects[i], adapters[1-i], 1))
		more := own.Minus(other)
		t.Logf("%s's held-out photos: own LoRA %.3f ± %.3f, the other's %.3f ± %.3f, difference %.3f ± %.3f", p.name, own.Mean, own.Error, other.Mean, other.Error, more.Mean, more.Error)
		if more.Mean < 3*more.Error {
			t.Errorf("%s is not told from the other", p.name)
		}
	}
	testWeights(t, s, subjects[0], base[0], adapters[0])
	testNoEffect(t, s, subjects[0], base[0], adapters[0])
}

// testWeights looks for the maximum: far too much of a LoRA is worse than enough.
func testWeights(t *testing.T, s *portrait.Scorer, subjects []portrait.Subject, base []float64, a *lora.Adapter) {
	var gains []float64
	for _, weight := range []float64{0.25, 0.5, 1, 5} {
		gains = append(gains, s.Gain(base, loss(t, s, subjects, a, weight)).Mean)
	}
	t.Logf("at weights 0.25, 0.5, 1 and 5: %.3f", gains)
	if !slices.IsSorted(gains[:2]) || gains[0] <= 0 || gains[3] >= slices.Max(gains) {
		t.Error("it does not grow with the weight to a maximum")
	}
}

// testNoEffect has modules whose change is nothing.
func testNoEffect(t *testing.T, s *portrait.Scorer, subjects []portrait.Subject, base []float64, a *lora.Adapter) {
	var modules []lora.Module
	for _, m := range a.Modules {
		l := m.Delta.(lora.LowRank)
		l.Up.Data = make([]float32, len(l.Up.Data))
		modules = append(modules, lora.Module{Target: m.Target, Delta: l})
	}
	none, err := lora.NewAdapter("none", modules)
	if err != nil {
		t.Fatal(err)
	}
	if g := s.Gain(base, loss(t, s, subjects, none, 1)); g.Mean != 0 || g.Error != 0 {
		t.Errorf("a LoRA of no effect has a gain of %v ± %v", g.Mean, g.Error)
	}
}

// ready makes crops ready to be scored.
func ready(t *testing.T, s *portrait.Scorer, set portrait.DataSet, crops []portrait.Crop) []portrait.Subject {
	t.Helper()
	var examples []portrait.Example
	var captions []string
	for _, c := range crops {
		e, err := set.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		examples, captions = append(examples, e), append(captions, c.Caption)
	}
	subjects, err := s.Subjects(t.Context(), examples, captions)
	if err != nil {
		t.Fatal(err)
	}
	return subjects
}

func loss(t *testing.T, s *portrait.Scorer, subjects []portrait.Subject, a *lora.Adapter, weight float64) []float64 {
	t.Helper()
	losses, err := s.Loss(t.Context(), subjects, a, weight)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range losses {
		if !(l > 0) || math.IsInf(l, 0) {
			t.Fatalf("losses %v", losses)
		}
	}
	return losses
}

// TestDrawnLikeness judges photos of the person above those of others, as if they were drawn.
func TestDrawnLikeness(t *testing.T) {
	long(t)
	own, others := photos(t, "12_personname man"), photos(t, "1_man")
	s := scorer(t, portrait.ScoreOptions{Timesteps: []int{400, 700}, Noises: 1})
	a, err := s.Open(filepath.Join("testdata", people[0].file))
	if err != nil {
		t.Fatal(err)
	}
	var judge portrait.Judge = &portrait.DrawnLikeness{Scorer: s, Adapter: a, Weight: 1, Caption: "photo of personname man"}
	says, err := judge.Judge(t.Context(), slices.Concat(own[:3], others[:5]))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("own %.3f, others %.3f", says[:3], says[3:])
	if slices.Min(says[:3]) <= slices.Max(says[3:]) {
		t.Error("others are judged as like as the person")
	}
	looks, err := portrait.NewLikeness(t.Context(), portrait.Appearance{}, own[8:])
	if err != nil {
		t.Fatal(err)
	}
	both, err := portrait.Together{judge, looks}.Judge(t.Context(), slices.Concat(own[:3], others[:5]))
	if err != nil || slices.Min(both[:3]) <= slices.Max(both[3:]) {
		t.Errorf("together: %.3f, %v", both, err)
	}
}
