package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

const normThreads = 256

// GroupNorm is y = Activation((x-μ)/√(σ²+ε)·weight + bias) with μ and σ² over a sample's positions and a group's channels, in two
// launches: one finds a group's statistics, one uses them. Channels of x2, if there are two parts, follow those of x.
type GroupNorm struct {
	Parts      int // 1 or 2
	Size       int // channels of a group
	Width      int // neighbours at once: 8 where both parts have a multiple of 8 channels, else 1
	Activation compute.Activation
	Type       compute.DType
}

func (g GroupNorm) name(what string) string {
	return fmt.Sprintf("groupnorm_%s_%d_%d_%d_%v%s", what, g.Parts, g.Size, g.Width, g.Activation, suffix(g.Type))
}

// parts are the arrays that make up x, with their channels.
type parts struct {
	*ptx.Kernel
	arrays   []array
	channels []ptx.Int
}

// declareParts declares x and its channels, then x2 and its own.
func declareParts(k *ptx.Kernel, n int, t compute.DType) parts {
	p := parts{Kernel: k}
	for _, name := range []string{"x", "x2"}[:n] {
		p.arrays = append(p.arrays, declare(k, name, t))
		p.channels = append(p.channels, k.Uint(name+"_channels"))
	}
	return p
}

// total is the number of channels.
func (p parts) total() ptx.Int {
	sum := p.channels[0]
	for _, more := range p.channels[1:] {
		sum = sum.Plus(more)
	}
	return sum
}

// load reads so many neighbours of a row from a channel on, none of which lie in another part.
func (p parts) load(row, channel ptx.Int, width int) []ptx.Float {
	if len(p.arrays) == 1 {
		return p.arrays[0].load(row.TimesPlus(p.channels[0], channel), width)
	}
	values := p.Floats(width, 0.0)
	set := func(loaded []ptx.Float) {
		for i, v := range loaded {
			values[i].Set(v)
		}
	}
	first := channel.Less(p.channels[0])
	p.If(first, func() { set(p.arrays[0].load(row.TimesPlus(p.channels[0], channel), width)) })
	p.If(first.Not(), func() {
		set(p.arrays[1].load(row.TimesPlus(p.channels[1], channel.Minus(p.channels[0])), width))
	})
	return values
}

// StatisticsShared is the bytes of shared memory that Statistics needs.
const StatisticsShared = 2 * normThreads / 32 * 4

// StatisticsGrid is a block for each group of each sample.
func (g GroupNorm) StatisticsGrid(samples, groups int) [3]int { return [3]int{groups, samples, 1} }

// Statistics has the parameters statistics (of each group of each sample the mean and 1/√(σ²+ε)), positions, ε, and x with its
// channels, x2 with its own.
func (g GroupNorm) Statistics() *ptx.Kernel {
	k := ptx.New(g.name("statistics"), normThreads)
	out, positions, eps, x := k.Pointer("statistics"), k.Uint("positions"), k.Number("epsilon"), declareParts(k, g.Parts, g.Type)
	group, sample := k.Block(0), k.Block(1)
	mean, variance := blockMoments(k, positions.Times(g.Size), 0, func(i ptx.Int) ptx.Float {
		return x.load(sample.TimesPlus(positions, i.Over(g.Size)), group.TimesPlus(g.Size, i.Mod(g.Size)), 1)[0]
	})
	k.If(k.Thread().Equal(0), func() {
		scale := k.Float(1.0).Over(variance.Plus(eps).Root())
		k.StoreFloats(out.Index(sample.TimesPlus(k.Blocks(0), group), 8), 0, mean, scale)
	})
	return k
}

// Grid is that of Kernel, for all elements of the result.
func (g GroupNorm) Grid(elements int) [3]int {
	return [3]int{ceil(elements, normThreads*g.Width), 1, 1}
}

// Kernel has the parameters y, statistics, weight, bias, the number of elements, positions, and x with its channels, x2 with its own.
// y may be x where that is all.
func (g GroupNorm) Kernel() *ptx.Kernel {
	k := ptx.New(g.name("apply"), normThreads)
	y, statistics, weight, bias := declare(k, "y", g.Type), k.Pointer("statistics"), k.Pointer("weight"), k.Pointer("bias")
	elements, positions, x := k.Uint("elements"), k.Uint("positions"), declareParts(k, g.Parts, g.Type)
	at := k.Block(0).Times(normThreads).Plus(k.Thread()).Times(g.Width)
	k.If(at.Less(elements), func() {
		channels := x.total()
		row, channel := at.Over(channels), at.Mod(channels)
		first := row.Over(positions).Times(channels.Over(g.Size)) // the sample's first group
		values := x.load(row, channel, g.Width)
		for i, v := range values {
			c := channel.Plus(i)
			moments := k.LoadFloats(statistics.Index(first.Plus(c.Over(g.Size)), 8), 0, 2)
			normal := v.Minus(moments[0]).Times(moments[1])
			values[i] = activate(k, g.Activation, normal.TimesPlus(k.LoadFloats(weight.Index(c, 4), 0, 1)[0], k.LoadFloats(bias.Index(c, 4), 0, 1)[0]))
		}
		y.store(at, values)
	})
	return k
}
