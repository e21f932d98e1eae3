package cuda

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
)

// tuner knows which way to compute an op was the fastest on this card. A nil one knows nothing, and times nothing.
type tuner struct {
	fastest map[string]string // names of ways, by what they compute
	fresh   bool              // some of them are in no cache yet
	told    bool              // that time is spent on finding out
	clock   clock
}

// clock tells how long a way takes, in seconds.
type clock func(name string, run func() error) (float64, error)

// timed is how a node is computed if that was timed before, or may be now.
func (d *Device) timed(p *compute.Program, node int, own kernel.Work, mayTime bool) (work kernel.Work, known bool, err error) {
	t := d.tuner
	if t == nil {
		return own, false, nil
	}
	key := signature(own)
	name, known := t.fastest[key]
	if !known && !mayTime {
		return own, false, nil
	}
	if known && name == ownName {
		return own, true, nil
	}
	ways := d.ways(p, node, own)
	if len(ways) == 1 {
		return own, false, nil
	}
	if known {
		if work, ok := d.named(name, ways); ok || !mayTime {
			return work, ok, nil
		}
	}
	if !t.told {
		t.told = true
		d.logger().Info("finding out how this card computes fastest, which takes a while and is kept")
	}
	if name, err = d.race(p, node, ways); err != nil || name == "" {
		return own, false, err
	}
	t.fastest[key] = name
	t.fresh = true
	work, known = d.named(name, ways)
	return work, known, nil
}

// named is the way of a name, if it can be had.
func (d *Device) named(name string, ways []kernel.Way) (kernel.Work, bool) {
	i := slices.IndexFunc(ways, func(w kernel.Way) bool { return w.Name == name })
	if i < 0 {
		return kernel.Work{}, false
	}
	return d.prepared(ways[i].Work)
}

// keep keeps what has been learned since it was last called.
func (t *tuner) keep(c *cache) {
	if t != nil && t.fresh {
		c.keepWays(t.fastest)
		t.fresh = false
	}
}

// signature tells work apart by its kernels, text and all, and by all that decides how long they take.
func signature(work kernel.Work) string {
	h, name := sha256.New(), ""
	for _, l := range work.Launches {
		if name == "" {
			name = l.Kernel.Name()
		}
		fmt.Fprintln(h, l.Kernel.Text(), l.Grid, l.Shared)
		for _, a := range l.Arguments {
			switch a := a.(type) {
			case kernel.Array:
				fmt.Fprintln(h, a.Type, a.Order, a.Offset)
			case int, float32, kernel.Scratch:
				fmt.Fprintln(h, a)
			}
		}
	}
	return fmt.Sprintf("%s %x", name, h.Sum(nil)[:12])
}

// race is the name of the fastest of several ways, "" if there is no room to find out. A way that fails, or whose result is not that of own
// kernels, is left out.
func (d *Device) race(p *compute.Program, node int, ways []kernel.Way) (best string, err error) {
	var ready []kernel.Way
	for _, w := range ways {
		var ok bool
		if w.Work, ok = d.prepared(w.Work); ok {
			ready = append(ready, w)
		}
	}
	r := newRehearsal(d, p, node, ready)
	if err := d.room(r.size); err != nil {
		if errors.Is(err, ErrOutOfMemory) {
			return "", nil
		}
		return "", err
	}
	if r.memory, err = d.alloc(r.size); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.free(&r.memory)) }()
	var least float64
	for _, w := range ready {
		seconds, err := r.time(w)
		if errors.Is(err, ErrContextLost) {
			return "", err
		}
		if err != nil {
			d.logger().Warn("a way to compute an op is left out", "op", compute.OpName(p.Nodes[node].Op), "way", w.Name, "reason", err)
			if w.Name == ownName { // there is nothing to hold the others to
				return "", nil
			}
			continue
		}
		if best == "" || seconds < least {
			best, least = w.Name, seconds
		}
	}
	return best, nil
}

// time is how long a way takes, if its result is right.
func (r *rehearsal) time(w kernel.Way) (seconds float64, err error) {
	launches, err := r.launches(w.Work)
	defer func() {
		for _, l := range launches {
			err = errors.Join(err, l.Close())
		}
	}()
	if err != nil {
		return 0, err
	}
	run := func() error {
		for _, l := range launches {
			if err := l.Run(r.device.stream); err != nil {
				return err
			}
		}
		return nil
	}
	if err = r.fill(); err == nil {
		err = run()
	}
	if err == nil {
		err = r.compare()
	}
	if err != nil {
		return 0, err
	}
	return r.device.tuner.clock(w.Name, run)
}

// rounds and runs are how often a way is timed, and how many runs are timed together.
const rounds, runs = 5, 3

// events is the clock of the card: the median of some rounds.
func (d *Device) events(_ string, run func() error) (seconds float64, err error) {
	start, err := d.context.Event()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, start.Destroy()) }()
	stop, err := d.context.Event()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop.Destroy()) }()
	var times []float64
	for range rounds {
		err := d.stream.Record(start)
		for range runs {
			err = errors.Join(err, run())
		}
		if err = errors.Join(err, d.stream.Record(stop), stop.Wait()); err != nil {
			return 0, err
		}
		milliseconds, err := stop.Since(start)
		if err != nil {
			return 0, err
		}
		times = append(times, float64(milliseconds)/1e3/runs)
	}
	slices.Sort(times)
	return times[rounds/2], nil
}
