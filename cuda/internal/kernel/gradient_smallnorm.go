package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// SmallNormGradient is the derivative of GroupNorm by x, or of LayerNorm, whose groups are rows, where a group has few numbers. What
// is left of d - mean(d) - x̂·mean(d·x̂) is then far smaller than its parts, of two numbers only ε/(σ²+ε) of them, so that all of it
// is computed in float64, of which cards do few at a time. A thread takes a group.
type SmallNormGradient struct {
	Parts      int // of x: 1 or 2
	Activation compute.Activation
	Type       compute.DType
	Add        bool // something is added to the derivative by the first part
}

// smallNorm is the largest group for it. Larger ones, as networks have, do not come that close to what is subtracted.
const smallNorm = 32

// Kernel has the parameters y, y2 if there are two parts, dy, weight, the number of groups of all samples, those of a sample, channels of
// a group, positions, ε, then bias unless the activation is none, add if there is one, and x with its channels, x2 with its own. Its
// grid is [OneGrid] of the groups. y may be add.
func (g SmallNormGradient) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("small_norm_gradient_%d_%v_%t%s", g.Parts, g.Activation, g.Add, suffix(g.Type)), elementThreads)
	n := smallNormGroup{Kernel: k, SmallNormGradient: g}
	for _, name := range []string{"y", "y2"}[:g.Parts] {
		n.y = append(n.y, declare(k, name, g.Type))
	}
	n.dy, n.weight = declare(k, "dy", g.Type), k.Pointer("weight")
	groups, perSample := k.Uint("groups"), k.Uint("groups_of_sample")
	n.size, n.positions, n.eps = k.Uint("size"), k.Uint("positions"), k.Number("epsilon")
	if g.Activation != compute.Identity {
		n.bias = k.Pointer("bias")
	}
	if g.Add {
		n.add = declare(k, "add", g.Type)
	}
	n.x = declareParts(k, g.Parts, g.Type)
	one(k, groups, func(group ptx.Int) {
		n.sample, n.first = group.Over(perSample), group.Mod(perSample).Times(n.size)
		n.differentiate()
	})
	return k
}

// smallNormGroup is a group while its kernel is written.
type smallNormGroup struct {
	*ptx.Kernel
	SmallNormGradient
	y                              []array
	dy, add                        array
	weight, bias                   ptx.Addr
	size, positions, sample, first ptx.Int // first is the group's first channel
	eps                            ptx.Float
	x                              parts
	mean, middle, inner, deviation ptx.Double
}

// each visits the group's numbers.
func (n *smallNormGroup) each(visit func(row, channel ptx.Int)) {
	n.For(0, n.positions.Times(n.size), 1, func(i ptx.Int) {
		visit(n.sample.TimesPlus(n.positions, i.Over(n.size)), i.Mod(n.size).Plus(n.first))
	})
}

// average is the mean of a number of each.
func (n *smallNormGroup) average(number func(row, channel ptx.Int) ptx.Double) ptx.Double {
	sum := n.Float(0.0).Double()
	n.each(func(row, channel ptx.Int) { sum.Add(number(row, channel)) })
	return sum.Over(n.positions.Times(n.size).Float().Double())
}

func (n *smallNormGroup) differentiate() {
	n.mean = n.average(func(row, channel ptx.Int) ptx.Double { return n.x.load(row, channel, 1)[0].Double() })
	variance := n.average(func(row, channel ptx.Int) ptx.Double {
		d := n.x.load(row, channel, 1)[0].Double().Minus(n.mean)
		return d.Times(d)
	})
	n.deviation = variance.Plus(n.eps.Double()).Root()
	n.middle = n.average(func(row, channel ptx.Int) ptx.Double { return n.slope(row, channel, n.normal(row, channel)) })
	n.inner = n.average(func(row, channel ptx.Int) ptx.Double {
		normal := n.normal(row, channel)
		return n.slope(row, channel, normal).Times(normal)
	})
	n.each(n.store)
}

// normal is x̂.
func (n *smallNormGroup) normal(row, channel ptx.Int) ptx.Double {
	return n.x.load(row, channel, 1)[0].Double().Minus(n.mean).Over(n.deviation)
}

// slope is d.
func (n *smallNormGroup) slope(row, channel ptx.Int, normal ptx.Double) ptx.Double {
	weight := n.LoadFloats(n.weight.Index(channel, 4), 0, 1)[0]
	d := n.dy.load(row.TimesPlus(n.x.total(), channel), 1)[0].Double().Times(weight.Double())
	if n.Activation == compute.Identity {
		return d
	}
	z := normal.Float().TimesPlus(weight, n.LoadFloats(n.bias.Index(channel, 4), 0, 1)[0])
	return d.Times(slope(n.Kernel, n.Activation, z).Double())
}

// store writes the derivative by one number.
func (n *smallNormGroup) store(row, channel ptx.Int) {
	normal := n.normal(row, channel)
	dx := n.slope(row, channel, normal).Minus(n.middle).Minus(normal.Times(n.inner)).Over(n.deviation).Float()
	first := channel.Less(n.x.channels[0])
	n.If(first, func() {
		at, sum := row.TimesPlus(n.x.channels[0], channel), dx
		if n.Add {
			sum = dx.Plus(n.add.load(at, 1)[0])
		}
		n.y[0].store(at, []ptx.Float{sum})
	})
	if n.Parts == 2 {
		n.If(first.Not(), func() { n.y[1].store(row.TimesPlus(n.x.channels[1], channel.Minus(n.x.channels[0])), []ptx.Float{dx}) })
	}
}
