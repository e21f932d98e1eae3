package conv

import (
	"unsafe"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// points are the interpolation points 0, ±a, ±b and ∞ of F(4×4,3×3), as the factors of its transforms.
type points struct {
	a, b, a2, b2, a3, b3    float32 // a², …
	sum, product            float32 // a² + b², a²·b²
	inverse                 float32 // 1/product
	a0, a1, b0, b1, bSquare float32 // what 1, a and 1, b, b² are divided by: 2a²(a²-b²) and 2b²(b²-a²)
}

func newPoints(a, b float64) *points {
	a2, b2 := a*a, b*b
	na, nb := 2*a2*(a2-b2), 2*b2*(b2-a2)
	return &points{
		a: float32(a), b: float32(b), a2: float32(a2), b2: float32(b2), a3: float32(a * a2), b3: float32(b * b2),
		sum: float32(a2 + b2), product: float32(a2 * b2), inverse: float32(1 / (a2 * b2)),
		a0: float32(1 / na), a1: float32(a / na), b0: float32(1 / nb), b1: float32(b / nb), bSquare: float32(b2 / nb),
	}
}

// The points in use. With those of whole numbers the transforms are exact in most elements, and V of an input that is
// resized by two has zeros; with the others the errors of V and U are magnified by 4.8 instead of 10.8 on average, and by 7
// instead of 31 in the worst pixel.
var (
	whole    = newPoints(1, 2)
	balanced = newPoints(11.0/16, 3.0/2)
)

// transforms are the three linear maps of F(4×4,3×3) for one kernel set. With d a 6×6 input tile, g a
// 3×3 kernel and m their product after the transforms, y = Aᵀ·[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]·A, for
// the interpolation points c.
type transforms struct {
	// input sets dst[i][j] = (Bᵀ·d·B)[i][j] for vectors of 16 channels, where tile pixel (i,j) starts
	// at rows[6i+j] and dst's 36 planes are stride bytes apart. tmp is 36·16 floats of scratch.
	input func(dst *float32, stride int, rows *[36]unsafe.Pointer, channels int, tmp *float32, c *points)

	// weights sets dst[6r+j] = (G·g·Gᵀ)[i][j] for the two rows i = rowPairs[pair][r], for n elements of
	// each of twelve planes that are plane bytes apart; the nine taps of src are tap bytes apart. Rows
	// are made in pairs because the two of a pair share most of their arithmetic.
	weights func(dst *float32, plane int, src *byte, tap, n int, t compute.DType, pair int, c *points)

	// output sets y = Aᵀ·m·A + init + residual for the NR channels of one tile, m being [36][NR]. Rows of
	// y and residual are row bytes apart, pixels col bytes. residual may be nil.
	output func(y *float32, row, col int, m, init, residual, tmp *float32, c *points)

	// fixRows rounds n elements of each of 36 rows to integers of length 32000: dst[i][k] = round(src[i][k]/scale[i])
	// with scale[i] = ‖src[i]‖/32000. Rows and scales are so many bytes apart.
	fixRows func(dst *int16, dstStride int, src *float32, srcStride, n int, scale *float32, scaleStride int)

	// bound sets scale[k][l], a row of NR, for the planes p of U = G·g·Gᵀ whose row is of class k and whose column is of class l: no
	// column of p/scale, over the given number of rows of NR elements, is longer than 64000 or has an element above 32700, which is told from the lengths and
	// the largest elements of the taps alone. factor[k][l] is 1/scale without what the rows and columns of a class have in common as a factor.
	bound func(factor, scale *float32, src *byte, tap, rows int, t compute.DType, c *points)

	// fixWeights is weights for pairs of rows of NR elements, rounded: U/scale, each pair of rows as pairs of 16-bit integers.
	fixWeights func(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, t compute.DType, pair int, c *points)
}

// rowPairs are the rows of G·g·Gᵀ that are made together.
var rowPairs = [3][2]int{{0, 5}, {1, 2}, {3, 4}}

// classes are those of the rows of G: rows of a class differ in the sign of an element.
var classes = [6]int{0, 1, 1, 2, 2, 3}

// genericTransforms serves the portable set, whose panels are nr channels wide.
func genericTransforms(nr int) *transforms {
	return &transforms{
		input:   inputGeneric,
		weights: weightsGeneric,
		output: func(y *float32, row, col int, m, init, residual, _ *float32, c *points) {
			outputGeneric(y, row, col, m, init, residual, nr, c)
		},
	}
}

// inputRow is Bᵀ·d for one column or row of a tile.
func (c *points) inputRow(d0, d1, d2, d3, d4, d5 float32) (o0, o1, o2, o3, o4, o5 float32) {
	e, f := d4-c.b2*d2, c.a*(d3-c.b2*d1)
	g, h := d4-c.a2*d2, c.b*(d3-c.a2*d1)
	return c.product*d0 - c.sum*d2 + d4, e + f, e - f, g + h, g - h, c.product*d1 - c.sum*d3 + d5
}

// outputRow is Aᵀ·m for one column or row of a tile.
func (c *points) outputRow(m0, m1, m2, m3, m4, m5 float32) (y0, y1, y2, y3 float32) {
	p, q, r, s := m1+m2, m1-m2, m3+m4, m3-m4
	return m0 + p + r, c.a*q + c.b*s, c.a2*p + c.b2*r, c.a3*q + c.b3*s + m5
}

func inputGeneric(dst *float32, stride int, rows *[36]unsafe.Pointer, channels int, _ *float32, c *points) {
	var t [6][6]float32
	for k := range channels {
		for j := range 6 {
			d := func(i int) float32 { return *(*float32)(unsafe.Add(rows[6*i+j], 4*k)) }
			t[0][j], t[1][j], t[2][j], t[3][j], t[4][j], t[5][j] = c.inputRow(d(0), d(1), d(2), d(3), d(4), d(5))
		}
		for i := range 6 {
			r := &t[i]
			o0, o1, o2, o3, o4, o5 := c.inputRow(r[0], r[1], r[2], r[3], r[4], r[5])
			for j, v := range [6]float32{o0, o1, o2, o3, o4, o5} {
				*(*float32)(unsafe.Add(unsafe.Pointer(dst), (6*i+j)*stride+4*k)) = v
			}
		}
	}
}

// kernelRow is G·g for one column, or g·Gᵀ for one row, of a kernel.
func (c *points) kernelRow(g0, g1, g2 float32) [6]float32 {
	e, f := (g0+c.a2*g2)*c.a0, g1*c.a1
	g, h := g0*c.b0+g2*c.bSquare, g1*c.b1
	return [6]float32{g0 * c.inverse, e + f, e - f, g + h, g - h, g2}
}

func weightsGeneric(dst *float32, plane int, src *byte, tap, n int, t compute.DType, pair int, c *points) {
	size := t.Size()
	var s [3][6]float32
	for e := range n {
		for j := range s {
			g := func(i int) float32 { return load(unsafe.Add(unsafe.Pointer(src), (3*i+j)*tap+e*size), t) }
			s[j] = c.kernelRow(g(0), g(1), g(2))
		}
		for r, i := range rowPairs[pair] {
			for j, v := range c.kernelRow(s[0][i], s[1][i], s[2][i]) {
				*(*float32)(unsafe.Add(unsafe.Pointer(dst), (6*r+j)*plane+4*e)) = v
			}
		}
	}
}

func outputGeneric(y *float32, row, col int, m, init, residual *float32, nr int, c *points) {
	ms := unsafe.Slice(m, 36*nr)
	var t [4][6]float32
	for k := range nr {
		for j := range 6 {
			at := func(i int) float32 { return ms[(6*i+j)*nr+k] }
			t[0][j], t[1][j], t[2][j], t[3][j] = c.outputRow(at(0), at(1), at(2), at(3), at(4), at(5))
		}
		add := *(*float32)(unsafe.Add(unsafe.Pointer(init), 4*k))
		for i := range 4 {
			r := &t[i]
			y0, y1, y2, y3 := c.outputRow(r[0], r[1], r[2], r[3], r[4], r[5])
			for j, v := range [4]float32{y0, y1, y2, y3} {
				at := i*row + j*col + 4*k
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
