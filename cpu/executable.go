package cpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// step is an op bound to its place. The arena may have moved since the last run, so prepare looks operands up; what they hold is not
// there yet.
type step struct {
	prepare func()
	phases  []phase
}

// executable is a program bound to packed weights and arena offsets.
type executable struct {
	device  *Device
	program *compute.Program
	prepare []func()
	course  *course
	nodes   []int // the op of each phase; views have none
	in, out []span
	memory  compute.MemoryReport
	need    gemm.Need // each worker's
	profile func(node int, seconds float64)
	closed  bool
}

var (
	_ compute.Executable = (*executable)(nil)
	_ compute.Profiler   = (*executable)(nil)
)

func (e *executable) Memory() compute.MemoryReport { return e.memory }

func (e *executable) Profile(f func(node int, seconds float64)) {
	e.device.mu.Lock()
	defer e.device.mu.Unlock()
	e.profile = f
}

func (e *executable) Run(ctx context.Context, out, in []compute.Tensor) error {
	e.device.mu.Lock()
	defer e.device.mu.Unlock()
	return e.run(ctx, out, in)
}

// run is Run for who holds the device's lock.
func (e *executable) run(ctx context.Context, out, in []compute.Tensor) error {
	d := e.device
	if e.closed || d.closed {
		return errors.New("cpu: Run of a closed executable")
	}
	if err := e.check("input", in, e.program.Inputs); err != nil {
		return err
	}
	if err := e.check("output", out, e.program.Outputs); err != nil {
		return err
	}
	if err := d.reserve(int(e.memory.Arena), e.need); err != nil {
		return err
	}
	for i, t := range in {
		load(e.in[i], t.(*tensor))
	}
	if err := e.compute(ctx); err != nil {
		return err
	}
	for i, t := range out {
		store(t.(*tensor), e.out[i])
	}
	return nil
}

// compute runs the ops.
func (e *executable) compute(ctx context.Context) error {
	for _, prepare := range e.prepare {
		prepare()
	}
	if e.profile != nil {
		e.course.trace = make([]Task, e.course.tasks())
	}
	phase, err := e.device.pool.run(ctx, e.course)
	if e.profile != nil && err == nil {
		e.tell()
	}
	if err == nil || phase < 0 {
		return err
	}
	n := e.program.Nodes[e.nodes[phase]]
	return fmt.Errorf("cpu: %s: %s: %w", n.Path, compute.OpName(n.Op), err)
}

// tell gives the time from the end of one op to that of the next to the profile, and forgets the trace.
func (e *executable) tell() {
	begin, end := time.Duration(0), time.Duration(0)
	for i, t := range e.course.trace {
		end = max(end, t.End)
		if next := i + 1; next == len(e.course.trace) || e.nodes[e.course.trace[next].Phase] != e.nodes[t.Phase] {
			e.profile(e.nodes[t.Phase], (end - begin).Seconds())
			begin = end
		}
	}
	e.course.trace = nil
}

// check compares the tensors of a call with what the program declares.
func (e *executable) check(what string, have []compute.Tensor, want []compute.Value) error {
	if len(have) != len(want) {
		return fmt.Errorf("cpu: Run got %d %ss, the program has %d", len(have), what, len(want))
	}
	for i, h := range have {
		typ := e.program.Type(want[i])
		t, ok := h.(*tensor)
		if !ok {
			return fmt.Errorf("cpu: %s %d is a %T of another device", what, i, h)
		}
		if t.f32 == nil && t.i32 == nil {
			return fmt.Errorf("cpu: %s %d is closed", what, i)
		}
		if t.DType() != typ.DType || !t.shape.Equal(typ.Shape) {
			return fmt.Errorf("cpu: %s %d (%s) is %v%v, want %v",
				what, i, e.program.Values[want[i].Index()].Name, t.DType(), t.shape, typ)
		}
	}
	return nil
}

func load(dst span, src *tensor) {
	if src.i32 != nil {
		copy(dst.i32(), src.i32)
	} else {
		copy(dst.f32(), src.f32)
	}
}

func store(dst *tensor, src span) {
	if dst.i32 != nil {
		copy(dst.i32, src.i32())
	} else {
		copy(dst.f32, src.f32())
	}
}

func (e *executable) Close() error {
	e.device.mu.Lock()
	defer e.device.mu.Unlock()
	e.closed = true
	return nil
}
