package compute

import "fmt"

// LinearInputGradient is the derivative of Linear by one part of its input: y = DY·Weight[:, First … First+Channels-1] + Add.
// DY is [...,Cout], Weight [Cout,Cin] or [Cout,Cin,1,1]; the result is [...,Channels]. A Linear of two inputs has two such
// derivatives, First 0 for X and X's channels for X2. Sums are kept in float32 or better.
type LinearInputGradient struct {
	DY, Weight      Value
	First, Channels int   // the input channels wanted
	Add             Value // optional, of the result's type
}

// Operands implements Op.
func (op LinearInputGradient) Operands() []Value { return present(op.DY, op.Weight, op.Add) }

// Overwritable implements Overwriter.
func (op LinearInputGradient) Overwritable() []Value { return present(op.Add) }

func (op LinearInputGradient) infer(t types) ([]Type, error) {
	dy := t.of(op.DY)
	if err := wantFloat("result's gradient", dy); err != nil {
		return nil, err
	}
	w := t.of(op.Weight).Shape
	if len(w) == 4 && w[2] == 1 && w[3] == 1 {
		w = w[:2]
	}
	if len(dy.Shape) < 2 || len(w) != 2 || w[0] != dy.Shape.Last() {
		return nil, fmt.Errorf("weight is %v, the result's gradient %v, want [Cout Cin] and [... Cout]", t.of(op.Weight).Shape, dy)
	}
	if err := wantChannels(op.First, op.Channels, w[1]); err != nil {
		return nil, err
	}
	y := Type{dy.DType, append(append(Shape(nil), dy.Shape[:len(dy.Shape)-1]...), op.Channels)}
	return []Type{y}, wantAdd(t, op.Add, y)
}

func (op LinearInputGradient) flops(t types) int64 {
	return 2 * int64(t.of(op.DY).Shape.Elements()) * int64(op.Channels)
}

func (op LinearInputGradient) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }

// Conv2DInputGradient is the derivative of Conv2D by one part of its input, of Height×Width pixels. With the convolution's
// Weight, Stride, Pad and Resize, and r(i) the nearest-neighbour source of row and column i,
//
//	y[n,h,w,c] = Σ DY[n,i,j,o]·Weight[o,First+c,u,v] + Add[n,h,w,c]
//
// over all o, i, j, u, v that read this pixel: r(i·Stride+u-Pad.Top) = h and r(j·Stride+v-Pad.Left) = w.
// DY is [N,H',W',Cout], Weight [Cout,Cin,kh,kw], the result [N,Height,Width,Channels].
type Conv2DInputGradient struct {
	DY, Weight      Value
	Height, Width   int // extents of the convolution's input
	First, Channels int // the input channels wanted
	Stride          int
	Pad             Padding
	Resize          [2]int
	Add             Value // optional, of the result's type
}

// Operands implements Op.
func (op Conv2DInputGradient) Operands() []Value { return present(op.DY, op.Weight, op.Add) }

// Overwritable implements Overwriter.
func (op Conv2DInputGradient) Overwritable() []Value { return present(op.Add) }

func (op Conv2DInputGradient) infer(t types) ([]Type, error) {
	dy, w := t.of(op.DY), t.of(op.Weight).Shape
	if err := wantFloat("result's gradient", dy, 4); err != nil {
		return nil, err
	}
	if len(w) != 4 || w[0] != dy.Shape[3] {
		return nil, fmt.Errorf("weight is %v, the result's gradient %v, want [Cout Cin kh kw] and [N H W Cout]", w, dy)
	}
	if err := wantChannels(op.First, op.Channels, w[1]); err != nil {
		return nil, err
	}
	h, width, err := convExtents(op.Height, op.Width, w, op.Stride, op.Pad, op.Resize)
	if err != nil {
		return nil, err
	}
	if dy.Shape[1] != h || dy.Shape[2] != width {
		return nil, fmt.Errorf("the result's gradient is %v, the convolution's result has %d×%d pixels", dy, h, width)
	}
	y := Type{dy.DType, Shape{dy.Shape[0], op.Height, op.Width, op.Channels}}
	return []Type{y}, wantAdd(t, op.Add, y)
}

func (op Conv2DInputGradient) flops(t types) int64 {
	w := t.of(op.Weight).Shape
	return 2 * int64(t.of(op.DY).Shape.Elements()) * int64(op.Channels) * int64(w[2]) * int64(w[3])
}

func (op Conv2DInputGradient) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }

// Conv2DWeightGradient is the derivative of Conv2D by its weight: with x the input, resized and padded as the convolution
// reads it,
//
//	y[o,c,u,v] = Σ_{n,i,j} DY[n,i,j,o]·x[n, i·Stride+u-Pad.Top, j·Stride+v-Pad.Left, c] + Add[o,c,u,v]
//
// X, X2, Stride, Pad and Resize are Conv2D's, DY is [N,H',W',Cout]; the result is [Cout,Cin,kh,kw] with Kernel's height and
// width. Sums are kept in float32 or better.
type Conv2DWeightGradient struct {
	X, X2, DY Value
	Kernel    [2]int // height and width
	Stride    int
	Pad       Padding
	Resize    [2]int
	Add       Value // optional, of the result's type
}

// Operands implements Op.
func (op Conv2DWeightGradient) Operands() []Value { return present(op.X, op.X2, op.DY, op.Add) }

// Overwritable implements Overwriter.
func (op Conv2DWeightGradient) Overwritable() []Value { return present(op.Add) }

func (op Conv2DWeightGradient) infer(t types) ([]Type, error) {
	x, err := joinChannels(t, op.X, op.X2)
	if err != nil {
		return nil, err
	}
	dy := t.of(op.DY)
	if len(x.Shape) != 4 || len(dy.Shape) != 4 || dy.DType != x.DType || dy.Shape[0] != x.Shape[0] {
		return nil, fmt.Errorf("input is %v and the result's gradient %v, want [N H W Cin] and [N H' W' Cout]", x, dy)
	}
	w := Shape{dy.Shape[3], x.Shape[3], op.Kernel[0], op.Kernel[1]}
	h, width, err := convExtents(x.Shape[1], x.Shape[2], w, op.Stride, op.Pad, op.Resize)
	if err != nil {
		return nil, err
	}
	if dy.Shape[1] != h || dy.Shape[2] != width {
		return nil, fmt.Errorf("the result's gradient is %v, the convolution's result has %d×%d pixels", dy, h, width)
	}
	y := Type{x.DType, w}
	return []Type{y}, wantAdd(t, op.Add, y)
}

func (op Conv2DWeightGradient) flops(t types) int64 {
	x, err := joinChannels(t, op.X, op.X2)
	if err != nil {
		return 0
	}
	return 2 * int64(t.of(op.DY).Shape.Elements()) * int64(x.Shape[3]) * int64(op.Kernel[0]) * int64(op.Kernel[1])
}

func (op Conv2DWeightGradient) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }

// wantChannels checks a range of input channels.
func wantChannels(first, channels, all int) error {
	if first < 0 || channels < 1 || first > all-channels {
		return fmt.Errorf("channels %d … %d of %d", first, first+channels-1, all)
	}
	return nil
}

// wantAdd checks an addend that may be absent.
func wantAdd(t types, add Value, y Type) error {
	if add.Valid() && !t.of(add).Equal(y) {
		return fmt.Errorf("addend is %v, want %v", t.of(add), y)
	}
	return nil
}

const (
	secondDerivative = "it belongs to an adjoint, and second derivatives are not there"
	frozenWeight     = "its weight and bias are frozen; trainable factors go through MatMul"
)
