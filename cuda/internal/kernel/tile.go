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

// place is where a chunk of a row lies in a slice. Chunks change places from row to row, so that the eight rows of an 8×8 matrix lie in
// eight different groups of banks.
func (t Tile) place(row, chunk ptx.Int) ptx.Int {
	turn := row.Over(8 / t.chunks()).And(t.chunks() - 1)
	return row.Times(t.pitch()).Plus(chunk.Xor(turn).Times(16))
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

// slots are those of a thread for an operand with so many rows, behind an offset in the stage; chunk is its part of each row.
func (p *product) slots(rows, offset int) (slots []slot, chunk ptx.Int) {
	chunk = p.Thread().Mod(p.tile.chunks())
	first := p.Thread().Over(p.tile.chunks())
	atOnce := p.tile.Threads() / p.tile.chunks()
	if rows%atOnce != 0 {
		panic(fmt.Sprintf("kernel: tile %v: %d rows cannot be shared by threads that copy %d at once", p.tile, rows, atOnce))
	}
	for r := 0; r < rows; r += atOnce {
		row := first.Plus(r)
		slots = append(slots, slot{row, p.shared.Plus(p.tile.place(row, chunk)).Plus(offset)})
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
	xAt, wAt := p.fragments()
	p.Repeat(func() ptx.Pred {
		p.Await(p.tile.Stages - 2) // the slice to read is there,
		p.Barrier()                // for all, and nobody reads the one before any more,
		fetch()                    // whose place the next takes
		p.slice(read, xAt, wAt)
		p.ring(read)
		left.Advance(-1)
		return left.Positive()
	})
	p.Await(0)
}

// fragments are, for each 16 of a slice's depth, where the lane finds its row of the warp's first matrices of x and of w.
func (p *product) fragments() (x, w []ptx.Int) {
	xRow := p.row.Plus(p.lane.Mod(16))
	wRow := p.column.Plus(p.lane.Over(16).Times(8)).Plus(p.lane.Mod(8))
	for k := range p.tile.Depth / 16 {
		x = append(x, p.shared.Plus(p.tile.place(xRow, p.lane.Over(16).Plus(2*k))))
		w = append(w, p.shared.Plus(p.tile.place(wRow, p.lane.Over(8).Mod(2).Plus(2*k))).Plus(p.tile.Rows*p.tile.pitch()))
	}
	return x, w
}

// slice multiplies the slice at an offset.
func (p *product) slice(offset ptx.Int, xAt, wAt []ptx.Int) {
	partial := p.partial()
	for k := range xAt {
		xs, ws := p.loadAll(xAt[k].Plus(offset), p.tile.WarpRows/16), p.loadAll(wAt[k].Plus(offset), p.tile.WarpColumns/16)
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

// loadAll loads the matrices of n times 16 rows. Rows 16 further on are turned alike, so that only the offset differs.
func (p *product) loadAll(at ptx.Int, n int) (matrices [][4]ptx.Int) {
	for i := range n {
		matrices = append(matrices, p.LoadMatrices(at, 16*i*p.tile.pitch()))
	}
	return matrices
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
