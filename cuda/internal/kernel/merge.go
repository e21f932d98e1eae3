package kernel

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// MergeTokens is compute.MergeTokens in four launches, each for every token of every sample: Match finds the destination that each source
// is most like, Rank the sources that are merged, Rows the row of the result that each token goes to, and Kernel the rows.
type MergeTokens struct{ Type compute.DType }

// tokens is a map of them while a kernel is written.
type tokens struct {
	*ptx.Kernel
	height, width, count ptx.Int
}

func declareTokens(k *ptx.Kernel) tokens {
	t := tokens{Kernel: k, height: k.Uint("height"), width: k.Uint("width")}
	t.count = t.height.Times(t.width)
	return t
}

// isSource tells whether a token may be merged into another: it is not the first of a whole cell of 2×2.
func (t tokens) isSource(i ptx.Int) ptx.Pred {
	y, x := i.Over(t.width), i.Mod(t.width)
	whole := y.Or(1).Less(t.height).And(x.Or(1).Less(t.width))
	return whole.And(y.Or(x).Mod(2).Equal(0)).Not()
}

// destinations is how many there are, destination the token that is the i-th, and ordinal the reverse.
func (t tokens) destinations() ptx.Int { return t.height.Over(2).Times(t.width.Over(2)) }

func (t tokens) destination(i ptx.Int) ptx.Int {
	columns := t.width.Over(2)
	return i.Over(columns).Times(2).TimesPlus(t.width, i.Mod(columns).Times(2))
}

func (t tokens) ordinal(token ptx.Int) ptx.Int {
	return token.Over(t.width).Over(2).TimesPlus(t.width.Over(2), token.Mod(t.width).Over(2))
}

const mergeWarps = 4

// Grid is that of Match and of Kernel, with a warp for each token.
func (MergeTokens) Grid(samples, tokens int) [3]int {
	return [3]int{ceil(tokens, mergeWarps), samples, 1}
}

// each does something with a warp for each token.
func (t tokens) each(body func(token, sample, lane ptx.Int)) {
	token := t.Block(0).Times(mergeWarps).Plus(t.Thread().Over(32))
	t.If(token.Less(t.count), func() { body(token, t.Block(1), t.Thread().Mod(32)) })
}

// Match has the parameters cosines (float32) and matches (ordinals of destinations), both of each token, x, channels, height and width.
func (m MergeTokens) Match() *ptx.Kernel {
	k := ptx.New("merge_match"+suffix(m.Type), 32*mergeWarps)
	cosines, matches, x, channels := k.Pointer("cosines"), k.Pointer("matches"), declare(k, "x", m.Type), k.Uint("channels")
	t := declareTokens(k)
	t.each(func(token, sample, lane ptx.Int) {
		first := sample.Times(t.count)
		k.If(t.isSource(token), func() {
			best, match := k.Float(-2.0), k.Int(0)
			k.For(lane, t.destinations(), 32, func(d ptx.Int) {
				cosine := m.cosine(k, x, first.Plus(token).Times(channels), first.Plus(t.destination(d)).Times(channels), channels)
				k.If(best.Less(cosine), func() {
					best.Set(cosine)
					match.Set(d)
				})
			})
			for mask := 16; mask > 0; mask /= 2 {
				other, at := best.Exchanged(mask), match.Exchanged(mask)
				k.If(best.Less(other), func() {
					best.Set(other)
					match.Set(at)
				})
				k.If(best.Equal(other), func() { match.Set(match.Min(at)) })
			}
			k.If(lane.Equal(0), func() {
				k.StoreFloats(cosines.Index(first.Plus(token), 4), 0, best)
				k.StoreInts(matches.Index(first.Plus(token), 4), 0, match)
			})
		})
	})
	return k
}

// cosine is that of the angle between two rows, 0 where one is zero.
func (m MergeTokens) cosine(k *ptx.Kernel, x array, a, b, channels ptx.Int) ptx.Float {
	product, aa, bb := k.Float(0.0), k.Float(0.0), k.Float(0.0)
	k.For(0, channels, 1, func(c ptx.Int) {
		u, v := x.load(a.Plus(c), 1)[0], x.load(b.Plus(c), 1)[0]
		product.AddProduct(u, v)
		aa.AddProduct(u, u)
		bb.AddProduct(v, v)
	})
	length := aa.Root().Times(bb.Root())
	return length.Equal(0.0).ChooseFloat(0.0, product.Over(orOne(length)))
}

