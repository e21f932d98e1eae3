package cpu

import (
	"cmp"
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
	packed map[packKey]*packed // nil once closed
	memory int64
}

var _ compute.Params = (*params)(nil)

// packKey names a parameter in one of the forms kernels want it in.
type packKey struct {
	name string
	form string
}

// packed is a parameter ready for kernels.
type packed struct {
	bytes   []byte        // outside the Go heap
	vector  []float32     // bytes as float32
	weights *gemm.Weights // what the packer made of bytes
	table   io.ReaderAt   // the checkpoint's own data, read in place, of type dtype
	dtype   compute.DType
}

// packing is a request for a parameter in some form: size bytes that fill writes from the checkpoint's data.
type packing struct {
	key  packKey
	size int
	fill func(p *packed, data []byte, t compute.Type) error
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
	for _, q := range p.packed {
		if err := free(q.bytes); err != nil && first == nil {
			first = err
		}
	}
	p.packed = nil
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
	if p.packed == nil {
		return errors.New("cpu: the parameters are closed")
	}
	var fresh []packing
	for _, r := range requests {
		if p.packed[r.key] != nil {
			continue
		}
		b, err := allocate(r.size, false)
		if err != nil {
			return err
		}
		p.packed[r.key] = &packed{bytes: b}
		p.memory += int64(r.size)
		fresh = append(fresh, r)
	}
	slices.SortStableFunc(fresh, func(a, b packing) int { return cmp.Compare(b.size, a.size) })
	failed := make([]error, len(fresh))
	err := p.device.each(len(fresh), func(task, _ int) { failed[task] = p.fill(fresh[task]) })
	for _, e := range failed {
		if err == nil {
			err = e
		}
	}
	if err != nil {
		p.discard(fresh)
	}
	return err
}

// fill reads one parameter and writes its packed form.
func (p *params) fill(r packing) error {
	t, err := p.source.ParamType(r.key.name)
	if err != nil {
		return fmt.Errorf("cpu: parameter %q: %w", r.key.name, err)
	}
	data, err := p.source.ParamData(r.key.name)
	if err != nil {
		return fmt.Errorf("cpu: parameter %q: %w", r.key.name, err)
	}
	if len(data) != t.Bytes() {
		return fmt.Errorf("cpu: parameter %q has %d bytes, want %d for %v", r.key.name, len(data), t.Bytes(), t)
	}
	if i := compute.FirstNonFinite(t.DType, data); i >= 0 {
		return fmt.Errorf("cpu: parameter %q: element %d is not a finite number; the checkpoint is damaged, download or convert it again", r.key.name, i)
	}
	if err := r.fill(p.packed[r.key], data, t); err != nil {
		return fmt.Errorf("cpu: parameter %q: %w", r.key.name, err)
	}
	return nil
}

// discard drops forms whose packing failed.
func (p *params) discard(requests []packing) {
	for _, r := range requests {
		if q := p.packed[r.key]; q != nil {
			_ = free(q.bytes) // the error that brought us here says more
			delete(p.packed, r.key)
			p.memory -= int64(r.size)
		}
	}
}

// asVector is a parameter as float32 in its own order: biases, norm weights.
func (c *compiler) asVector(name string, t compute.Type) packing {
	return packing{
		key:  packKey{name, "float32"},
		size: 4 * t.Shape.Elements(),
		fill: func(p *packed, data []byte, t compute.Type) error {
			p.vector = floats(p.bytes)
			c.elem.Widen(p.vector, data, t.DType)
			return nil
		},
	}
}

// asTable is a parameter of which single rows are read, straight from the checkpoint.
func (c *compiler) asTable(name string) packing {
	return packing{
		key: packKey{name, "table"},
		fill: func(p *packed, _ []byte, t compute.Type) (err error) {
			p.dtype = t.DType
			p.table, err = compute.OpenParam(c.source, name)
			return err
		},
	}
}

// floats views bytes from allocate as float32.
func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}
