package compute

import (
	"fmt"
	"math"
)

// Fill is a value that is known beforehand, of type F32: one number everywhere, or one for each element.
type Fill struct {
	Shape  Shape
	Value  float64
	Values []float32 // in place of Value
}

// Operands implements Op.
func (op Fill) Operands() []Value { return nil }

func (op Fill) infer(types) ([]Type, error) {
	if math.IsNaN(op.Value) {
		return nil, fmt.Errorf("filled with NaN")
	}
	if op.Values != nil && (len(op.Values) != op.Shape.Elements() || op.Value != 0) {
		return nil, fmt.Errorf("%v filled with %d numbers", op.Shape, len(op.Values))
	}
	return []Type{{F32, append(Shape(nil), op.Shape...)}}, nil
}

func (op Fill) flops(types) int64 { return 0 }

func (op Fill) gradient(*adjoint, Value) {} // it depends on nothing

// Scale multiplies each sample by a number given anew for each run: y[n,...] = Factors[n,Column]·X[n,...]. X is [N,...],
// Factors F32 [N,K], or [1,K] with one number for all samples; the result has X's type. Where the factor is 0 the
// result is 0, even if X is not finite. The sum of two of it is a training picture with its noise mixed in, x_t = √ᾱ·z + √(1-ᾱ)·ε
// with a timestep for each sample: Ho et al. (arXiv:2006.11239), equation 4.
type Scale struct {
	X, Factors Value
	Column     int
}

// Operands implements Op.
func (op Scale) Operands() []Value { return present(op.X, op.Factors) }

// Overwritable implements Overwriter.
func (op Scale) Overwritable() []Value { return present(op.X) }

func (op Scale) infer(t types) ([]Type, error) {
	x, f := t.of(op.X), t.of(op.Factors)
	if err := wantFloat("input", x); err != nil {
		return nil, err
	}
	if f.DType != F32 || len(f.Shape) != 2 || len(x.Shape) < 1 || (f.Shape[0] != 1 && f.Shape[0] != x.Shape[0]) {
		return nil, fmt.Errorf("factors are %v, want one or as many rows of F32 as input %v has samples", f, x)
	}
	if op.Column < 0 || op.Column >= f.Shape[1] {
		return nil, fmt.Errorf("column %d of factors %v", op.Column, f)
	}
	return []Type{x}, nil
}

func (op Scale) flops(t types) int64 { return int64(t.of(op.X).Shape.Elements()) }

func (op Scale) gradient(g *adjoint, dy Value) {
	if g.needs(op.Factors) {
		g.fail(op, "its factors are given")
		return
	}
	g.accumulate(op.X, g.op(Scale{X: dy, Factors: op.Factors, Column: op.Column}))
}

// Multiply is X·Factors, element by element, with numbers given anew for each run: the masks of dropout, 0 where dropped and
// 1/(1-p) elsewhere. Factors is F32 of X's shape, or [N,C] or [1,C] for every position of sample n, X being [N,...,C]; the
// result has X's type. Where the factor is 0 the result is 0, even if X is not finite.
type Multiply struct{ X, Factors Value }

// Operands implements Op.
func (op Multiply) Operands() []Value { return present(op.X, op.Factors) }

// Overwritable implements Overwriter.
func (op Multiply) Overwritable() []Value { return present(op.X) }

func (op Multiply) infer(t types) ([]Type, error) {
	x, f := t.of(op.X), t.of(op.Factors)
	if err := wantFloat("input", x); err != nil {
		return nil, err
	}
	perChannel := len(f.Shape) == 2 && len(x.Shape) >= 2 && f.Shape[1] == x.Shape.Last() && (f.Shape[0] == 1 || f.Shape[0] == x.Shape[0])
	if f.DType != F32 || !perChannel && !f.Shape.Equal(x.Shape) {
		return nil, fmt.Errorf("factors are %v, want F32 of the shape of input %v, or one row for each sample or for all", f, x)
	}
	return []Type{x}, nil
}

func (op Multiply) flops(t types) int64 { return int64(t.of(op.X).Shape.Elements()) }

func (op Multiply) gradient(g *adjoint, dy Value) {
	if g.needs(op.Factors) {
		g.fail(op, "its factors are given")
		return
	}
	g.accumulate(op.X, g.op(Multiply{X: dy, Factors: op.Factors}))
}
