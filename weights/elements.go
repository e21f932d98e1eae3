package weights

import (
	"encoding/binary"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// Widen decodes len(dst) little-endian elements of type t: F32, F16 or BF16.
func Widen(dst []float32, src []byte, t compute.DType) {
	src = src[:len(dst)*t.Size()]
	switch t {
	case compute.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case compute.F16:
		f16.Widen(dst, src)
	case compute.BF16:
		for i := range dst {
			dst[i] = f16.BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		}
	}
}

// Narrow encodes src as len(src) little-endian elements of type t, F32, F16 or BF16, rounding to nearest.
func Narrow(dst []byte, src []float32, t compute.DType) {
	dst = dst[:len(src)*t.Size()]
	switch t {
	case compute.F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case compute.F16:
		f16.Narrow(dst, src)
	case compute.BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], f16.F32ToBF16(v))
		}
	}
}
