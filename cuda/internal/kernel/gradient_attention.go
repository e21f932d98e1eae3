package kernel

import (
	"math"

	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// PlainAttentionGradient is compute.AttentionGradient with a warp for each query and then one for each key. What softmax needs of a query
// (the greatest score, one over the sum, and the mean of the derivatives by the weights) the first launch leaves for the second, four
// float32 for each query of each head of each sample.
type PlainAttentionGradient struct{ PlainAttention }

// gradientOperands are what both launches read.
type gradientOperands struct {
	*ptx.Kernel
	PlainAttention
	statistics           ptx.Addr
	q, k, v, dy          array
	queries, keys        ptx.Int
	channels, head, lane ptx.Int
	firstQuery, firstKey ptx.Int // of the sample
	scale                float64
}

// declare declares statistics, q, k, v, dy, and the numbers of queries and of keys.
func (a PlainAttentionGradient) declare(k *ptx.Kernel) gradientOperands {
	o := gradientOperands{Kernel: k, PlainAttention: a.PlainAttention, statistics: k.Pointer("statistics")}
	o.q, o.k, o.v, o.dy = declare(k, "q", a.Type), declare(k, "k", a.Type), declare(k, "v", a.Type), declare(k, "dy", a.Type)
	o.queries, o.keys = k.Uint("queries"), k.Uint("keys")
	o.channels, o.head, o.lane = k.Blocks(1).Times(a.Head), k.Block(1).Times(a.Head), k.Thread().Mod(32)
	o.firstQuery, o.firstKey = k.Block(2).Times(o.queries), k.Block(2).Times(o.keys)
	o.scale = 1 / math.Sqrt(float64(a.Head))
	return o
}

func (o gradientOperands) query(t ptx.Int) ptx.Int {
	return o.firstQuery.Plus(t).TimesPlus(o.channels, o.head)
}

func (o gradientOperands) key(s ptx.Int) ptx.Int {
	return o.firstKey.Plus(s).TimesPlus(o.channels, o.head)
}

// statisticsAt is where those of a query are.
func (o gradientOperands) statisticsAt(t ptx.Int) ptx.Addr {
	return o.statistics.Index(o.Block(2).TimesPlus(o.Blocks(1), o.Block(1)).TimesPlus(o.queries, t), 16)
}

// pair is the score of a query and a key to base 2, and the derivative by its weight, where they are there.
func (o gradientOperands) pair(there ptx.Pred, t, s ptx.Int) (score, dp ptx.Float) {
	score, dp = o.Float(math.Inf(-1)), o.Float(0.0)
	o.If(there, func() {
		score.Set(o.dot(o.Kernel, o.q, o.query(t), o.k, o.key(s)).Times(o.scale * math.Log2E))
		dp.Set(o.dot(o.Kernel, o.dy, o.query(t), o.v, o.key(s)))
	})
	return score, dp
}

// Queries has the parameters dq, statistics, q, k, v, dy, and the numbers of queries and of keys. Its grid is that of PlainAttention.
func (a PlainAttentionGradient) Queries() *ptx.Kernel {
	k := ptx.New(a.name("attention_gradient_q"), 32*attentionWarps)
	dq, o := declare(k, "dq", a.Type), a.declare(k)
	t := k.Block(0).Times(attentionWarps).Plus(k.Thread().Over(32))
	k.If(t.Less(o.queries), func() {
		seen := o.keys
		if a.Causal {
			seen = t.Plus(1)
		}
		top, total, mean := k.Float(math.Inf(-1)), k.Float(0.0), k.Float(0.0)
		k.For(0, seen, 32, func(chunk ptx.Int) {
			s := chunk.Plus(o.lane)
			score, dp := o.pair(s.Less(seen), t, s)
			next := top.Max(warpMax(score))
			before, p := top.Minus(next).Exp2(), score.Minus(next).Exp2()
			top.Set(next)
			total.Set(total.TimesPlus(before, warpSum(p)))
			mean.Set(mean.TimesPlus(before, warpSum(p.Times(dp))))
		})
		rest := k.Float(1.0).Over(total)
		mean.Set(mean.Times(rest))
		k.If(o.lane.Equal(0), func() { k.StoreFloats(o.statisticsAt(t), 0, top, rest, mean, mean) })

		sums := k.Floats(ceil(a.Head, 32), 0.0)
		k.For(0, seen, 32, func(chunk ptx.Int) {
			s := chunk.Plus(o.lane)
			score, dp := o.pair(s.Less(seen), t, s)
			ds := score.Minus(top).Exp2().Times(rest).Times(dp.Minus(mean)).Times(o.scale)
			row := func(j ptx.Int) ptx.Int { return o.key(chunk.Plus(j)) }
			a.gather(k, o.lane, seen.Minus(chunk).Min(32), row, []ptx.Float{ds}, func(i int, at ptx.Int, weights []ptx.Float) {
				sums[i].AddProduct(weights[0], o.k.load(at, 1)[0])
			})
		})
		a.total(sums)
		a.each(k, o.lane, o.query(t), func(i int, at ptx.Int) { dq.store(at, []ptx.Float{sums[i]}) })
	})
	return k
}

// Keys has the parameters dk, dv, statistics, q, k, v, dy, and the numbers of queries and of keys. Its grid is that of PlainAttention
// with keys in place of queries.
func (a PlainAttentionGradient) Keys() *ptx.Kernel {
	k := ptx.New(a.name("attention_gradient_kv"), 32*attentionWarps)
	dk, dv, o := declare(k, "dk", a.Type), declare(k, "dv", a.Type), a.declare(k)
	s := k.Block(0).Times(attentionWarps).Plus(k.Thread().Over(32))
	k.If(s.Less(o.keys), func() {
		var first any = 0
		if a.Causal {
			first = s
		}
		byKey, byValue := k.Floats(ceil(a.Head, 32), 0.0), k.Floats(ceil(a.Head, 32), 0.0)
		k.For(first, o.queries, 32, func(chunk ptx.Int) {
			t := chunk.Plus(o.lane)
			there := t.Less(o.queries)
			score, dp := o.pair(there, t, s)
			p, ds := k.Float(0.0), k.Float(0.0)
			k.If(there, func() {
				row := k.LoadFloats(o.statisticsAt(t), 0, 4)
				p.Set(score.Minus(row[0]).Exp2().Times(row[1]))
				ds.Set(p.Times(dp.Minus(row[2])).Times(o.scale))
			})
			row := func(j ptx.Int) ptx.Int { return o.query(chunk.Plus(j)) }
			a.gather(k, o.lane, o.queries.Minus(chunk).Min(32), row, []ptx.Float{ds, p}, func(i int, at ptx.Int, weights []ptx.Float) {
				byKey[i].AddProduct(weights[0], o.q.load(at, 1)[0])
				byValue[i].AddProduct(weights[1], o.dy.load(at, 1)[0])
			})
		})
		a.total(byKey)
		a.total(byValue)
		a.each(k, o.lane, o.key(s), func(i int, at ptx.Int) {
			dk.store(at, []ptx.Float{byKey[i]})
			dv.store(at, []ptx.Float{byValue[i]})
		})
	})
	return k
}
