package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/driver"
	"github.com/atelier-go/atelier/cuda/internal/kernel"
)

// params is a parameter source with what has been put on the card of it, shared by all programs compiled against it.
type params struct {
	device *Device
	source compute.ParamSource
	stored map[form]driver.Address // nil once closed
	blocks []block
}

var (
	_ compute.Params   = (*params)(nil)
	_ compute.Reloader = (*params)(nil)
)

// form is a parameter in a form that kernels want it in.
type form struct {
	name  string
	dtype compute.DType
	order kernel.Order
}

// align rounds up to where the next parameter may begin.
func align(bytes int64) int64 { return (bytes + 255) &^ 255 }

// Memory implements compute.Params.
func (p *params) Memory() (bytes int64) {
	p.device.mu.Lock()
	defer p.device.mu.Unlock()
	for _, b := range p.blocks {
		bytes += b.size
	}
	return bytes
}

// Close implements compute.Params.
func (p *params) Close() error {
	d := p.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.stored = nil; d.closed || len(p.blocks) == 0 {
		return nil
	}
	return forgiven(d.context.Do(func() error {
		var errs []error
		for i := range p.blocks {
			errs = append(errs, d.free(&p.blocks[i]))
		}
		p.blocks = nil
		return errors.Join(errs...)
	}))
}

// paramType is the stored type of a program's parameter, checked against the recorded shape.
func paramType(source compute.ParamSource, info compute.ValueInfo) (compute.Type, error) {
	t, err := source.ParamType(info.Name)
	switch {
	case err != nil:
		return t, fmt.Errorf("cuda: parameter %q: %w", info.Name, err)
	case !t.Shape.Equal(info.Shape):
		return t, fmt.Errorf("cuda: parameter %q is %v, want %v", info.Name, t, info.Shape)
	case t.DType != compute.F32 && t.DType != compute.F16 && t.DType != compute.BF16:
		return t, fmt.Errorf("cuda: parameter %q is %v: %w; want F32, F16 or BF16", info.Name, t, compute.ErrUnsupported)
	}
	return t, nil
}

// bytes is what a parameter of a type takes on the card.
func (f form) bytes(t compute.Type) int64 { return align(int64(t.Shape.Elements() * f.dtype.Size())) }

// missing are the forms that are not there yet, each with its place behind the first, and what they take.
func (p *params) missing(wanted []form) (fresh map[form]int64, bytes int64, err error) {
	fresh = make(map[form]int64)
	for _, f := range wanted {
		if _, have := p.stored[f]; have {
			continue
		}
		if _, have := fresh[f]; have {
			continue
		}
		t, err := p.source.ParamType(f.name)
		if err != nil {
			return nil, 0, err
		}
		fresh[f] = bytes
		bytes += f.bytes(t)
	}
	return fresh, bytes, nil
}

// load puts parameters on the card, all or none. It is called where the driver may be.
func (p *params) load(fresh map[form]int64, bytes int64) (err error) {
	d := p.device
	memory, err := d.alloc(bytes)
	if err != nil || bytes == 0 {
		return err
	}
	places := make(map[form]driver.Address)
	for f, at := range fresh {
		places[f] = memory.address + driver.Address(at)
	}
	if err := p.upload(places, bytes); err != nil {
		return errors.Join(err, forgiven(d.free(&memory)))
	}
	maps.Copy(p.stored, places)
	p.blocks = append(p.blocks, memory)
	return nil
}

// Reload implements compute.Reloader.
func (p *params) Reload(source compute.ParamSource, names []string) error {
	return p.device.do(func() error {
		if p.stored == nil {
			return errParamsClosed
		}
		places, bytes := make(map[form]driver.Address), int64(0)
		for f, at := range p.stored {
			if !slices.Contains(names, f.name) {
				continue
			}
			was, err := p.source.ParamType(f.name)
			now, err2 := source.ParamType(f.name)
			if err := errors.Join(err, err2); err != nil {
				return fmt.Errorf("cuda: parameter %q: %w", f.name, err)
			}
			if !now.Equal(was) {
				return fmt.Errorf("cuda: parameter %q is %v in the place of %v", f.name, now, was)
			}
			places[f], bytes = at, bytes+f.bytes(now)
		}
		p.source = source
		return p.upload(places, bytes)
	})
}

var errParamsClosed = errors.New("cuda: the parameters are closed")

// upload copies parameters, which take so many bytes, to their places.
func (p *params) upload(places map[form]driver.Address, bytes int64) (err error) {
	if bytes == 0 {
		return nil
	}
	s, err := newStaging(p.device, bytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var scratch []byte
	for _, f := range slices.SortedFunc(maps.Keys(places), func(a, b form) int { return cmp.Compare(places[a], places[b]) }) {
		t, err := p.source.ParamType(f.name)
		var data []byte
		if err == nil {
			data, err = p.read(f.name, t, &scratch)
		}
		if err == nil {
			err = finite(t.DType, data)
		}
		if err == nil {
			err = s.convert(conversion{f, t, data}, places[f])
		}
		if err != nil {
			return fmt.Errorf("cuda: parameter %q: %w", f.name, err)
		}
	}
	return nil
}

// read returns a parameter, in scratch, which grows as needed, if the source can read it where it lies.
func (p *params) read(name string, t compute.Type, scratch *[]byte) (data []byte, err error) {
	var place io.ReaderAt
	if o, ok := p.source.(compute.ParamOpener); ok {
		place = o.OpenParam(name)
	}
	if place == nil {
		data, err = p.source.ParamData(name)
	} else {
		if len(*scratch) < t.Bytes() {
			*scratch = make([]byte, t.Bytes())
		}
		var n int
		if n, err = place.ReadAt((*scratch)[:t.Bytes()], 0); err == io.EOF {
			err = nil // its length tells as well
		}
		data = (*scratch)[:n]
	}
	if err == nil && len(data) != t.Bytes() {
		err = fmt.Errorf("it has %d bytes, want %d for %v", len(data), t.Bytes(), t)
	}
	return data, err
}

func finite(t compute.DType, data []byte) error {
	if i := compute.FirstNonFinite(t, data); i >= 0 {
		return fmt.Errorf("element %d is not a finite number; the checkpoint is damaged, download or convert it again", i)
	}
	return nil
}
