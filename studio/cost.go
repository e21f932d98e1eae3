package studio

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
)

// What Stable Diffusion 1.5 takes, in floating-point operations of a training.
const (
	learnedUse  = 1.84e12                 // of a picture of 512×512, once, by a LoRA on both networks: as trainings report it
	guidedStep  = learnedUse / 1.7        // of drawing, which takes so much less time: docs/portrait.md
	wholeSitter = 1.1 * 6320 * guidedStep // a portrait, from photos to finished pictures: likewise
)

// cost says what a portrait takes in time here: by what others took, or else by what the processors can do.
func (s *Server) cost(p wizard) string {
	var longest time.Duration
	worker := ""
	for _, j := range s.options.Queue.Jobs() {
		var r work.Portrait
		if j.Kind == work.PortraitKind && j.State == jobs.Done && !j.Partial && json.Unmarshal(j.Request, &r) == nil && r.Checkpoint == p.Checkpoint {
			if took := j.Finished.Sub(j.Started); took > longest {
				longest, worker = took, j.Worker
			}
		}
	}
	if longest > 0 {
		return fmt.Sprintf("It takes %s on %s, as it did before. You may close the page.", about(longest), worker)
	}
	if all := s.reckoned(p.Checkpoint, wholeSitter); all > 0 {
		return fmt.Sprintf("It takes %s on this machine, nearly half of it to learn: reckoned from what its processors can do just now, not measured. How long really shows after the first steps. You may close the page.", about(all))
	}
	return "How long it takes on this machine shows after the first steps: with Stable Diffusion 1.5 about half an hour on a graphics card, several hours on a CPU. You may close the page."
}

// smallSide is the side of pictures up to which a model is a small one, of which nothing is counted.
const smallSide = 256

// reckoned is about how long this machine takes for so many operations with a checkpoint of Stable Diffusion 1.5; 0 if that is not known.
func (s *Server) reckoned(checkpoint string, operations float64) time.Duration {
	found, err := s.checkpoint(checkpoint)
	if err != nil || s.options.Machine == nil {
		return 0
	}
	if side := s.options.Machine.Side(found); side > 0 && side <= smallSide {
		return 0
	}
	return s.options.Machine.Reckon(operations)
}

// learning are the operations of a training on a data set.
func learning(r dataset.Report) (operations float64) {
	for _, b := range r.Buckets {
		operations += learnedUse * float64(b.Count) * float64(b.Resolution.W*b.Resolution.H) / (512 * 512)
	}
	return operations * float64(r.Steps.Total) / float64(max(r.Steps.StepsPerEpoch, 1))
}
