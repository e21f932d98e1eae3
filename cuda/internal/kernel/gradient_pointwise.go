package kernel

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// slope is a'(x).
func slope(k *ptx.Kernel, a compute.Activation, x ptx.Float) ptx.Float {
	switch a {
	case compute.SiLU:
		return gated(k, 1, x)
	case compute.QuickGELU:
		return gated(k, 1.702, x)
	case compute.GELU: // Φ(x) + x·φ(x)
		density := x.Times(x).Times(-math.Log2E / 2).Exp2().Times(1 / math.Sqrt(2*math.Pi))
		return x.TimesPlus(density, erf(k, x.Times(math.Sqrt2/2)).TimesPlus(0.5, 0.5))
	case compute.ReLU:
		return k.Float(0.0).Less(x).ChooseFloat(1.0, 0.0)
	case compute.LeakyReLU:
		return k.Float(0.0).Less(x).ChooseFloat(1.0, 0.2)
	}
	return k.Float(1.0)
}

// gated is the derivative of x·s with s = sigmoid(c·x): s + c·x·s·(1-s).
func gated(k *ptx.Kernel, c float64, x ptx.Float) ptx.Float {
	s, rest := sigmoid(k, x.Times(c)), sigmoid(k, x.Times(-c))
	return x.Times(c).Times(s).TimesPlus(rest, s)
}

// ActivateGradient is y = dy·Activation'(x).
type ActivateGradient struct {
	Activation compute.Activation
	Type       compute.DType
}

// Kernel has the parameters y, x, dy, the number of elements. y may be x or dy.
func (a ActivateGradient) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("activate_gradient_%v%s", a.Activation, suffix(a.Type)), elementThreads)
	y, x, dy, n := declare(k, "y", a.Type), declare(k, "x", a.Type), declare(k, "dy", a.Type), k.Uint("n")
	elementwise(k, n, func(at ptx.Int, width int) {
		values := dy.load(at, width)
		for i, v := range x.load(at, width) {
			values[i] = values[i].Times(slope(k, a.Activation, v))
		}
		y.store(at, values)
	})
	return k
}

// GEGLUGradient is that of GEGLU by x: dy·GELU(g) for the first half of a row, dy·a·GELU'(g) for the second.
type GEGLUGradient struct{ GEGLU }

// Kernel has the parameters y, x, dy, the number of elements of dy, and of a row of dy. Its grid is GEGLU's.
func (g GEGLUGradient) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("geglu_gradient_%d%s", g.Width, suffix(g.Type)), elementThreads)
	y, x, dy := declare(k, "y", g.Type), declare(k, "x", g.Type), declare(k, "dy", g.Type)
	elements, half := k.Uint("elements"), k.Uint("half")
	at := k.Block(0).Times(elementThreads).Plus(k.Thread()).Times(g.Width)
	k.If(at.Less(elements), func() {
		value := at.Over(half).TimesPlus(half, at) // a row of x is two of dy
		gate := value.Plus(half)
		values, gates := x.load(value, g.Width), x.load(gate, g.Width)
		byValue := dy.load(at, g.Width)
		byGate := make([]ptx.Float, g.Width)
		for i, d := range byValue {
			byGate[i] = d.Times(values[i]).Times(slope(k, compute.GELU, gates[i]))
			byValue[i] = d.Times(activate(k, compute.GELU, gates[i]))
		}
		y.store(value, byValue)
		y.store(gate, byGate)
	})
	return k
}

// SumPositions adds up rows: a block takes 32 channels of as many rows as belong together, which eight warps share.
type SumPositions struct{ X, Y compute.DType }

// SumPositionsShared is the bytes of shared memory that it needs.
const SumPositionsShared = 8 * 32 * 4

// Grid is that for so many sums of rows.
func (SumPositions) Grid(sums, channels int) [3]int { return [3]int{ceil(channels, 32), sums, 1} }

// Kernel has the parameters y, x, the rows of a sum, channels.
func (s SumPositions) Kernel() *ptx.Kernel {
	k := ptx.New("sum_positions"+suffix(s.X)+suffix(s.Y), 256)
	y, x, rows, channels := declare(k, "y", s.Y), declare(k, "x", s.X), k.Uint("rows"), k.Uint("channels")
	lane, warp := k.Thread().Mod(32), k.Thread().Over(32)
	channel := k.Block(0).Times(32).Plus(lane)
	inside := channel.Less(channels)
	sum, shared := k.Float(0.0), k.Shared().Plus(k.Thread().Times(4))
	k.If(inside, func() {
		k.For(warp, rows, 8, func(r ptx.Int) {
			sum.Add(x.load(k.Block(1).TimesPlus(rows, r).TimesPlus(channels, channel), 1)[0])
		})
	})
	k.StoreShared(shared, 0, sum)
	k.Barrier()
	k.If(inside.And(warp.Equal(0)), func() {
		for other := 1; other < 8; other++ {
			sum.Add(k.LoadShared(shared, 128*other))
		}
		y.store(k.Block(1).TimesPlus(channels, channel), []ptx.Float{sum})
	})
	return k
}
