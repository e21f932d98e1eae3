package ref

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// normGradient is the derivative of x̂ = (x-μ)/√(σ²+eps) over n numbers: with d the derivative by x̂,
// it is (d - mean(d) - x̂·mean(d·x̂))/√(σ²+eps). d is given x̂.
func normGradient(n int, eps float64, x func(i int) float64, d func(i int, normal float64) float64) []float64 {
	mean, variance := moments(n, x)
	deviation := math.Sqrt(variance + eps)
	dx := make([]float64, n)
	var sum, inner float64
	for i := range n {
		normal := (x(i) - mean) / deviation
		dx[i] = d(i, normal)
		sum += dx[i]
		inner += dx[i] * normal
	}
	for i := range n {
		normal := (x(i) - mean) / deviation
		dx[i] = (dx[i] - sum/float64(n) - normal*inner/float64(n)) / deviation
	}
	return dx
}

// groupNormGradient writes normGradient of every group, with d = DY·Activation'(x̂·Weight+Bias)·Weight, to the parts that x
// came in.
func (f *frame[T]) groupNormGradient(op compute.GroupNormGradient, out []compute.Value) {
	x, shape := f.join(op.X, op.X2), f.shape(op.DY)
	dy, weight, bias, add := f.value(op.DY), f.value(op.Weight), f.value(op.Bias), f.optional(op.Add)
	dx := f.value(out[0])
	var dx2 []T
	if op.X2.Valid() {
		dx2 = f.value(out[1])
	}
	channels, positions := x.channels(), shape.Rows()/shape[0]
	size := channels / op.Groups
	parallel(shape[0]*op.Groups, func(first, end int) {
		for group := first; group < end; group++ {
			row, c0 := group/op.Groups*positions, group%op.Groups*size
			at := func(i int) float64 { return x.at(row+i/size, c0+i%size) }
			d := func(i int, normal float64) float64 {
				c := c0 + i%size
				z := normal*float64(weight[c]) + float64(bias[c])
				return float64(dy[(row+i/size)*channels+c]) * derivative(op.Activation, z) * float64(weight[c])
			}
			for i, v := range normGradient(positions*size, op.Eps, at, d) {
				if r, c := row+i/size, c0+i%size; c < x.ca {
					dx[r*x.ca+c] = T(plus(v, add, r*x.ca+c))
				} else {
					dx2[r*x.cb+c-x.ca] = T(v)
				}
			}
		}
	})
}

// layerNormGradient is normGradient of every row, with d = DY·Weight, plus Add.
func (f *frame[T]) layerNormGradient(op compute.LayerNormGradient, y compute.Value) {
	x, dy, weight, add, out := f.value(op.X), f.value(op.DY), f.value(op.Weight), f.optional(op.Add), f.value(y)
	channels := f.shape(y).Last()
	parallel(f.shape(y).Rows(), func(first, end int) {
		for r := first; r < end; r++ {
			at := func(c int) float64 { return float64(x[r*channels+c]) }
			d := func(c int, _ float64) float64 { return float64(dy[r*channels+c]) * float64(weight[c]) }
			for c, v := range normGradient(channels, op.Eps, at, d) {
				out[r*channels+c] = T(plus(v, add, r*channels+c))
			}
		}
	})
}
