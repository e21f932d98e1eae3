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

// packing is a request for a parameter in some form: size bytes that fill writes from the checkpoint's data, or, without fill, the
// data where it lies.
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
	scratch, err := p.scratch(fresh)
	if err == nil {
		err = p.device.each(len(fresh), func(task, worker int) { failed[task] = p.fill(fresh[task], scratch[worker]) })
	}
	for _, b := range scratch {
		failed = append(failed, free(b))
	}
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

// scratch is memory for each worker to read any of the parameters into. It is not the garbage collector's: hundreds of megabytes of
// what was read would wait for that beside what is packed.
func (p *params) scratch(requests []packing) (each [][]byte, err error) {
	most := 1 << 20
	for _, r := range requests {
		if t, err := p.source.ParamType(r.key.name); err == nil && r.fill != nil {
			most = max(most, t.Bytes())
		}
	}
	each = make([][]byte, p.device.pool.workers)
	for i := range each {
		if each[i], err = allocate(most, false); err != nil {
			break
		}
	}
	return each, err
}

// fill reads one parameter and writes its packed form, or looks through one that stays where it lies.
func (p *params) fill(r packing, scratch []byte) error {
	t, err := p.source.ParamType(r.key.name)
	if err == nil && r.fill == nil {
		err = p.packed[r.key].keep(p.source, r.key.name, t, scratch)
	} else if err == nil {
		err = p.convert(r, t, scratch)
	}
	if err != nil {
		return fmt.Errorf("cpu: parameter %q: %w", r.key.name, err)
	}
	return nil
}

// convert reads a parameter and writes its packed form.
func (p *params) convert(r packing, t compute.Type, scratch []byte) error {
	data, err := p.read(r.key.name, t, scratch)
	if err == nil {
		err = finite(t.DType, data, 0)
	}
	if err != nil {
		return err
	}
	return r.fill(p.packed[r.key], data, t)
}

// read returns a parameter, in scratch if the source can read it where it lies.
func (p *params) read(name string, t compute.Type, scratch []byte) (data []byte, err error) {
	var place io.ReaderAt
	if o, ok := p.source.(compute.ParamOpener); ok {
		place = o.OpenParam(name)
	}
	if place == nil {
		data, err = p.source.ParamData(name)
	} else {
		n, e := place.ReadAt(scratch[:t.Bytes()], 0)
		data, err = scratch[:n], unlessEnd(e)
	}
	if err == nil && len(data) != t.Bytes() {
		err = fmt.Errorf("it has %d bytes, want %d for %v", len(data), t.Bytes(), t)
	}
	return data, err
}

// keep opens a parameter and checks it piece by piece.
func (p *packed) keep(source compute.ParamSource, name string, t compute.Type, scratch []byte) (err error) {
	p.dtype = t.DType
	p.table, err = compute.OpenParam(source, name)
	for at := 0; at < t.Bytes() && err == nil; {
		piece := scratch[:min(len(scratch), t.Bytes()-at)]
		var n int
		if n, err = p.table.ReadAt(piece, int64(at)); unlessEnd(err) != nil {
			return err
		}
		if n < len(piece) {
			return fmt.Errorf("it has %d bytes, want %d for %v", at+n, t.Bytes(), t)
		}
		err = finite(t.DType, piece, at/t.DType.Size())
		at += n
	}
	return err
}

// unlessEnd is an error of reading, but for the end, which lengths tell as well.
func unlessEnd(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// finite says which element of a piece that begins at element first holds no number.
func finite(t compute.DType, piece []byte, first int) error {
	if i := compute.FirstNonFinite(t, piece); i >= 0 {
		return fmt.Errorf("element %d is not a finite number; the checkpoint is damaged, download or convert it again", first+i)
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
func asTable(name string) packing { return packing{key: packKey{name, "table"}} }

// floats views bytes from allocate as float32.
func floats(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}
