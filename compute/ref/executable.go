package ref

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"unsafe"

	"github.com/atelier-go/atelier/compute"
)

// executable is a program with its parameters and its place in the device's arena.
type executable struct {
	device  *Device
	program *compute.Program
	params  *params
	weights map[int][]float32 // widened parameters by value index
	layout  *compute.Layout
	kernels []kernel // one per node; nil once closed
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
	for _, n := range p.Nodes {
		k := kernelOf(n.Op)
		if t := p.Type(n.Out[0]); k == nil || !stored(t.DType) {
			return nil, fmt.Errorf("ref: %s: %s of %v: %w", n.Path, compute.OpName(n.Op), t, compute.ErrUnsupported)
		}
		x.kernels = append(x.kernels, k)
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
	return compute.MemoryReport{Arena: int64(x.layout.Size)}
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

	f := x.frame()
	for i, v := range x.program.Inputs {
		if inputs[i].i32 != nil {
			copy(f.ids(v), inputs[i].i32)
		} else {
			copy(f.value(v), inputs[i].f32)
		}
	}
	for i, n := range x.program.Nodes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := x.kernels[i].run(f, n.Out[0]); err != nil {
			return fmt.Errorf("ref: %s: %s: %w", n.Path, compute.OpName(n.Op), err)
		}
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

// frame gives the ops of one run access to their operands.
type frame struct {
	*executable
	arena []float32
}

// frame poisons as much of the arena as the program uses.
func (x *executable) frame() *frame {
	n := x.layout.Size / 4
	if len(x.device.arena) < n {
		x.device.arena = make([]float32, n)
	}
	f := &frame{x, x.device.arena[:n]}
	nan := float32(math.NaN())
	for i := range f.arena {
		f.arena[i] = nan
	}
	return f
}

// value is the storage of a float value or parameter.
func (f *frame) value(v compute.Value) []float32 {
	if w, ok := f.weights[v.Index()]; ok {
		return w
	}
	if t := f.program.Type(v); t.DType != compute.F32 {
		panic(fmt.Sprintf("operand is %v, want F32", t))
	}
	return f.words(v)
}

// optional is value, or nil for an absent operand.
func (f *frame) optional(v compute.Value) []float32 {
	if !v.Valid() {
		return nil
	}
	return f.value(v)
}

// words is the storage of a value whatever its element type, for ops that only copy.
func (f *frame) words(v compute.Value) []float32 {
	at := f.layout.Offset(v) / 4
	return f.arena[at:][:f.program.Shape(v).Elements()]
}

// ids is the storage of an I32 value.
func (f *frame) ids(v compute.Value) []int32 {
	words := f.words(v)
	return unsafe.Slice((*int32)(unsafe.Pointer(&words[0])), len(words))
}

func (f *frame) shape(v compute.Value) compute.Shape { return f.program.Shape(v) }

// kernel computes one op into its result y.
type kernel func(f *frame, y compute.Value) error

// run calls the kernel and turns a panic into an error that carries its stack.
func (k kernel) run(f *frame, y compute.Value) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return k(f, y)
}

// kernelOf is the implementation of op, nil if there is none.
func kernelOf(op compute.Op) kernel {
	switch op := op.(type) {
	case compute.Linear:
		return func(f *frame, y compute.Value) error { f.linear(op, y); return nil }
	case compute.Conv2D:
		return func(f *frame, y compute.Value) error { f.conv2D(op, y); return nil }
	case compute.GroupNorm:
		return func(f *frame, y compute.Value) error { f.groupNorm(op, y); return nil }
	case compute.LayerNorm:
		return func(f *frame, y compute.Value) error { f.layerNorm(op, y); return nil }
	case compute.Attention:
		return func(f *frame, y compute.Value) error { f.attention(op, y); return nil }
	case compute.Embed:
		return func(f *frame, y compute.Value) error { return f.embed(op, y) }
	case compute.TimestepEmbedding:
		return func(f *frame, y compute.Value) error { f.timestepEmbedding(op, y); return nil }
	case compute.Activate:
		return func(f *frame, y compute.Value) error { f.activate(op, y); return nil }
	case compute.GEGLU:
		return func(f *frame, y compute.Value) error { f.geglu(op, y); return nil }
	case compute.Add:
		return func(f *frame, y compute.Value) error { f.add(op, y); return nil }
	case compute.GuidanceCombine:
		return func(f *frame, y compute.Value) error { f.guidanceCombine(op, y); return nil }
	case compute.LinearCombination:
		return func(f *frame, y compute.Value) error { f.linearCombination(op, y); return nil }
	case compute.Reshape:
		return func(*frame, compute.Value) error { return nil } // the planner gave it X's storage
	case compute.Repeat:
		return func(f *frame, y compute.Value) error { f.repeat(op, y); return nil }
	case compute.Concat:
		return func(f *frame, y compute.Value) error { f.concat(op, y); return nil }
	}
	return nil
}
