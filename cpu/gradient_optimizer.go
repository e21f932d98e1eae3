package cpu

import (
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/elem"
)

// clipNorm sums the squares of each gradient in a task of its own, and these sums in order.
func (c *compiler) clipNorm(op compute.ClipNorm, out compute.Value) (lowered, error) {
	return lowered{bind: func(b *binding) (step, error) {
		limits, y := b.place(op.Limits), b.place(out)
		gradients, squares := make([]span, len(op.Gradients)), make([]float64, len(op.Gradients))
		for i, v := range op.Gradients {
			gradients[i] = b.place(v)
		}
		square := func(task, _ int) { squares[task] = sumOfSquares(gradients[task].f32()) }
		return step{func() {}, []phase{{len(gradients), square}, {1, func(int, int) {
			var sum float64
			for _, s := range squares {
				sum += s
			}
			unscale, limit := float64(limits.f32()[0]), float64(limits.f32()[1])
			norm, factor := unscale*math.Sqrt(sum), unscale
			if limit != 0 {
				factor *= min(1, limit/(norm+1e-6))
			}
			if math.IsNaN(norm) || math.IsInf(norm, 0) {
				factor = 0
			}
			y.f32()[0], y.f32()[1] = float32(factor), float32(norm)
		}}}}, nil
	}}, nil
}

// sumOfSquares is Σ x² in four sums, so that no addition waits for the one before.
func sumOfSquares(x []float32) float64 {
	var s [4]float64
	for ; len(x) >= 4; x = x[4:] {
		for i, v := range (*[4]float32)(x) {
			s[i] += float64(v) * float64(v)
		}
	}
	for _, v := range x {
		s[0] += float64(v) * float64(v)
	}
	return s[0] + s[1] + s[2] + s[3]
}

func (c *compiler) adamW(op compute.AdamW, out []compute.Value) (lowered, error) {
	return lowered{bind: func(b *binding) (step, error) {
		in := [4]span{b.place(op.Parameter), b.place(op.Gradient), b.place(op.M), b.place(op.V)}
		results := [3]span{b.place(out[0]), b.place(out[1]), b.place(out[2])}
		hyper, clip := b.place(op.Hyper), b.optional(op.Clip)
		a := adam{kernels: c.elem}
		prepare := func() {
			a.p, a.g, a.m, a.v = in[0].f32(), in[1].f32(), in[2].f32(), in[3].f32()
			a.p2, a.m2, a.v2 = results[0].f32(), results[1].f32(), results[2].f32()
			a.hyper, a.clip = hyper.f32(), clip.f32()
		}
		return step{prepare, each(in[0].n, grain, func(from, to int) { a.update(from, to) })}, nil
	}}, nil
}

// adam is one step of AdamW: parameter, gradient and moments, what becomes of them, and the numbers of the step.
type adam struct {
	kernels    *elem.Kernels
	p, g, m, v []float32
	p2, m2, v2 []float32
	hyper      []float32 // lr, 1-β1, 1-β2, ε, decay, 1-β1ᵏ, 1-β2ᵏ
	clip       []float32 // the factor of gradients first, or empty; a factor of 0 is that of gradients which are not finite
}

// update steps elements from to to-1.
func (a *adam) update(from, to int) {
	factor := 1.0
	if len(a.clip) > 0 {
		factor = float64(a.clip[0])
	}
	if factor == 0 {
		copy(a.p2[from:to], a.p[from:])
		copy(a.m2[from:to], a.m[from:])
		copy(a.v2[from:to], a.v[from:])
		return
	}
	h := func(i int) float64 { return float64(a.hyper[i]) }
	step := elem.AdamW{
		Factor: factor, Rest1: h(1), Rest2: h(2), Keep: 1 - h(0)*h(4), Rate: h(0), Eps: h(3), Unbias1: 1 / h(5), Unbias2: 1 / h(6),
	}
	a.kernels.AdamW(a.p2[from:to], a.m2[from:], a.v2[from:], a.p[from:], a.g[from:], a.m[from:], a.v[from:], step)
}
