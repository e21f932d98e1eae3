package compute

import "fmt"

// ActivateGradient is the derivative of Activate: y = DY·Activation'(X), element by element. ReLU's derivative at 0 is 0, LeakyReLU's 1/5.
type ActivateGradient struct {
	X, DY      Value
	Activation Activation
}

// Operands implements Op.
func (op ActivateGradient) Operands() []Value { return present(op.X, op.DY) }

// Overwritable implements Overwriter.
func (op ActivateGradient) Overwritable() []Value { return present(op.DY, op.X) }

func (op ActivateGradient) infer(t types) ([]Type, error) {
	y, err := Activate{op.X, op.Activation}.infer(t)
	if err == nil && !t.of(op.DY).Equal(y[0]) {
		err = fmt.Errorf("the result's gradient is %v, want %v", t.of(op.DY), y[0])
	}
	return y, err
}

func (op ActivateGradient) flops(t types) int64 { return 2 * int64(t.of(op.X).Shape.Elements()) }

func (op ActivateGradient) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }

// GEGLUGradient is the derivative of GEGLU: with a and g the halves of X's rows, the result's rows are
// [DY·GELU(g), DY·a·GELU'(g)]. X is [...,2D], DY [...,D]; the result has X's type.
type GEGLUGradient struct{ X, DY Value }

// Operands implements Op.
func (op GEGLUGradient) Operands() []Value { return present(op.X, op.DY) }

func (op GEGLUGradient) infer(t types) ([]Type, error) {
	y, err := GEGLU{op.X}.infer(t)
	if err != nil {
		return nil, err
	}
	if !t.of(op.DY).Equal(y[0]) {
		return nil, fmt.Errorf("the result's gradient is %v, want %v", t.of(op.DY), y[0])
	}
	return []Type{t.of(op.X)}, nil
}

func (op GEGLUGradient) flops(t types) int64 { return 4 * int64(t.of(op.X).Shape.Elements()) }

func (op GEGLUGradient) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }

// SumPositions adds up the rows of each sample: X is [N,...,C], the result [N,C], or [1,C], the sum over samples too, with
// AllSamples. It is the derivative by an epilogue's PerChannel. Sums are kept in float32 or better.
type SumPositions struct {
	X          Value
	AllSamples bool
}

// Operands implements Op.
func (op SumPositions) Operands() []Value { return present(op.X) }

func (op SumPositions) infer(t types) ([]Type, error) {
	x := t.of(op.X)
	if err := wantFloat("input", x); err != nil {
		return nil, err
	}
	if len(x.Shape) < 2 {
		return nil, fmt.Errorf("input is %v, want at least rank 2", x)
	}
	y := Type{x.DType, Shape{x.Shape[0], x.Shape.Last()}}
	if op.AllSamples {
		y.Shape[0] = 1
	}
	return []Type{y}, nil
}

func (op SumPositions) flops(t types) int64 { return int64(t.of(op.X).Shape.Elements()) }

func (op SumPositions) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }
