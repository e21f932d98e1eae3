package ref

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// moments are the mean of n numbers and their biased variance.
func moments(n int, at func(i int) float64) (mean, variance float64) {
	for i := range n {
		mean += at(i)
	}
	mean /= float64(n)
	for i := range n {
		d := at(i) - mean
		variance += d * d
	}
	return mean, variance / float64(n)
}

// groupNorm is y = Activation((x-μ)/√(σ²+Eps)·Weight + Bias), μ and σ² over a sample's positions and a group's channels.
// All of a group is read before any of it is written, since y may have X's storage.
func (f *frame[T]) groupNorm(op compute.GroupNorm, y compute.Value) {
	x, shape := f.join(op.X, op.X2), f.shape(y)
	out, weight, bias := f.value(y), f.value(op.Weight), f.value(op.Bias)
	channels, positions := x.channels(), shape.Rows()/shape[0]
	size := channels / op.Groups
	parallel(shape[0]*op.Groups, func(first, end int) {
		for group := first; group < end; group++ {
			row, c0 := group/op.Groups*positions, group%op.Groups*size
			at := func(i int) float64 { return x.at(row+i/size, c0+i%size) }
			mean, variance := moments(positions*size, at)
			for i := range positions * size {
				c := c0 + i%size
				normal := (at(i) - mean) / math.Sqrt(variance+op.Eps)
				out[(row+i/size)*channels+c] = T(apply(op.Activation, normal*float64(weight[c])+float64(bias[c])))
			}
		}
	})
}

// layerNorm is y = (x-μ)/√(σ²+Eps)·Weight + Bias, μ and σ² over a row's channels.
func (f *frame[T]) layerNorm(op compute.LayerNorm, y compute.Value) {
	x, out, weight, bias := f.value(op.X), f.value(y), f.value(op.Weight), f.value(op.Bias)
	channels := f.shape(y).Last()
	parallel(f.shape(y).Rows(), func(first, end int) {
		for r := first; r < end; r++ {
			row := x[r*channels:][:channels]
			mean, variance := moments(channels, func(c int) float64 { return float64(row[c]) })
			for c, v := range row {
				normal := (float64(v) - mean) / math.Sqrt(variance+op.Eps)
				out[r*channels+c] = T(normal*float64(weight[c]) + float64(bias[c]))
			}
		}
	})
}
