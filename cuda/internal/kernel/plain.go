package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Plain is how a product y = epilogue(a·b) is divided that tensor cores cannot take: of float32, and of rows that are no multiples of 8.
// A block makes Rows×Columns of y, a thread 4×4 of these, in float32 whatever the arrays hold.
type Plain struct{ Rows, Columns int } // 32 or 64 both

// plainDepth is how much of the sum is in shared memory at once.
const plainDepth = 16

// PlainFor is the division for so many rows and columns.
func PlainFor(rows, columns int) Plain {
	if rows <= 32 || columns <= 32 {
		return Plain{32, 32}
	}
	return Plain{64, 64}
}

// Threads is how many a block has.
func (p Plain) Threads() int { return p.Rows * p.Columns / 16 }

// Grid is a block for each tile of y.
func (p Plain) Grid(rows, columns int) [3]int {
	return [3]int{ceil(rows, p.Rows), ceil(columns, p.Columns), 1}
}

// Shared is the bytes of shared memory that a block needs.
func (p Plain) Shared() int { return plainDepth * (plainPitch(p.Rows) + plainPitch(p.Columns)) }

// plainPitch is the bytes between the numbers of so many rows at one depth and those at the next. Numbers that a warp stores at once,
// at eight depths of four rows, lie in 32 banks.
func plainPitch(rows int) int { return 4*rows + 16 }

// operand is a factor of a plain product: what is to be known of a row and of a place in the depth, and the number at both.
type operand struct {
	row, depth func(i ptx.Int) place
	number     func(row, depth place) ptx.Float
}

// place is what an operand knows of a row or of a place in the depth.
type place []ptx.Int

// strided is the operand whose number at both lies at row·rowStride + depth·depthStride, behind a first one.
func strided(x array, first, rowStride, depthStride any) operand {
	return operand{
		row:    func(i ptx.Int) place { return place{i.TimesPlus(rowStride, first)} },
		depth:  func(i ptx.Int) place { return place{i.Times(depthStride)} },
		number: func(row, depth place) ptx.Float { return x.load(row[0].Plus(depth[0]), 1)[0] },
	}
}

// plainFactor is an operand while a block brings it to shared memory, a slice after the other.
type plainFactor struct {
	*ptx.Kernel
	operand
	rows   []place
	to     []ptx.Int     // where the thread stores its number of each row
	values [][]ptx.Float // of each row those of the next slice
	at     ptx.Int       // the thread's place in the depth
	limit  ptx.Int
}

// factor takes so many rows from a first one on, of which there are limit, to an address. Each thread has two places in every slice.
func (p Plain) factor(k *ptx.Kernel, o operand, first, limit, depth ptx.Int, rows int, to ptx.Int) *plainFactor {
	f := &plainFactor{Kernel: k, operand: o, at: k.Int(k.Thread().Mod(8)), limit: depth}
	for r := 0; r < rows; r += p.Threads() / 8 {
		row := k.Thread().Over(8).Plus(r)
		f.rows = append(f.rows, o.row(first.Plus(row).Min(limit.Minus(1)))) // rows beyond the last are computed and not stored
		f.to = append(f.to, to.Plus(f.at.Times(plainPitch(rows))).Plus(row.Times(4)))
		f.values = append(f.values, k.Floats(plainDepth/8, 0.0))
	}
	return f
}

// fetch reads the next slice.
func (f *plainFactor) fetch() {
	for half := range plainDepth / 8 {
		at := f.at.Plus(8 * half)
		for i := range f.rows {
			f.values[i][half].Set(0.0)
		}
		f.If(at.Less(f.limit), func() {
			depth := f.depth(at)
			for i, row := range f.rows {
				f.values[i][half].Set(f.number(row, depth))
			}
		})
	}
	f.at.Advance(plainDepth)
}

// put stores what was read.
func (f *plainFactor) put(pitch int) {
	for i, values := range f.values {
		for half, v := range values {
			f.StoreShared(f.to[i], 8*half*pitch, v)
		}
	}
}

