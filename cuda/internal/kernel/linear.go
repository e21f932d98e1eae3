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
	Odd      bool // the number of columns may be odd
	Split    bool // the sum is made in parts, which Finish adds up
	Promoted bool // a slice is summed in half precision, which is twice as fast on GeForce cards, and added to float32 sums
}

// Kernel has the parameters y, rows, columns, those of the epilogue that it has (bias; perChannel and how many rows share one of its
// rows; residual), x, w, depth. y may be the residual. If the sum is split, there is no epilogue, y is float32 [parts][rows][columns],
// the third axis of the grid that of the parts, and a last parameter the number of slices in each.
func (l Linear) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("linear_%v%v%s", l.Tile, l.Epilogue, variant(l.Odd, l.Promoted, l.Split)), l.Threads())
	p := product{Kernel: k, tile: l.Tile, promoted: l.Promoted}
	end := declareEnd(k, l.Epilogue, productType(l.Split), pairs(l.Odd))
	x, w, depth := k.Pointer("x"), k.Pointer("w"), k.Uint("depth")
	p.begin(l.Split)
	rows := p.matrix(x, k.Block(0).Times(l.Rows), end.rows, depth, l.Rows, 0)
	columns := p.matrix(w, k.Block(1).Times(l.Columns), end.columns, depth, l.Columns, l.Rows*l.pitch())
	p.multiply(depth, rows, columns)
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

func variant(odd, promoted, split bool) (text string) {
	for i, name := range []string{"_odd", "_promoted", "_split"} {
		if [...]bool{odd, promoted, split}[i] {
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
	slots, chunk := p.slots(rows, offset)
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
