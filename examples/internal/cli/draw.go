package cli

import (
	"context"
	"errors"
	"io"

	"github.com/atelier-go/atelier/examples/internal/terminal"
	"github.com/atelier-go/atelier/sd"
)

// Draw runs a request under a progress bar.
func Draw(ctx context.Context, pipe *sd.Pipeline, r sd.Request, log io.Writer) (*sd.Result, error) {
	bar := terminal.NewBar(log, "sampling", "step")
	defer bar.Done()
	bar.Set(0, r.Steps)
	for step, err := range pipe.Steps(ctx, r) {
		if err != nil {
			return nil, err
		}
		bar.Set(step.Index+1, step.Total)
		if step.Last() {
			bar.Done()
			return step.Result(ctx)
		}
	}
	return nil, errors.New("the sampler made no steps")
}
