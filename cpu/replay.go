package cpu

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/atelier-go/atelier/compute"
)

// Task is one task of a run that was traced.
type Task struct {
	Node       int // the op it belongs to
	Phase      int // number of its phase in the run
	Worker     int
	Begin, End time.Duration // since the run began
}

// Trace runs an executable of this package once, like its Run, and tells about every task, in the order in which they were to be taken. Of the workers, for
// whose number the work is cut, no more take part than there are processors, so that no task shares one with another.
func Trace(ctx context.Context, x compute.Executable, out, in []compute.Tensor) ([]Task, error) {
	e, ok := x.(*executable)
	if !ok {
		return nil, errors.New("cpu: Trace of an executable of another device")
	}
	e.device.mu.Lock()
	defer e.device.mu.Unlock()
	c := e.course
	c.trace = make([]Task, c.tasks())
	defer func() { c.trace = nil }()
	p := e.device.pool
	p.limit(min(p.workers, runtime.GOMAXPROCS(0)))
	defer p.limit(p.workers)
	if err := e.run(ctx, out, in); err != nil {
		return nil, err
	}
	for i := range c.trace {
		c.trace[i].Node = e.nodes[c.trace[i].Phase]
	}
	return c.trace, nil
}

// Crew is whom Replay lets do the tasks of a trace.
type Crew struct {
	Speeds  []float64     // of each worker, 1 being the speed of the traced ones
	Barrier time.Duration // from the end of a phase until the workers have begun the next
}

// Alike is a crew of n workers as fast as the traced ones.
func Alike(n int, barrier time.Duration) Crew { return Crew{slices.Repeat([]float64{1}, n), barrier} }

// Replayed is how long a crew takes, and why longer than its speeds together would.
type Replayed struct {
	Total    time.Duration
	Few      time.Duration // in phases of fewer tasks than workers
	Uneven   time.Duration // at the ends of the other phases, for the last tasks
	Barriers time.Duration
}

// Replay lets a crew do the tasks of a trace: each is taken, in order, by whoever is free first, and begins once the phase before it is over. Nothing is run.
func Replay(trace []Task, crew Crew) (r Replayed) {
	speed := 0.0
	for _, s := range crew.Speeds {
		speed += s
	}
	free := make([]time.Duration, len(crew.Speeds))
	for len(trace) > 0 {
		n := slices.IndexFunc(trace, func(t Task) bool { return t.Phase != trace[0].Phase })
		if n < 0 {
			n = len(trace)
		}
		work, begin := time.Duration(0), r.Total
		for _, t := range trace[:n] {
			w := 0
			for v := range free {
				if free[v] < free[w] {
					w = v
				}
			}
			took := t.End - t.Begin
			free[w] = max(free[w], begin) + time.Duration(float64(took)/crew.Speeds[w])
			r.Total, work = max(r.Total, free[w]), work+took
		}
		lost := r.Total - begin - time.Duration(float64(work)/speed)
		if n < len(free) {
			r.Few += lost
		} else {
			r.Uneven += lost
		}
		if trace = trace[n:]; len(trace) > 0 {
			r.Total += crew.Barrier
			r.Barriers += crew.Barrier
		}
	}
	return r
}

// Barrier is the median, over the phases of a trace, of the time from the end of one until every worker that has a task of the next has begun it.
func Barrier(trace []Task) time.Duration {
	var gaps []time.Duration
	over, end := time.Duration(0), time.Duration(0)
	begun := make(map[int]bool)
	last := time.Duration(0)
	for i, t := range trace {
		if i > 0 && t.Phase != trace[i-1].Phase {
			gaps = append(gaps, last-over)
			over, last = end, 0
			clear(begun)
		}
		if !begun[t.Worker] {
			begun[t.Worker] = true
			last = max(last, t.Begin)
		}
		end = max(end, t.End)
	}
	if len(gaps) < 2 {
		return 0
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}
