package ref

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// guidanceCombine is y = Σ_k Weights[k]·X_k, X_k being the k-th of equal parts of X.
func (f *frame[T]) guidanceCombine(op compute.GuidanceCombine, y compute.Value) {
	x, weights, out := f.value(op.X), f.value(op.Weights), f.value(y)
	for i := range out {
		var sum float64
		for k, w := range weights {
			sum += float64(w) * float64(x[k*len(out)+i])
		}
		out[i] = T(sum)
	}
	if op.Rescale > 0 {
		samples := f.shape(y)[0]
		for n := range samples {
			size := len(out) / samples
			rescale(out[n*size:][:size], f.value(op.Like)[n*size:][:size], op.Rescale)
		}
	}
}

// rescale multiplies y so that its deviation goes part of the way to that of like.
func rescale[T number](y, like []T, part float64) {
	have := deviation(y)
	if have == 0 {
		return
	}
	factor := 1 - part + part*deviation(like)/have
	for i, v := range y {
		y[i] = T(float64(v) * factor)
	}
}

// deviation is the standard deviation.
func deviation[T number](x []T) float64 {
	mean, squares := 0.0, 0.0
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		squares += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(squares / float64(len(x)))
}

// linearCombination is y = Σ_i Coefficients[Row,i]·Terms[i], leaving out terms whose coefficient is 0.
func (f *frame[T]) linearCombination(op compute.LinearCombination, y compute.Value) {
	coefficients := f.value(op.Coefficients)[op.Row*len(op.Terms):]
	out := f.value(y)
	for i := range out {
		var sum float64
		for k, term := range op.Terms {
			if c := coefficients[k]; c != 0 {
				sum += float64(c) * float64(f.value(term)[i])
			}
		}
		out[i] = T(sum)
	}
}
