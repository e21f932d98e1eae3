package ref

import "github.com/atelier-go/atelier/compute"

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
