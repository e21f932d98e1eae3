package compute

import "fmt"

// GroupNormGradient is the derivative of GroupNorm by its input, the statistics computed again from it. With
// x̂ = (x-μ)/s, s = √(σ²+Eps) and d = DY·Activation'(x̂·Weight+Bias)·Weight,
//
//	dx = (d - mean(d) - x̂·mean(d·x̂))/s
//
// with means over the positions and channels of a group. X, X2, Weight, Bias and the attributes are GroupNorm's, DY is
// [N,...,C]. The first result has X's type and Add added, the second, which exists with X2, has X2's type.
type GroupNormGradient struct {
	X, X2        Value
	DY           Value
	Weight, Bias Value
	Groups       int
	Eps          float64
	Activation   Activation
	Add          Value // optional, of X's type
}

// Operands implements Op.
func (op GroupNormGradient) Operands() []Value {
	return present(op.X, op.X2, op.DY, op.Weight, op.Bias, op.Add)
}

// Overwritable implements Overwriter.
func (op GroupNormGradient) Overwritable() []Value { return present(op.Add) }

func (op GroupNormGradient) infer(t types) ([]Type, error) {
	forward := GroupNorm{op.X, op.X2, op.Weight, op.Bias, op.Groups, op.Eps, op.Activation}
	y, err := forward.infer(t)
	if err != nil {
		return nil, err
	}
	if !t.of(op.DY).Equal(y[0]) {
		return nil, fmt.Errorf("the result's gradient is %v, want %v", t.of(op.DY), y[0])
	}
	dx := []Type{t.of(op.X)}
	if op.X2.Valid() {
		dx = append(dx, t.of(op.X2))
	}
	return dx, wantAdd(t, op.Add, dx[0])
}

func (op GroupNormGradient) flops(t types) int64 { return 16 * int64(t.of(op.DY).Shape.Elements()) }

func (op GroupNormGradient) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }

// LayerNormGradient is the derivative of LayerNorm by its input, the statistics computed again from it. With
// x̂ = (x-μ)/s, s = √(σ²+Eps) and d = DY·Weight, dx = (d - mean(d) - x̂·mean(d·x̂))/s + Add, means over a row.
// X and DY are [...,C], Weight [C]; the result has X's type.
type LayerNormGradient struct {
	X, DY, Weight Value
	Eps           float64
	Add           Value // optional, of X's type
}

// Operands implements Op.
func (op LayerNormGradient) Operands() []Value { return present(op.X, op.DY, op.Weight, op.Add) }

// Overwritable implements Overwriter.
func (op LayerNormGradient) Overwritable() []Value { return present(op.Add) }

func (op LayerNormGradient) infer(t types) ([]Type, error) {
	x := t.of(op.X)
	forward := LayerNorm{op.X, op.Weight, op.Weight, op.Eps} // a bias would be of the weight's shape
	if _, err := forward.infer(t); err != nil {
		return nil, err
	}
	if !t.of(op.DY).Equal(x) {
		return nil, fmt.Errorf("the result's gradient is %v, want %v", t.of(op.DY), x)
	}
	return []Type{x}, wantAdd(t, op.Add, x)
}

func (op LayerNormGradient) flops(t types) int64 { return 16 * int64(t.of(op.X).Shape.Elements()) }

func (op LayerNormGradient) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }
