package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Epilogue is what a product does to each element while it is at hand: y = Activation(scale·sum + bias + perChannel) + residual.
type Epilogue struct {
	Bias, PerChannel, Residual bool
	Activation                 compute.Activation
	Scaled                     bool
}

// String names what the epilogue does, for the names of kernels.
func (e Epilogue) String() string {
	text := ""
	for _, part := range []struct {
		has  bool
		name string
	}{{e.Bias, "_bias"}, {e.PerChannel, "_channel"}, {e.Activation != compute.Identity, "_" + e.Activation.String()}, {e.Residual, "_residual"}, {e.Scaled, "_scaled"}} {
		if part.has {
			text += part.name
		}
	}
	return text
}

// Linear is y = epilogue(x·wᵀ), in half precision. x is [rows,depth] and w [columns,depth]; the second extent of each is a multiple of 8.
type Linear struct {
	Tile
	Epilogue
	Odd   bool // the number of columns may be odd
	Split bool // the sum is made in parts, which Finish adds up

	TransposedX bool // x is [depth,rows]
	TransposedW bool // w is [depth,columns]
	Promoted    bool // a slice is summed in half precision, which is twice as fast on GeForce cards, and added to float32 sums
}

// Kernel has the parameters y, rows, columns, those of the epilogue that it has (bias; perChannel and how many rows share one of its
// rows; residual; scale), x, w, depth, and of a transposed w the number of elements from a row to the next. y may be the residual. If the
// sum is split, there is no epilogue, y is float32 [parts][rows][columns], the third axis of the grid that of the parts, and a last
// parameter the number of slices in each.
func (l Linear) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("linear_%v%v%s", l.Tile, l.Epilogue, variant(l.Odd, l.Promoted, l.Split, l.TransposedX, l.TransposedW)), l.Threads())
	p := product{Kernel: k, tile: l.Tile, promoted: l.Promoted, transposedX: l.TransposedX, transposedW: l.TransposedW}
	end := declareEnd(k, l.Epilogue, productType(l.Split), pairs(l.Odd))
	x, w, depth := k.Pointer("x"), k.Pointer("w"), k.Uint("depth")
	pitch := end.columns
	if l.TransposedW {
		pitch = k.Uint("w_pitch")
	}
	p.begin(l.Split)
	rows, columns, behind := k.Block(0).Times(l.Rows), k.Block(1).Times(l.Columns), l.Rows*l.pitch()
	var factors [2]source
	if l.TransposedX {
		factors[0] = p.tall(tall{base: x, column: rows, rows: depth, pitch: end.rows, pixels: 1}, end.rows, l.Rows, 0)
	} else {
		factors[0] = p.matrix(x, rows, end.rows, depth, l.Rows, 0)
	}
	if l.TransposedW {
		factors[1] = p.tall(tall{base: w, column: columns, rows: depth, pitch: pitch, pixels: 1}, end.columns, l.Columns, behind)
	} else {
		factors[1] = p.matrix(w, columns, end.columns, depth, l.Columns, behind)
	}
	p.multiply(depth, factors[0], factors[1])
	end.write(&p)
	return k
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

// variant names what holds of a product: that it is odd, promoted, split, with a transposed x or w.
func variant(holds ...bool) (text string) {
	for i, name := range []string{"_odd", "_promoted", "_split", "_x", "_w"}[:len(holds)] {
		if holds[i] {
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

// tall is the source of a transposed factor: of its rows, which are the depth, a block's columns. Of a convolution's weights each pixel of
// the window has rows of its own, as many as there are outputs, a multiple of the tile's depth; they come in the order of the window turned
// by half a turn.
type tall struct {
	*product
	base        ptx.Addr
	column      ptx.Int // the block's first, then the thread's
	rows, pitch ptx.Int
	pixels      int
	between     ptx.Int // elements from a pixel to the next, if there are several
	slots       []slot
	inside      ptx.Pred
	at, pixel   ptx.Int // the first row of the next slice, and its pixel
}

// tall takes so many of a factor's columns, as far as they are less than a limit, to an offset in each stage.
func (p *product) tall(t tall, limit ptx.Int, columns, offset int) *tall {
	t.product = p
	slots, chunk := p.slots(p.tile.Depth, columns/8, offset)
	t.slots, t.column = slots, t.column.Plus(chunk.Times(8))
	t.inside = t.column.Less(limit)
	t.at, t.pixel = p.Int(p.start), p.Int(0)
	if t.pixels > 1 {
		t.at, t.pixel = p.Int(t.at.Mod(t.rows)), p.Int(t.at.Over(t.rows))
	}
	return &t
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
