package kernel

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Strip is how the attention of a head is divided on tensor cores. A block has some rows in shared memory, which are queries, or keys in
// the gradient by keys, and of these a warp has 16·Tiles. It walks along the rows of the other kind, of which one Step is in shared memory
// while the next is on its way.
type Strip struct {
	Head   int // channels of a head, a multiple of 8
	Warps  int
	Tiles  int // of 16 rows to a warp
	Step   int // rows of the other kind at once: 16, 32 or 64
	Causal bool
}

// String names the division, for the names of kernels.
func (s Strip) String() string {
	return fmt.Sprintf("%d_%dx%dx%d_%t", s.Head, s.Warps, s.Tiles, s.Step, s.Causal)
}

// rows are those of a block.
func (s Strip) rows() int { return 16 * s.Tiles * s.Warps }

// own is the bytes of a block's rows in shared memory, others those of a Step of rows.
func (s Strip) own() int    { return s.rows() * pitchOf(s.Head) }
func (s Strip) others() int { return s.Step * pitchOf(s.Head) }

// scale makes scores of products, exponent the same to base 2.
func (s Strip) scale() float64    { return 1 / math.Sqrt(float64(s.Head)) }
func (s Strip) exponent() float64 { return math.Log2E * s.scale() }

// chunksOf is how many pieces of 16 bytes a row of so many channels has in shared memory: an even number.
func chunksOf(channels int) int { return 2 * ceil(channels, 16) }

// pitchOf is the bytes from a row to the next: an odd number of pieces, so that eight rows lie in eight different groups of banks.
func pitchOf(channels int) int { return 16 * (chunksOf(channels) + 1) }

// strip is a kernel with a Strip while it is written.
type strip struct {
	*ptx.Kernel
	Strip
	channels     ptx.Int // of all heads
	shared, lane ptx.Int
	row          ptx.Int // the warp's first in the block
}

// strip declares the number of channels.
func (s Strip) strip(k *ptx.Kernel) strip {
	w := strip{Kernel: k, Strip: s, channels: k.Uint("channels"), shared: k.Shared(), lane: k.Thread().Mod(32)}
	w.row = k.Thread().Over(32).Times(16 * s.Tiles)
	return w
}

// span is the rows of a sample, and some channels of them.
type span struct {
	first   ptx.Int // row
	rows    ptx.Int // how many
	channel ptx.Int // the first
}

// tiles are fragments of a matrix with the warp's rows: of each 16 rows those of each 8 columns.
type tiles [][][4]ptx.Float

// zeros has so many columns.
func (w strip) zeros(columns int) (t tiles) {
	for range w.Tiles {
		var row [][4]ptx.Float
		for range columns / 8 {
			row = append(row, [4]ptx.Float(w.Floats(4, 0.0)))
		}
		t = append(t, row)
	}
	return t
}

// perRow is a number for each of the lane's rows, which are two of each tile.
func (w strip) perRow(value float64) (numbers [][2]ptx.Float) {
	for range w.Tiles {
		numbers = append(numbers, [2]ptx.Float(w.Floats(2, value)))
	}
	return numbers
}

// loader is what copies rows of so many channels of x to shared memory: those from an index on, to behind an offset. Rows outside the span
// are zeros, and so are channels behind the last. Two threads have two pieces of a row, eight those of every second of eight rows, which
// lie in different banks.
func (w strip) loader(to ptx.Int, x ptx.Addr, s span, rows, channels int) func(index, offset ptx.Int) {
	pairs, atOnce := w.Threads()/2, 1 // pairs of threads, and how many are on a row
	for n := 2; n <= pairs/rows; n++ {
		if chunksOf(channels)/2%n == 0 {
			atOnce = n
		}
	}
	pair := w.Thread().Over(2)
	row := turned(pair.Mod(rows))
	chunk := pair.Over(rows).Times(2).Plus(w.Thread().Mod(2))
	place := to.Plus(row.Times(pitchOf(channels))).Plus(chunk.Times(16))
	copyRows := func(index, offset ptx.Int) {
		into := place.Plus(offset)
		for r := 0; r < rows; r += pairs {
			line := index.Plus(row).Plus(r)
			from := x.Index(s.first.Plus(line).TimesPlus(w.channels, s.channel).Plus(chunk.Times(8)), 2)
			inside := line.Less(s.rows)
			for c := 0; c < chunksOf(channels); c += 2 * atOnce {
				whole := inside
				if 8*(c+2*atOnce) > channels {
					whole = inside.And(chunk.Plus(c).Less(channels / 8))
				}
				w.CopyAsyncAt(into, r*pitchOf(channels)+16*c, from, 16*c, whole.Choose(16, 0))
			}
		}
	}
	if rows*atOnce >= pairs {
		return copyRows
	}
	busy := pair.Less(rows * atOnce)
	return func(index, offset ptx.Int) { w.If(busy, func() { copyRows(index, offset) }) }
}

// turned is i with its three last bits turned by one: of eight rows first every second.
func turned(i ptx.Int) ptx.Int {
	return i.Minus(i.Mod(8)).Plus(i.Mod(4).Times(2)).Plus(i.Over(4).Mod(2))
}

// walk goes from an index to an end. Fetch begins to copy a Step of rows behind an offset, which are two by turns a stage of so many bytes
// apart; body is given the same when they are there.
func (w strip) walk(from any, end ptx.Int, stage int, fetch, body func(index, offset ptx.Int)) {
	next, write, at, read := w.Int(from), w.Int(0), w.Int(from), w.Int(0)
	advance := func(index, offset ptx.Int) {
		index.Advance(w.Step)
		offset.Set(w.Int(stage).Minus(offset))
	}
	begin := func() {
		fetch(next, write)
		w.Commit()
		advance(next, write)
	}
	begin()
	w.Repeat(func() ptx.Pred {
		w.Await(0)  // the rows are there,
		w.Barrier() // for all, and nobody reads those before any more,
		begin()     // whose place the next take
		body(at, read)
		advance(at, read)
		return at.Less(end)
	})
	w.Await(0)
	w.Barrier()
}

