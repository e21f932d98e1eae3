package work

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/studio/jobs"
)

// course is how a training goes, stored as losses.json while it does.
type course struct {
	Losses
	task *jobs.Task
	last time.Time // when it was stored
}

const lossesFile = "losses.json"

// newCourse goes on with what a worker before has stored.
func newCourse(ctx context.Context, t *jobs.Task) *course {
	c := &course{task: t}
	if err := readResult(ctx, t, lossesFile, &c.Losses); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.Losses = Losses{} // it tells from here on
	}
	return c
}

// add adds what an event tells.
func (c *course) add(event train.Event) {
	switch e := event.(type) {
	case train.Started:
		c.begin(e.Report.Step)
		c.Total, c.Memory, c.Seconds = e.Report.Dataset.Steps.Total, e.Report.Memory, e.Report.Time.Seconds()
		c.Warnings = append(c.Warnings, e.Report.Warnings...)
	case train.StepDone:
		c.Total = e.Steps
		c.Steps = append(c.Steps, LossPoint{e.Step, e.Loss, e.AverageLoss})
	case train.Validated:
		c.Validated = append(c.Validated, ValidationPoint{e.Step, e.Epoch, e.Loss})
	case train.EpochDone:
		c.Epochs = append(c.Epochs, EpochPoint{e.Epoch, e.Step, e.AverageLoss})
	case train.Sampled:
		c.Samples = append(c.Samples, SamplePoint{"sample/" + filepath.Base(e.Path), e.Epoch, e.Step, e.Prompt.Prompt})
	case train.Saved:
		c.Saved = append(c.Saved, SavedPoint{filepath.Base(e.Path), e.Epoch, e.Step})
	case train.Warning:
		c.Warnings = append(c.Warnings, e.Text)
	}
}

// begin drops what is beyond the step from which the training goes on: it comes once more.
func (c *course) begin(step int) {
	c.Steps = slices.DeleteFunc(c.Steps, func(p LossPoint) bool { return p.Step > step })
	c.Validated = slices.DeleteFunc(c.Validated, func(p ValidationPoint) bool { return p.Step > step })
	c.Epochs = slices.DeleteFunc(c.Epochs, func(p EpochPoint) bool { return p.Step > step })
	c.Samples = slices.DeleteFunc(c.Samples, func(p SamplePoint) bool { return p.Step > step })
	c.Saved = slices.DeleteFunc(c.Saved, func(p SavedPoint) bool { return p.Step > step })
}

// save stores the course: at once if it must, else when it was not stored for a while, the longer the more there is of it.
func (c *course) save(ctx context.Context, now bool) error {
	if every := 2*time.Second + time.Duration(len(c.Steps))*time.Millisecond; !now && time.Since(c.last) < every {
		return nil
	}
	c.last = time.Now()
	return saveJSON(ctx, c.task, lossesFile, c.Losses)
}
