package cuda

import (
	"errors"

	"github.com/atelier-go/atelier/cuda/internal/driver"
)

// profile times the nodes of runs on the card. A nil one does nothing.
type profile struct {
	stream      driver.Stream
	tell        func(node int, seconds float64)
	node        int // that is being timed, -1 for none
	start, stop driver.Event
}

// Profile implements compute.Profiler.
func (e *executable) Profile(tell func(node int, seconds float64)) {
	_ = e.device.do(func() error { // without events nothing is timed
		err := e.profile.destroy()
		if e.profile = nil; err != nil || tell == nil || e.closed {
			return err
		}
		p := &profile{stream: e.device.stream, tell: tell, node: -1}
		if p.start, err = e.device.context.Event(); err != nil {
			return err
		}
		if p.stop, err = e.device.context.Event(); err != nil {
			return errors.Join(err, p.start.Destroy())
		}
		e.profile = p
		return nil
	})
}

// before is called before each launch with its node.
func (p *profile) before(node int) error {
	if p == nil || p.node == node {
		return nil
	}
	err := p.finish()
	p.node = node
	return errors.Join(err, p.stream.Record(p.start))
}

// finish waits for the node that is being timed, and tells its time.
func (p *profile) finish() error {
	if p == nil || p.node < 0 {
		return nil
	}
	node := p.node
	p.node = -1
	if err := errors.Join(p.stream.Record(p.stop), p.stop.Wait()); err != nil {
		return err
	}
	milliseconds, err := p.stop.Since(p.start)
	if err == nil {
		p.tell(node, float64(milliseconds)/1e3)
	}
	return err
}

// abandon forgets the node of a run that was cancelled.
func (p *profile) abandon() {
	if p != nil {
		p.node = -1
	}
}

func (p *profile) destroy() error {
	if p == nil {
		return nil
	}
	return errors.Join(p.start.Destroy(), p.stop.Destroy())
}
