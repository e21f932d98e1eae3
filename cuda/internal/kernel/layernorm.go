package kernel

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// LayerNorm is y = (x-μ)/√(σ²+ε)·weight + bias, μ and σ² over a row's channels. A warp takes a row.
type LayerNorm struct{ Type compute.DType }

// Grid is that for so many rows.
func (LayerNorm) Grid(rows int) [3]int { return [3]int{ceil(rows, normThreads/32), 1, 1} }

// Kernel has the parameters y, x, weight, bias, rows, channels, ε. y may be x.
func (l LayerNorm) Kernel() *ptx.Kernel {
	k := ptx.New("layernorm"+suffix(l.Type), normThreads)
	y, x, weight, bias := declare(k, "y", l.Type), declare(k, "x", l.Type), k.Pointer("weight"), k.Pointer("bias")
	rows, channels, eps := k.Uint("rows"), k.Uint("channels"), k.Number("epsilon")
	lane, row := k.Thread().Mod(32), k.Block(0).Times(normThreads/32).Plus(k.Thread().Over(32))
	each := func(visit func(c ptx.Int, v ptx.Float)) {
		k.For(lane, channels, 32, func(c ptx.Int) { visit(c, x.load(row.TimesPlus(channels, c), 1)[0]) })
	}
	k.If(row.Less(rows), func() {
		count := channels.Float()
		sum := k.Float(0.0)
		each(func(_ ptx.Int, v ptx.Float) { sum.Add(v) })
		mean := warpSum(sum).Over(count)

		squares := k.Float(0.0)
		each(func(_ ptx.Int, v ptx.Float) {
			d := v.Minus(mean)
			squares.AddProduct(d, d)
		})
		scale := k.Float(1.0).Over(warpSum(squares).Over(count).Plus(eps).Root())

		each(func(c ptx.Int, v ptx.Float) {
			normal := v.Minus(mean).Times(scale)
			w, b := k.LoadFloats(weight.Index(c, 4), 0, 1)[0], k.LoadFloats(bias.Index(c, 4), 0, 1)[0]
			y.store(row.TimesPlus(channels, c), []ptx.Float{normal.TimesPlus(w, b)})
		})
	})
	return k
}
