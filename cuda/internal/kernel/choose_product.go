package kernel

import (
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
)

// tilings are the tiles of large products, the largest first.
var tilings = []Tile{
	{Rows: 128, Columns: 128, Depth: 32, WarpRows: 64, WarpColumns: 64, Stages: 4},
	{Rows: 128, Columns: 64, Depth: 32, WarpRows: 64, WarpColumns: 32, Stages: 4},
	{Rows: 64, Columns: 64, Depth: 64, WarpRows: 32, WarpColumns: 32, Stages: 3},
}

// Tilings are the ways to compute a node that differ from the usual work, Work's, in how its product on tensor cores is divided: none for a
// small product, and for what is none.
func (k *Kernels) Tilings(p *compute.Program, n compute.Node, usual Work) (ways []Way) {
	if !usual.large() {
		return nil
	}
	for _, t := range tilings {
		if w, err := k.tiled(p, n, t); err == nil && w.differs(usual) {
			ways = append(ways, Way{"own, in tiles " + t.String(), w})
		}
	}
	return ways
}

// large tells whether work is a product in one of the larger tiles.
func (w Work) large() bool {
	return slices.ContainsFunc(w.Launches, func(l Launch) bool {
		return slices.ContainsFunc(tilings, func(t Tile) bool { return strings.Contains(l.Kernel.Name(), "_"+t.String()) })
	})
}

// differs tells whether work has other kernels.
func (w Work) differs(other Work) bool {
	return !slices.EqualFunc(w.Launches, other.Launches, func(a, b Launch) bool { return a.Kernel == b.Kernel })
}

// tileFor is the tile that was asked for, or TileFor's.
func (c *choice) tileFor(rows, columns int) Tile {
	if c.tile != (Tile{}) {
		return c.tile
	}
	return TileFor(rows, columns, c.card.Multiprocessors)
}

// TileFor is how a product with so many rows and columns is divided: in the largest tiles that give every multiprocessor one.
func TileFor(rows, columns, multiprocessors int) Tile {
	for _, t := range tilings {
		if grid := t.Grid(rows, columns); grid[0]*grid[1] >= multiprocessors && rows > t.Rows/2 && columns > t.Columns/2 {
			return t
		}
	}
	if rows <= 32 || columns <= 32 {
		return Tile{Rows: 32, Columns: 32, Depth: 32, WarpRows: 16, WarpColumns: 16, Stages: 3}
	}
	return tilings[len(tilings)-1]
}

// split is how the sum of a product of so many rows and columns and such a depth is split, so that every multiprocessor has work: in
// how many parts, of how many slices each.
func split(t Tile, rows, columns, depth, multiprocessors int) (parts, slices int) {
	grid, all := t.Grid(rows, columns), ceil(depth, t.Depth)
	parts = min(ceil(multiprocessors, grid[0]*grid[1]), all/4)
	if parts < 2 {
		return 1, all
	}
	slices = ceil(all, parts)
	return ceil(all, slices), slices
}

// product launches a product on tensor cores, and if its sum is split, or the result float32, what adds up the parts. The kernel is written for whether it is,
// and its arguments are those behind the epilogue's.
func (c *choice) product(end finish, tile Tile, rows, columns, depth int, write func(e Epilogue, split bool) writer, arguments ...any) {
	parts, slices := split(tile, rows, columns, depth, c.card.Multiprocessors)
	grid := tile.Grid(rows, columns)
	if parts == 1 && end.dtype == compute.F16 {
		c.launch(write(end.Epilogue, false), grid, tile.Shared(), end.with(arguments...)...)
		return
	}
	grid[2] = parts
	sums := c.scratch(parts * rows * columns * 4)
	c.launch(write(Epilogue{}, true), grid, tile.Shared(), append(append([]any{sums, rows, columns}, arguments...), slices)...)
	f := Finish{end.Epilogue, end.dtype, plainWidth(columns), false}
	c.launch(f, f.Grid(rows*columns), 0, end.with(sums, parts)...)
}

// finish is a product's epilogue with its arguments, from y on, and what is to be done behind the launch.
type finish struct {
	Epilogue
	dtype     compute.DType // of the result
	arguments []any
	done      func()
}

