package kernel

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// FlashAttention is compute.Attention in half precision on tensor cores. A block takes 64·Tiles queries of a head, a warp 16·Tiles, and
// walks along the keys and values, of which it has some in shared memory while the next are on their way. Scores never leave
// registers; a running maximum and sum make softmax of them (arXiv:2205.14135, algorithm 1). Of heads too large for registers a block
// makes only a slice of the channels.
type FlashAttention struct {
	Head   int // channels of a head, a multiple of 8
	Slice  int // channels of the result that a block makes: Head, or a part of it that is a multiple of 16
	Warps  int
	Tiles  int // of 16 queries to a warp
	Keys   int // at once: 16, 32 or 64, and not more than half the threads
	Causal bool
}

// FlashFor is the division for heads of so many channels and so many queries, if there is one.
func FlashFor(head, queries int, causal bool) (f FlashAttention, ok bool) {
	f = FlashAttention{Head: head, Slice: head, Warps: 4, Tiles: 1, Keys: 64, Causal: causal}
	switch {
	case head%8 != 0 || head > 160 && (head%128 != 0 || head > 512):
		return f, false
	case head > 160:
		f.Slice, f.Warps, f.Keys = 128, 2, 16
	case head > 96:
		f.Keys = 32
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
func (f FlashAttention) Shared() int { return f.rows()*pitchOf(f.Head) + 2*f.stage() }

func (f FlashAttention) rows() int { return 16 * f.Tiles * f.Warps }

// stage is the bytes of the keys and values that are read at once.
func (f FlashAttention) stage() int { return f.Keys * (pitchOf(f.Head) + pitchOf(f.Slice)) }

// chunksOf is how many pieces of 16 bytes a row of so many channels has in shared memory: an even number.
func chunksOf(channels int) int { return 2 * ceil(channels, 16) }

// pitchOf is the bytes from a row to the next: an odd number of pieces, so that eight rows lie in eight different groups of banks.
func pitchOf(channels int) int { return 16 * (chunksOf(channels) + 1) }

// flash is a FlashAttention while it is written.
type flash struct {
	*ptx.Kernel
	FlashAttention
	channels, lane ptx.Int
	row            ptx.Int // the warp's first in the block
	shared         ptx.Int
	sums           [][][4]ptx.Float
	tops, totals   [][2]ptx.Float // of each tile: of the lane's two rows
}

// Kernel has the parameters y, q, k, v, channels, and the numbers of queries and of keys.
func (f FlashAttention) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("flash_%d_%d_%d_%d_%d_%t", f.Head, f.Slice, f.Warps, f.Tiles, f.Keys, f.Causal), 32*f.Warps)
	y, q, keys, values := declare(k, "y", compute.F16), k.Pointer("q"), k.Pointer("k"), k.Pointer("v")
	w := flash{Kernel: k, FlashAttention: f, channels: k.Uint("channels")}
	queryCount, keyCount := k.Uint("queries"), k.Uint("keys")
	w.shared, w.lane, w.row = k.Shared(), k.Thread().Mod(32), k.Thread().Over(32).Times(16*f.Tiles)
	head, channel := k.Block(1).Over(f.Head/f.Slice).Times(f.Head), k.Block(1).Times(f.Slice)
	query, firstQuery, firstKey := k.Block(0).Times(f.rows()), k.Block(2).Times(queryCount), k.Block(2).Times(keyCount)
	w.begin()

	stages := w.shared.Plus(f.rows() * pitchOf(f.Head))
	fetchKeys := w.loader(stages, keys, f.Keys, f.Head)
	fetchValues := w.loader(stages.Plus(f.Keys*pitchOf(f.Head)), values, f.Keys, f.Slice)
	next, read, write := k.Int(0), k.Int(0), k.Int(0)
	turn := func(stage ptx.Int) { stage.Set(k.Int(f.stage()).Minus(stage)) }
	fetch := func() {
		fetchKeys(firstKey, next, keyCount, head, write)
		fetchValues(firstKey, next, keyCount, channel, write)
		k.Commit()
		next.Advance(f.Keys)
		turn(write)
	}
	w.loader(w.shared, q, f.rows(), f.Head)(firstQuery, query, queryCount, head, k.Int(0))
	fetch()
	end := keyCount
	if f.Causal {
		end = keyCount.Min(query.Plus(f.rows()))
	}
	at := k.Int(0)
	k.Repeat(func() ptx.Pred {
		k.Await(0)  // keys and values are there,
		k.Barrier() // for all, and nobody reads those before any more,
		fetch()     // whose place the next take
		stage := stages.Plus(read)
		scores := w.scores(stage)
		w.mask(scores, at, query.Plus(w.row), keyCount)
		w.soften(scores)
		w.gather(stage.Plus(f.Keys*pitchOf(f.Head)), scores)
		at.Advance(f.Keys)
		turn(read)
		return at.Less(end)
	})
	k.Await(0)
	w.write(y, firstQuery, query.Plus(w.row), queryCount, channel)
	return k
}

