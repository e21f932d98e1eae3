package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// PlainConv2DGradient is the derivative of Conv2D by some channels of its input, as a plain product whose rows are the positions of x, and
// whose depth runs over the pixels of the resized picture that show one of x, the window and the outputs. Of Conv2D the window, the
// stride, the padding, the enlargement and the epilogue count.
type PlainConv2DGradient struct {
	Plain
	Conv2D
	Planar   bool
	W, DY, Y compute.DType
	Width    int
}

// Kernel has the parameters of Linear up to the epilogue's, then w, dy, its channels, those of all of the convolution's input, the first
// of these that y has, height and width of y, those that it is resized to (the same without), height and width of dy, and how many rows
// and columns of the resized picture show one of y at most.
func (p PlainConv2DGradient) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("plain_gradient_%dx%d_%d_%t%s%s%s_%s", p.Plain.Rows, p.Plain.Columns, p.Width, p.Planar, suffix(p.Y), suffix(p.DY), suffix(p.W), p.shape())+p.Epilogue.String(), p.Plain.Threads())
	end := declareEnd(k, p.Epilogue, p.Y, p.Width)
	w := declare(k, "w", p.W)
	b := back{Kernel: k, conv: p.Conv2D, dy: declare(k, "dy", p.DY), outputs: k.Uint("outputs")}
	inputs, first := k.Uint("inputs"), k.Uint("first")
	b.height, b.width = k.Uint("height"), k.Uint("width")
	b.resizedHeight, b.resizedWidth = k.Uint("resized_height"), k.Uint("resized_width")
	b.outHeight, b.outWidth = k.Uint("out_height"), k.Uint("out_width")
	b.repeatsY, b.repeatsX = k.Uint("repeats_y"), k.Uint("repeats_x")

	window := p.Window[0] * p.Window[1]
	weights := operand{
		row: func(i ptx.Int) place { return place{i.Plus(first)} },
		depth: func(i ptx.Int) place {
			return place{i.Mod(b.outputs).TimesPlus(window, i.Over(b.outputs).Mod(window)).Times(inputs)}
		},
		number: func(row, depth place) ptx.Float { return w.load(row[0].Plus(depth[0]), 1)[0] },
	}
	if p.Planar {
		weights.row = func(i ptx.Int) place { return place{i.Plus(first).Times(window)} }
		weights.depth = func(i ptx.Int) place {
			return place{i.Mod(b.outputs).Times(inputs).TimesPlus(window, i.Over(b.outputs).Mod(window))}
		}
	}
	depth := b.repeatsY.Times(b.repeatsX).Times(window).Times(b.outputs)
	p.multiply(k, operand{b.positions, b.readers, b.read}, weights, depth, end)
	return k
}

// back is the picture of a convolution seen from its result.
type back struct {
	*ptx.Kernel
	conv                        Conv2D
	dy                          array
	outputs                     ptx.Int
	height, width               ptx.Int
	resizedHeight, resizedWidth ptx.Int
	outHeight, outWidth         ptx.Int
	repeatsY, repeatsX          ptx.Int
}

// positions tells of a position of x: its sample's first row among those of dy, its row and column, and the first ones of the resized
// picture that may show it.
func (b back) positions(i ptx.Int) place {
	line, x := i.Over(b.width), i.Mod(b.width)
	y := line.Mod(b.height)
	first := func(at, size, resized ptx.Int) ptx.Int { return at.TimesPlus(resized, size.Minus(1)).Over(size) }
	return place{line.Over(b.height).Times(b.outHeight), y, x, first(y, b.height, b.resizedHeight), first(x, b.width, b.resizedWidth)}
}

// readers tells of a place in the depth: which of the rows and columns that show a pixel, row and column in the window, the output.
func (b back) readers(i ptx.Int) place {
	pixel := i.Over(b.outputs)
	repeat := pixel.Over(b.conv.Window[0] * b.conv.Window[1])
	inside := pixel.Mod(b.conv.Window[0] * b.conv.Window[1])
	return place{repeat.Over(b.repeatsX), repeat.Mod(b.repeatsX), inside.Over(b.conv.Window[1]), inside.Mod(b.conv.Window[1]), i.Mod(b.outputs)}
}

