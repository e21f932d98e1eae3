package kernel

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// FlashAttention is compute.Attention in half precision on tensor cores. A block takes queries of a head and walks along the keys and
// values. Scores never leave registers; a running maximum and sum make softmax of them (arXiv:2205.14135, algorithm 1). Of heads too large
// for registers a block makes only a slice of the channels.
type FlashAttention struct {
	Strip
	Slice int // channels of the result that a block makes: Head, or a part of it that is a multiple of 16
}

// FlashFor is the division for heads of so many channels and so many queries, if there is one.
func FlashFor(head, queries int, causal bool) (f FlashAttention, ok bool) {
	f = FlashAttention{Strip{Head: head, Warps: 4, Tiles: 1, Step: 64, Causal: causal}, head}
	switch {
	case head%8 != 0 || head > 160 && (head%128 != 0 || head > 512):
		return f, false
	case head > 160:
		f.Slice, f.Warps, f.Step = 128, 2, 16
	case head > 96:
		f.Step = 32
	case queries > 64:
		f.Tiles = 2
	}
	return f, true
}

// Grid has the slices of heads along the second axis.
func (f FlashAttention) Grid(samples, queries, heads int) [3]int {
	return [3]int{ceil(queries, f.rows()), heads * f.Head / f.Slice, samples}
}

// Shared is the bytes of shared memory that a block needs.
func (f FlashAttention) Shared() int { return f.own() + 2*f.stage() }

// stage is the bytes of the keys and values that are read at once.
func (f FlashAttention) stage() int { return f.others() + f.Step*pitchOf(f.Slice) }

// Kernel has the parameters y, q, k, v, channels, and the numbers of queries and of keys.
func (f FlashAttention) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("flash_%v_%d", f.Strip, f.Slice), 32*f.Warps)
	y, q, keys, values := declare(k, "y", compute.F16), k.Pointer("q"), k.Pointer("k"), k.Pointer("v")
	w := f.strip(k)
	queryCount, keyCount := k.Uint("queries"), k.Uint("keys")
	head, channel := k.Block(1).Over(f.Head/f.Slice).Times(f.Head), k.Block(1).Times(f.Slice)
	query, firstQuery, firstKey := k.Block(0).Times(f.rows()), k.Block(2).Times(queryCount), k.Block(2).Times(keyCount)

	stages := w.shared.Plus(f.own())
	fetchKeys := w.loader(stages, keys, span{firstKey, keyCount, head}, f.Step, f.Head)
	fetchValues := w.loader(stages.Plus(f.others()), values, span{firstKey, keyCount, channel}, f.Step, f.Slice)
	fetch := func(index, offset ptx.Int) {
		fetchKeys(index, offset)
		fetchValues(index, offset)
	}
	w.loader(w.shared, q, span{firstQuery, queryCount, head}, f.rows(), f.Head)(query, k.Int(0))
	sums, m, end := w.zeros(f.Slice), w.softmax(), keyCount
	if f.Causal {
		end = keyCount.Min(query.Plus(f.rows()))
	}
	w.walk(0, end, f.stage(), fetch, func(key, offset ptx.Int) {
		stage := stages.Plus(offset)
		scores := w.product(w.shared, stage)
		w.hideKeys(scores, key, query.Plus(w.row), keyCount)
		w.gather(sums.scaled(m.soften(scores)), stage.Plus(f.others()), f.Slice, scores)
	})
	w.write(y, span{firstQuery, queryCount, channel}, query, sums.scaled(m.rest()))
	return k
}

// softmax is, of each of the lane's rows, the greatest score so far and the lane's part of the sum of weights, which are powers of two of
// scores less the greatest.
type softmax struct {
	strip
	tops, totals [][2]ptx.Float
}

// softmax has seen no scores.
func (w strip) softmax() softmax { return softmax{w, w.perRow(math.Inf(-1)), w.perRow(0)} }

// soften makes weights of products, and returns what brings sums of those before to what is the greatest now.
func (m softmax) soften(scores tiles) (before [][2]ptx.Float) {
	before = make([][2]ptx.Float, len(scores))
	for i := range scores {
		for half := range 2 {
			top, total := m.tops[i][half], m.totals[i][half]
			next := top
			for _, four := range scores[i] {
				next = next.Max(four[2*half]).Max(four[2*half+1])
			}
			next = next.Max(next.Exchanged(1))
			next = next.Max(next.Exchanged(2))
			shift := next.Times(-m.exponent())
			before[i][half] = top.Minus(next).Times(m.exponent()).Exp2()
			top.Set(next)
			total.Set(total.Times(before[i][half]))
			for _, four := range scores[i] {
				for _, score := range four[2*half:][:2] {
					score.Set(score.TimesPlus(m.exponent(), shift).Exp2())
					total.Add(score)
				}
			}
		}
	}
	return before
}

// rest is one over the sum of all lanes' weights.
func (m softmax) rest() (rest [][2]ptx.Float) {
	for _, two := range m.totals {
		rest = append(rest, [2]ptx.Float{m.Float(1.0).Over(rowSum(two[0])), m.Float(1.0).Over(rowSum(two[1]))})
	}
	return rest
}