// perToken writes what a thread does with a token: its grid is OneGrid of the tokens, with the samples along the second axis.
func (t tokens) perToken(body func(token, first ptx.Int)) {
	token := t.Block(0).Times(elementThreads).Plus(t.Thread())
	t.If(token.Less(t.count), func() { body(token, t.Block(1).Times(t.count)) })
}

// Rank has the parameters merged (1 or 0 of each token), cosines, how many are merged, height and width. Of equals the earlier is first.
func (MergeTokens) Rank() *ptx.Kernel {
	k := ptx.New("merge_rank", elementThreads)
	merged, cosines, limit := k.Pointer("merged"), k.Pointer("cosines"), k.Uint("limit")
	t := declareTokens(k)
	t.perToken(func(token, first ptx.Int) {
		cosine := func(i ptx.Int) ptx.Float { return k.LoadFloats(cosines.Index(first.Plus(i), 4), 0, 1)[0] }
		answer := k.Int(0)
		k.If(t.isSource(token), func() {
			mine, rank := cosine(token), k.Int(0)
			k.For(0, t.count, 1, func(i ptx.Int) {
				k.If(t.isSource(i), func() {
					other := cosine(i)
					k.If(mine.Less(other), func() { rank.Advance(1) })
					k.If(mine.Equal(other).And(i.Less(token)), func() { rank.Advance(1) })
				})
			})
			answer.Set(rank.Less(limit).Choose(1, 0))
		})
		k.StoreInts(merged.Index(first.Plus(token), 4), 0, answer)
	})
	return k
}

// Rows has the parameters rows (of each token, of those of all samples), merged, matches, how many are merged, height and width.
func (MergeTokens) Rows() *ptx.Kernel {
	k := ptx.New("merge_rows", elementThreads)
	rows, merged, matches, limit := k.Pointer("rows"), k.Pointer("merged"), k.Pointer("matches"), k.Uint("limit")
	t := declareTokens(k)
	t.perToken(func(token, first ptx.Int) {
		isMerged := func(i ptx.Int) ptx.Pred {
			return k.LoadInts(merged.Index(first.Plus(i), 4), 0, 1)[0].Equal(1)
		}
		stay := t.count.Minus(t.destinations()).Minus(limit)
		row := k.Int(stay.Plus(t.ordinal(token)))
		k.If(t.isSource(token), func() {
			before := k.Int(0)
			k.For(0, token, 1, func(i ptx.Int) {
				k.If(t.isSource(i).And(isMerged(i).Not()), func() { before.Advance(1) })
			})
			row.Set(before)
			k.If(isMerged(token), func() {
				row.Set(k.LoadInts(matches.Index(first.Plus(token), 4), 0, 1)[0].Plus(stay))
			})
		})
		k.StoreInts(rows.Index(first.Plus(token), 4), 0, k.Block(1).TimesPlus(t.count.Minus(limit), row))
	})
	return k
}

// Kernel has the parameters y, x, rows, merged, channels, height and width. Tokens that are not merged write their row.
func (m MergeTokens) Kernel() *ptx.Kernel {
	k := ptx.New("merge"+suffix(m.Type), 32*mergeWarps)
	y, x, rows, merged, channels := declare(k, "y", m.Type), declare(k, "x", m.Type), k.Pointer("rows"), k.Pointer("merged"), k.Uint("channels")
	t := declareTokens(k)
	t.each(func(token, sample, lane ptx.Int) {
		first := sample.Times(t.count)
		word := func(a ptx.Addr, i ptx.Int) ptx.Int { return k.LoadInts(a.Index(first.Plus(i), 4), 0, 1)[0] }
		k.If(word(merged, token).Equal(0), func() {
			row := word(rows, token)
			k.For(lane, channels, 32, func(c ptx.Int) {
				number := func(i ptx.Int) ptx.Float { return x.load(first.Plus(i).TimesPlus(channels, c), 1)[0] }
				sum, count := k.Float(number(token)), k.Float(1.0)
				k.If(t.isSource(token).Not(), func() {
					k.For(0, t.count, 1, func(i ptx.Int) {
						k.If(word(merged, i).Equal(1).And(word(rows, i).Equal(row)), func() {
							sum.Add(number(i))
							count.Add(1.0)
						})
					})
				})
				y.store(row.TimesPlus(channels, c), []ptx.Float{sum.Over(count)})
			})
		})
	})
	return k
}
