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
	in, out  side
	own      []compute.Tensor // to be closed with the frame
	rotating []rotation
	mirrors  map[string]*Mirror
	err      error
}

// side is what goes into a program, or what comes out.
type side struct {
	names []string
	types []compute.Type
	bound []compute.Tensor
	at    map[string]int // places of names
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
	r := p.recorded
	return &Frame{cache: c, program: p, in: newSide(r, r.Inputs), out: newSide(r, r.Outputs), mirrors: make(map[string]*Mirror)}, nil
}

func newSide(p *compute.Program, values []compute.Value) side {
	s := side{bound: make([]compute.Tensor, len(values)), at: make(map[string]int)}
	for i, v := range values {
		info := p.Values[v.Index()]
		s.names, s.types = append(s.names, info.Name), append(s.types, info.Type)
		s.at[info.Name] = i
	}
	return s
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
	found := false
	for _, s := range [...]*side{&f.in, &f.out} {
		i, ok := s.at[name]
		if !ok {
			continue
		}
		if s.bound[i] != nil {
			f.keep(fmt.Errorf("engine: %q is bound twice", name))
		}
		s.bound[i], found = x, true
	}
	if !found {
		f.keep(fmt.Errorf("engine: the program has no input and no output called %q", name))
	}
}

// Has tells whether the program has an input or an output of a name.
func (f *Frame) Has(name string) bool {
	_, in := f.in.at[name]
	_, out := f.out.at[name]
	return in || out
}

// Tensor binds a new tensor of the frame's own, and returns it.
func (f *Frame) Tensor(name string) compute.Tensor {
	x := f.make(f.typeOf(name))
	f.Bind(name, x)
	return x
}

// Mirror is Tensor with memory on the host; asked for again it is the same.
func (f *Frame) Mirror(name string) *Mirror {
	if f.mirrors[name] == nil {
		f.mirrors[name] = &Mirror{compute.NewBuffer(f.typeOf(name)), f.Tensor(name)}
	}
	return f.mirrors[name]
}

// Mirrors are mirrors of all inputs whose names have a prefix, in the order in which they were recorded.
func (f *Frame) Mirrors(prefix string) (all []*Mirror) {
	for _, name := range f.in.names {
		if strings.HasPrefix(name, prefix) {
			all = append(all, f.Mirror(name))
		}
	}
	return all
}

// MirrorRest makes mirrors of all inputs and outputs that are not bound yet.
func (f *Frame) MirrorRest() {
	for _, s := range [...]*side{&f.in, &f.out} {
		for i, name := range s.names {
			if s.bound[i] == nil {
				f.Mirror(name)
			}
		}
	}
}

// Host is the host's memory of the mirror of a name, empty if there is none.
func (f *Frame) Host(name string) compute.Buffer {
	if m := f.mirrors[name]; m != nil {
		return m.Buffer
	}
	return compute.Buffer{}
}

// Rotating binds two new tensors to the input and the output of one name, which change places at every [Frame.Rotate]. The
// number is for [Frame.Current].
func (f *Frame) Rotating(name string) int {
	in, isIn := f.in.at[name]
	out, isOut := f.out.at[name]
	if !isIn || !isOut || f.in.bound[in] != nil || f.out.bound[out] != nil {
		f.keep(fmt.Errorf("engine: %q is no free input and output", name))
		return 0
	}
	f.in.bound[in], f.out.bound[out] = f.make(f.in.types[in]), f.make(f.out.types[out])
	f.rotating = append(f.rotating, rotation{in, out})
	return len(f.rotating) - 1
}

// Share binds what is still free to what another frame has bound to the same names, where the types are the same: tensors, and pairs
// that take turns, with which both frames must then be rotated. The tensors stay the other's, which has to be closed last.
func (f *Frame) Share(other *Frame) {
	f.in.share(&other.in)
	f.out.share(&other.out)
	for _, r := range other.rotating {
		name := other.in.names[r.in]
		in, isIn := f.in.at[name]
		out, isOut := f.out.at[name]
		if isIn && isOut && f.in.bound[in] == other.in.bound[r.in] && f.out.bound[out] == other.out.bound[r.out] {
			f.rotating = append(f.rotating, rotation{in, out})
		}
	}
}

// share takes over tensors of the same names and types.
func (s *side) share(other *side) {
	for i, name := range s.names {
		if j, ok := other.at[name]; ok && s.bound[i] == nil && s.types[i].Equal(other.types[j]) {
			s.bound[i] = other.bound[j]
		}
	}
}

// Rotate makes what came out last what goes in next.
func (f *Frame) Rotate() {
	for _, r := range f.rotating {
		f.in.bound[r.in], f.out.bound[r.out] = f.out.bound[r.out], f.in.bound[r.in]
	}
}

// Current is the tensor of a number of Rotating that goes in next.
func (f *Frame) Current(number int) compute.Tensor { return f.in.bound[f.rotating[number].in] }

// typeOf is the type of the input or the output of a name.
func (f *Frame) typeOf(name string) compute.Type {
	for _, s := range [...]*side{&f.in, &f.out} {
		if i, ok := s.at[name]; ok {
			return s.types[i]
		}
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
	if err := f.each(&f.in, (*Mirror).Send); err != nil {
		return err
	}
	if err := f.Run(ctx); err != nil {
		return err
	}
	return f.each(&f.out, (*Mirror).Fetch)
}

// each does something to the mirrors of one side.
func (f *Frame) each(s *side, do func(*Mirror) error) error {
	if f.err != nil {
		return f.err
	}
	for _, name := range s.names {
		if m := f.mirrors[name]; m != nil {
			if err := do(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run runs the program. It allocates nothing.
func (f *Frame) Run(ctx context.Context) error {
	for _, s := range [...]*side{&f.in, &f.out} {
		if i := slices.Index(s.bound, nil); i >= 0 {
			f.keep(fmt.Errorf("engine: %q is not bound", s.names[i]))
		}
	}
	if f.err != nil {
		return f.err
	}
	return f.program.Run(ctx, f.out.bound, f.in.bound)
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
