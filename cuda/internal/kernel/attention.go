package kernel

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// PlainAttention is compute.Attention with a warp for each query, for heads of any size and any type of element.
type PlainAttention struct {
	Head   int // channels of a head
	Causal bool
	Type   compute.DType
}

const attentionWarps = 4

// Grid is four queries of a head of a sample to a block.
func (a PlainAttention) Grid(samples, queries, heads int) [3]int {
	return [3]int{ceil(queries, attentionWarps), heads, samples}
}

func (a PlainAttention) name(what string) string {
	return fmt.Sprintf("%s_%d_%t%s", what, a.Head, a.Causal, suffix(a.Type))
}

// Kernel has the parameters y, q, k, v, and the numbers of queries and of keys.
func (a PlainAttention) Kernel() *ptx.Kernel {
	k := ptx.New(a.name("plain_attention"), 32*attentionWarps)
	y, q, keys, values := declare(k, "y", a.Type), declare(k, "q", a.Type), declare(k, "k", a.Type), declare(k, "v", a.Type)
	queryCount, keyCount := k.Uint("queries"), k.Uint("keys")
	channels, head := k.Blocks(1).Times(a.Head), k.Block(1).Times(a.Head)
	lane, t := k.Thread().Mod(32), k.Block(0).Times(attentionWarps).Plus(k.Thread().Over(32))
	first := k.Block(2).Times(keyCount)
	k.If(t.Less(queryCount), func() {
		query := k.Block(2).TimesPlus(queryCount, t).TimesPlus(channels, head)
		seen := keyCount
		if a.Causal {
			seen = t.Plus(1)
		}
		top, total, sums := k.Float(math.Inf(-1)), k.Float(0.0), k.Floats(ceil(a.Head, 32), 0.0)
		k.For(0, seen, 32, func(chunk ptx.Int) {
			score := k.Float(math.Inf(-1))
			k.If(chunk.Plus(lane).Less(seen), func() {
				key := first.Plus(chunk).Plus(lane).TimesPlus(channels, head)
				score.Set(a.dot(k, q, query, keys, key).Times(math.Log2E / math.Sqrt(float64(a.Head))))
			})
			next := top.Max(warpMax(score))
			before, p := top.Minus(next).Exp2(), score.Minus(next).Exp2()
			top.Set(next)
			total.Set(total.TimesPlus(before, warpSum(p)))
			for i := range sums {
				sums[i].Set(sums[i].Times(before))
			}
			k.For(0, seen.Minus(chunk).Min(32), 1, func(j ptx.Int) {
				weight := p.From(j)
				a.each(k, lane, first.Plus(chunk).Plus(j).TimesPlus(channels, head), func(i int, at ptx.Int) {
					sums[i].AddProduct(weight, values.load(at, 1)[0])
				})
			})
		})
		a.each(k, lane, query, func(i int, at ptx.Int) { y.store(at, []ptx.Float{sums[i].Over(total)}) })
	})
	return k
}

// dot is the product of two rows of a head.
func (a PlainAttention) dot(k *ptx.Kernel, x array, xAt ptx.Int, y array, yAt ptx.Int) ptx.Float {
	width := 1
	if a.Head%8 == 0 {
		width = 8
	}
	sum := k.Float(0.0)
	k.For(0, a.Head, width, func(c ptx.Int) {
		ys := y.load(yAt.Plus(c), width)
		for i, v := range x.load(xAt.Plus(c), width) {
			sum.AddProduct(v, ys[i])
		}
	})
	return sum
}

// each does something for each channel of a head's row that is the lane's: every 32nd.
func (a PlainAttention) each(k *ptx.Kernel, lane, row ptx.Int, body func(i int, at ptx.Int)) {
	for i := range ceil(a.Head, 32) {
		c := lane.Plus(32 * i)
		if 32*(i+1) <= a.Head {
			body(i, row.Plus(c))
		} else {
			k.If(c.Less(a.Head), func() { body(i, row.Plus(c)) })
		}
	}
}
