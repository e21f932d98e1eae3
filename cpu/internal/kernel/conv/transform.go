package conv

import (
	"unsafe"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// transforms are the three linear maps of F(4×4,3×3) for one kernel set. With d a 6×6 input tile, g a
// 3×3 kernel and m their product after the transforms, y = Aᵀ·[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]·A, for
// interpolation points 0, ±1, ±2 and ∞.
type transforms struct {
	// input sets dst[i][j] = (Bᵀ·d·B)[i][j] for vectors of 16 channels, where tile pixel (i,j) starts
	// at rows[6i+j] and dst's 36 planes are stride bytes apart. tmp is 36·16 floats of scratch.
	input func(dst *float32, stride int, rows *[36]unsafe.Pointer, channels int, tmp *float32)

	// weights sets dst[6r+j] = (G·g·Gᵀ)[i][j] for the two rows i = rowPairs[pair][r], for n elements of
	// each of twelve planes that are plane bytes apart; the nine taps of src are tap bytes apart. Rows
	// are made in pairs because the two of a pair share most of their arithmetic.
	weights func(dst *float32, plane int, src *byte, tap, n int, t compute.DType, pair int)

	// output sets y = Aᵀ·m·A + init + residual for the NR channels of one tile, m being [36][NR]. Rows of
	// y and residual are row bytes apart, pixels col bytes. residual may be nil.
	output func(y *float32, row, col int, m, init, residual, tmp *float32)
}

// rowPairs are the rows of G·g·Gᵀ that are made together.
var rowPairs = [3][2]int{{0, 5}, {1, 2}, {3, 4}}

// genericTransforms serves the portable set, whose panels are nr channels wide.
func genericTransforms(nr int) *transforms {
	return &transforms{
		input:   inputGeneric,
		weights: weightsGeneric,
		output: func(y *float32, row, col int, m, init, residual, _ *float32) {
			outputGeneric(y, row, col, m, init, residual, nr)
		},
	}
}

// inputRow is Bᵀ·d for one column or row of a tile.
func inputRow(d0, d1, d2, d3, d4, d5 float32) (o0, o1, o2, o3, o4, o5 float32) {
	a, b := d4-4*d2, d3-4*d1
	c, e := d4-d2, 2*(d3-d1)
	return 4*d0 - 5*d2 + d4, a + b, a - b, c + e, c - e, 4*d1 - 5*d3 + d5
}

// outputRow is Aᵀ·m for one column or row of a tile.
func outputRow(m0, m1, m2, m3, m4, m5 float32) (y0, y1, y2, y3 float32) {
	p, q, r, s := m1+m2, m1-m2, m3+m4, m3-m4
	return m0 + p + r, q + 2*s, p + 4*r, q + 8*s + m5
}

func inputGeneric(dst *float32, stride int, rows *[36]unsafe.Pointer, channels int, _ *float32) {
	var t [6][6]float32
	for c := range channels {
		for j := range 6 {
			d := func(i int) float32 { return *(*float32)(unsafe.Add(rows[6*i+j], 4*c)) }
			t[0][j], t[1][j], t[2][j], t[3][j], t[4][j], t[5][j] = inputRow(d(0), d(1), d(2), d(3), d(4), d(5))
		}
		for i := range 6 {
			r := &t[i]
			o0, o1, o2, o3, o4, o5 := inputRow(r[0], r[1], r[2], r[3], r[4], r[5])
			for j, v := range [6]float32{o0, o1, o2, o3, o4, o5} {
				*(*float32)(unsafe.Add(unsafe.Pointer(dst), (6*i+j)*stride+4*c)) = v
			}
		}
	}
}

// kernelRow is G·g for one column, or g·Gᵀ for one row, of a kernel.
func kernelRow(g0, g1, g2 float32) [6]float32 {
	a, b := -(g0+g2)/6, g1/6
	c, d := g0/24+g2/6, g1/12
	return [6]float32{g0 / 4, a - b, a + b, c + d, c - d, g2}
}

func weightsGeneric(dst *float32, plane int, src *byte, tap, n int, t compute.DType, pair int) {
	size := t.Size()
	var s [3][6]float32
	for e := range n {
		for j := range s {
			g := func(i int) float32 { return load(unsafe.Add(unsafe.Pointer(src), (3*i+j)*tap+e*size), t) }
			s[j] = kernelRow(g(0), g(1), g(2))
		}
		for r, i := range rowPairs[pair] {
			for j, v := range kernelRow(s[0][i], s[1][i], s[2][i]) {
				*(*float32)(unsafe.Add(unsafe.Pointer(dst), (6*r+j)*plane+4*e)) = v
			}
		}
	}
}

func outputGeneric(y *float32, row, col int, m, init, residual *float32, nr int) {
	ms := unsafe.Slice(m, 36*nr)
	var t [4][6]float32
	for c := range nr {
		for j := range 6 {
			at := func(i int) float32 { return ms[(6*i+j)*nr+c] }
			t[0][j], t[1][j], t[2][j], t[3][j] = outputRow(at(0), at(1), at(2), at(3), at(4), at(5))
		}
		add := *(*float32)(unsafe.Add(unsafe.Pointer(init), 4*c))
		for i := range 4 {
			r := &t[i]
			y0, y1, y2, y3 := outputRow(r[0], r[1], r[2], r[3], r[4], r[5])
			for j, v := range [4]float32{y0, y1, y2, y3} {
				at := i*row + j*col + 4*c
				v += add
				if residual != nil {
					v += *(*float32)(unsafe.Add(unsafe.Pointer(residual), at))
				}
				*(*float32)(unsafe.Add(unsafe.Pointer(y), at)) = v
			}
		}
	}
}

// load reads one weight.
func load(p unsafe.Pointer, t compute.DType) float32 {
	switch t {
	case compute.F16:
		return f16.ToF32(*(*uint16)(p))
	case compute.BF16:
		return f16.BF16ToF32(*(*uint16)(p))
	}
	return *(*float32)(p)
}
