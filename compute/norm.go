package compute

import "fmt"

// GroupNorm normalises each sample over groups of consecutive channels and all positions, then scales and shifts
// per channel: y = Activation((x-μ)/√(σ²+Eps)·Weight + Bias) with the biased variance σ².
// X is [N,...,C1] and the optional X2 [N,...,C2] extends it along channels (groups may straddle the two);
// Weight and Bias are [C]; the result is [N,...,C]. Statistics are kept in float32 or better.
// See Wu & He, "Group Normalization" (arXiv:1803.08494).
type GroupNorm struct {
	X, X2        Value
	Weight, Bias Value
	Groups       int
	Eps          float64
	Activation   Activation
}

// Operands implements Op.
func (op GroupNorm) Operands() []Value { return present(op.X, op.X2, op.Weight, op.Bias) }

// Overwritable implements Overwriter.
func (op GroupNorm) Overwritable() []Value {
	if op.X2.Valid() {
		return nil
	}
	return present(op.X)
}

func (op GroupNorm) infer(t types) ([]Type, error) {
	x, err := joinChannels(t, op.X, op.X2)
	if err != nil {
		return nil, err
	}
	c := x.Shape.Last()
	if op.Groups < 1 || c%op.Groups != 0 {
		return nil, fmt.Errorf("%d channels do not divide into %d groups", c, op.Groups)
	}
	if !(op.Eps > 0) {
		return nil, fmt.Errorf("epsilon is %g, want a positive number", op.Eps)
	}
	if op.Activation > LeakyReLU {
		return nil, fmt.Errorf("unknown %v", op.Activation)
	}
	if err := wantShape("weight", t, op.Weight, c); err != nil {
		return nil, err
	}
	return []Type{x}, wantShape("bias", t, op.Bias, c)
}

func (op GroupNorm) gradient(g *adjoint, dy Value) {
	if g.needs(op.Weight) || g.needs(op.Bias) {
		g.fail(op, frozenNorm)
		return
	}
	dx := g.results(GroupNormGradient{
		X: op.X, X2: op.X2, DY: dy, Weight: op.Weight, Bias: op.Bias,
		Groups: op.Groups, Eps: op.Eps, Activation: op.Activation, Add: g.sum(op.X),
	})
	g.replace(op.X, dx[0])
	if op.X2.Valid() {
		g.accumulate(op.X2, dx[1])
	}
}

func (op GroupNorm) flops(t types) int64 {
	y, err := op.infer(t)
	if err != nil {
		return 0
	}
	return 8 * int64(y[0].Shape.Elements())
}

// LayerNorm normalises each row over its channels: y = (x-μ)/√(σ²+Eps)·Weight + Bias, with the biased variance.
// X is [...,C], Weight and Bias are [C]; the result has X's type. Statistics are kept in float32 or better.
// See Ba et al., "Layer Normalization" (arXiv:1607.06450).
type LayerNorm struct {
	X            Value
	Weight, Bias Value
	Eps          float64
}

// Operands implements Op.
func (op LayerNorm) Operands() []Value { return present(op.X, op.Weight, op.Bias) }

// Overwritable implements Overwriter.
func (op LayerNorm) Overwritable() []Value { return present(op.X) }

func (op LayerNorm) infer(t types) ([]Type, error) {
	x, err := joinChannels(t, op.X, Value{})
	if err != nil {
		return nil, err
	}
	if !(op.Eps > 0) {
		return nil, fmt.Errorf("epsilon is %g, want a positive number", op.Eps)
	}
	if err := wantShape("weight", t, op.Weight, x.Shape.Last()); err != nil {
		return nil, err
	}
	return []Type{x}, wantShape("bias", t, op.Bias, x.Shape.Last())
}

func (op LayerNorm) gradient(g *adjoint, dy Value) {
	if g.needs(op.Weight) || g.needs(op.Bias) {
		g.fail(op, frozenNorm)
		return
	}
	g.into(op.X, func(sum Value) Op {
		return LayerNormGradient{X: op.X, DY: dy, Weight: op.Weight, Eps: op.Eps, Add: sum}
	})
}

const frozenNorm = "its weight and bias are frozen"

func (op LayerNorm) flops(t types) int64 { return 8 * int64(t.of(op.X).Shape.Elements()) }
