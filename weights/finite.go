package weights

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// exponents holds a type's exponent field and lowest exponent bit, repeated over a 64-bit word. A
// field of all ones (infinity or NaN) plus that bit carries into the sign position, which was masked
// away; no carry leaves a lane.
var exponents = map[DType]struct{ field, low, sign uint64 }{
	F64:    {0x7FF0000000000000, 0x0010000000000000, 0x8000000000000000},
	F32:    {0x7F8000007F800000, 0x0080000000800000, 0x8000000080000000},
	F16:    {0x7C007C007C007C00, 0x0400040004000400, 0x8000800080008000},
	BF16:   {0x7F807F807F807F80, 0x0080008000800080, 0x8000800080008000},
	F8E5M2: {0x7C7C7C7C7C7C7C7C, 0x0404040404040404, 0x8080808080808080},
	F8E4M3: {0x7F7F7F7F7F7F7F7F, 0x0101010101010101, 0x8080808080808080}, // NaN is all ones, fraction included
}

// FirstNonFinite is the index of the first NaN or infinity among the elements of data, -1 if there is
// none (always so for integer types). It reads at memory speed: eight bytes a test.
func FirstNonFinite(t DType, data []byte) int {
	e, ok := exponents[t]
	if !ok {
		return -1
	}
	i := 0
	for ; i+64 <= len(data); i += 64 {
		b := data[i : i+64 : i+64]
		var carries uint64
		for j := 0; j < 64; j += 8 {
			carries |= binary.LittleEndian.Uint64(b[j:])&e.field + e.low
		}
		if carries&e.sign != 0 {
			break
		}
	}
	size := t.Size()
	var word [8]byte
	for ; i+size <= len(data); i += size {
		clear(word[:])
		copy(word[:], data[i:i+size])
		if (binary.LittleEndian.Uint64(word[:])&e.field+e.low)&e.sign != 0 {
			return i / size
		}
	}
	return -1
}

// FirstNonFiniteParam is FirstNonFinite for bytes a compute.ParamSource hands out.
func FirstNonFiniteParam(t compute.DType, data []byte) int {
	return FirstNonFinite(DType(t.String()), data)
}

// NonFiniteError names the first parameter that is not a number, or infinite.
type NonFiniteError struct {
	Path  string // of the file
	Name  string // of the tensor in it
	Index int    // of the first such element, row-major
	Count int    // tensors of the component that hold such elements
}

// Error names file, tensor and element.
func (e *NonFiniteError) Error() string {
	more := ""
	if e.Count > 1 {
		more = fmt.Sprintf(" (and %d more tensors)", e.Count-1)
	}
	return fmt.Sprintf("weights: %s: tensor %q: element %d is NaN or infinite%s; the file is damaged or a bad merge: download it again, or use another version",
		e.Path, e.Name, e.Index, more)
}

// CheckFinite reads every parameter once, giving its pages back as it goes, and returns a
// *NonFiniteError if one holds a NaN or an infinity. It checks ctx between tensors.
func (c *Component) CheckFinite(ctx context.Context) error {
	var bad *NonFiniteError
	for _, name := range c.Names() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		p := c.params[name]
		t, err := p.file.Tensor(p.key)
		if err != nil {
			return err
		}
		i := FirstNonFinite(t.DType, t.Data)
		p.file.Release(p.key)
		switch {
		case i < 0:
		case bad == nil:
			bad = &NonFiniteError{Path: p.file.path, Name: p.key, Index: i, Count: 1}
		default:
			bad.Count++
		}
	}
	if bad != nil {
		return bad
	}
	return nil
}
