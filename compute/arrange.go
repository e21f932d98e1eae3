package compute

import "fmt"

// Reshape views X's elements, in order, as Shape. It moves no data.
type Reshape struct {
	X     Value
	Shape Shape
}

// Operands implements Op.
func (op Reshape) Operands() []Value { return present(op.X) }

// Viewed implements Viewer.
func (op Reshape) Viewed() Value { return op.X }

func (op Reshape) infer(t types) ([]Type, error) {
	x := t.of(op.X)
	if n := op.Shape.Elements(); n < 0 || n != x.Shape.Elements() {
		return nil, fmt.Errorf("%v does not have the elements of %v", x.Shape, op.Shape)
	}
	return []Type{{x.DType, append(Shape(nil), op.Shape...)}}, nil
}

func (op Reshape) gradient(g *adjoint, dy Value) {
	g.accumulate(op.X, g.op(Reshape{X: dy, Shape: g.b.program.Shape(op.X)}))
}

func (op Reshape) flops(types) int64 { return 0 }

// Repeat copies X Times times along the batch axis: [N,...] becomes [Times·N,...] with y[k·N+n] = X[n].
type Repeat struct {
	X     Value
	Times int
}

// Operands implements Op.
func (op Repeat) Operands() []Value { return present(op.X) }

func (op Repeat) infer(t types) ([]Type, error) {
	x := t.of(op.X)
	if len(x.Shape) < 1 || op.Times < 1 {
		return nil, fmt.Errorf("input %v repeated %d times", x, op.Times)
	}
	y := Type{x.DType, append(Shape(nil), x.Shape...)}
	y.Shape[0] *= op.Times
	return []Type{y}, nil
}

// gradient is the sum over the copies.
func (op Repeat) gradient(g *adjoint, dy Value) {
	ones := g.op(Fill{Shape: Shape{op.Times}, Value: 1})
	g.accumulate(op.X, g.op(GuidanceCombine{X: dy, Weights: ones}))
}

func (op Repeat) flops(types) int64 { return 0 }

// Concat joins parts along Axis; all other extents agree. Channel concatenation in front of Linear, Conv2D and
// GroupNorm needs no Concat: those read a second input.
type Concat struct {
	Parts []Value
	Axis  int
}

// Operands implements Op.
func (op Concat) Operands() []Value { return present(append([]Value(nil), op.Parts...)...) }

func (op Concat) infer(t types) ([]Type, error) {
	if len(op.Parts) == 0 {
		return nil, fmt.Errorf("there are no parts")
	}
	first := t.of(op.Parts[0])
	if op.Axis < 0 || op.Axis >= len(first.Shape) {
		return nil, fmt.Errorf("axis %d of %v", op.Axis, first)
	}
	y := Type{first.DType, append(Shape(nil), first.Shape...)}
	y.Shape[op.Axis] = 0
	for i, v := range op.Parts {
		p := t.of(v)
		if p.DType != first.DType || len(p.Shape) != len(first.Shape) {
			return nil, fmt.Errorf("part %d is %v, part 0 is %v", i, p, first)
		}
		for a, d := range p.Shape {
			if a != op.Axis && d != first.Shape[a] {
				return nil, fmt.Errorf("part %d is %v, which does not extend %v along axis %d", i, p, first, op.Axis)
			}
		}
		y.Shape[op.Axis] += p.Shape[op.Axis]
	}
	return []Type{y}, nil
}

func (op Concat) gradient(g *adjoint, dy Value) {
	start := 0
	for _, part := range op.Parts {
		length := g.b.program.Shape(part)[op.Axis]
		if g.needs(part) {
			g.accumulate(part, g.op(Slice{X: dy, Axis: op.Axis, Start: start, Length: length}))
		}
		start += length
	}
}

func (op Concat) flops(types) int64 { return 0 }

// Slice is the part of X from Start on, Length long, along Axis: what Concat put there.
type Slice struct {
	X                   Value
	Axis, Start, Length int
}

// Operands implements Op.
func (op Slice) Operands() []Value { return present(op.X) }

func (op Slice) infer(t types) ([]Type, error) {
	x := t.of(op.X)
	if op.Axis < 0 || op.Axis >= len(x.Shape) {
		return nil, fmt.Errorf("axis %d of %v", op.Axis, x)
	}
	if op.Start < 0 || op.Length < 1 || op.Start > x.Shape[op.Axis]-op.Length {
		return nil, fmt.Errorf("%d … %d along axis %d of %v", op.Start, op.Start+op.Length-1, op.Axis, x)
	}
	y := Type{x.DType, append(Shape(nil), x.Shape...)}
	y.Shape[op.Axis] = op.Length
	return []Type{y}, nil
}

// gradient is dy between zeros.
func (op Slice) gradient(g *adjoint, dy Value) {
	x := g.b.program.Shape(op.X)
	var parts []Value
	zeros := func(length int) {
		if length > 0 {
			shape := append(Shape(nil), x...)
			shape[op.Axis] = length
			parts = append(parts, g.op(Fill{Shape: shape}))
		}
	}
	zeros(op.Start)
	parts = append(parts, dy)
	zeros(x[op.Axis] - op.Start - op.Length)
	g.accumulate(op.X, g.op(Concat{Parts: parts, Axis: op.Axis}))
}

func (op Slice) flops(types) int64 { return 0 }
