package ref

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// attention is, per sample n, head h and query t, y = Σ_s p_s·V_s with p = softmax_s(Q_t·K_s/√d).
func (f *frame[T]) attention(op compute.Attention, y compute.Value) {
	q, k, v, out := f.value(op.Q), f.value(op.K), f.value(op.V), f.value(y)
	queries, keys, channels := f.shape(op.Q)[1], f.shape(op.K)[1], f.shape(op.Q)[2]
	d := channels / op.Heads
	scale := 1 / math.Sqrt(float64(d))
	parallel(f.shape(op.Q)[0]*op.Heads*queries, func(first, end int) {
		p, sum := make([]float64, keys), make([]float64, d)
		for i := first; i < end; i++ {
			n, h, t := i/(op.Heads*queries), i/queries%op.Heads, i%queries
			row := func(x []T, length, at int) []T { return x[(n*length+at)*channels+h*d:][:d] }
			seen := keys
			if op.Causal {
				seen = t + 1
			}
			p := p[:seen]
			for s := range p {
				p[s] = scale * inner(row(q, queries, t), row(k, keys, s))
			}
			softmax(p)
			clear(sum)
			for s, weight := range p {
				for c, value := range row(v, keys, s) {
					sum[c] += weight * float64(value)
				}
			}
			for c, value := range sum {
				row(out, queries, t)[c] = T(value)
			}
		}
	})
}

// inner is the inner product of two vectors.
func inner[T number](a, b []T) float64 {
	var sum float64
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

// softmax replaces x by e^x divided by their sum.
func softmax(x []float64) {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, v)
	}
	var sum float64
	for i, v := range x {
		x[i] = math.Exp(v - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}
