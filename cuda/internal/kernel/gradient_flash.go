package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// FlashGradient is compute.AttentionGradient in half precision on tensor cores, in two launches. The blocks of the first take queries and
// walk along the keys twice: to find what softmax needs of a query, which they leave for the second launch, and to sum the gradient by the
// query. Those of the second take keys, walk along the queries, and sum the gradients by a key and its value. Each makes the scores anew,
// nine products in all; of five, as in arXiv:2307.08691, algorithm 2, blocks would add to the same sums in the order in which they come.
//
// What the second launch is left are four float32 for each query of each head of each sample: the shift that makes exponents of
// scores, one over the sum of weights, and twice the mean of the derivatives by the weights.
type FlashGradient struct{ Strip }

// FlashGradientFor is the division for heads of so many channels and so many rows, which are queries of the first launch and keys of the
// second, if there is one.
func FlashGradientFor(head, rows int, causal bool) (g FlashGradient, ok bool) {
	g.Strip = Strip{Head: head, Warps: 4, Tiles: 1, Step: 32, Causal: causal}
	switch {
	case head%8 != 0 || head > 160:
		return g, false
	case head > 96:
		g.Warps, g.Step = 2, 16
	case head <= 48 && rows > 64:
		g.Tiles = 2
	}
	return g, true
}

// Grid is that of so many rows, which are queries of the first launch and keys of the second.
func (g FlashGradient) Grid(samples, rows, heads int) [3]int {
	return [3]int{ceil(rows, g.rows()), heads, samples}
}

// Shared is the bytes of shared memory that a block needs.
func (g FlashGradient) Shared() int { return 2*g.own() + 2*g.stage() }

// stage is the bytes of a Step of rows of two matrices, and of the statistics of as many queries.
func (g FlashGradient) stage() int { return 2*g.others() + 16*g.Step }

// flashGradient is a FlashGradient while it is written.
type flashGradient struct {
	strip
	statistics    ptx.Addr
	left          span // of the statistics
	q, k, v, dy   ptx.Addr
	queries, keys span
	stages        ptx.Int // in shared memory
	first         ptx.Int // row of the block
}

// declare declares statistics, q, k, v, dy, channels, and the numbers of queries and of keys.
func (g FlashGradient) declare(k *ptx.Kernel) flashGradient {
	w := flashGradient{statistics: k.Pointer("statistics"), q: k.Pointer("q"), k: k.Pointer("k"), v: k.Pointer("v"), dy: k.Pointer("dy")}
	w.strip = g.strip(k)
	queries, keys, head, sample := k.Uint("queries"), k.Uint("keys"), k.Block(1).Times(g.Head), k.Block(2)
	w.queries, w.keys = span{sample.Times(queries), queries, head}, span{sample.Times(keys), keys, head}
	w.left = span{first: sample.TimesPlus(k.Blocks(1), k.Block(1)).Times(queries), rows: queries}
	w.stages, w.first = w.shared.Plus(2*g.own()), k.Block(0).Times(g.rows())
	return w
}

// take begins to copy the block's rows of two matrices, and returns what begins to copy a Step of two others.
func (w flashGradient) take(a, b ptx.Addr, s span, c, d ptx.Addr, others span) (fetch func(index, offset ptx.Int)) {
	w.loader(w.shared, a, s, w.rows(), w.Head)(w.first, w.Int(0))
	w.loader(w.shared.Plus(w.own()), b, s, w.rows(), w.Head)(w.first, w.Int(0))
	one, two := w.loader(w.stages, c, others, w.Step, w.Head), w.loader(w.stages.Plus(w.others()), d, others, w.Step, w.Head)
	return func(index, offset ptx.Int) {
		one(index, offset)
		two(index, offset)
	}
}

// pairs are the products of the warp's rows of both matrices with those of a stage: scores, and the slopes that are the derivatives by
// their weights.
func (w flashGradient) pairs(stage ptx.Int) (scores, slopes tiles) {
	return w.product(w.shared, stage), w.product(w.shared.Plus(w.own()), stage.Plus(w.others()))
}

// Queries has the parameters dq, statistics, q, k, v, dy, channels, and the numbers of queries and of keys.
func (g FlashGradient) Queries() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("flash_gradient_q_%v", g.Strip), 32*g.Warps)
	dq, w := declare(k, "dq", compute.F16), g.declare(k)
	fetch, end := w.take(w.q, w.dy, w.queries, w.k, w.v, w.keys), w.keys.rows
	if g.Causal {
		end = end.Min(w.first.Plus(g.rows()))
	}
	walk := func(body func(stage ptx.Int, scores, slopes tiles)) {
		w.walk(0, end, g.stage(), fetch, func(key, offset ptx.Int) {
			stage := w.stages.Plus(offset)
			scores, slopes := w.pairs(stage)
			w.hideKeys(scores, key, w.first.Plus(w.row), w.keys.rows)
			body(stage, scores, slopes)
		})
	}
	m, means := w.softmax(), w.perRow(0)
	walk(func(_ ptx.Int, scores, slopes tiles) { m.average(means, scores, slopes) })
	rest := m.rest()
	w.leave(m, rest, means)
	sums := w.zeros(g.Head)
	walk(func(stage ptx.Int, scores, slopes tiles) {
		slopes.derive(g.exponent(), scores, m.tops, means)
		w.gather(sums, stage, g.Head, slopes)
	})
	for _, two := range rest {
		two[0].Set(two[0].Times(g.scale()))
		two[1].Set(two[1].Times(g.scale()))
	}
	w.write(dq, w.queries, w.first, sums.scaled(rest))
	return k
}