// end is the epilogue of a product of so many rows and columns.
func (c *choice) end(t compute.DType, rows, columns int, bias compute.Value, e compute.Epilogue) finish {
	y, done := c.result(c.out[0], t)
	has := Epilogue{Bias: bias.Valid(), PerChannel: e.PerChannel.Valid(), Residual: e.Residual.Valid(), Activation: e.Activation}
	f := finish{has, t, []any{y, rows, columns}, done}
	if f.Bias {
		f.arguments = append(f.arguments, c.operand(bias, compute.F32))
	}
	if f.PerChannel {
		f.arguments = append(f.arguments, c.operand(e.PerChannel, t), rows/c.shape(e.PerChannel)[0])
	}
	if f.Residual {
		f.arguments = append(f.arguments, c.operand(e.Residual, t))
	}
	return f
}

// times is the epilogue of a product that is multiplied by a scale first, for which 0 stands for 1.
func (f finish) times(scale float64) finish {
	if scale != 0 && scale != 1 {
		f.Scaled, f.arguments = true, append(f.arguments, float32(scale))
	}
	return f
}

// matrices launches a product of two matrices on tensor cores.
func (c *choice) matrices(end finish, rows, columns, depth int, l Linear, arguments ...any) {
	l.Tile, l.Odd, l.Promoted = c.tileFor(rows, columns), columns%2 == 1, c.card.Promoted
	c.product(end, l.Tile, rows, columns, depth, func(e Epilogue, split bool) writer {
		l.Epilogue, l.Split = e, split
		return l
	}, arguments...)
}

func (f finish) with(arguments ...any) []any {
	return append(append([]any(nil), f.arguments...), arguments...)
}

// whole tells whether tensor cores take rows of so many elements.
func (c *choice) whole(t compute.DType, lengths ...int) bool {
	for _, n := range lengths {
		if n%8 != 0 {
			return false
		}
	}
	return t == compute.F16
}

func (c *choice) linear(op compute.Linear) {
	rows, columns := c.shape(op.X).Rows(), c.shape(op.Weight)[0]
	if op.X2.Valid() {
		one := convolution2D{op.X, op.X2, op.Weight, 1, rows, Conv2D{Parts: 2, Window: [2]int{1, 1}, Stride: 1}, [2]int{1, rows}, [2]int{1, rows}}
		c.convolve(one, columns, op.Bias, op.Epilogue)
		return
	}
	t, depth := c.precision(op.X, op.Epilogue.Residual), c.shape(op.X).Last()
	end := c.end(t, rows, columns, op.Bias, op.Epilogue)
	x, w := c.operand(op.X, t), c.operand(op.Weight, t)
	if c.whole(t, depth) {
		c.matrices(end, rows, columns, depth, Linear{}, x, w, depth)
	} else {
		plain := PlainMatrix{PlainFor(rows, columns), end.Epilogue, t, t, t, plainWidth(columns)}
		c.launch(plain, plain.Grid(rows, columns), plain.Shared(), end.with(x, depth, 1, w, depth, 1, depth)...)
	}
	end.done()
}

// convolution2D is a convolution to choose a kernel for. Of Conv2D the tile, the epilogue and what follows from the extents is open.
type convolution2D struct {
	x, x2, weight compute.Value
	height, width int
	Conv2D
	resized, out [2]int
}

func (c *choice) conv2D(op compute.Conv2D) {
	w := c.shape(op.Weight)
	v := c.convolution(op.X, op.X2, [2]int{w[2], w[3]}, op.Stride, op.Pad, op.Resize, c.shape(c.out[0]))
	v.weight = op.Weight
	c.convolve(v, w[0], op.Bias, op.Epilogue)
}

// convolution is one whose result has a shape.
func (c *choice) convolution(first, second compute.Value, window [2]int, stride int, pad compute.Padding, resize [2]int, y compute.Shape) convolution2D {
	x := c.shape(first)
	v := convolution2D{
		x: first, x2: second, height: x[1], width: x[2], resized: [2]int{x[1], x[2]}, out: [2]int{y[1], y[2]},
		Conv2D: Conv2D{Parts: 1, Window: window, Stride: stride, Top: pad.Top, Left: pad.Left},
	}
	if second.Valid() {
		v.Parts = 2
	}
	if resize != [2]int{} {
		v.resized = resize
	}
	switch v.resized {
	case [2]int{v.height, v.width}:
	case [2]int{2 * v.height, 2 * v.width}:
		v.Enlargement = Twice
	default:
		v.Enlargement = Resized
	}
	return v
}