// product multiplies the warp's rows of a block's in shared memory with a Step of others. Its own are loaded again for every Step, which
// leaves registers for sums.
func (w strip) product(own, others ptx.Int) tiles {
	products := w.zeros(w.Step)
	left := own.Plus(w.row.Plus(w.lane.Mod(16)).Times(pitchOf(w.Head))).Plus(w.lane.Over(16).Times(16))
	right := others.Plus(w.lane.Over(16).Times(8).Plus(w.lane.Mod(8)).Times(pitchOf(w.Head))).Plus(w.lane.Over(8).Mod(2).Times(16))
	for depth := 0; depth < chunksOf(w.Head); depth += 2 {
		var lefts [][4]ptx.Int
		for i := range w.Tiles {
			lefts = append(lefts, w.LoadMatrices(left, 16*i*pitchOf(w.Head)+16*depth))
		}
		for j := 0; j < w.Step/8; j += 2 {
			rights := w.LoadMatrices(right, 8*j*pitchOf(w.Head)+16*depth)
			for i := range lefts {
				w.MultiplyAdd(products[i][j], lefts[i], [2]ptx.Int(rights[:2]))
				w.MultiplyAdd(products[i][j+1], lefts[i], [2]ptx.Int(rights[2:]))
			}
		}
	}
	return products
}

// gather adds a Step of rows of so many channels, weighted. Weights lie in registers as the left factor of a product has them.
func (w strip) gather(sums tiles, others ptx.Int, channels int, weights tiles) {
	row := others.Plus(w.lane.Mod(16).Times(pitchOf(channels))).Plus(w.lane.Over(16).Times(16))
	for j := 0; j < w.Step/8; j += 2 {
		var lefts [][4]ptx.Int
		for i := range weights {
			a, b := weights[i][j], weights[i][j+1]
			lefts = append(lefts, [4]ptx.Int{w.Pack(a[0], a[1]), w.Pack(a[2], a[3]), w.Pack(b[0], b[1]), w.Pack(b[2], b[3])})
		}
		for c := 0; c < channels/8; c += 2 {
			rights := w.LoadTransposed(row, 8*j*pitchOf(channels)+16*c)
			for i := range lefts {
				w.MultiplyAdd(sums[i][c], lefts[i], [2]ptx.Int(rights[:2]))
				if c+1 < channels/8 {
					w.MultiplyAdd(sums[i][c+1], lefts[i], [2]ptx.Int(rights[2:]))
				}
			}
		}
	}
}

// mask makes nothing of scores that are not seen, of which those of the first column are given. Seen is asked for each of the lane's rows,
// counted from the warp's first.
func (w strip) mask(scores tiles, column ptx.Int, seen func(row ptx.Int) func(column ptx.Int) ptx.Pred) {
	first := column.Plus(w.lane.Mod(4).Times(2))
	for i := range scores {
		for half := range 2 {
			seen := seen(w.lane.Over(4).Plus(16*i + 8*half))
			for j, four := range scores[i] {
				for e, score := range four[2*half:][:2] {
					score.Set(seen(first.Plus(8*j+e)).ChooseFloat(score, math.Inf(-1)))
				}
			}
		}
	}
}

// hideKeys masks the keys, from one on, that the warp's queries, from one on, do not see.
func (w strip) hideKeys(scores tiles, key, query, keys ptx.Int) {
	end := keys
	if w.Causal {
		end = keys.Min(query.Plus(1))
	}
	w.If(end.Less(key.Plus(w.Step)), func() {
		w.mask(scores, key, func(row ptx.Int) func(ptx.Int) ptx.Pred {
			limit := keys
			if w.Causal {
				limit = keys.Min(query.Plus(row).Plus(1))
			}
			return func(key ptx.Int) ptx.Pred { return key.Less(limit) }
		})
	})
}

// write stores sums, whose rows are those of the block from an index on, as far as they are inside y.
func (w strip) write(y array, s span, index ptx.Int, sums tiles) {
	w.eachRow(index, s, func(i, half int, row ptx.Int) {
		at := row.TimesPlus(w.channels, s.channel).Plus(w.lane.Mod(4).Times(2))
		for c, four := range sums[i] {
			y.store(at.Plus(8*c), four[2*half:][:2])
		}
	})
}

// eachRow does something for each of the lane's rows that is inside a span, the block's first being that of an index.
func (w strip) eachRow(index ptx.Int, s span, body func(i, half int, row ptx.Int)) {
	for i := range w.Tiles {
		for half := range 2 {
			row := index.Plus(w.row).Plus(w.lane.Over(4)).Plus(16*i + 8*half)
			w.If(row.Less(s.rows), func() { body(i, half, s.first.Plus(row)) })
		}
	}
}

// scaled multiplies each row by a factor.
func (t tiles) scaled(factors [][2]ptx.Float) tiles {
	for i := range t {
		for half := range 2 {
			for _, four := range t[i] {
				for _, sum := range four[2*half:][:2] {
					sum.Set(sum.Times(factors[i][half]))
				}
			}
		}
	}
	return t
}

// rowSum is the sum of what the four lanes of a row hold.
func rowSum(part ptx.Float) ptx.Float {
	part = part.Plus(part.Exchanged(1))
	return part.Plus(part.Exchanged(2))
}
