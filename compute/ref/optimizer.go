package ref

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// clipNorm is factor and norm of all gradients together.
func (f *frame[T]) clipNorm(op compute.ClipNorm, y compute.Value) {
	unscale, limit := float64(f.value(op.Limits)[0]), float64(f.value(op.Limits)[1])
	var square float64
	for _, v := range op.Gradients {
		for _, g := range f.value(v) {
			square += float64(g) * float64(g)
		}
	}
	norm, factor := unscale*math.Sqrt(square), unscale
	if limit != 0 {
		factor *= min(1, limit/(norm+1e-6))
	}
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		factor = 0
	}
	out := f.value(y)
	out[0], out[1] = T(factor), T(norm)
}

// adamW is m' = m + (1-β1)(g-m), v' = v + (1-β2)(g²-v), p' = p(1-lr·decay) - lr·(m'/(1-β1ᵏ))/(√(v'/(1-β2ᵏ))+ε).
func (f *frame[T]) adamW(op compute.AdamW, out []compute.Value) {
	p, g, m, v := f.value(op.Parameter), f.value(op.Gradient), f.value(op.M), f.value(op.V)
	p2, m2, v2 := f.value(out[0]), f.value(out[1]), f.value(out[2])
	var h [7]float64
	for i, x := range f.value(op.Hyper) {
		h[i] = float64(x)
	}
	rate, rest1, rest2, eps, decay, bias1, bias2 := h[0], h[1], h[2], h[3], h[4], h[5], h[6]
	factor := 1.0
	if op.Clip.Valid() {
		factor = float64(f.value(op.Clip)[0])
	}
	for i := range p {
		gradient, moment, square := factor*float64(g[i]), float64(m[i]), float64(v[i])
		if factor == 0 {
			p2[i], m2[i], v2[i] = p[i], m[i], v[i]
			continue
		}
		moment += rest1 * (gradient - moment)
		square += rest2 * (gradient*gradient - square)
		p2[i] = T(float64(p[i])*(1-rate*decay) - rate*(moment/bias1)/(math.Sqrt(square/bias2)+eps))
		m2[i], v2[i] = T(moment), T(square)
	}
}
