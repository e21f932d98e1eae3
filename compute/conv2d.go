package compute

import "fmt"

// Padding is the number of zero rows and columns around an image.
type Padding struct{ Top, Left, Bottom, Right int }

// SamePadding pads every side by n.
func SamePadding(n int) Padding { return Padding{n, n, n, n} }

// Conv2D is a two-dimensional cross-correlation (the kernel is not flipped) with zero padding:
//
//	y[n,i,j,o] = epilogue(Σ_{u,v,c} Weight[o,c,u,v] · x[n, i·Stride+u-Pad.Top, j·Stride+v-Pad.Left, c] + Bias[o])
//
// x is [N,H,W,Cin]: X with the optional X2 appended along channels, first resized to Resize by nearest neighbour
// (source index ⌊dst·in/out⌋) if that is set. Weight is [Cout,Cin,kh,kw], Bias [Cout] or absent.
// The result is [N,H',W',Cout] with H' = (H+Pad.Top+Pad.Bottom-kh)/Stride+1. A weight that is a value may be trained: it is
// the down factor of a convolution's low-rank adapter.
type Conv2D struct {
	X, X2        Value
	Weight, Bias Value
	Stride       int     // at least 1
	Pad          Padding //
	Resize       [2]int  // height and width the input is resized to beforehand; zero keeps its size
	Epilogue     Epilogue
}

// Operands implements Op.
func (op Conv2D) Operands() []Value {
	return present(op.X, op.X2, op.Weight, op.Bias, op.Epilogue.PerChannel, op.Epilogue.Residual)
}

// Overwritable implements Overwriter.
func (op Conv2D) Overwritable() []Value { return present(op.Epilogue.Residual) }

func (op Conv2D) infer(t types) ([]Type, error) {
	x, err := joinChannels(t, op.X, op.X2)
	if err != nil {
		return nil, err
	}
	w := t.of(op.Weight).Shape
	if len(x.Shape) != 4 || len(w) != 4 || w[1] != x.Shape[3] {
		return nil, fmt.Errorf("input %v does not fit weight %v, want [N H W Cin] and [Cout Cin kh kw]", x.Shape, w)
	}
	h, width, err := convExtents(x.Shape[1], x.Shape[2], w, op.Stride, op.Pad, op.Resize)
	if err != nil {
		return nil, err
	}
	if err := wantBias(t, op.Bias, w[0]); err != nil {
		return nil, err
	}
	y := Type{x.DType, Shape{x.Shape[0], h, width, w[0]}}
	return []Type{y}, op.Epilogue.check(t, y)
}

// convExtents is the size of the result of convolving an image of the given size.
func convExtents(height, width int, w Shape, stride int, p Padding, resize [2]int) (int, int, error) {
	if min(height, width) < 1 {
		return 0, 0, fmt.Errorf("input of %d×%d pixels", height, width)
	}
	if stride < 1 {
		return 0, 0, fmt.Errorf("stride is %d, want at least 1", stride)
	}
	if min(p.Top, p.Left, p.Bottom, p.Right) < 0 {
		return 0, 0, fmt.Errorf("padding %v is negative", p)
	}
	h, v := height, width
	if resize != [2]int{} {
		if min(resize[0], resize[1]) < 1 {
			return 0, 0, fmt.Errorf("resize to %v, want positive extents", resize)
		}
		h, v = resize[0], resize[1]
	}
	h += p.Top + p.Bottom - w[2]
	v += p.Left + p.Right - w[3]
	if h < 0 || v < 0 || w[2] < 1 || w[3] < 1 {
		return 0, 0, fmt.Errorf("a %d×%d kernel does not fit %d×%d pixels with padding %v", w[2], w[3], height, width, p)
	}
	return h/stride + 1, v/stride + 1, nil
}

func (op Conv2D) gradient(g *adjoint, dy Value) {
	if g.needs(op.Bias) {
		g.fail(op, "its bias is frozen")
		return
	}
	before := op
	before.Epilogue = Epilogue{PerChannel: op.Epilogue.PerChannel}
	if !g.needs(op.X) && !g.needs(op.X2) && !g.needs(op.Weight) && !g.needs(before.Epilogue.PerChannel) {
		g.accumulate(op.Epilogue.Residual, dy)
		return
	}
	dy = op.Epilogue.gradient(g, dy, before)
	g.into(op.Weight, func(sum Value) Op {
		w := g.b.program.Shape(op.Weight)
		return Conv2DWeightGradient{
			X: op.X, X2: op.X2, DY: dy, Kernel: [2]int{w[2], w[3]}, Stride: op.Stride, Pad: op.Pad, Resize: op.Resize, Add: sum,
		}
	})
	first := 0
	for _, x := range present(op.X, op.X2) {
		shape := g.b.program.Shape(x)
		g.into(x, func(sum Value) Op {
			return Conv2DInputGradient{
				DY: dy, Weight: op.Weight, Height: shape[1], Width: shape[2], First: first, Channels: shape[3],
				Stride: op.Stride, Pad: op.Pad, Resize: op.Resize, Add: sum,
			}
		})
		first += shape[3]
	}
}

func (op Conv2D) flops(t types) int64 {
	y, err := op.infer(t)
	if err != nil {
		return 0
	}
	w := t.of(op.Weight).Shape
	return 2 * int64(y[0].Shape.Elements()) * int64(w[1]) * int64(w[2]) * int64(w[3])
}
