package main

import (
	"image"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/sd"
)

// TestChoice does the whole job for each of several people, and looks at what is drawn with every epoch: what was chosen shows the person
// as often as the last epoch and as the best one, but for one picture in eight, and of the candidates those that show the person are
// ranked before the others.
func TestChoice(t *testing.T) {
	if os.Getenv("ATELIER_CHOICE") == "" {
		t.Skip("left out, as it takes five minutes for each of two people and for who is in ATELIER_PHOTOS: set ATELIER_CHOICE to run it")
	}
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) { testChoice(t, p) })
	}
}

// done is what a job told.
type done struct {
	choice     portrait.Choice
	set        portrait.DataSet
	candidates []*image.NRGBA
	ranked     []portrait.Candidate
	result     portrait.Result
}

// doAll does a job.
func doAll(t *testing.T, j job) (d done) {
	t.Helper()
	for event, err := range portrait.Run(t.Context(), j.Config) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case portrait.StageDone:
			t.Logf("%s: %s", e.Stage, e.Took.Round(100*time.Millisecond))
		case portrait.DataSetMade:
			d.set = e.DataSet
		case portrait.Chosen:
			d.choice = e.Choice
		case portrait.Drawn:
			if e.Stage == portrait.Drawing {
				d.candidates = append(d.candidates, openPNG(t, e.Path))
			}
		case portrait.Ranked:
			d.ranked = e.Candidates
		case portrait.Finished:
			d.result = e.Result
		}
	}
	return d
}

func testChoice(t *testing.T, p *person) {
	j := opened(t, "-photos", p.photos, "-others", p.others, "-name", p.name, "-class", p.class)
	d := doAll(t, j)
	t.Log(d.choice.Reason)
	best, last := 0, 0
	training := j.Recipe(d.set, j.Checkpoint)
	training.OutputDir, training.OutputName = filepath.Dir(d.choice.Epoch.Path), "person"
	epochs, err := portrait.Epochs(training)
	if err != nil {
		t.Fatal(err)
	}
	var counts []int
	for _, e := range epochs {
		strength := lora.Strength{TextEncoder: d.choice.Weight, UNet: d.choice.Weight}
		last = count(t, p, drawAll(t, j, "photo of "+p.name+" "+p.class, sd.Adapter{Path: e.Path, Strength: &strength}))
		counts, best = append(counts, last), max(best, last)
	}
	chosen := counts[d.choice.Epoch.Number-1]
	t.Logf("%s: %v; epoch %d at %.1f was chosen; of 8 pictures %d show the person by epoch", p.name, p.marks, d.choice.Epoch.Number, d.choice.Weight, counts)
	if chosen < last-1 || chosen < best-1 {
		t.Errorf("with the chosen epoch %d of 8, with the last %d, with the best %d", chosen, last, best)
	}
	checkRanking(t, p, "candidates", d.candidates, d.ranked, 0.85)
	weaker := lora.Strength{TextEncoder: 0.6 * d.choice.Weight, UNet: 0.6 * d.choice.Weight}
	j.Pictures.Request.Seed = 101
	mixed := drawMany(t, j, 32, "photo of "+p.name+" "+p.class, sd.Adapter{Path: d.choice.Epoch.Path, Strength: &weaker})
	ranked, err := portrait.Rank(t.Context(), mixed, j.Detector, judge(t, j, d))
	if err != nil {
		t.Fatal(err)
	}
	checkRanking(t, p, "pictures at six tenths of the weight", mixed, ranked, 0) // told alone: few of these may show the person
}

// judge is who ranks the candidates of a job.
func judge(t *testing.T, j job, d done) portrait.Judge {
	t.Helper()
	scorer, err := portrait.NewScorer(j.Device, j.Checkpoint, portrait.ScoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { scorer.Close() })
	adapter, err := scorer.Open(d.choice.Epoch.Path)
	if err != nil {
		t.Fatal(err)
	}
	var photos []portrait.Example
	for _, c := range slices.Concat(d.set.Training, d.set.HeldOut) {
		e, err := d.set.Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		photos = append(photos, e)
	}
	looks, err := portrait.NewLikeness(t.Context(), portrait.Appearance{}, photos)
	if err != nil {
		t.Fatal(err)
	}
	return portrait.Together{looks, &portrait.DrawnLikeness{Scorer: scorer, Adapter: adapter, Weight: d.choice.Weight, Caption: "photo of " + d.set.Name + " " + d.set.Class}}
}

// openPNG reads a picture that was drawn.
func openPNG(t *testing.T, path string) *image.NRGBA {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	b := img.Bounds()
	out := image.NewNRGBA(b)
	draw.Draw(out, b, img, b.Min, draw.Src)
	return out
}

// count is how many pictures show a person.
func count(t *testing.T, p *person, pictures []*image.NRGBA) (n int) {
	t.Helper()
	for _, img := range pictures {
		if p.is(t, img) {
			n++
		}
	}
	return n
}

// checkRanking holds the area under the curve of a ranking, pictures that show all of the person against the others, to the least that is
// wanted. With less than two of either it says nothing.
func checkRanking(t *testing.T, p *person, what string, pictures []*image.NRGBA, ranked []portrait.Candidate, least float64) {
	t.Helper()
	before, after, pairs := 0, 0, 0 // of those that do not show the person, the worst first; of those that do; pairs in the right order
	for _, c := range slices.Backward(ranked) {
		if p.is(t, pictures[c.Index]) {
			after, pairs = after+1, pairs+before
		} else {
			before++
		}
	}
	area := float64(pairs) / float64(max(before*after, 1))
	t.Logf("%s: %d of %d show the person; the area under the curve of the ranking is %.3f", what, after, len(ranked), area)
	if before > 1 && after > 1 && area < least {
		t.Errorf("%s: the area is %.3f, want %.2f", what, area, least)
	}
}
