package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Epilogue is what a product does to each element while it is at hand: y = Activation(sum + bias + perChannel) + residual.
type Epilogue struct {
	Bias, PerChannel, Residual bool
	Activation                 compute.Activation
}

// String names what the epilogue does, for the names of kernels.
func (e Epilogue) String() string {
	text := ""
	for _, part := range []struct {
		has  bool
		name string
	}{{e.Bias, "_bias"}, {e.PerChannel, "_channel"}, {e.Activation != compute.Identity, "_" + e.Activation.String()}, {e.Residual, "_residual"}} {
		if part.has {
			text += part.name
		}
	}
	return text
}

// Linear is y = epilogue(x·wᵀ), in half precision. x is [rows,depth] and w [columns,depth], with a depth that is a multiple of 8.
type Linear struct {
	Tile
	Epilogue
	Odd   bool // the number of columns may be odd
	Split bool // the sum is made in parts, which Finish adds up

	Transposed bool // w is [depth,columns], of which a multiple of 8
	Promoted   bool // a slice is summed in half precision, which is twice as fast on GeForce cards, and added to float32 sums
}

// Kernel has the parameters y, rows, columns, those of the epilogue that it has (bias; perChannel and how many rows share one of its
// rows; residual), x, w, depth, and of a transposed w the number of elements from a row to the next. y may be the residual. If the sum is split, there is no epilogue, y is float32 [parts][rows][columns],
// the third axis of the grid that of the parts, and a last parameter the number of slices in each.
func (l Linear) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("linear_%v%v%s", l.Tile, l.Epilogue, variant(l.Odd, l.Promoted, l.Split, l.Transposed)), l.Threads())
	p := product{Kernel: k, tile: l.Tile, promoted: l.Promoted, transposed: l.Transposed}
	end := declareEnd(k, l.Epilogue, productType(l.Split), pairs(l.Odd))
	x, w, depth := k.Pointer("x"), k.Pointer("w"), k.Uint("depth")
	columns := p.declareColumns(w, end.columns, depth)
	p.begin(l.Split)
	rows := p.matrix(x, k.Block(0).Times(l.Rows), end.rows, depth, l.Rows, 0)
	p.multiply(depth, rows, columns())
	end.write(&p)
	return k
}

// declareColumns declares what else there is to know of w, and returns what makes it the source of a product of a depth.
func (p *product) declareColumns(w ptx.Addr, limit, depth ptx.Int) func() source {
	behind := p.tile.Rows * p.tile.pitch()
	if p.transposed {
		pitch := p.Uint("w_pitch")
		return func() source { return p.tall(w, limit, depth, pitch, 0, 1, behind) }
	}
	return func() source {
		return p.matrix(w, p.Block(1).Times(p.tile.Columns), limit, depth, p.tile.Columns, behind)
	}
}

// pairs is how many neighbours in a row of a product are finished at once.
func pairs(odd bool) int {
	if odd {
		return 1
	}
	return 2
}

// productType is what y of a product holds: float32 where it is parts of sums.
func productType(split bool) compute.DType {
	if split {
		return compute.F32
	}
	return compute.F16
}

func variant(odd, promoted, split, transposed bool) (text string) {
	for i, name := range []string{"_odd", "_promoted", "_split", "_transposed"} {
		if [...]bool{odd, promoted, split, transposed}[i] {
			text += name
		}
	}
	return text
}

// matrix is a source whose rows lie behind each other, all of one depth.
type matrix struct {
	*product
	slots  []slot
	from   []ptx.Addr
	inside []ptx.Pred
	at     ptx.Int // the thread's place in the depth
	depth  ptx.Int
}

// matrix takes a block's rows of a matrix with so many, from the first on, to an offset in each stage.
func (p *product) matrix(base ptx.Addr, first, limit, depth ptx.Int, rows, offset int) *matrix {
	m := &matrix{product: p, depth: depth}
	slots, chunk := p.slots(rows, p.tile.chunks(), offset)
	m.slots, m.at = slots, p.Int(chunk.Times(8).Plus(p.start))
	for _, s := range slots {
		row := first.Plus(s.row)
		m.inside = append(m.inside, row.Less(limit))
		m.from = append(m.from, base.Index(row.TimesPlus(depth, m.at), 2))
	}
	return m
}

// fetch implements source.
func (m *matrix) fetch(to ptx.Int) {
	left := m.at.Less(m.depth)
	for i, s := range m.slots {
		m.CopyAsync(s.to.Plus(to), m.from[i], m.inside[i].And(left).Choose(16, 0))
		m.from[i].Advance(m.tile.pitch())
	}
	m.at.Advance(m.tile.Depth)
}

// tall is the source of a transposed w: of its rows, which are the depth, a block's columns. Of a convolution each pixel of the window has
// rows of its own, as many as it has outputs, a multiple of the tile's depth; they come in the order of the window turned by half a turn.
type tall struct {
	*product
	slots       []slot
	base        ptx.Addr
	column      ptx.Int
	inside      ptx.Pred
	at, pixel   ptx.Int // the first row of the next slice, and its pixel
	rows, pitch ptx.Int
	between     any // elements from a pixel to the next
	pixels      int
}

// tall takes w's rows of one pixel, or of several, to an offset in each stage.
func (p *product) tall(base ptx.Addr, limit, rows, pitch ptx.Int, between any, pixels, offset int) *tall {
	t := &tall{product: p, base: base, rows: rows, pitch: pitch, between: between, pixels: pixels}
	slots, chunk := p.slots(p.tile.Depth, p.tile.Columns/8, offset)
	t.slots, t.column = slots, p.Block(1).Times(p.tile.Columns).Plus(chunk.Times(8))
	t.inside = t.column.Less(limit)
	t.at, t.pixel = p.Int(p.start), p.Int(0)
	if pixels > 1 {
		t.at, t.pixel = p.Int(t.at.Mod(rows)), p.Int(t.at.Over(rows))
	}
	return t
}

// fetch implements source.
func (t *tall) fetch(to ptx.Int) {
	first, inside := t.column, t.inside
	if t.pixels > 1 {
		first = t.Int(t.pixels-1).Minus(t.pixel).TimesPlus(t.between, t.column)
		inside = inside.And(t.pixel.Less(t.pixels))
	}
	for _, s := range t.slots {
		row := t.at.Plus(s.row)
		t.CopyAsync(s.to.Plus(to), t.base.Index(row.TimesPlus(t.pitch, first), 2), inside.And(row.Less(t.rows)).Choose(16, 0))
	}
	t.at.Advance(t.tile.Depth)
	if t.pixels > 1 {
		done := t.at.AtLeast(t.rows)
		t.pixel.Advance(done.Choose(1, 0))
		t.at.Set(done.Choose(0, t.at))
	}
}
