package elem

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// TestFirstNonFinite puts what is no number at every place of buffers of many lengths, among the largest numbers there are.
func TestFirstNonFinite(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, c := range []struct {
			dtype         compute.DType
			largest, odds []uint32
		}{
			{compute.F32, []uint32{math.Float32bits(math.MaxFloat32), math.Float32bits(-math.MaxFloat32), 0x7F7F_7F80, 0x0000_7F80}, []uint32{0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x7F80_0001}},
			{compute.F16, []uint32{0x7BFF, 0xFBFF, 0x03FF, 0}, []uint32{0x7C00, 0xFC00, 0x7E00, 0xFC01}},
			{compute.BF16, []uint32{0x7F7F, 0xFF7F, 0x007F, 0}, []uint32{0x7F80, 0xFF80, 0x7FC0, 0x7F81}},
		} {
			size := c.dtype.Size()
			put := func(data []byte, i int, v uint32) {
				if size == 4 {
					binary.LittleEndian.PutUint32(data[4*i:], v)
				} else {
					binary.LittleEndian.PutUint16(data[2*i:], uint16(v))
				}
			}
			for _, n := range []int{0, 1, 31, 64, 65, 130, 300} {
				data := make([]byte, 1+n*size)[1:]
				for i := range n {
					put(data, i, c.largest[i%4])
				}
				if got := k.FirstNonFinite(c.dtype, data); got != -1 {
					t.Fatalf("%v: element %d of %d numbers is said to be none", c.dtype, got, n)
				}
				for i := range n {
					put(data, i, c.odds[i%4])
					put(data, n-1, c.odds[0])
					if got := k.FirstNonFinite(c.dtype, data); got != i {
						t.Fatalf("%v: have element %d of %d, want %d", c.dtype, got, n, i)
					}
					put(data, i, c.largest[i%4])
					put(data, n-1, c.largest[(n-1)%4])
				}
			}
			if k.FirstNonFinite(compute.I32, make([]byte, 512)) != -1 {
				t.Error("an integer is said to be no number")
			}
		}
	})
}