// loader is what copies rows of so many channels of x to shared memory: those from an index on, of the sample whose first row is given,
// and of these the channels from one on, to behind an offset. Rows from the limit on are zeros, and so are channels behind the last. Two
// threads have two pieces of a row, eight those of every second of eight rows, which lie in different banks.
func (w *flash) loader(to ptx.Int, x ptx.Addr, rows, channels int) func(first, index, limit, channel, offset ptx.Int) {
	pairs := w.Threads() / 2
	atOnce := max(pairs/rows, 1) // pairs of threads on a row
	if rows*atOnce%pairs != 0 || chunksOf(channels)/2%atOnce != 0 {
		panic(fmt.Sprintf("kernel: attention: %d threads cannot share %d rows of %d channels", w.Threads(), rows, channels))
	}
	pair := w.Thread().Over(2)
	row := turned(pair.Mod(rows))
	chunk := pair.Over(rows).Times(2).Plus(w.Thread().Mod(2))
	place := to.Plus(row.Times(pitchOf(channels))).Plus(chunk.Times(16))
	return func(first, index, limit, channel, offset ptx.Int) {
		into := place.Plus(offset)
		for r := 0; r < rows; r += pairs {
			line := index.Plus(row).Plus(r)
			from := x.Index(first.Plus(line).TimesPlus(w.channels, channel).Plus(chunk.Times(8)), 2)
			inside := line.Less(limit)
			for c := 0; c < chunksOf(channels); c += 2 * atOnce {
				whole := inside
				if 8*(c+2*atOnce) > channels {
					whole = inside.And(chunk.Plus(c).Less(channels / 8))
				}
				w.CopyAsyncAt(into, r*pitchOf(channels)+16*c, from, 16*c, whole.Choose(16, 0))
			}
		}
	}
}

// turned is i with its three last bits turned by one: of eight rows first every second.
func turned(i ptx.Int) ptx.Int {
	return i.Minus(i.Mod(8)).Plus(i.Mod(4).Times(2)).Plus(i.Over(4).Mod(2))
}

// begin makes the sums 0 and the maxima less than any score.
func (w *flash) begin() {
	for range w.Tiles {
		var row [][4]ptx.Float
		for range w.Slice / 8 {
			row = append(row, [4]ptx.Float(w.Floats(4, 0.0)))
		}
		w.sums = append(w.sums, row)
		w.tops = append(w.tops, [2]ptx.Float(w.Floats(2, math.Inf(-1))))
		w.totals = append(w.totals, [2]ptx.Float(w.Floats(2, 0.0)))
	}
}

// scores multiplies the warp's queries with the keys of a stage. Queries are loaded again for every stage, which leaves registers for
// the sums.
func (w *flash) scores(stage ptx.Int) (scores [][][4]ptx.Float) {
	for range w.Tiles {
		var row [][4]ptx.Float
		for range w.Keys / 8 {
			row = append(row, [4]ptx.Float(w.Floats(4, 0.0)))
		}
		scores = append(scores, row)
	}
	query := w.shared.Plus(w.row.Plus(w.lane.Mod(16)).Times(pitchOf(w.Head))).Plus(w.lane.Over(16).Times(16))
	key := stage.Plus(w.lane.Over(16).Times(8).Plus(w.lane.Mod(8)).Times(pitchOf(w.Head))).Plus(w.lane.Over(8).Mod(2).Times(16))
	for depth := 0; depth < chunksOf(w.Head); depth += 2 {
		var queries [][4]ptx.Int
		for i := range w.Tiles {
			queries = append(queries, w.LoadMatrices(query, 16*i*pitchOf(w.Head)+16*depth))
		}
		for j := 0; j < w.Keys/8; j += 2 {
			keys := w.LoadMatrices(key, 8*j*pitchOf(w.Head)+16*depth)
			for i := range queries {
				w.MultiplyAdd(scores[i][j], queries[i], [2]ptx.Int(keys[:2]))
				w.MultiplyAdd(scores[i][j+1], queries[i], [2]ptx.Int(keys[2:]))
			}
		}
	}
	return scores
}

