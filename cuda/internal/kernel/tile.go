package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Tile is how a product y = x·wᵀ is divided. A block makes Rows×Columns of y and walks along the sum's depth in slices, of which
// Stages are in shared memory at once: while one is multiplied the next are on their way. A warp makes WarpRows×WarpColumns.
type Tile struct {
	Rows, Columns, Depth  int // Depth 16, 32 or 64
	WarpRows, WarpColumns int // multiples of 16
	Stages                int // at least 2
}

// Threads is how many a block has.
func (t Tile) Threads() int { return 32 * (t.Rows / t.WarpRows) * (t.Columns / t.WarpColumns) }

// Shared is the bytes of shared memory that a block needs.
func (t Tile) Shared() int { return t.Stages * t.stage() }

// Grid is a block for each tile of y. Blocks next to each other share rows of w.
func (t Tile) Grid(rows, columns int) [3]int {
	return [3]int{ceil(rows, t.Rows), ceil(columns, t.Columns), 1}
}

// stage is the bytes of a slice of x and of w.
func (t Tile) stage() int { return (t.Rows + t.Columns) * t.pitch() }

// pitch is the bytes of a row of a slice.
func (t Tile) pitch() int { return 2 * t.Depth }

// chunks is how many pieces of 16 bytes a row of a slice has.
func (t Tile) chunks() int { return t.Depth / 8 }

// swizzled is where one of a row's chunks lies in a slice. Chunks change places from row to row, so that the eight rows of an 8×8 matrix lie
// in eight different groups of banks.
func swizzled(row, chunk ptx.Int, chunks int) ptx.Int {
	near := min(chunks, 8)
	turn := row.Over(8 / near).And(near - 1)
	return row.Times(16 * chunks).Plus(chunk.Xor(turn).Times(16))
}

// String names the tile by its sides, those of a warp and its stages, for the names of kernels.
func (t Tile) String() string {
	return fmt.Sprintf("%dx%dx%d_%dx%d_%d", t.Rows, t.Columns, t.Depth, t.WarpRows, t.WarpColumns, t.Stages)
}

// product is a kernel of a product while it is written.
type product struct {
	*ptx.Kernel
	tile        Tile
	promoted    bool
	transposedX bool // x is given as [depth][rows]
	transposedW bool // w is given as [depth][columns]
	shared      ptx.Int
	lane        ptx.Int
	row, column ptx.Int // the warp's first in the block
	sums        [][][4]ptx.Float
	start       any     // where in the depth the block begins: the int 0, or an Int if it sums a part
	part        ptx.Int // then, how many slices a part has
}

// source brings the slices of x or of w to shared memory, one after the other.
type source interface {
	// fetch begins to copy the next slice. What lies outside is zero.
	fetch(to ptx.Int)
}

// slot is one of the rows that a thread copies of every slice: which one of the block's, and where its chunk goes in the slice.
type slot struct {
	row ptx.Int
	to  ptx.Int
}

// slots are those of a thread for an operand with so many rows of so many chunks, behind an offset in the stage; chunk is its part of each
// row.
func (p *product) slots(rows, chunks, offset int) (slots []slot, chunk ptx.Int) {
	chunk = p.Thread().Mod(chunks)
	first := p.Thread().Over(chunks)
	atOnce := p.tile.Threads() / chunks
	if rows%atOnce != 0 {
		panic(fmt.Sprintf("kernel: tile %v: %d rows cannot be shared by threads that copy %d at once", p.tile, rows, atOnce))
	}
	for r := 0; r < rows; r += atOnce {
		row := first.Plus(r)
		slots = append(slots, slot{row, p.shared.Plus(swizzled(row, chunk, chunks)).Plus(offset)})
	}
	return slots, chunk
}

// begin finds the warp's place and its sums. If the sum is split, of which parameters tell how, the third axis of the grid is that of
// its parts.
func (p *product) begin(split bool) {
	p.start = 0
	if split {
		p.part = p.Uint("part")
		p.start = p.Block(2).Times(p.part).Times(p.tile.Depth)
	}
	p.shared, p.lane = p.Shared(), p.Thread().Mod(32)
	warp := p.Thread().Over(32)
	p.row = warp.Mod(p.tile.Rows / p.tile.WarpRows).Times(p.tile.WarpRows)
	p.column = warp.Over(p.tile.Rows / p.tile.WarpRows).Times(p.tile.WarpColumns)
	for range p.tile.WarpRows / 16 {
		var row [][4]ptx.Float
		for range p.tile.WarpColumns / 8 {
			row = append(row, [4]ptx.Float(p.Floats(4, 0.0)))
		}
		p.sums = append(p.sums, row)
	}
}

// ring counts the offsets of the stages, round and round.
func (p *product) ring(at ptx.Int) {
	at.Advance(p.tile.stage())
	at.Set(at.Equal(p.tile.Stages*p.tile.stage()).Choose(0, at))
}

