package cuda

import (
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/cuda/internal/driver"
)

// replay is the launches of an executable as graphs, which the card is given in a few calls. They hold addresses, and so are made anew when
// the arena moves. Copies of inputs and outputs stay outside, so that runs may be on any tensors.
type replay struct {
	graphs []driver.Graph
	runs   int  // since the arena moved
	failed bool // the driver does not record: launches are given one by one
}

// pieces is how many graphs the launches of a program are, at most: between two the host sees whether the run is cancelled.
const pieces = 16

// wanted reports whether a run is to be given as graphs. The first is not: a program that runs once is not worth recording.
func (r *replay) wanted() bool {
	r.runs++
	return r.runs > 1 && !r.failed
}

// record makes graphs of launches.
func (r *replay) record(s driver.Stream, steps []step) error {
	if r.graphs != nil {
		return nil
	}
	size := max((len(steps)+pieces-1)/pieces, 1)
	for first := 0; first < len(steps); first += size {
		g, err := s.Capture(func() error {
			for _, step := range steps[first:min(first+size, len(steps))] {
				if err := step.launch.Run(s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			r.failed = true
			return errors.Join(err, r.forget())
		}
		r.graphs = append(r.graphs, g)
	}
	return nil
}

// forget gives the graphs back.
func (r *replay) forget() error {
	var errs []error
	for _, g := range r.graphs {
		errs = append(errs, g.Destroy())
	}
	r.graphs, r.runs = nil, 0
	return errors.Join(errs...)
}

// replayed gives the stream all launches as graphs, unless the run is cancelled in between. It reports false if they are to be given one
// by one.
func (e *executable) replayed() (bool, error) {
	d := e.device
	if e.profile != nil || d.synchronous || !e.replay.wanted() {
		return false, nil
	}
	if err := e.replay.record(d.stream, e.steps); err != nil {
		if errors.Is(err, ErrContextLost) {
			return false, err
		}
		return false, nil
	}
	for _, g := range e.replay.graphs {
		if err := stopped(e.call.ctx); err != nil {
			return true, errors.Join(err, d.stream.Wait())
		}
		if err := d.stream.Replay(g); err != nil {
			return true, fmt.Errorf("cuda: a program of %d launches: %w", len(e.steps), err)
		}
	}
	return true, nil
}
