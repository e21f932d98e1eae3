package ref

import (
	"context"
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// executable is a program with its parameters and its place in the device's arena.
type executable struct {
	device  *Device
	program *compute.Program
	params  *params
	weights map[int][]float32 // widened parameters by value index
	layout  *compute.Layout
	kernels []kernel[float32] // one per node; nil once closed
}

var _ compute.Executable = (*executable)(nil)

// Compile implements compute.Device.
func (d *Device) Compile(p *compute.Program, loaded compute.Params) (compute.Executable, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	set, ok := loaded.(*params)
	if !ok || set.device != d {
		return nil, fmt.Errorf("ref: compile: the parameters (%T) were loaded on another device", loaded)
	}
	if set.widened == nil {
		return nil, errors.New("ref: compile: the parameters are closed")
	}
	x := &executable{device: d, program: p, params: set, weights: make(map[int][]float32)}
	for _, v := range p.Inputs {
		if info := p.Values[v.Index()]; !stored(info.DType) {
			return nil, fmt.Errorf("ref: input %q is %v: %w", info.Name, info.Type, compute.ErrUnsupported)
		}
	}
	var err error
	if x.kernels, err = kernels[float32](p); err != nil {
		return nil, err
	}
	for _, v := range p.Params {
		w, err := set.get(p.Values[v.Index()])
		if err != nil {
			return nil, err
		}
		x.weights[v.Index()] = w
	}
	x.layout = compute.Plan(p, nil)
	return x, nil
}

// stored reports whether values of type t can be held in the arena.
func stored(t compute.DType) bool { return t == compute.F32 || t == compute.I32 }

// Memory implements compute.Executable.
func (x *executable) Memory() compute.MemoryReport {
	x.device.mu.Lock()
	defer x.device.mu.Unlock()
	return compute.MemoryReport{Arena: arenaBytes(x.program, x.layout)}
}

// Close implements compute.Executable. Closing twice is harmless.
func (x *executable) Close() error {
	x.device.mu.Lock()
	defer x.device.mu.Unlock()
	x.kernels, x.weights = nil, nil
	return nil
}

// Run implements compute.Executable.
func (x *executable) Run(ctx context.Context, out, in []compute.Tensor) error {
	x.device.mu.Lock()
	defer x.device.mu.Unlock()
	switch {
	case x.device.closed:
		return errClosed
	case x.kernels == nil:
		return errors.New("ref: run: the executable is closed")
	case x.params.widened == nil:
		return errors.New("ref: run: the parameters are closed")
	}
	inputs, err := x.tensors("input", in, x.program.Inputs)
	if err != nil {
		return err
	}
	outputs, err := x.tensors("output", out, x.program.Outputs)
	if err != nil {
		return err
	}

	f := x.device.frame(x)
	for i, v := range x.program.Inputs {
		if inputs[i].i32 != nil {
			copy(f.ids(v), inputs[i].i32)
		} else {
			copy(f.value(v), inputs[i].f32)
		}
	}
	if err := f.run(ctx, x.kernels); err != nil {
		return err
	}
	for i, v := range x.program.Outputs {
		if outputs[i].i32 != nil {
			copy(outputs[i].i32, f.ids(v))
		} else {
			copy(outputs[i].f32, f.value(v))
		}
	}
	return nil
}

// tensors checks what a caller passed to Run against what the program wants.
func (x *executable) tensors(role string, have []compute.Tensor, want []compute.Value) ([]*tensor, error) {
	if len(have) != len(want) {
		return nil, fmt.Errorf("ref: run: have %d %ss, the program wants %d", len(have), role, len(want))
	}
	list := make([]*tensor, len(have))
	for i, v := range want {
		t, ok := have[i].(*tensor)
		if !ok || t == nil || t.device != x.device {
			return nil, fmt.Errorf("ref: run: %s %d (%T) is a tensor of another device", role, i, have[i])
		}
		if t.closed() {
			return nil, fmt.Errorf("ref: run: %s %d is closed", role, i)
		}
		if typ := x.program.Type(v); !t.typ.Equal(typ) {
			return nil, fmt.Errorf("ref: run: %s %d is %v, the program wants %v", role, i, t.typ, typ)
		}
		list[i] = t
	}
	return list, nil
}

// frame gives an executable the device's arena, as much of it as the program uses, poisoned.
func (d *Device) frame(x *executable) *frame[float32] {
	n := x.layout.Size / 4
	if len(d.arena) < n {
		d.arena = make([]float32, n)
	}
	f := &frame[float32]{program: x.program, layout: x.layout, weights: x.weights, arena: d.arena[:n]}
	if hasIDs(x.program) {
		if len(d.ids) < n {
			d.ids = make([]int32, n)
		}
		f.words = d.ids[:n]
	}
	f.poison()
	return f
}