// average makes weights of scores and adds to the lane's part of each row's sum of slopes.
func (m softmax) average(sums [][2]ptx.Float, scores, slopes tiles) {
	for i, before := range m.soften(scores) {
		for half, sum := range sums[i] {
			sum.Set(sum.Times(before[half]))
			for j, four := range scores[i] {
				for e, weight := range four[2*half:][:2] {
					sum.AddProduct(weight, slopes[i][j][2*half+e])
				}
			}
		}
	}
}

// leave makes of the greatest scores what exponents of two are shifted by and of the lane's parts of sums of slopes the means, and stores
// both with one over the sums of weights.
func (w flashGradient) leave(m softmax, rest, means [][2]ptx.Float) {
	for i := range means {
		for half, mean := range means[i] {
			mean.Set(rowSum(mean).Times(rest[i][half]))
			m.tops[i][half].Set(m.tops[i][half].Times(-w.exponent()))
		}
	}
	w.eachRow(w.first, w.left, func(i, half int, row ptx.Int) {
		w.If(w.lane.Mod(4).Equal(0), func() {
			w.StoreFloats(w.statistics.Index(row, 16), 0, m.tops[i][half], rest[i][half], means[i][half], means[i][half])
		})
	})
}

// derive makes of slopes the derivatives by scores, but for the factor that is one over the sum of a row's weights.
func (slopes tiles) derive(exponent float64, scores tiles, shifts, means [][2]ptx.Float) {
	for i := range slopes {
		for j, four := range slopes[i] {
			for e, slope := range four {
				weight := scores[i][j][e].TimesPlus(exponent, shifts[i][e/2]).Exp2()
				slope.Set(slope.Minus(means[i][e/2]).Times(weight))
			}
		}
	}
}

// Keys has the parameters dk, dv, statistics, q, k, v, dy, channels, and the numbers of queries and of keys.
func (g FlashGradient) Keys() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("flash_gradient_kv_%v", g.Strip), 32*g.Warps)
	dk, dv := declare(k, "dk", compute.F16), declare(k, "dv", compute.F16)
	w := g.declare(k)
	rows, statistics := w.take(w.k, w.v, w.keys, w.q, w.dy, w.queries), w.takeStatistics()
	fetch := func(index, offset ptx.Int) {
		rows(index, offset)
		statistics(index, offset)
	}
	from := any(0)
	if g.Causal {
		from = w.first
	}
	byKey, byValue := w.zeros(g.Head), w.zeros(g.Head)
	w.walk(from, w.queries.rows, g.stage(), fetch, func(query, offset ptx.Int) {
		stage := w.stages.Plus(offset)
		scores, slopes := w.pairs(stage)
		if g.Causal {
			w.hideQueries(scores, query)
		}
		w.weigh(scores, slopes, stage.Plus(2*g.others()))
		w.gather(byValue, stage.Plus(g.others()), g.Head, scores)
		w.gather(byKey, stage, g.Head, slopes)
	})
	w.write(dk, w.keys, w.first, byKey.scaled(w.perRow(g.scale())))
	w.write(dv, w.keys, w.first, byValue)
	return k
}

// takeStatistics is what begins to copy those of a Step of queries, behind the rows. They are zeros behind the last query, whose weights
// are of no matter for there all else is zero too.
func (w flashGradient) takeStatistics() func(index, offset ptx.Int) {
	place, busy := w.stages.Plus(2*w.others()).Plus(w.Thread().Times(16)), w.Thread().Less(w.Step)
	return func(index, offset ptx.Int) {
		w.If(busy, func() {
			query := index.Plus(w.Thread())
			w.CopyAsync(place.Plus(offset), w.statistics.Index(w.left.first.Plus(query), 16), query.Less(w.left.rows).Choose(16, 0))
		})
	}
}

// hideQueries masks the queries, from one on, that do not see the warp's keys.
func (w flashGradient) hideQueries(scores tiles, query ptx.Int) {
	first := w.first.Plus(w.row)
	w.If(query.Less(first.Plus(16*w.Tiles)), func() {
		w.mask(scores, query, func(row ptx.Int) func(ptx.Int) ptx.Pred {
			key := first.Plus(row)
			return func(query ptx.Int) ptx.Pred { return query.AtLeast(key) }
		})
	})
}

// weigh makes of scores the weights and of slopes the derivatives by scores. The queries, of which these lie at an address in shared
// memory, are the columns.
func (w flashGradient) weigh(scores, slopes tiles, statistics ptx.Int) {
	lanes := statistics.Plus(w.lane.Mod(4).Times(32))
	for j := range w.Step / 8 {
		for e := range 2 {
			query := w.LoadSharedMany(lanes, 128*j+16*e, 4)
			for i := range scores {
				for half := range 2 {
					weight, slope := scores[i][j][2*half+e], slopes[i][j][2*half+e]
					weight.Set(weight.TimesPlus(w.exponent(), query[0]).Exp2().Times(query[1]))
					slope.Set(slope.Minus(query[2]).Times(weight))
				}
			}
		}
	}
}