// read is dy where the pixel was read at that place of the window, else 0.
func (b back) read(position, reader place) ptx.Float {
	y, yShown := b.along(position[1], position[3].Plus(reader[0]), reader[2], b.conv.Top, b.height, b.resizedHeight, b.outHeight)
	x, xShown := b.along(position[2], position[4].Plus(reader[1]), reader[3], b.conv.Left, b.width, b.resizedWidth, b.outWidth)
	v := b.Float(0.0)
	b.If(yShown.And(xShown), func() {
		v.Set(b.dy.load(position[0].Plus(y).TimesPlus(b.outWidth, x).TimesPlus(b.outputs, reader[4]), 1)[0])
	})
	return v
}

// along is, on one axis, which result reads the resized picture at a place of the window, and whether it does and the picture shows x there.
func (b back) along(at, resizedAt, window ptx.Int, before int, size, resized, out ptx.Int) (result ptx.Int, shown ptx.Pred) {
	place := resizedAt.Plus(before).Minus(window)
	result = place.Over(b.conv.Stride)
	shown = resizedAt.Less(resized).And(result.Less(out)).And(place.Mod(b.conv.Stride).Equal(0))
	if b.conv.Enlargement != AsIs {
		shown = shown.And(resizedAt.Times(size).Over(resized).Equal(at))
	}
	return result, shown
}

// PlainConv2DWeights is the derivative of Conv2D by its weights, [Cout][Cin][kh][kw], as a plain product along the positions.
type PlainConv2DWeights struct {
	Plain
	Conv2D
	X, DY, Y compute.DType
	Width    int
}

// Kernel has the parameters of Linear up to the epilogue's, then dy, x as Conv2D has it, and the number of positions.
func (p PlainConv2DWeights) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("plain_weights_%dx%d_%d%s%s%s_%s", p.Plain.Rows, p.Plain.Columns, p.Width, suffix(p.Y), suffix(p.X), suffix(p.DY), p.shape())+p.Epilogue.String(), p.Plain.Threads())
	end := declareEnd(k, p.Epilogue, p.Y, p.Width)
	dy, x := declare(k, "dy", p.DY), declarePicture(k, p.Conv2D, p.X)
	pixels := operand{x.planes, x.positions, func(weight, position place) ptx.Float { return x.read(position, weight) }}
	p.multiply(k, strided(dy, 0, 1, end.rows), pixels, k.Uint("positions"), end)
	return k
}

// Shrink is the derivative of an enlargement to twice the height and width: y is the sums of each 2×2 pixels of x, and add.
type Shrink struct {
	Type compute.DType
	Add  bool
}

// Kernel has the parameters y, x, the number of elements of y, its channels, a multiple of 8, its width, and add.
func (s Shrink) Kernel() *ptx.Kernel {
	k := ptx.New(fmt.Sprintf("shrink%s_%t", suffix(s.Type), s.Add), elementThreads)
	y, x, n := declare(k, "y", s.Type), declare(k, "x", s.Type), k.Uint("n")
	channels, width := k.Uint("channels"), k.Uint("width")
	add := y
	if s.Add {
		add = declare(k, "add", s.Type)
	}
	elementwise(k, n, func(at ptx.Int, neighbours int) {
		pixel := at.Over(channels)
		right, below := channels, channels.Times(width).Times(2)
		first := pixel.Over(width).Times(width).Times(2).Plus(pixel.Mod(width)).Times(2).TimesPlus(channels, at.Mod(channels))
		sums := x.load(first, neighbours)
		for _, other := range []ptx.Int{first.Plus(right), first.Plus(below), first.Plus(below).Plus(right)} {
			for i, v := range x.load(other, neighbours) {
				sums[i].Add(v)
			}
		}
		if s.Add {
			for i, v := range add.load(at, neighbours) {
				sums[i].Add(v)
			}
		}
		y.store(at, sums)
	})
	return k
}
