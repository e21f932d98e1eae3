package work_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
)

// TestPortrait goes from photos to portraits on two machines, the first of which is stopped when it has drawn a candidate.
func TestPortrait(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains and draws for half a minute, which package portrait tests too")
	}
	s := newStudio(t)
	s.options.Faces = func(library.Checkpoint) work.Detector { return drawn.Detector{} }
	r := work.Portrait{
		Config: portrait.Config{
			Prepare: portrait.PrepareOptions{Name: "personname", Class: "man"}, Score: portrait.ScoreOptions{Timesteps: []int{500}, Noises: 1}, Weights: []float64{1},
			Pictures: portrait.Pictures{
				Prompt: "portrait of a man, red hair, {person} {lora}", Candidates: 2, Best: 1, Request: sd.Request{Steps: 3, Width: 128, Height: 128},
				Hires: &sd.Hires{Scale: 1, Upscaler: sd.Lanczos, Strength: new(0.3), Steps: 2},
			},
		},
		Epochs: 1, Repeats: 1,
	}
	for _, f := range s.photos(5) {
		r.Photos = append(r.Photos, f.Input)
	}
	j := s.submit(r)
	stop := s.another().work("first")
	s.until(j.ID, func(j jobs.Job) bool {
		return slices.ContainsFunc(j.Files, func(f jobs.File) bool { return f.Name == "candidates/1.png" })
	})
	stop()
	kept, _ := s.queue.Job(j.ID)
	if kept.State != jobs.Pending || !slices.Contains(kept.Kept, "folder.json") {
		t.Fatalf("the job is %s, and what is kept is %q", kept.State, kept.Kept)
	}
	second := s.another()
	second.work("second")
	stages := make(map[string]bool)
	s.until(j.ID, func(j jobs.Job) bool {
		stages[j.Progress.Stage] = stages[j.Progress.Stage] || j.Progress.Total > 0 // steps of it were done
		return j.State.Ended()
	})
	j = s.done(j.ID)
	if stages["training"] || stages["measuring likeness"] {
		t.Errorf("the second did again what the first had done: %v", stages)
	}
	for _, want := range []string{
		"check.json", "likeness.json", "losses.json", "ranked.json", "candidates/1.png", "candidates/2.png", "linkedin.png", "linkedin.jpg", "cv.png", "cv.jpg",
		"report.html", "best/1.png", "candidates.png", "personname_lora_v1.safetensors",
	} {
		if !slices.Contains(names(j), want) {
			t.Errorf("%s is missing among %q", want, names(j))
		}
	}
	var checked []work.CheckedPhoto
	s.check(json.Unmarshal(s.result(j.ID, "check.json"), &checked))
	var likeness work.Likeness
	s.check(json.Unmarshal(s.result(j.ID, "likeness.json"), &likeness))
	var ranked []work.RankedPicture
	s.check(json.Unmarshal(s.result(j.ID, "ranked.json"), &ranked))
	if len(checked) != 5 || len(likeness.Trials) != 1 || likeness.Chosen == nil || likeness.Chosen.Epoch != 1 || len(ranked) != 2 || !strings.HasPrefix(ranked[0].File, "candidates/") {
		t.Errorf("checked %+v, likeness %+v, ranked %+v", checked, likeness, ranked)
	}
}
