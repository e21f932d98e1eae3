package ref

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// attentionGradient is, per head and with p = softmax(Q_t·K/√d) of query t and dp_s = DY_t·V_s,
// ds = p·(dp - Σ p·dp)/√d, from which dQ_t = Σ_s ds_s·K_s, dK_s = Σ_t ds_s·Q_t and dV_s = Σ_t p_s·DY_t.
func (f *frame[T]) attentionGradient(op compute.AttentionGradient, out []compute.Value) {
	q, k, v, dy := f.value(op.Q), f.value(op.K), f.value(op.V), f.value(op.DY)
	queries, keys, channels := f.shape(op.Q)[1], f.shape(op.K)[1], f.shape(op.Q)[2]
	d := channels / op.Heads
	scale := 1 / math.Sqrt(float64(d))
	parallel(f.shape(op.Q)[0]*op.Heads, func(first, end int) {
		p, ds := make([]float64, keys), make([]float64, keys)
		dq, dk, dv := make([]float64, queries*d), make([]float64, keys*d), make([]float64, keys*d)
		for i := first; i < end; i++ {
			n, h := i/op.Heads, i%op.Heads
			row := func(x []T, length, at int) []T { return x[(n*length+at)*channels+h*d:][:d] }
			clear(dq)
			clear(dk)
			clear(dv)
			for t := range queries {
				seen := keys
				if op.Causal {
					seen = t + 1
				}
				p, ds := p[:seen], ds[:seen]
				for s := range p {
					p[s] = scale * inner(row(q, queries, t), row(k, keys, s))
				}
				softmax(p)
				var mean float64
				for s := range ds {
					ds[s] = inner(row(dy, queries, t), row(v, keys, s))
					mean += p[s] * ds[s]
				}
				for s := range ds {
					ds[s] = scale * p[s] * (ds[s] - mean)
					axpy(dq[t*d:][:d], ds[s], row(k, keys, s))
					axpy(dk[s*d:][:d], ds[s], row(q, queries, t))
					axpy(dv[s*d:][:d], p[s], row(dy, queries, t))
				}
			}
			for at := range queries * d {
				row(f.value(out[0]), queries, at/d)[at%d] = T(dq[at])
			}
			for at := range keys * d {
				row(f.value(out[1]), keys, at/d)[at%d] = T(dk[at])
				row(f.value(out[2]), keys, at/d)[at%d] = T(dv[at])
			}
		}
	})
}

// axpy is y += a·x.
func axpy[T number](y []float64, a float64, x []T) {
	for i, v := range x {
		y[i] += a * float64(v)
	}
}
