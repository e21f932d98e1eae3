package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
)

// Frame is a program with the tensors that go into it and come out, each by its name. What is set up wrongly is kept, and Run
// returns it. A Frame is used by one goroutine.
type Frame struct {
	cache    *Cache
	program  *program
	ins      map[string]int // places of inputs, and of outputs
	outs     map[string]int
	in, out  []compute.Tensor
	own      []compute.Tensor // to be closed with the frame
	rotating []rotation
	mirrors  map[string]*Mirror
	err      error
}

// rotation is the place of an input and that of the output which is the next run's input.
type rotation struct{ in, out int }

// Mirror is a tensor with its like on the host.
type Mirror struct {
	compute.Buffer
	compute.Tensor
}

// Send copies the host's numbers to the device, and Fetch back.
func (m *Mirror) Send() error { return m.Upload(m.Buffer) }

// Fetch is the reverse of Send.
func (m *Mirror) Fetch() error { return m.Download(m.Buffer) }

// Frame prepares the program of a key on a variant of its network. It has no tensors yet.
func (c *Cache) Frame(k Key, v Variant) (*Frame, error) {
	p, err := c.acquire(k, v)
	if err != nil {
		return nil, err
	}
	f := &Frame{cache: c, program: p, mirrors: make(map[string]*Mirror)}
	f.ins, f.in = places(p.recorded, p.recorded.Inputs)
	f.outs, f.out = places(p.recorded, p.recorded.Outputs)
	return f, nil
}

// places are the positions of values by name, and as many tensors.
func places(p *compute.Program, values []compute.Value) (map[string]int, []compute.Tensor) {
	at := make(map[string]int)
	for i, v := range values {
		at[p.Values[v.Index()].Name] = i
	}
	return at, make([]compute.Tensor, len(values))
}

// Err is the first mistake.
func (f *Frame) Err() error { return f.err }

func (f *Frame) keep(err error) {
	if f.err == nil {
		f.err = err
	}
}

// Bind puts a tensor in the place of the input of a name, and of the output if there is one.
func (f *Frame) Bind(name string, x compute.Tensor) {
	in, isIn := f.ins[name]
	out, isOut := f.outs[name]
	switch {
	case !isIn && !isOut:
		f.keep(fmt.Errorf("engine: the program has no input and no output called %q", name))
	case isIn && f.in[in] != nil || isOut && f.out[out] != nil:
		f.keep(fmt.Errorf("engine: %q is bound twice", name))
	}
	if isIn {
		f.in[in] = x
	}
	if isOut {
		f.out[out] = x
	}
}

// Tensor binds a new tensor of the frame's own, and returns it.
func (f *Frame) Tensor(name string) compute.Tensor {
	x := f.make(f.typeOf(name))
	f.Bind(name, x)
	return x
}

// Mirror is Tensor with memory on the host; asked for again it is the same.
func (f *Frame) Mirror(name string) *Mirror {
	m := f.mirrors[name]
	if m == nil {
		t := f.typeOf(name)
		m = &Mirror{compute.NewBuffer(t), f.Tensor(name)}
		f.mirrors[name] = m
	}
	return m
}

// Mirrors are mirrors of all inputs whose names have a prefix, in the order in which they were recorded.
func (f *Frame) Mirrors(prefix string) (all []*Mirror) {
	p := f.program.recorded
	for _, v := range p.Inputs {
		if name := p.Values[v.Index()].Name; strings.HasPrefix(name, prefix) {
			all = append(all, f.Mirror(name))
		}
	}
	return all
}

// Host is the host's memory of the mirror of a name, empty if there is none.
func (f *Frame) Host(name string) compute.Buffer {
	if m := f.mirrors[name]; m != nil {
		return m.Buffer
	}
	return compute.Buffer{}
}

// MirrorRest makes mirrors of all inputs and outputs that are not bound yet.
func (f *Frame) MirrorRest() {
	for _, side := range [...]struct {
		names map[string]int
		bound []compute.Tensor
	}{{f.ins, f.in}, {f.outs, f.out}} {
		for name, i := range side.names {
			if side.bound[i] == nil {
				f.Mirror(name)
			}
		}
	}
}

// Rotating binds two new tensors to the input and the output of one name, which change places at every [Frame.Rotate]. The
// number is for [Frame.Current].
func (f *Frame) Rotating(name string) int {
	in, isIn := f.ins[name]
	out, isOut := f.outs[name]
	if !isIn || !isOut || f.in[in] != nil || f.out[out] != nil {
		f.keep(fmt.Errorf("engine: %q is no free input and output", name))
		return 0
	}
	f.in[in], f.out[out] = f.make(f.typeOf(name)), f.make(f.typeOf(name))
	f.rotating = append(f.rotating, rotation{in, out})
	return len(f.rotating) - 1
}

// Rotate makes what came out last what goes in next.
func (f *Frame) Rotate() {
	for _, r := range f.rotating {
		f.in[r.in], f.out[r.out] = f.out[r.out], f.in[r.in]
	}
}

// Current is the tensor of a number of Rotating that goes in next.
func (f *Frame) Current(number int) compute.Tensor { return f.in[f.rotating[number].in] }

// typeOf is the type of the input or the output of a name.
func (f *Frame) typeOf(name string) compute.Type {
	p := f.program.recorded
	if i, ok := f.ins[name]; ok {
		return p.Type(p.Inputs[i])
	}
	if i, ok := f.outs[name]; ok {
		return p.Type(p.Outputs[i])
	}
	return compute.Type{DType: compute.F32, Shape: compute.Shape{1}} // Bind will say that there is none
}

func (f *Frame) make(t compute.Type) compute.Tensor {
	if f.err != nil {
		return nil
	}
	x, err := f.cache.device.NewTensor(t.DType, t.Shape...)
	if err != nil {
		f.keep(err)
		return nil
	}
	f.own = append(f.own, x)
	return x
}

// Do runs the program on what the mirrors of its inputs hold, and fetches those of its outputs. It allocates nothing.
func (f *Frame) Do(ctx context.Context) error {
	if err := f.each(f.ins, (*Mirror).Send); err != nil {
		return err
	}
	if err := f.Run(ctx); err != nil {
		return err
	}
	return f.each(f.outs, (*Mirror).Fetch)
}

// each does something to the mirrors of inputs or of outputs.
func (f *Frame) each(names map[string]int, do func(*Mirror) error) error {
	for name := range names {
		if m := f.mirrors[name]; m != nil && f.err == nil {
			if err := do(m); err != nil {
				return err
			}
		}
	}
	return f.err
}

// Run runs the program. It allocates nothing.
func (f *Frame) Run(ctx context.Context) error {
	for _, side := range [...]struct {
		values []compute.Value
		bound  []compute.Tensor
	}{{f.program.recorded.Inputs, f.in}, {f.program.recorded.Outputs, f.out}} {
		if i := slices.Index(side.bound, nil); i >= 0 {
			f.keep(fmt.Errorf("engine: %q is not bound", f.program.recorded.Values[side.values[i].Index()].Name))
		}
	}
	if f.err != nil {
		return f.err
	}
	return f.program.Run(ctx, f.out, f.in)
}

// Close gives the tensors back and lets go of the program. Closing twice is harmless.
func (f *Frame) Close() error {
	if f == nil || f.program == nil {
		return nil
	}
	var errs []error
	for _, x := range f.own {
		errs = append(errs, x.Close())
	}
	errs = append(errs, f.cache.release(f.program))
	f.program, f.own = nil, nil
	return errors.Join(errs...)
}