// multiply writes the product of a and b of a depth, and the epilogue.
func (p Plain) multiply(k *ptx.Kernel, a, b operand, depth ptx.Int, end *end) {
	shared, top, left := k.Shared(), k.Block(0).Times(p.Rows), k.Block(1).Times(p.Columns)
	x := p.factor(k, a, top, end.rows, depth, p.Rows, shared)
	w := p.factor(k, b, left, end.columns, depth, p.Columns, shared.Plus(plainDepth*plainPitch(p.Rows)))
	row, column := k.Thread().Over(p.Columns/4).Times(4), k.Thread().Mod(p.Columns/4).Times(4)
	xAt, wAt := shared.Plus(row.Times(4)), shared.Plus(plainDepth*plainPitch(p.Rows)).Plus(column.Times(4))
	var sums [4][]ptx.Float
	for i := range sums {
		sums[i] = k.Floats(4, 0.0)
	}
	slices := k.Int(depth.Plus(plainDepth - 1).Over(plainDepth))
	x.fetch()
	w.fetch()
	k.Repeat(func() ptx.Pred {
		x.put(plainPitch(p.Rows))
		w.put(plainPitch(p.Columns))
		k.Barrier()
		x.fetch()
		w.fetch()
		for d := range plainDepth {
			xs, ws := k.LoadSharedMany(xAt, d*plainPitch(p.Rows), 4), k.LoadSharedMany(wAt, d*plainPitch(p.Columns), 4)
			for i, v := range xs {
				for j, u := range ws {
					sums[i][j].AddProduct(v, u)
				}
			}
		}
		k.Barrier()
		slices.Advance(-1)
		return slices.Positive()
	})
	for i := range sums {
		r := top.Plus(row).Plus(i)
		k.If(r.Less(end.rows), func() {
			for j := 0; j < 4; j += end.width {
				c := left.Plus(column).Plus(j)
				k.If(c.Less(end.columns), func() { end.element(k, r, c, sums[i][j:][:end.width]) })
			}
		})
	}
}

// plainWidth is how many neighbours of a row with so many columns are finished at once.
func plainWidth(columns int) int {
	switch {
	case columns%4 == 0:
		return 4
	case columns%2 == 0:
		return 2
	}
	return 1
}

// PlainMatrix is the plain product of two matrices: Linear, its gradient, MatMul.
type PlainMatrix struct {
	Plain
	Epilogue
	A, B, Y compute.DType
	Width   int // 4 or 2 if the number of columns is a multiple, else 1
}

// Kernel has the parameters of Linear up to the epilogue's, then a with the numbers of elements from a row
// to the next and from a place in the depth to the next, b with those from a column to the next and along the depth, and the depth.
func (p PlainMatrix) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("plain_%dx%d_%d%s%s%s%v", p.Rows, p.Columns, p.Width, suffix(p.Y), suffix(p.A), suffix(p.B), p.Epilogue), p.Threads())
	end := declareEnd(k, p.Epilogue, p.Y, p.Width)
	declareOperand := func(name string, t compute.DType) operand {
		return strided(declare(k, name, t), 0, k.Uint(name+"_row"), k.Uint(name+"_depth"))
	}
	a, b := declareOperand("a", p.A), declareOperand("b", p.B)
	p.multiply(k, a, b, k.Uint("depth"), end)
	return k
}

// PlainConv2D is Conv2D as a plain product, of any channels. Its Tile, Odd and Promoted count for nothing.
type PlainConv2D struct {
	Plain
	Conv2D
	Planar  bool // weights are [Cout][Cin][kh][kw], as values are
	X, W, Y compute.DType
	Width   int
}

// Kernel has the parameters of Conv2D.
func (p PlainConv2D) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("plain_%dx%d_%d_%t%s%s%s_%s", p.Plain.Rows, p.Plain.Columns, p.Width, p.Planar, suffix(p.Y), suffix(p.X), suffix(p.W), p.shape())+p.Epilogue.String(), p.Plain.Threads())
	end := declareEnd(k, p.Epilogue, p.Y, p.Width)
	w, x := declare(k, "w", p.W), declarePicture(k, p.Conv2D, p.X)
	depth := x.channels.Times(p.Window[0] * p.Window[1])
	order := x.window
	if p.Planar {
		order = x.planes
	}
	p.multiply(k, operand{x.positions, order, x.read}, strided(w, 0, depth, 1), depth, end)
	return k
}
