package computetest

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// Source is a compute.ParamSource in memory, for tests. Its zero value is empty and ready to use.
// The bytes lie at odd addresses, as they may in a file that was read whole.
type Source struct {
	params map[string]param
}

type param struct {
	typ  compute.Type
	data []byte
}

var _ compute.ParamSource = (*Source)(nil)

// Add stores values, narrowed to t, as the named parameter. It panics if t is no float type or the number of values
// is not the shape's.
func (s *Source) Add(name string, t compute.DType, values []float32, shape ...int) {
	typ := compute.Type{DType: t, Shape: shape}
	if len(values) != typ.Shape.Elements() {
		panic(fmt.Sprintf("computetest: parameter %q: %d values for %v", name, len(values), typ))
	}
	data := make([]byte, 1+typ.Bytes())[1:]
	for i, v := range values {
		switch t {
		case compute.F32:
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
		case compute.F16:
			binary.LittleEndian.PutUint16(data[2*i:], f16.FromF32(v))
		case compute.BF16:
			binary.LittleEndian.PutUint16(data[2*i:], f16.F32ToBF16(v))
		default:
			panic(fmt.Sprintf("computetest: parameter %q: %v is no float type", name, typ))
		}
	}
	if s.params == nil {
		s.params = make(map[string]param)
	}
	s.params[name] = param{typ, data}
}

// ParamType implements compute.ParamSource.
func (s *Source) ParamType(name string) (compute.Type, error) {
	p, ok := s.params[name]
	if !ok {
		return compute.Type{}, fmt.Errorf("computetest: there is no parameter %q", name)
	}
	return p.typ, nil
}

// ParamData implements compute.ParamSource.
func (s *Source) ParamData(name string) ([]byte, error) {
	p, ok := s.params[name]
	if !ok {
		return nil, fmt.Errorf("computetest: there is no parameter %q", name)
	}
	return p.data, nil
}

// reversed is a source of the same parameters of which every other one has its elements the other way round; names are those.
func (s *Source) reversed() (other *Source, names []string) {
	other = &Source{params: maps.Clone(s.params)}
	for i, name := range slices.Sorted(maps.Keys(s.params)) {
		if i%2 != 0 {
			continue
		}
		p, size := s.params[name], s.params[name].typ.DType.Size()
		data := make([]byte, 0, len(p.data))
		for element := len(p.data) - size; element >= 0; element -= size {
			data = append(data, p.data[element:][:size]...)
		}
		other.params[name] = param{p.typ, data}
		names = append(names, name)
	}
	return other, names
}

// halves are the stored bits of an F16 parameter.
func (s *Source) halves(name string) []uint16 {
	data := s.params[name].data
	bits := make([]uint16, len(data)/2)
	for i := range bits {
		bits[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	return bits
}