// mask makes nothing of the scores of keys, from one on, that the queries, from one on, do not see.
func (w *flash) mask(scores [][][4]ptx.Float, key, query, keys ptx.Int) {
	seen := keys
	if w.Causal {
		seen = keys.Min(query.Plus(1))
	}
	w.If(seen.Less(key.Plus(w.Keys)), func() {
		first := key.Plus(w.lane.Mod(4).Times(2))
		for i := range scores {
			for half := range 2 {
				limit := keys
				if w.Causal {
					limit = keys.Min(query.Plus(w.lane.Over(4)).Plus(16*i + 8*half + 1))
				}
				for j, four := range scores[i] {
					for e, score := range four[2*half:][:2] {
						score.Set(first.Plus(8*j+e).Less(limit).ChooseFloat(score, math.Inf(-1)))
					}
				}
			}
		}
	})
}

// soften makes powers of scores, less the greatest so far, and brings sums and totals to what is the greatest now.
func (w *flash) soften(scores [][][4]ptx.Float) {
	scale := math.Log2E / math.Sqrt(float64(w.Head))
	for i := range scores {
		for half := range 2 {
			top := w.tops[i][half]
			next := w.Float(top)
			for _, four := range scores[i] {
				next = next.Max(four[2*half]).Max(four[2*half+1])
			}
			next = next.Max(next.Exchanged(1))
			next = next.Max(next.Exchanged(2))
			before, shift := top.Minus(next).Times(scale).Exp2(), next.Times(-scale)
			top.Set(next)
			total := w.totals[i][half]
			total.Set(total.Times(before))
			for _, four := range scores[i] {
				for _, score := range four[2*half:][:2] {
					score.Set(score.TimesPlus(scale, shift).Exp2())
					total.Add(score)
				}
			}
			for _, four := range w.sums[i] {
				for _, sum := range four[2*half:][:2] {
					sum.Set(sum.Times(before))
				}
			}
		}
	}
}

// gather adds the values of a stage, weighted. Scores lie in registers as the left factor of the next product has them.
func (w *flash) gather(stage ptx.Int, scores [][][4]ptx.Float) {
	value := stage.Plus(w.lane.Mod(16).Times(pitchOf(w.Slice))).Plus(w.lane.Over(16).Times(16))
	for j := 0; j < w.Keys/8; j += 2 {
		var weights [][4]ptx.Int
		for i := range scores {
			a, b := scores[i][j], scores[i][j+1]
			weights = append(weights, [4]ptx.Int{w.Pack(a[0], a[1]), w.Pack(a[2], a[3]), w.Pack(b[0], b[1]), w.Pack(b[2], b[3])})
		}
		for c := 0; c < w.Slice/8; c += 2 {
			values := w.LoadTransposed(value, 8*j*pitchOf(w.Slice)+16*c)
			for i := range weights {
				w.MultiplyAdd(w.sums[i][c], weights[i], [2]ptx.Int(values[:2]))
				if c+1 < w.Slice/8 {
					w.MultiplyAdd(w.sums[i][c+1], weights[i], [2]ptx.Int(values[2:]))
				}
			}
		}
	}
}

// write divides by the totals, of which each lane of four has a part, and stores what is inside y.
func (w *flash) write(y array, first, query, limit, channel ptx.Int) {
	for i := range w.sums {
		for half := range 2 {
			total := w.totals[i][half]
			total = total.Plus(total.Exchanged(1))
			total = total.Plus(total.Exchanged(2))
			rest := w.Float(1.0).Over(total)
			row := query.Plus(w.lane.Over(4)).Plus(16*i + 8*half)
			w.If(row.Less(limit), func() {
				at := first.Plus(row).TimesPlus(w.channels, channel).Plus(w.lane.Mod(4).Times(2))
				for c, four := range w.sums[i] {
					y.store(at.Plus(8*c), []ptx.Float{four[2*half].Times(rest), four[2*half+1].Times(rest)})
				}
			})
		}
	}
}
