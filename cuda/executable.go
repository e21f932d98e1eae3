package cuda

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
)

// executable is a program as a list of launches.
type executable struct {
	device  *Device
	program *compute.Program
	steps   []step
	in, out []int // offsets in the arena
	reports []report
	memory  compute.MemoryReport
	own     block          // tables and reports
	base    driver.Address // of the arena that the launches point to
	closed  bool

	call    call // of the run that is going on
	run     func() error
	words   [kernel.ReportBytes]byte
	profile *profile
	replay  replay
}

// call is what a run was called with.
type call struct {
	ctx     context.Context
	out, in []compute.Tensor
}

// step is a launch of a node, with the arguments that point into the arena.
type step struct {
	node   int
	launch launch
	moving []moving
}

// moving is an argument that is so many bytes behind the arena's beginning.
type moving struct {
	argument int
	offset   uint64
}

// report is what a node's kernel says of the values that it met.
type report struct {
	node int
	*kernel.Report
	at driver.Address
}

var (
	_ compute.Executable = (*executable)(nil)
	_ compute.Profiler   = (*executable)(nil)
)

func newExecutable(d *Device, program *compute.Program, l *lowered, own block) *executable {
	e := &executable{device: d, program: program, own: own, memory: compute.MemoryReport{Arena: int64(l.layout.Size), Worker: l.own}}
	for _, v := range program.Inputs {
		e.in = append(e.in, l.layout.Offset(v))
	}
	for _, v := range program.Outputs {
		e.out = append(e.out, l.layout.Offset(v))
	}
	e.run = e.runs
	return e
}

// move points the launches into an arena that begins elsewhere.
func (e *executable) move(base driver.Address) error {
	if e.base == base {
		return nil
	}
	e.base = base
	for _, s := range e.steps {
		for _, m := range s.moving {
			s.launch.Set(m.argument, uint64(base)+m.offset)
		}
	}
	return e.replay.forget()
}

// Memory implements compute.Executable.
func (e *executable) Memory() compute.MemoryReport { return e.memory }

// Close implements compute.Executable.
func (e *executable) Close() error {
	d := e.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.closed || d.closed {
		return nil
	}
	e.closed = true
	return forgiven(d.context.Do(func() error {
		return errors.Join(e.discard(), d.free(&e.own), e.profile.destroy(), e.replay.forget())
	}))
}

// discard gives the launches back.
func (e *executable) discard() (err error) {
	for _, s := range e.steps {
		err = errors.Join(err, s.launch.Close())
	}
	e.steps = nil
	return err
}

// Run implements compute.Executable.
func (e *executable) Run(ctx context.Context, out, in []compute.Tensor) error {
	d := e.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	if e.closed {
		return errors.New("cuda: Run of a closed executable")
	}
	if err := e.check("input", in, e.program.Inputs); err != nil {
		return err
	}
	if err := e.check("output", out, e.program.Outputs); err != nil {
		return err
	}
	e.call = call{ctx, out, in}
	err := d.context.Do(e.run)
	e.call = call{}
	return err
}

// check compares the tensors of a call with what the program declares.
func (e *executable) check(what string, have []compute.Tensor, want []compute.Value) error {
	if len(have) != len(want) {
		return fmt.Errorf("cuda: Run got %d %ss, the program has %d", len(have), what, len(want))
	}
	for i, h := range have {
		t, ok := h.(*tensor)
		if !ok || t.device != e.device {
			return fmt.Errorf("cuda: %s %d is a %T of another device", what, i, h)
		}
		if err := t.usable(); err != nil {
			return fmt.Errorf("cuda: %s %d: %w", what, i, err)
		}
		if typ := e.program.Type(want[i]); !t.typ.Equal(typ) {
			return fmt.Errorf("cuda: %s %d (%s) is %v, want %v", what, i, e.program.Values[want[i].Index()].Name, t.typ, typ)
		}
	}
	return nil
}

// runs is a run, where the driver may be called. Results stay in the arena until all is well.
func (e *executable) runs() error {
	d := e.device
	if err := d.reserve(e.memory.Arena); err != nil {
		return err
	}
	if err := e.move(d.arena.address); err != nil {
		return err
	}
	for i, t := range e.call.in {
		m := t.(*tensor).memory
		if err := d.stream.Copy(e.base+driver.Address(e.in[i]), m.address, m.size); err != nil {
			return err
		}
	}
	done, err := e.replayed()
	if err == nil && !done {
		err = e.launch()
	}
	if err != nil {
		return err
	}
	if err := e.reported(); err != nil {
		return err
	}
	for i, t := range e.call.out {
		m := t.(*tensor).memory
		if err := d.stream.Copy(m.address, e.base+driver.Address(e.out[i]), m.size); err != nil {
			return err
		}
	}
	return d.stream.Wait()
}

// launch gives the stream all launches, one by one, unless the run is cancelled in between.
func (e *executable) launch() error {
	d := e.device
	for i := range e.steps {
		s := &e.steps[i]
		if err := stopped(e.call.ctx); err != nil {
			e.profile.abandon()
			return errors.Join(err, d.stream.Wait())
		}
		err := e.profile.before(s.node)
		if err == nil {
			err = s.launch.Run(d.stream)
		}
		if err == nil && d.synchronous {
			err = d.stream.Wait()
		}
		if err != nil {
			return e.at(s.node, err)
		}
	}
	return e.profile.finish()
}

// at says which node an error is of.
func (e *executable) at(node int, err error) error {
	n := e.program.Nodes[node]
	return fmt.Errorf("cuda: %s: %s: %w", n.Path, compute.OpName(n.Op), err)
}

// reported asks the kernels that check values what they found.
func (e *executable) reported() error {
	for _, r := range e.reports {
		if err := e.device.stream.Download(e.words[:], r.at); err != nil {
			return err
		}
		words := [2]uint32{binary.LittleEndian.Uint32(e.words[:]), binary.LittleEndian.Uint32(e.words[4:])}
		if err := r.Err(words); err != nil {
			return e.at(r.node, err)
		}
	}
	return nil
}

// stopped is the cause if ctx is done.
func stopped(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	default:
		return nil
	}
}
