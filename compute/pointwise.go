package compute

import "fmt"

// Activate is y = Activation(X), element by element.
type Activate struct {
	X          Value
	Activation Activation
}

// Operands implements Op.
func (op Activate) Operands() []Value { return present(op.X) }

// Overwritable implements Overwriter.
func (op Activate) Overwritable() []Value { return present(op.X) }

func (op Activate) infer(t types) ([]Type, error) {
	if op.Activation > LeakyReLU {
		return nil, fmt.Errorf("unknown %v", op.Activation)
	}
	return []Type{t.of(op.X)}, wantFloat("input", t.of(op.X))
}

func (op Activate) gradient(g *adjoint, dy Value) {
	if op.Activation != Identity {
		dy = g.op(ActivateGradient{X: op.X, DY: dy, Activation: op.Activation})
	}
	g.accumulate(op.X, dy)
}

func (op Activate) flops(t types) int64 { return int64(t.of(op.X).Shape.Elements()) }

// GEGLU is the gated linear unit of the UNet's feed-forward: X is [...,2D], its first half the value a, its second the
// gate g; the result is [...,D] = a·GELU(g), with the exact GELU. See Shazeer (arXiv:2002.05202).
type GEGLU struct{ X Value }

// Operands implements Op.
func (op GEGLU) Operands() []Value { return present(op.X) }

func (op GEGLU) infer(t types) ([]Type, error) {
	x := t.of(op.X)
	if err := wantFloat("input", x); err != nil {
		return nil, err
	}
	if len(x.Shape) < 1 || x.Shape.Last()%2 != 0 {
		return nil, fmt.Errorf("input is %v, want an even number of channels", x)
	}
	y := Type{x.DType, append(Shape(nil), x.Shape...)}
	y.Shape[len(y.Shape)-1] /= 2
	return []Type{y}, nil
}

func (op GEGLU) gradient(g *adjoint, dy Value) {
	g.accumulate(op.X, g.op(GEGLUGradient{X: op.X, DY: dy}))
}

func (op GEGLU) flops(t types) int64 { return 2 * int64(t.of(op.X).Shape.Elements()) }

// Add is A + B, two values of one type.
type Add struct{ A, B Value }

// Operands implements Op.
func (op Add) Operands() []Value { return present(op.A, op.B) }

// Overwritable implements Overwriter.
func (op Add) Overwritable() []Value { return present(op.A, op.B) }

func (op Add) infer(t types) ([]Type, error) {
	a, b := t.of(op.A), t.of(op.B)
	if !a.Equal(b) {
		return nil, fmt.Errorf("the addends are %v and %v", a, b)
	}
	return []Type{a}, wantFloat("addend", a)
}

func (op Add) gradient(g *adjoint, dy Value) {
	g.accumulate(op.A, dy)
	g.accumulate(op.B, dy)
}

func (op Add) flops(t types) int64 { return int64(t.of(op.A).Shape.Elements()) }
