package gemm

import (
	"encoding/binary"
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/internal/f16"
)

// generic is the portable kernel. A 4×4 tile keeps its sums in the sixteen registers that the common
// architectures have.
var generic = Kernel{
	Set: isa.Generic, MR: 4, NR: 4, KC: 1440, MC: 128,
	mul:       mulGeneric,
	widenF16:  widenF16Generic,
	widenBF16: widenBF16Generic,
	narrow:    narrowGeneric,
	spin:      spinGeneric,
}

// mulGeneric is the definition of the micro-kernel. Rows beyond the tile's alias its last row and their
// sums are dropped, so that one loop serves every height.
func mulGeneric(t *Tile, rows int) {
	const nr = 4
	var c [4][nr]float32
	for r := range rows {
		c[r] = *(*[nr]float32)(unsafe.Add(unsafe.Pointer(t.Init), r*t.InitStride))
	}
	c00, c01, c02, c03 := c[0][0], c[0][1], c[0][2], c[0][3]
	c10, c11, c12, c13 := c[1][0], c[1][1], c[1][2], c[1][3]
	c20, c21, c22, c23 := c[2][0], c[2][1], c[2][2], c[2][3]
	c30, c31, c32, c33 := c[3][0], c[3][1], c[3][2], c[3][3]
	done := 0 // steps of k
	for s, n := range unsafe.Slice(t.Seg, t.Segs) {
		p := unsafe.Slice((*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(t.Rows), s*t.RowsStride)), rows)
		last := len(p) - 1
		a0 := unsafe.Slice((*float32)(p[0]), n)
		a1 := unsafe.Slice((*float32)(p[min(1, last)]), n)[:len(a0)]
		a2 := unsafe.Slice((*float32)(p[min(2, last)]), n)[:len(a0)]
		a3 := unsafe.Slice((*float32)(p[min(3, last)]), n)[:len(a0)]
		bs := unsafe.Slice((*[nr]float32)(unsafe.Add(unsafe.Pointer(t.B), done*nr*4)), n)[:len(a0)]
		for k := range a0 {
			v := &bs[k]
			b0, b1, b2, b3 := v[0], v[1], v[2], v[3]
			x := a0[k]
			c00 += x * b0
			c01 += x * b1
			c02 += x * b2
			c03 += x * b3
			x = a1[k]
			c10 += x * b0
			c11 += x * b1
			c12 += x * b2
			c13 += x * b3
			x = a2[k]
			c20 += x * b0
			c21 += x * b1
			c22 += x * b2
			c23 += x * b3
			x = a3[k]
			c30 += x * b0
			c31 += x * b1
			c32 += x * b2
			c33 += x * b3
		}
		done += n
	}
	c = [4][nr]float32{{c00, c01, c02, c03}, {c10, c11, c12, c13}, {c20, c21, c22, c23}, {c30, c31, c32, c33}}
	for r := range rows {
		if t.Residual != nil {
			res := (*[nr]float32)(unsafe.Add(unsafe.Pointer(t.Residual), r*t.ResidualStride))
			for j := range res {
				c[r][j] += res[j]
			}
		}
		*(*[nr]float32)(unsafe.Add(unsafe.Pointer(t.C), r*t.CStride)) = c[r]
	}
}

func widenF16Generic(dst []float32, p []byte) {
	for i := range dst {
		dst[i] = f16.ToF32(binary.LittleEndian.Uint16(p[2*i:]))
	}
}

func widenBF16Generic(dst []float32, p []byte) {
	for i := range dst {
		dst[i] = f16.BF16ToF32(binary.LittleEndian.Uint16(p[2*i:]))
	}
}

func narrowGeneric(dst []uint16, p []float32) {
	for i := range dst {
		dst[i] = f16.F32ToBF16(p[i])
	}
}

// spinSink keeps the compiler from dropping spinGeneric's loop.
var spinSink atomic.Uint32

// spinGeneric runs eight independent chains, enough to cover the latency of a multiply and an add.
func spinGeneric(n int) int {
	var a, b, c, d, e, f, g, h float32
	x, y := float32(0.5), float32(1)
	for range n {
		a = a*x + y
		b = b*x + y
		c = c*x + y
		d = d*x + y
		e = e*x + y
		f = f*x + y
		g = g*x + y
		h = h*x + y
	}
	spinSink.Store(math.Float32bits(a + b + c + d + e + f + g + h))
	return n * 8 * 2
}
