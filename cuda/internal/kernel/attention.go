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
			row := func(j ptx.Int) ptx.Int { return first.Plus(chunk).Plus(j).TimesPlus(channels, head) }
			a.gather(k, lane, seen.Minus(chunk).Min(32), row, []ptx.Float{p}, func(i int, at ptx.Int, weights []ptx.Float) {
				sums[i].AddProduct(weights[0], values.load(at, 1)[0])
			})
		})
		a.total(sums)
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

// lanes is how many have the channels of a row: of small heads a warp gathers several rows at once.
func (a PlainAttention) lanes() int {
	lanes := 1
	for lanes < min(a.Head, 32) {
		lanes *= 2
	}
	return lanes
}

// gather goes along rows, 32 at most, of each of which one lane holds the weights. Body is told of each of the lane's channels which one it
// is, where it lies in the row, and the row's weights.
func (a PlainAttention) gather(k *ptx.Kernel, lane, rows ptx.Int, row func(j ptx.Int) ptx.Int, weights []ptx.Float, body func(i int, at ptx.Int, weights []ptx.Float)) {
	k.For(0, rows, 32/a.lanes(), func(first ptx.Int) {
		j := first.Plus(lane.Over(a.lanes()))
		var ofRow []ptx.Float
		for _, w := range weights {
			ofRow = append(ofRow, w.From(j))
		}
		k.If(j.Less(rows), func() {
			a.each(k, lane.Mod(a.lanes()), row(j), func(i int, at ptx.Int) { body(i, at, ofRow) })
		})
	})
}

// total adds up the sums of lanes that have the same channels.
func (a PlainAttention) total(sums []ptx.Float) {
	for mask := a.lanes(); mask < 32; mask *= 2 {
		for _, sum := range sums {
			sum.Add(sum.Exchanged(mask))
		}
	}
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
