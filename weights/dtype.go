package weights

import (
	"encoding/binary"
	"math"

	"github.com/nlpodyssey/safetensors"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// DType is the element type of a stored tensor, spelled as safetensors spells it.
type DType string

// The element types this package reads. Write takes all but the two 8-bit floats.
const (
	Bool   DType = "BOOL"
	U8     DType = "U8"
	I8     DType = "I8"
	F8E5M2 DType = "F8_E5M2" // 1 sign, 5 exponent, 2 fraction bits: the upper byte of an F16
	F8E4M3 DType = "F8_E4M3" // 1 sign, 4 exponent, 3 fraction bits, no infinities ("fn" form)
	I16    DType = "I16"
	U16    DType = "U16"
	F16    DType = "F16"
	BF16   DType = "BF16"
	I32    DType = "I32"
	U32    DType = "U32"
	F32    DType = "F32"
	I64    DType = "I64"
	U64    DType = "U64"
	F64    DType = "F64"
)

var dtypeSize = map[DType]int{
	Bool: 1, U8: 1, I8: 1, F8E5M2: 1, F8E4M3: 1, I16: 2, U16: 2, F16: 2, BF16: 2,
	I32: 4, U32: 4, F32: 4, I64: 8, U64: 8, F64: 8,
}

// foreignDTypes are legal in the format and used by nothing this package opens.
var foreignDTypes = map[DType]bool{
	"F8_E8M0": true, "F8_E4M3FNUZ": true, "F8_E5M2FNUZ": true, "C64": true, "F6_E2M3": true, "F6_E3M2": true, "F4": true,
}

// Size is the number of bytes one element takes, 0 for a type this package does not read.
func (t DType) Size() int { return dtypeSize[t] }

// library is the type as nlpodyssey/safetensors knows it. It has no 8-bit floats; ok is false for them.
func (t DType) library() (lib safetensors.DType, ok bool) {
	lib, err := safetensors.ParseDType(string(t))
	return lib, err == nil
}

// param is the type in which a device receives parameters stored as t: F32, F16 and BF16 as they are,
// F64 narrowed to F32, the 8-bit floats widened (exactly) to F16; InvalidDType for everything else.
func (t DType) param() compute.DType {
	switch t {
	case F32, F64:
		return compute.F32
	case F16, F8E4M3, F8E5M2:
		return compute.F16
	case BF16:
		return compute.BF16
	}
	return compute.InvalidDType
}

// paramBytes converts data from t to t.param(); data itself when they are the same.
func (t DType) paramBytes(data []byte) []byte {
	switch t {
	case F64:
		out := make([]byte, 0, len(data)/2)
		for i := 0; i+8 <= len(data); i += 8 {
			v := math.Float64frombits(binary.LittleEndian.Uint64(data[i:]))
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
		}
		return out
	case F8E4M3:
		out := make([]byte, 0, 2*len(data))
		for _, b := range data {
			out = binary.LittleEndian.AppendUint16(out, f16.FromF32(f16.E4M3ToF32(b))) // exact
		}
		return out
	case F8E5M2:
		out := make([]byte, 2*len(data))
		for i, b := range data {
			out[2*i+1] = b
		}
		return out
	}
	return data
}

// float32s converts little-endian elements of type t to float32. Integers beyond 2²⁴ round.
func (t DType) float32s(data []byte) []float32 {
	size := t.Size()
	if size == 0 {
		return nil
	}
	out := make([]float32, len(data)/size)
	le := binary.LittleEndian
	for i := range out {
		b := data[i*size:]
		switch t {
		case F32:
			out[i] = math.Float32frombits(le.Uint32(b))
		case F16:
			out[i] = f16.ToF32(le.Uint16(b))
		case BF16:
			out[i] = f16.BF16ToF32(le.Uint16(b))
		case F64:
			out[i] = float32(math.Float64frombits(le.Uint64(b)))
		case F8E4M3:
			out[i] = f16.E4M3ToF32(b[0])
		case F8E5M2:
			out[i] = f16.E5M2ToF32(b[0])
		case I8:
			out[i] = float32(int8(b[0]))
		case U8, Bool:
			out[i] = float32(b[0])
		case I16:
			out[i] = float32(int16(le.Uint16(b)))
		case U16:
			out[i] = float32(le.Uint16(b))
		case I32:
			out[i] = float32(int32(le.Uint32(b)))
		case U32:
			out[i] = float32(le.Uint32(b))
		case I64:
			out[i] = float32(int64(le.Uint64(b)))
		case U64:
			out[i] = float32(le.Uint64(b))
		}
	}
	return out
}