// picture is the arguments for what a convolution reads.
func (c *choice) picture(v convolution2D, t compute.DType) (arguments []any) {
	for _, x := range []compute.Value{v.x, v.x2}[:v.Parts] {
		arguments = append(arguments, c.operand(x, t), c.shape(x).Last())
	}
	return append(arguments, v.height, v.width, v.resized[0], v.resized[1], v.out[0], v.out[1])
}

func (c *choice) convolve(v convolution2D, columns int, bias compute.Value, e compute.Epilogue) {
	rows, t := c.shape(c.out[0]).Rows(), c.precision(v.x, v.x2, e.Residual)
	end := c.end(t, rows, columns, bias, e)
	w, planar := c.weights(v.weight, t)
	arguments := append([]any{w}, c.picture(v, t)...)
	channels := []int{c.shape(v.x).Last()}
	if v.Parts == 2 {
		channels = append(channels, c.shape(v.x2).Last())
	}
	if c.whole(t, channels...) && !planar {
		v.Tile, v.Odd, v.Promoted = c.tileFor(rows, columns), columns%2 == 1, c.card.Promoted
		c.product(end, v.Tile, rows, columns, c.shape(v.weight)[1]*v.Window[0]*v.Window[1], func(e Epilogue, split bool) writer {
			v.Epilogue, v.Split = e, split
			return v.Conv2D
		}, arguments...)
	} else {
		v.Epilogue = end.Epilogue
		plain := PlainConv2D{PlainFor(rows, columns), v.Conv2D, planar, t, t, t, plainWidth(columns)}
		c.launch(plain, plain.Grid(rows, columns), plain.Shared(), end.with(arguments...)...)
	}
	end.done()
}

func (c *choice) matMul(op compute.MatMul) {
	a, b := c.shape(op.A), c.shape(op.B)
	rows, depth, columns := a.Rows(), a.Last(), b.Last()
	aRow, aDepth, bRow, bDepth := a.Last(), 1, 1, b.Last()
	if op.TransposeA {
		rows, depth, aRow, aDepth = a.Last(), a.Rows(), 1, a.Last()
	}
	if op.TransposeB {
		columns, bRow, bDepth = b.Rows(), b.Last(), 1
	}
	end := c.end(c.kept(c.out[0]), rows, columns, compute.Value{}, compute.Epilogue{Residual: op.Add}).times(op.Scale)
	if c.halves(op) && c.whole(compute.F16, a.Last(), b.Last()) {
		arguments := []any{c.operand(op.A, compute.F16), c.operand(op.B, compute.F16), depth}
		if !op.TransposeB {
			arguments = append(arguments, columns)
		}
		c.matrices(end, rows, columns, depth, Linear{TransposedX: op.TransposeA, TransposedW: !op.TransposeB}, arguments...)
	} else {
		plain := PlainMatrix{PlainFor(rows, columns), end.Epilogue, c.kept(op.A), c.kept(op.B), c.kept(c.out[0]), plainWidth(columns)}
		c.launch(plain, plain.Grid(rows, columns), plain.Shared(), end.with(
			Array{Value: op.A, Type: plain.A}, aRow, aDepth, Array{Value: op.B, Type: plain.B}, bRow, bDepth, depth)...)
	}
	end.done()
}

// halves tells whether a product is one of halves: of an activation, which a low-rank factor that is float32 is rounded for, or of two.
func (c *choice) halves(op compute.MatMul) bool {
	a, b := c.kept(op.A) == compute.F16, c.kept(op.B) == compute.F16
	return a && b || (a || b) && !op.TransposeA && c.kept(c.out[0]) == compute.F16
}

func (c *choice) attention(op compute.Attention) {
	t, q, keys := c.precision(op.Q, op.K), c.shape(op.Q), c.shape(op.K)[1]
	y, done := c.result(c.out[0], t)
	arrays := []any{y, c.operand(op.Q, t), c.operand(op.K, t), c.operand(op.V, t)}
	if flash, ok := FlashFor(q[2]/op.Heads, q[1], op.Causal); ok && t == compute.F16 {
		c.launch(flash, flash.Grid(q[0], q[1], op.Heads), flash.Shared(), append(arrays, q[2], q[1], keys)...)
	} else {
		plain := PlainAttention{q[2] / op.Heads, op.Causal, t}
		c.launch(plain, plain.Grid(q[0], q[1], op.Heads), 0, append(arrays, q[1], keys)...)
	}
	done()
}
