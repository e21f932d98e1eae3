package cpu

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// phase is a number of independent tasks. The phases of an op run one after the other.
type phase struct {
	tasks int
	do    func(task, worker int)
}

// step is an op bound to its place. The arena may have moved since the last run, so prepare looks operands up.
type step struct {
	prepare func()
	phases  []phase
}

// executable is a program bound to packed weights and arena offsets.
type executable struct {
	device  *Device
	program *compute.Program
	steps   []step // by node; views have no phases
	in, out []span
	memory  compute.MemoryReport
	need    gemm.Need // each worker's
	fault   error     // set by a kernel that found a bad value, such as an id out of range
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
	d := e.device
	d.mu.Lock()
	defer d.mu.Unlock()
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
	d.pool.begin()
	defer d.pool.end()
	for i := range e.steps {
		if err := stopped(ctx); err != nil {
			return err
		}
		if err := e.step(i); err != nil {
			n := e.program.Nodes[i]
			return fmt.Errorf("cpu: %s: %s: %w", n.Path, compute.OpName(n.Op), err)
		}
	}
	for i, t := range out {
		store(t.(*tensor), e.out[i])
	}
	return nil
}

// step runs one op.
func (e *executable) step(i int) error {
	s := &e.steps[i]
	if len(s.phases) == 0 {
		return nil
	}
	var start time.Time
	if e.profile != nil {
		start = time.Now()
	}
	s.prepare()
	for _, p := range s.phases {
		if err := e.device.pool.do(p.tasks, p.do); err != nil {
			return err
		}
	}
	if e.profile != nil {
		e.profile(i, time.Since(start).Seconds())
	}
	err := e.fault
	e.fault = nil
	return err
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
