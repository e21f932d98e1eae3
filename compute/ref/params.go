package ref

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// params widens parameters to float32 when a program first needs them.
type params struct {
	device  *Device
	source  compute.ParamSource
	widened map[string][]float32 // nil once closed
	bytes   int64
}

var _ compute.Params = (*params)(nil)

// Memory implements compute.Params.
func (p *params) Memory() int64 {
	p.device.mu.Lock()
	defer p.device.mu.Unlock()
	return p.bytes
}

// Close implements compute.Params. Closing twice is harmless.
func (p *params) Close() error {
	p.device.mu.Lock()
	defer p.device.mu.Unlock()
	p.widened, p.bytes = nil, 0
	return nil
}

// get is the widened parameter that info describes.
func (p *params) get(info compute.ValueInfo) ([]float32, error) {
	stored, err := paramType(p.source, info)
	if err != nil {
		return nil, err
	}
	if w, ok := p.widened[info.Name]; ok {
		return w, nil
	}
	data, err := p.source.ParamData(info.Name)
	if err != nil {
		return nil, fmt.Errorf("ref: parameter %q: %w", info.Name, err)
	}
	if len(data) != stored.Bytes() {
		return nil, fmt.Errorf("ref: parameter %q: have %d bytes, %v takes %d", info.Name, len(data), stored, stored.Bytes())
	}
	w, err := widen(stored.DType, data)
	if err != nil {
		return nil, fmt.Errorf("ref: parameter %q: %w", info.Name, err)
	}
	p.widened[info.Name] = w
	p.bytes += 4 * int64(len(w))
	return w, nil
}

// paramType is the stored type of the parameter that info describes, or why it does not fit.
func paramType(src compute.ParamSource, info compute.ValueInfo) (compute.Type, error) {
	stored, err := src.ParamType(info.Name)
	switch {
	case err != nil:
		return stored, fmt.Errorf("ref: parameter %q: %w", info.Name, err)
	case !stored.Shape.Equal(info.Shape):
		return stored, fmt.Errorf("ref: parameter %q: have %v, want shape %v", info.Name, stored, info.Shape)
	case stored.DType != compute.F32 && stored.DType != compute.F16 && stored.DType != compute.BF16:
		return stored, fmt.Errorf("ref: parameter %q: have %v, want element type F32, F16 or BF16", info.Name, stored)
	}
	return stored, nil
}

var errNotFinite = errors.New("not finite; the file is damaged")

// widen decodes little-endian elements of type t.
func widen(t compute.DType, data []byte) ([]float32, error) {
	w := make([]float32, len(data)/t.Size())
	for i := range w {
		switch t {
		case compute.F32:
			w[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		case compute.F16:
			w[i] = f16.ToF32(binary.LittleEndian.Uint16(data[2*i:]))
		case compute.BF16:
			w[i] = f16.BF16ToF32(binary.LittleEndian.Uint16(data[2*i:]))
		}
		if math.IsNaN(float64(w[i])) || math.IsInf(float64(w[i]), 0) {
			return nil, fmt.Errorf("element %d is %v: %w", i, w[i], errNotFinite)
		}
	}
	return w, nil
}
