package cpu

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// params is a parameter source with what has been packed of it, shared by all programs compiled against it.
type params struct {
	device *Device
	source compute.ParamSource
	loaded map[packKey]*loading // nil once closed
	memory int64
	blocks [][]byte // what is packed, outside the Go heap: one for each program that needed more
}

var (
	_ compute.Params   = (*params)(nil)
	_ compute.Reloader = (*params)(nil)
)

// packKey names a parameter in one of the forms kernels want it in.
type packKey struct {
	name string
	form string
}

// packed is a parameter ready for kernels, in one of these forms.
type packed struct {
	vector  []float32
	weights *gemm.Weights
	table   io.ReaderAt // the checkpoint's own data, read in place, of type dtype
	dtype   compute.DType
}

// packing is a request for a parameter in some form. That consists of parts of equal size, each made of as many rows of the
// parameter, the last one maybe of fewer, so that it can be packed while it is read. Of a parameter without fill nothing is packed:
// it stays where it lies.
type packing struct {
	key  packKey
	size int                                           // of the form, in bytes
	rows int                                           // in a part; 0: all
	fill func(dst, data []byte, spare []float32) error // writes whole parts
	view func(bytes []byte) *packed                    // what the bytes are
}

func (p *params) Memory() int64 {
	p.device.mu.Lock()
	defer p.device.mu.Unlock()
	return p.memory
}

func (p *params) Close() error {
	p.device.mu.Lock()
	defer p.device.mu.Unlock()
	var first error
	for _, b := range p.blocks {
		if err := free(b); err != nil && first == nil {
			first = err
		}
	}
	p.loaded, p.blocks = nil, nil
	p.memory = 0
	return first
}

// paramType is the stored type of a program's parameter, checked against the recorded shape.
func paramType(src compute.ParamSource, info compute.ValueInfo) (compute.Type, error) {
	t, err := src.ParamType(info.Name)
	if err != nil {
		return t, fmt.Errorf("cpu: parameter %q: %w", info.Name, err)
	}
	if !t.Shape.Equal(info.Shape) {
		return t, fmt.Errorf("cpu: parameter %q is %v, want %v", info.Name, t, info.Shape)
	}
	if t.DType != compute.F32 && t.DType != compute.F16 && t.DType != compute.BF16 {
		return t, fmt.Errorf("cpu: parameter %q is %v: %w; want F32, F16 or BF16", info.Name, t, compute.ErrUnsupported)
	}
	return t, nil
}

// pack makes every requested form that is not there yet, on all workers. The caller holds device.mu.
func (p *params) pack(requests []packing) error {
	fresh, err := p.loadings(requests)
	if err != nil || len(fresh) == 0 {
		return err
	}
	size := 0
	for _, l := range fresh {
		size += l.room()
	}
	block, err := allocate(size, true)
	if err != nil {
		return err
	}
	rest := block
	for _, l := range fresh {
		l.begin(rest)
		rest = rest[l.room():]
	}
	if err := p.load(fresh, &freshMemory{bytes: block}); err != nil {
		return errors.Join(err, free(block))
	}
	p.blocks = append(p.blocks, block)
	for _, l := range fresh {
		p.loaded[l.key] = l
		p.memory += int64(l.size)
	}
	return nil
}

// Reload implements compute.Reloader.
func (p *params) Reload(source compute.ParamSource, names []string) error {
	p.device.mu.Lock()
	defer p.device.mu.Unlock()
	if p.loaded == nil {
		return errClosed
	}
	p.source = source
	var again []*loading
	for key, l := range p.loaded {
		if !slices.Contains(names, key.name) {
			continue
		}
		before := l.typ
		if err := l.find(source); err != nil {
			return err
		}
		if !l.typ.Equal(before) {
			return fmt.Errorf("cpu: parameter %q is %v in the place of %v", key.name, l.typ, before)
		}
		if l.fill == nil {
			l.packed.table = l.place
		}
		again = append(again, l)
	}
	largestFirst(again)
	return p.load(again, nil)
}

// asVector is a parameter as float32 in its own order: biases, norm weights.
func (c *compiler) asVector(name string, t compute.Type) packing {
	return packing{
		key:  packKey{name, "float32"},
		size: 4 * t.Shape.Elements(),
		fill: func(dst, data []byte, _ []float32) error {
			c.elem.Widen(floats(dst), data, t.DType)
			return nil
		},
		view: func(bytes []byte) *packed { return &packed{vector: floats(bytes)} },
	}
}

// asTable is a parameter of which single rows are read, straight from the checkpoint.
func asTable(name string) packing { return packing{key: packKey{name, "table"}} }

// floats views bytes from allocate as float32.
func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}
