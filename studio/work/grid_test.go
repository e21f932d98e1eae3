package work_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
)

// TestGrid draws every combination of two axes' values, and a sheet of all: each cell is what it would be alone.
func TestGrid(t *testing.T) {
	s := newStudio(t)
	s.work("a")
	grid := &work.Grid{X: work.Axis{Name: "Seed", Values: "7-8"}, Y: work.Axis{Name: "Steps", Values: "1, 2"}}
	j := s.done(s.submit(work.Draw{Request: small("portrait of a woman, red hair", 5), Grid: grid, Count: 9}).ID)
	if got, want := names(j), []string{"0.png", "1.png", "2.png", "3.png", "grid.png", "info.json"}; !slices.Equal(got, want) {
		t.Fatalf("the results are %q, want %q", got, want)
	}
	info, err := work.ReadInfo(t.Context(), s.queue, j.ID)
	s.check(err)
	for _, p := range info.Pictures {
		if want := []string{"Seed: 7, Steps: 1", "Seed: 8, Steps: 1", "Seed: 7, Steps: 2", "Seed: 8, Steps: 2", ""}[p.Batch]; p.Cell != want {
			t.Errorf("%s is the cell %q, want %q", p.File, p.Cell, want)
		}
	}
	request := small("portrait of a woman, red hair", 2)
	request.Seed = 8
	alone := s.done(s.submit(work.Draw{Request: request}).ID)
	if !bytes.Equal(s.result(j.ID, "3.png"), s.result(alone.ID, "0.png")) {
		t.Error("a cell is another picture than its settings alone give")
	}
	text, err := infotext.Read(bytes.NewReader(s.result(j.ID, "grid.png")))
	s.check(err)
	for key, want := range map[string]string{"Script": "X/Y/Z plot", "X Type": "Seed", "X Values": "7, 8", "Y Values": "1, 2"} {
		if got, _ := text.Get(key); got != want {
			t.Errorf("the sheet's %s is %q, want %q", key, got, want)
		}
	}
}

// TestGridSeeds has seeds that vary along axes, seeds that an axis leaves to chance, values that are chosen, and a sheet for each value of Z.
func TestGridSeeds(t *testing.T) {
	s := newStudio(t)
	s.work("a")
	request := small("portrait of a woman, red hair", 1)
	request.Seed = 20
	j := s.done(s.submit(work.Draw{Request: request, Grid: &work.Grid{
		X: work.Axis{Name: "Sampler", Choices: []string{"Euler", "Euler a"}}, Z: work.Axis{Name: "CFG Scale", Values: "4, 5"}, VaryX: true, VaryZ: true, Apart: true,
	}}).ID)
	if got, want := names(j), []string{"0.png", "1.png", "2.png", "3.png", "grid-0.png", "grid-1.png", "grid.png", "info.json"}; !slices.Equal(got, want) {
		t.Fatalf("the results are %q, want %q", got, want)
	}
	for name, want := range map[string][4]string{
		"0.png": {"20", "Euler", "4", ""}, "1.png": {"21", "Euler a", "4", ""}, "2.png": {"22", "Euler", "5", ""}, "3.png": {"23", "Euler a", "5", ""},
		"grid.png": {"20", "Euler", "4", "4, 5"}, "grid-1.png": {"22", "Euler", "5", ""},
	} {
		text, err := infotext.Read(bytes.NewReader(s.result(j.ID, name)))
		s.check(err)
		var got [4]string
		for i, key := range []string{"Seed", "Sampler", "CFG scale", "Z Values"} {
			got[i], _ = text.Get(key)
		}
		if got != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
	j = s.done(s.submit(work.Draw{Request: request, Grid: &work.Grid{X: work.Axis{Name: "Seed", Values: "-1, -1, 3"}, Y: work.Axis{Name: "Steps", Values: "1, 2"}}}).ID)
	info, err := work.ReadInfo(t.Context(), s.queue, j.ID)
	s.check(err)
	seeds := make([]int64, 6)
	for _, p := range info.Pictures[:6] {
		seeds[p.Batch] = p.Seed
	}
	if seeds[0] < 0 || seeds[0] == seeds[1] || seeds[2] != 3 || !slices.Equal(seeds[:3], seeds[3:]) {
		t.Errorf("an axis that leaves seeds to chance has %v", seeds)
	}
}

// TestGridRefused tells of axes that cannot be by the field that has them.
func TestGridRefused(t *testing.T) {
	s := newStudio(t)
	for field, grid := range map[string]work.Grid{
		"Draw.Grid.X":      {X: work.Axis{Name: "Magic", Values: "1"}},
		"Draw.Grid.Y":      {Y: work.Axis{Name: "Seed", Values: "x"}},
		"Draw.Grid.Z":      {Z: work.Axis{Name: "Seed", Values: "5-1"}},
		"Draw.Grid.Margin": {X: work.Axis{Name: "Seed", Values: "1"}, Margin: -1},
	} {
		_, err := work.Submit(t.Context(), s.queue, jobs.Job{}, work.Draw{Grid: &grid})
		if fields := invalid.Fields(err); len(fields) != 1 || fields[0].Field != field {
			t.Errorf("%+v: %v, want an error of %s", grid, err, field)
		}
	}
	all := work.Axis{Name: "Seed", Values: "1-1000"}
	if _, err := work.Submit(t.Context(), s.queue, jobs.Job{}, work.Draw{Grid: &work.Grid{X: all, Y: all, Z: all}}); err == nil {
		t.Error("a thousand million pictures are taken")
	}
}
