package compute

import "fmt"

// GuidanceCombine folds K predictions into one: y = Σ_k Weights[k]·X_k, where X is [K·N,...] holds prediction k in samples
// k·N … (k+1)·N-1 and Weights is F32 [K], given anew for each run. The result is [N,...].
// Classifier-free guidance at scale s is weights (1-s, s) over (unconditional, conditional): Ho & Salimans (arXiv:2207.12598).
//
// With Rescale, each sample is brought so far towards the standard deviation that Like has there, a value of the result's type:
// y·(1 − Rescale + Rescale·σ(Like)/σ(y)), unless y is the same everywhere; against the overexposure of strong guidance: Lin et al.
// (arXiv:2305.08891), section 3.4.
type GuidanceCombine struct {
	X, Weights Value
	Like       Value   // only with Rescale
	Rescale    float64 // 0 to 1
}

// Operands implements Op.
func (op GuidanceCombine) Operands() []Value { return present(op.X, op.Weights, op.Like) }

func (op GuidanceCombine) infer(t types) ([]Type, error) {
	x, w := t.of(op.X), t.of(op.Weights)
	if err := wantFloat("input", x); err != nil {
		return nil, err
	}
	if w.DType != F32 || len(w.Shape) != 1 || w.Shape[0] < 1 || len(x.Shape) < 1 || x.Shape[0]%w.Shape[0] != 0 {
		return nil, fmt.Errorf("input %v does not divide among weights %v", x, w)
	}
	y := Type{x.DType, append(Shape(nil), x.Shape...)}
	y.Shape[0] /= w.Shape[0]
	if !(op.Rescale >= 0 && op.Rescale <= 1) || (op.Rescale > 0) != op.Like.Valid() {
		return nil, fmt.Errorf("rescaled by %g, want 0 to 1, and what it is like only if that is not 0", op.Rescale)
	}
	if op.Like.Valid() && !t.of(op.Like).Equal(y) {
		return nil, fmt.Errorf("the result %v cannot be rescaled like %v", y, t.of(op.Like))
	}
	return []Type{y}, nil
}

func (op GuidanceCombine) gradient(g *adjoint, dy Value) {
	if g.needs(op.Weights) || op.Rescale > 0 {
		g.fail(op, "its weights are given, and nothing is rescaled in training")
		return
	}
	k := g.b.program.Shape(op.Weights)[0]
	weights := g.op(Reshape{X: op.Weights, Shape: Shape{1, k}})
	var parts []Value
	for i := range k {
		parts = append(parts, g.op(Scale{X: dy, Factors: weights, Column: i}))
	}
	g.accumulate(op.X, g.op(Concat{Parts: parts}))
}

func (op GuidanceCombine) flops(t types) int64 { return 2 * int64(t.of(op.X).Shape.Elements()) }

// LinearCombination is y = Σ_i Coefficients[Row,i]·Terms[i] over terms of one type. Coefficients is F32 [R,len(Terms)],
// given anew for each run: it is how samplers of every kind advance their state in one program. A term whose
// coefficient is 0 contributes nothing, even where it is not finite.
type LinearCombination struct {
	Terms        []Value
	Coefficients Value
	Row          int
}

// Operands implements Op.
func (op LinearCombination) Operands() []Value {
	return present(append(append([]Value(nil), op.Terms...), op.Coefficients)...)
}

func (op LinearCombination) infer(t types) ([]Type, error) {
	if len(op.Terms) == 0 {
		return nil, fmt.Errorf("there are no terms")
	}
	first := t.of(op.Terms[0])
	for i, v := range op.Terms {
		if !v.Valid() || !t.of(v).Equal(first) {
			return nil, fmt.Errorf("term %d differs in type from term 0, %v", i, first)
		}
	}
	c := t.of(op.Coefficients)
	if c.DType != F32 || len(c.Shape) != 2 || c.Shape[1] != len(op.Terms) || op.Row < 0 || op.Row >= c.Shape[0] {
		return nil, fmt.Errorf("coefficients are %v, want F32[>%d %d]", c, op.Row, len(op.Terms))
	}
	return []Type{first}, wantFloat("term", first)
}

func (op LinearCombination) gradient(g *adjoint, dy Value) {
	if g.needs(op.Coefficients) {
		g.fail(op, "its coefficients are given")
		return
	}
	row := g.op(Slice{X: op.Coefficients, Start: op.Row, Length: 1})
	for i, term := range op.Terms {
		if g.needs(term) {
			g.accumulate(term, g.op(Scale{X: dy, Factors: row, Column: i}))
		}
	}
}

func (op LinearCombination) flops(t types) int64 {
	return 2 * int64(len(op.Terms)) * int64(t.of(op.Terms[0]).Shape.Elements())
}
