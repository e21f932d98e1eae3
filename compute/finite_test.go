package compute_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// TestFirstNonFinite puts every bit pattern (of the narrow types) and the edges of the wide one at the ends of buffers
// around the 64-byte blocks.
func TestFirstNonFinite(t *testing.T) {
	patterns := map[compute.DType][]uint32{
		compute.F32: {0, 1, 0x80000000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x00800000, 0x3F800000},
	}
	for i := range uint32(1 << 16) {
		patterns[compute.F16] = append(patterns[compute.F16], i)
		patterns[compute.BF16] = append(patterns[compute.BF16], i)
	}
	value := map[compute.DType]func(bits uint32) float32{
		compute.F32:  math.Float32frombits,
		compute.F16:  func(bits uint32) float32 { return f16.ToF32(uint16(bits)) },
		compute.BF16: func(bits uint32) float32 { return f16.BF16ToF32(uint16(bits)) },
	}
	for dtype, all := range patterns {
		size := dtype.Size()
		for _, bits := range all {
			v := float64(value[dtype](bits))
			bad := math.IsNaN(v) || math.IsInf(v, 0)
			for _, n := range []int{1, 64/size + 3} {
				for at := 0; at < n; at += max(1, n-1) {
					data := make([]byte, n*size+4)
					binary.LittleEndian.PutUint32(data[at*size:], bits)
					want := -1
					if bad {
						want = at
					}
					if got := compute.FirstNonFinite(dtype, data[:n*size]); got != want {
						t.Fatalf("%v: %#x at %d of %d: got %d, want %d", dtype, bits, at, n, got, want)
					}
				}
			}
		}
	}
	if got := compute.FirstNonFinite(compute.I32, []byte{255, 255, 255, 255}); got != -1 {
		t.Errorf("an integer is not finite: %d", got)
	}
}
