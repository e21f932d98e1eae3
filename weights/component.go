package weights

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/atelier-go/atelier/compute"
)

// Component is one network's parameters under diffusers' names. It is a compute.ParamSource and a
// compute.ParamOpener, valid until its Checkpoint is closed.
//
// A network is built on it by claiming every parameter it has and asking Err once at the end:
//
//	unet.Claim("conv_in.weight", 320, 4, 3, 3)
//	…
//	if err := unet.Err(); err != nil { … }
//
// Claiming is for one goroutine; everything else is safe for several.
type Component struct {
	kind    Kind
	path    string
	config  []byte
	params  map[string]*param
	claims  map[string]bool
	refused LoadError
}

// param is one tensor of a component: where it lies and how it is handed out.
type param struct {
	file *File
	key  string
	typ  compute.Type // DType is InvalidDType where the file's type is no float
}

func (p *param) shape() compute.Shape { return p.typ.Shape }

var (
	_ compute.ParamSource = (*Component)(nil)
	_ compute.ParamOpener = (*Component)(nil)
)

// Component is the file's tensors as the parameters of one network, which is no part of a checkpoint and is called kind in
// messages: an upscaler, a tiny autoencoder. name translates keys; those that become "" are left out. It is valid until the
// file is closed.
func (f *File) Component(kind Kind, name func(key string) string) (*Component, error) {
	c := &Component{kind: kind, path: f.path, params: map[string]*param{}, claims: map[string]bool{}}
	for _, key := range f.Names() {
		if to := name(key); to != "" {
			if err := c.add(to, f, key); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// add registers a tensor of a file. A second tensor of the same name is an error.
func (c *Component) add(name string, f *File, key string) error {
	t, _ := f.Info(key)
	if other, ok := c.params[name]; ok {
		return fmt.Errorf("weights: %s: both %q (of %s) and %q are the %s's %q", f.path, other.key, other.file.path, key, c.kind, name)
	}
	shape := t.Shape
	if c.kind == KindVAE && isVAEAttention(name) && len(shape) > 2 && trailingOnes(shape[2:]) {
		shape = shape[:2] // LDM keeps these four linear layers as 1×1 convolutions
	}
	c.params[name] = &param{file: f, key: key, typ: compute.Type{DType: t.DType.param(), Shape: shape}}
	return nil
}

// isVAEAttention reports whether name is one of the weights LDM stores 4-D and diffusers 2-D.
func isVAEAttention(name string) bool {
	_, part, ok := strings.Cut(name, ".mid_block.attentions.0.")
	return ok && (part == "to_q.weight" || part == "to_k.weight" || part == "to_v.weight" || part == "to_out.0.weight")
}

func trailingOnes(shape compute.Shape) bool {
	return !slices.ContainsFunc(shape, func(d int) bool { return d != 1 })
}

// sameUpToOnes reports whether two shapes differ by trailing extents of 1 at most: a linear layer and
// a 1×1 convolution hold the same bytes.
func sameUpToOnes(a, b compute.Shape) bool {
	n := min(len(a), len(b))
	return a[:n].Equal(b[:n]) && trailingOnes(a[n:]) && trailingOnes(b[n:])
}

// Kind says which network this is.
func (c *Component) Kind() Kind { return c.kind }

// Path names the file or folder the component came from, for messages.
func (c *Component) Path() string { return c.path }

// Config is the component's config.json, nil if it came without one (single files have none: the
// network's defaults are Stable Diffusion 1.5's).
func (c *Component) Config() []byte { return slices.Clone(c.config) }

// Names lists the parameters in alphabetical order.
func (c *Component) Names() []string {
	names := make([]string, 0, len(c.params))
	for name := range c.params {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Bytes is the size of all parameters as ParamData hands them out.
func (c *Component) Bytes() int64 {
	total := int64(0)
	for _, p := range c.params {
		total += int64(p.typ.Bytes())
	}
	return total
}

// ParamType implements compute.ParamSource. The element type is F32, F16 or BF16 (F64 is narrowed to
// F32, 8-bit floats are widened to F16); the shape is the claimed one where the parameter has been claimed.
func (c *Component) ParamType(name string) (compute.Type, error) {
	p, err := c.lookup(name)
	if err != nil {
		return compute.Type{}, err
	}
	return compute.Type{DType: p.typ.DType, Shape: slices.Clone(p.typ.Shape)}, nil
}

// ParamData implements compute.ParamSource. Each call reads the file.
func (c *Component) ParamData(name string) ([]byte, error) {
	p, err := c.lookup(name)
	if err != nil {
		return nil, err
	}
	t, err := p.file.Tensor(p.key)
	if err != nil {
		return nil, err
	}
	return t.DType.paramBytes(t.Data), nil
}

// OpenParam implements compute.ParamOpener: nil for the types that ParamData converts.
func (c *Component) OpenParam(name string) io.ReaderAt {
	p, err := c.lookup(name)
	if err != nil {
		return nil
	}
	if t, _ := p.file.Info(p.key); string(t.DType) != p.typ.DType.String() {
		return nil
	}
	return p.file.reader(p.key)
}

func (c *Component) lookup(name string) (*param, error) {
	p, ok := c.params[name]
	if !ok {
		return nil, fmt.Errorf("weights: %s: the %s has no parameter %q", c.path, c.kind, name)
	}
	if p.typ.DType == compute.InvalidDType {
		t, _ := p.file.Info(p.key)
		return nil, fmt.Errorf("weights: %s: tensor %q is %s; parameters are F32, F16, BF16, F64 or 8-bit floats (quantised checkpoints are not supported: use the fp16 version)",
			p.file.path, p.key, t.DType)
	}
	return p, nil
}

// Claim declares that the network has a parameter of this name and shape. What is wrong with it is kept
// for Err. A stored shape that differs by trailing extents of 1 is taken for the claimed one.
func (c *Component) Claim(name string, shape ...int) {
	if c.claims[name] {
		return
	}
	c.claims[name] = true
	p, ok := c.params[name]
	want := compute.Shape(slices.Clone(shape))
	switch {
	case !ok:
		c.refused.Missing = append(c.refused.Missing, name+" "+want.String())
	case p.typ.DType == compute.InvalidDType:
		t, _ := p.file.Info(p.key)
		c.refused.Mismatched = append(c.refused.Mismatched, fmt.Sprintf("%s: have %s%v, want floats %v", name, t.DType, t.Shape, want))
	case !sameUpToOnes(p.typ.Shape, want):
		c.refused.Mismatched = append(c.refused.Mismatched, fmt.Sprintf("%s: have %v, want %v", name, p.typ, want))
	default:
		p.typ.Shape = want
	}
}

// Err compares what was claimed with what the file holds: nil if they agree, else one *LoadError that lists every
// missing, unclaimed and mis-shaped tensor.
func (c *Component) Err() error {
	e := c.refused
	e.Kind, e.Path = c.kind, c.path
	e.Missing, e.Mismatched = slices.Clone(e.Missing), slices.Clone(e.Mismatched)
	for _, name := range c.Names() {
		if !c.claims[name] {
			e.Unclaimed = append(e.Unclaimed, printable(name)+" "+c.params[name].typ.Shape.String())
		}
	}
	if len(e.Missing)+len(e.Mismatched)+len(e.Unclaimed) == 0 {
		return nil
	}
	slices.Sort(e.Missing)
	slices.Sort(e.Mismatched)
	return &e
}

// printable is a file's own name for a tensor, quoted where it would do more on a terminal than be read.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}

// LoadError lists everything that keeps a component from being the network it should be.
type LoadError struct {
	Kind       Kind
	Path       string
	Missing    []string // "name [shape]": the network has them, the file has not
	Mismatched []string // "name: have F32[320 9 3 3], want [320 4 3 3]"
	Unclaimed  []string // "name [shape]": the file has them, the network has not
}

// listed is how many tensors of each sort Error spells out.
const listed = 10

// Error gives the counts and up to ten names of each sort.
func (e *LoadError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "weights: %s: not the %s its configuration describes: %d tensors missing, %d of another shape or type, %d unknown",
		e.Path, e.Kind, len(e.Missing), len(e.Mismatched), len(e.Unclaimed))
	for _, list := range []struct {
		what  string
		names []string
	}{{"missing", e.Missing}, {"other shape or type", e.Mismatched}, {"unknown", e.Unclaimed}} {
		for i, name := range list.names {
			if i == listed {
				fmt.Fprintf(&b, "\n\t… and %d more", len(list.names)-listed)
				break
			}
			fmt.Fprintf(&b, "\n\t%s: %s", list.what, name)
		}
	}
	return b.String()
}