// multiply walks along the sum of so many products, or the block's part of it.
func (p *product) multiply(depth ptx.Int, x, w source) {
	slices := depth.Plus(p.tile.Depth - 1).Over(p.tile.Depth)
	if p.start != 0 {
		slices = slices.Minus(p.Block(2).Times(p.part)).Min(p.part)
	}
	write, read, left := p.Int(0), p.Int(0), p.Int(slices)
	fetch := func() {
		x.fetch(write)
		w.fetch(write)
		p.Commit()
		p.ring(write)
	}
	for range p.tile.Stages - 1 {
		fetch()
	}
	xs, ws := p.fragments()
	p.Repeat(func() ptx.Pred {
		p.Await(p.tile.Stages - 2) // the slice to read is there,
		p.Barrier()                // for all, and nobody reads the one before any more,
		fetch()                    // whose place the next takes
		p.slice(read, xs, ws)
		p.ring(read)
		left.Advance(-1)
		return left.Positive()
	})
	p.Await(0)
}

// fragments load the warp's matrices of x and of w for 16 of a slice's depth, the slice being that at an offset.
type fragments func(offset ptx.Int, depth int) [][4]ptx.Int

// fragments finds where the lane has its rows. Rows 16 further on are turned alike, so that only the offset differs.
func (p *product) fragments() (x, w fragments) {
	depths, rows, columns := p.tile.Depth/16, p.tile.WarpRows/16, p.tile.WarpColumns/16
	chunks, pitch, behind := p.tile.chunks(), p.tile.pitch(), p.tile.Rows*p.tile.pitch()
	eight, pair, half := p.lane.Mod(8), p.lane.Over(8).Mod(2), p.lane.Over(16)
	if p.transposedX {
		x = p.across(half.Times(8).Plus(eight), p.row.Over(8).Plus(pair), rows, p.tile.Rows, 0)
	} else {
		row := p.row.Plus(p.lane.Mod(16))
		x = p.along(depths, rows, 16*pitch, func(depth int) ptx.Int { return swizzled(row, half.Plus(2*depth), chunks) })
	}
	if p.transposedW {
		return x, p.across(p.lane.Mod(16), p.column.Over(8).Plus(half), columns, p.tile.Columns, behind)
	}
	row := p.column.Plus(half.Times(8)).Plus(eight)
	return x, p.along(depths, columns, 16*pitch, func(depth int) ptx.Int { return swizzled(row, pair.Plus(2*depth), chunks).Plus(behind) })
}

// along loads n matrices at each depth, rows of the warp.
func (p *product) along(depths, n, step int, at func(depth int) ptx.Int) fragments {
	var places []ptx.Int
	for depth := range depths {
		places = append(places, p.shared.Plus(at(depth)))
	}
	return func(offset ptx.Int, depth int) (matrices [][4]ptx.Int) {
		from := places[depth].Plus(offset)
		for i := range n {
			matrices = append(matrices, p.LoadMatrices(from, i*step))
		}
		return matrices
	}
}

// across loads n matrices of a transposed factor: at each depth those of the lane's row and of its chunk and every second further, of rows
// with so many elements.
func (p *product) across(row, chunk ptx.Int, n, elements, behind int) fragments {
	var places []ptx.Int
	for i := range n {
		places = append(places, p.shared.Plus(swizzled(row, chunk.Plus(2*i), elements/8)).Plus(behind))
	}
	return func(offset ptx.Int, depth int) (matrices [][4]ptx.Int) {
		for _, at := range places {
			matrices = append(matrices, p.LoadTransposed(at.Plus(offset), 16*depth*2*elements))
		}
		return matrices
	}
}

// slice multiplies the slice at an offset.
func (p *product) slice(offset ptx.Int, x, w fragments) {
	partial := p.partial()
	for depth := range p.tile.Depth / 16 {
		xs, ws := x(offset, depth), w(offset, depth)
		for i := range p.sums {
			for j := range p.sums[i] {
				w := [2]ptx.Int(ws[j/2][j%2*2:])
				if p.promoted {
					p.MultiplyAddHalf(partial[i][j], xs[i], w, partial[i][j])
				} else {
					p.MultiplyAdd(p.sums[i][j], xs[i], w)
				}
			}
		}
	}
	p.promote(partial)
}

// partial are zeros in half precision for the sums of a slice.
func (p *product) partial() (zeros [][][2]ptx.Int) {
	if !p.promoted {
		return nil
	}
	for _, row := range p.sums {
		var pairs [][2]ptx.Int
		for range row {
			pairs = append(pairs, [2]ptx.Int{p.Int(0), p.Int(0)})
		}
		zeros = append(zeros, pairs)
	}
	return zeros
}

// promote adds a slice's sums in half precision to those in float32.
func (p *product) promote(partial [][][2]ptx.Int) {
	for i := range partial {
		for j, pair := range partial[i] {
			for half, two := range pair {
				low, high := two.Halves()
				p.sums[i][j][2*half].Add(low.Float())
				p.sums[i][j][2*half+1].Add(high.Float())
			}
		}
	}
}
