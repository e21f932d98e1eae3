package kernel

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// GroupNormGradient is the derivative of GroupNorm by x: with x̂ = (x-μ)/s and d = dy·Activation'(x̂·weight+bias)·weight, it is
// (d - mean(d) - x̂·mean(d·x̂))/s. It takes three launches: GroupNorm's statistics, the two means, and the rest.
type GroupNormGradient struct {
	GroupNorm
	Add bool // something is added to the derivative by the first part
}

// groupSlope is what the kernels of the gradient read.
type groupSlope struct {
	*ptx.Kernel
	GroupNorm
	dy                       array
	statistics, weight, bias ptx.Addr
}

func (g GroupNorm) declareSlope(k *ptx.Kernel) groupSlope {
	return groupSlope{k, g, declare(k, "dy", g.Type), k.Pointer("statistics"), k.Pointer("weight"), k.Pointer("bias")}
}

// at is x̂ and d of a channel of a row, of a group among those of all samples.
func (s groupSlope) at(x parts, row, channel, group ptx.Int) (normal, d, scale ptx.Float) {
	moments := s.LoadFloats(s.statistics.Index(group, 8), 0, 2)
	normal = x.load(row, channel, 1)[0].Minus(moments[0]).Times(moments[1])
	weight, bias := s.LoadFloats(s.weight.Index(channel, 4), 0, 1)[0], s.LoadFloats(s.bias.Index(channel, 4), 0, 1)[0]
	d = s.dy.load(row.TimesPlus(x.total(), channel), 1)[0].Times(slope(s.Kernel, s.Activation, normal.TimesPlus(weight, bias))).Times(weight)
	return normal, d, moments[1]
}

// Means has the parameters means (of each group of each sample those of d and d·x̂), dy, statistics, weight, bias, positions, and x with
// its channels, x2 with its own. Its grid and shared memory are those of the statistics.
func (g GroupNorm) Means() *ptx.Kernel {
	k := ptx.New(g.name("means"), normThreads)
	means, s := k.Pointer("means"), g.declareSlope(k)
	positions, x := k.Uint("positions"), declareParts(k, g.Parts, g.Type)
	group := k.Block(1).TimesPlus(k.Blocks(0), k.Block(0))
	sum, inner := k.Float(0.0), k.Float(0.0)
	k.For(k.Thread(), positions.Times(g.Size), normThreads, func(i ptx.Int) {
		row, channel := k.Block(1).TimesPlus(positions, i.Over(g.Size)), k.Block(0).TimesPlus(g.Size, i.Mod(g.Size))
		normal, d, _ := s.at(x, row, channel, group)
		sum.Add(d)
		inner.AddProduct(d, normal)
	})
	count := positions.Times(g.Size).Float()
	first, second := blockSum(k, sum, 0).Over(count), blockSum(k, inner, normThreads/32*4).Over(count)
	k.If(k.Thread().Equal(0), func() { k.StoreFloats(means.Index(group, 8), 0, first, second) })
	return k
}

// Kernel has the parameters y, y2 if there are two parts, dy, statistics, weight, bias, means, the number of elements of dy, positions,
// add if there is one, and x with its channels, x2 with its own. Its grid is [OneGrid]. y may be add.
func (g GroupNormGradient) Kernel() *ptx.Kernel {
	name := g.name("gradient")
	if g.Add {
		name += "_add"
	}
	k := ptx.New(name, elementThreads)
	ys := []array{declare(k, "y", g.Type)}
	if g.Parts == 2 {
		ys = append(ys, declare(k, "y2", g.Type))
	}
	s := g.declareSlope(k)
	means, elements, positions := k.Pointer("means"), k.Uint("elements"), k.Uint("positions")
	var add array
	if g.Add {
		add = declare(k, "add", g.Type)
	}
	x := declareParts(k, g.Parts, g.Type)
	one(k, elements, func(at ptx.Int) {
		channels := x.total()
		row, channel := at.Over(channels), at.Mod(channels)
		group := row.Over(positions).TimesPlus(channels.Over(g.Size), channel.Over(g.Size))
		normal, d, scale := s.at(x, row, channel, group)
		mean := k.LoadFloats(means.Index(group, 8), 0, 2)
		dx := d.Minus(mean[0]).Minus(normal.Times(mean[1])).Times(scale)
		first := channel.Less(x.channels[0])
		k.If(first, func() {
			at := row.TimesPlus(x.channels[0], channel)
			if g.Add {
				ys[0].store(at, []ptx.Float{dx.Plus(add.load(at, 1)[0])})
			} else {
				ys[0].store(at, []ptx.Float{dx})
			}
		})
		if g.Parts == 2 {
			k.If(first.Not(), func() {
				ys[1].store(row.TimesPlus(x.channels[1], channel.Minus(x.channels[0])), []ptx.Float{dx})
			})
		}
	})
	return k
}

// LayerNormGradient is the derivative of LayerNorm by x: with x̂ = (x-μ)/s and d = dy·weight, it is (d - mean(d) - x̂·mean(d·x̂))/s + add.
// A warp takes a row.
type LayerNormGradient struct {
	Type compute.DType
	Add  bool
}

// Kernel has the parameters y, x, dy, weight, rows, channels, ε, and add if there is one. Its grid is LayerNorm's. y may be add.
func (l LayerNormGradient) Kernel() *ptx.Kernel {
	name := "layernorm_gradient" + suffix(l.Type)
	if l.Add {
		name += "_add"
	}
	k := ptx.New(name, normThreads)
	y, x, dy, weight := declare(k, "y", l.Type), declare(k, "x", l.Type), declare(k, "dy", l.Type), k.Pointer("weight")
	rows, channels, eps := k.Uint("rows"), k.Uint("channels"), k.Number("epsilon")
	var add array
	if l.Add {
		add = declare(k, "add", l.Type)
	}
	lane, row := k.Thread().Mod(32), k.Block(0).Times(normThreads/32).Plus(k.Thread().Over(32))
	count := channels.Float()
	mean := func(number func(c, at ptx.Int) ptx.Float) ptx.Float {
		sum := k.Float(0.0)
		k.For(lane, channels, 32, func(c ptx.Int) { sum.Add(number(c, row.TimesPlus(channels, c))) })
		return warpSum(sum).Over(count)
	}
	k.If(row.Less(rows), func() {
		middle := mean(func(_, at ptx.Int) ptx.Float { return x.load(at, 1)[0] })
		variance := mean(func(_, at ptx.Int) ptx.Float {
			d := x.load(at, 1)[0].Minus(middle)
			return d.Times(d)
		})
		scale := k.Float(1.0).Over(variance.Plus(eps).Root())
		normal := func(at ptx.Int) ptx.Float { return x.load(at, 1)[0].Minus(middle).Times(scale) }
		d := func(c, at ptx.Int) ptx.Float {
			return dy.load(at, 1)[0].Times(k.LoadFloats(weight.Index(c, 4), 0, 1)[0])
		}
		first, second := mean(d), mean(func(c, at ptx.Int) ptx.Float { return d(c, at).Times(normal(at)) })
		k.For(lane, channels, 32, func(c ptx.Int) {
			at := row.TimesPlus(channels, c)
			dx := d(c, at).Minus(first).Minus(normal(at).Times(second)).Times(scale)
			if l.Add {
				dx = dx.Plus(add.load(at, 1)[0])
			}
			y.store(at, []ptx.Float{dx})
		})
	})
	return k
}
