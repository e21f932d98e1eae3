package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// ClipNorm is compute.ClipNorm: a launch for each gradient, and one that puts them together. Squares of what was divided by the greatest
// magnitude overflow nothing, and the norm is not finite where a gradient has a number that is not.
type ClipNorm struct{}

// ClipNormShared is the bytes of shared memory that both kernels need.
const ClipNormShared = 2 * normThreads / 32 * 4

// Measure has the parameters measure (two float32: the greatest magnitude, and the sum of squares relative to it), gradient, and its
// number of elements. It is launched with one block.
func (ClipNorm) Measure() *ptx.Kernel {
	k := ptx.New("clip_norm_measure", normThreads)
	measure, gradient, n := k.Pointer("measure"), declare(k, "gradient", compute.F32), k.Uint("n")
	top := k.Float(0.0)
	k.For(k.Thread(), n, normThreads, func(i ptx.Int) { top.Set(top.Max(gradient.load(i, 1)[0].Magnitude())) })
	most := blockMax(k, top, 0)
	sum := k.Float(0.0)
	divisor := orOne(most)
	k.For(k.Thread(), n, normThreads, func(i ptx.Int) {
		v := gradient.load(i, 1)[0].Over(divisor)
		sum.AddProduct(v, v)
	})
	total := blockSum(k, sum, normThreads/32*4)
	k.If(k.Thread().Equal(0), func() { k.StoreFloats(measure, 0, most, total) })
	return k
}

// orOne is v, or 1 where that is 0 or infinite.
func orOne(v ptx.Float) ptx.Float {
	return v.Times(0.0).Equal(0.0).And(v.Equal(0.0).Not()).ChooseFloat(v, 1.0)
}

// Kernel has the parameters y, measures, how many there are, limits. It is launched with one block.
func (ClipNorm) Kernel() *ptx.Kernel {
	k := ptx.New("clip_norm", normThreads)
	y, measures, n, limits := k.Pointer("y"), k.Pointer("measures"), k.Uint("n"), k.Pointer("limits")
	measure := func(i ptx.Int) []ptx.Float { return k.LoadFloats(measures.Index(i, 8), 0, 2) }
	top, sum := k.Float(0.0), k.Float(0.0)
	k.For(k.Thread(), n, normThreads, func(i ptx.Int) { top.Set(top.Max(measure(i)[0])) })
	most := blockMax(k, top, 0)
	k.For(k.Thread(), n, normThreads, func(i ptx.Int) {
		m := measure(i)
		share := m[0].Over(orOne(most))
		sum.AddProduct(share.Times(share), m[1])
	})
	total := blockSum(k, sum, normThreads/32*4)
	k.If(k.Thread().Equal(0), func() {
		limit := k.LoadFloats(limits, 0, 2)
		norm := most.Times(limit[0]).Times(total.Root())
		part := limit[1].Over(norm.Plus(1e-6))
		clipped := limit[0].Times(part.Less(1.0).ChooseFloat(part, 1.0))
		factor := limit[1].Equal(0.0).ChooseFloat(limit[0], clipped)
		finite := norm.Times(0.0).Equal(0.0)
		k.StoreFloats(y, 0, finite.ChooseFloat(factor, 0.0), norm)
	})
	return k
}

// AdamW is compute.AdamW on float32.
type AdamW struct{ Clip bool }

// Kernel has the parameters p', m', v', p, gradient, m, v, hyper (seven float32), the number of elements, and the factor if it clips. p'
// may be p or the gradient.
func (a AdamW) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("adamw_%t", a.Clip), elementThreads)
	var arrays []array
	for _, name := range []string{"p2", "m2", "v2", "p", "g", "m", "v"} {
		arrays = append(arrays, declare(k, name, compute.F32))
	}
	hyper, n := k.Pointer("hyper"), k.Uint("n")
	var factor ptx.Float
	if a.Clip {
		clip := k.Pointer("clip")
		factor = k.LoadFloats(clip, 0, 1)[0]
	} else {
		factor = k.Float(1.0)
	}
	var h []ptx.Float
	for i := range 7 {
		h = append(h, k.LoadFloats(hyper, 4*i, 1)[0])
	}
	rate, rest1, rest2, eps, decay, bias1, bias2 := h[0], h[1], h[2], h[3], h[4], h[5], h[6]
	keep := k.Float(1.0).Minus(rate.Times(decay))
	one(k, n, func(at ptx.Int) {
		p, m, v := arrays[3].load(at, 1)[0], arrays[5].load(at, 1)[0], arrays[6].load(at, 1)[0]
		g := arrays[4].load(at, 1)[0].Times(factor)
		moment := g.Minus(m).TimesPlus(rest1, m)
		square := g.TimesPlus(g, k.Float(0.0).Minus(v)).TimesPlus(rest2, v)
		step := moment.Over(bias1).Over(square.Over(bias2).Root().Plus(eps))
		skip := factor.Equal(0.0)
		results := []ptx.Float{p.TimesPlus(keep, k.Float(0.0).Minus(rate.Times(step))), moment, square}
		for i, old := range []ptx.Float{p, m, v} {
			arrays[i].store(at, []ptx.Float{skip.ChooseFloat(old, results[i])})
		}
	})
	return k
}
