package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Move copies pieces of a length, which begin at equal distances in x and in y: parts of Concat, Slice, and Repeat, whose pieces begin at
// one place in x. Where the types differ it converts.
type Move struct{ From, To compute.DType }

// Kernel has the parameters y, x, the number of elements, the length, in y the distance and where the first begins, and those in x.
func (m Move) Kernel() *ptx.Kernel {
	k := ptx.New("move"+suffix(m.From)+suffix(m.To), elementThreads)
	y, x, elements, length := declare(k, "y", m.To), declare(k, "x", m.From), k.Uint("elements"), k.Uint("length")
	yDistance, yFirst, xDistance, xFirst := k.Uint("y_distance"), k.Uint("y_first"), k.Uint("x_distance"), k.Uint("x_first")
	one(k, elements, func(at ptx.Int) {
		piece, i := at.Over(length), at.Mod(length)
		y.store(piece.TimesPlus(yDistance, yFirst).Plus(i), x.load(piece.TimesPlus(xDistance, xFirst).Plus(i), 1))
	})
	return k
}

// Scale is y = x·factor, and 0 where the factor is 0, whatever x holds. The factor of element i is that in row i/sample mod rows, in
// which there are so many, and there at column + i mod width: of a column for each sample with width 1, of each channel with the channels
// as sample and width, or of each element.
type Scale struct{ Type compute.DType }

// Kernel has the parameters y, x, factors (float32), elements, sample, rows, the number of factors in a row, column, width. y may be x.
func (s Scale) Kernel() *ptx.Kernel {
	k := ptx.New("scale"+suffix(s.Type), elementThreads)
	y, x, factors := declare(k, "y", s.Type), declare(k, "x", s.Type), declare(k, "factors", compute.F32)
	elements, sample, rows, pitch, column, width := k.Uint("elements"), k.Uint("sample"), k.Uint("rows"), k.Uint("pitch"), k.Uint("column"), k.Uint("width")
	one(k, elements, func(at ptx.Int) {
		factor := factors.load(at.Over(sample).Mod(rows).TimesPlus(pitch, column).Plus(at.Mod(width)), 1)[0]
		product := factor.Equal(0.0).ChooseFloat(0.0, x.load(at, 1)[0].Times(factor))
		y.store(at, []ptx.Float{product})
	})
	return k
}

// Fill makes all elements one number.
type Fill struct{ Type compute.DType }

// Kernel has the parameters y, value (float32), the number of elements.
func (f Fill) Kernel() *ptx.Kernel {
	k := ptx.New("fill"+suffix(f.Type), elementThreads)
	y, value, n := declare(k, "y", f.Type), k.Number("value"), k.Uint("n")
	elementwise(k, n, func(at ptx.Int, width int) { y.store(at, k.Floats(width, value)) })
	return k
}

// GuidanceCombine is y = Σ weight·part over equal parts of x.
type GuidanceCombine struct {
	Parts int
	Type  compute.DType
}

// Kernel has the parameters y, x, weights (float32), the number of elements of y.
func (g GuidanceCombine) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("guidance_%d%s", g.Parts, suffix(g.Type)), elementThreads)
	y, x, weights, n := declare(k, "y", g.Type), declare(k, "x", g.Type), k.Pointer("weights"), k.Uint("n")
	one(k, n, func(at ptx.Int) {
		sum := k.Float(0.0)
		for part := range g.Parts {
			sum.AddProduct(k.LoadFloats(weights, 4*part, 1)[0], x.load(n.TimesPlus(part, at), 1)[0])
		}
		y.store(at, []ptx.Float{sum})
	})
	return k
}

// Rescale brings each sample of y so far towards the standard deviation that like has there: a block takes a sample.
type Rescale struct{ Type compute.DType }

// RescaleShared is the bytes of shared memory that Rescale needs.
const RescaleShared = 4 * normThreads / 32 * 4

// Kernel has the parameters y, like, the elements of a sample, and how far, 0 to 1.
func (r Rescale) Kernel() *ptx.Kernel {
	k := ptx.New("rescale"+suffix(r.Type), normThreads)
	y, like, n, part := declare(k, "y", r.Type), declare(k, "like", r.Type), k.Uint("n"), k.Number("part")
	first := k.Block(0).Times(n)
	var moments [2]ptx.Float
	for i, x := range []array{y, like} {
		_, variance := blockMoments(k, n, i*2*normThreads/32*4, func(i ptx.Int) ptx.Float { return x.load(first.Plus(i), 1)[0] })
		moments[i] = variance.Root()
	}
	factor := k.Float(1.0)
	k.If(moments[0].Equal(0.0).Not(), func() {
		factor.Set(moments[1].Over(moments[0]).Minus(1.0).TimesPlus(part, 1.0))
	})
	k.For(k.Thread(), n, normThreads, func(i ptx.Int) {
		at := first.Plus(i)
		y.store(at, []ptx.Float{y.load(at, 1)[0].Times(factor)})
	})
	return k
}
