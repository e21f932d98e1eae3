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
// The result is [N,H',W',Cout] with H' = (H+Pad.Top+Pad.Bottom-kh)/Stride+1.
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
	if op.Stride < 1 {
		return nil, fmt.Errorf("stride is %d, want at least 1", op.Stride)
	}
	p := op.Pad
	if min(p.Top, p.Left, p.Bottom, p.Right) < 0 {
		return nil, fmt.Errorf("padding %v is negative", p)
	}
	h, width := x.Shape[1], x.Shape[2]
	if op.Resize != [2]int{} {
		if min(op.Resize[0], op.Resize[1]) < 1 {
			return nil, fmt.Errorf("resize to %v, want positive extents", op.Resize)
		}
		h, width = op.Resize[0], op.Resize[1]
	}
	h += p.Top + p.Bottom - w[2]
	width += p.Left + p.Right - w[3]
	if h < 0 || width < 0 || w[2] < 1 || w[3] < 1 {
		return nil, fmt.Errorf("a %d×%d kernel does not fit input %v with padding %v", w[2], w[3], x.Shape, p)
	}
	if err := wantBias(t, op.Bias, w[0]); err != nil {
		return nil, err
	}
	y := Type{x.DType, Shape{x.Shape[0], h/op.Stride + 1, width/op.Stride + 1, w[0]}}
	return []Type{y}, op.Epilogue.check(t, y)
}

func (op Conv2D) flops(t types) int64 {
	y, err := op.infer(t)
	if err != nil {
		return 0
	}
	w := t.of(op.Weight).Shape
	return 2 * int64(y[0].Shape.Elements()) * int64(w[1]) * int64(w[2]) * int64(w[3])
}
