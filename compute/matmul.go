package compute

import "fmt"

// MatMul is the product of two matrices that are values: y = Scale·op(A)·op(B) + Add, where op transposes if told to.
// A and B are matrices of rows: all axes but the last count the rows, so tokens [N,T,C] are N·T rows of C. The result
// has A's leading axes if A is not transposed, and is [M,K] otherwise. Sums are kept in float32 or better.
//
// Trainable low-rank factors are its main use, x·downᵀ and then Scale·(x·downᵀ)·upᵀ added to the frozen layer's
// result, because its derivatives are MatMuls again: Hu et al., "LoRA" (arXiv:2106.09685), section 4.1.
type MatMul struct {
	A, B                   Value
	TransposeA, TransposeB bool
	Scale                  float64 // 0 stands for 1
	Add                    Value   // optional, of the result's type
}

// Operands implements Op.
func (op MatMul) Operands() []Value { return present(op.A, op.B, op.Add) }

// Overwritable implements Overwriter.
func (op MatMul) Overwritable() []Value { return present(op.Add) }

// extents are the rows and columns of op(A) and op(B).
func (op MatMul) extents(a, b Shape) (m, k, k2, n int) {
	m, k, k2, n = a.Rows(), a.Last(), b.Rows(), b.Last()
	if op.TransposeA {
		m, k = k, m
	}
	if op.TransposeB {
		k2, n = n, k2
	}
	return m, k, k2, n
}

func (op MatMul) infer(t types) ([]Type, error) {
	a, b := t.of(op.A), t.of(op.B)
	if err := wantFloat("first factor", a); err != nil {
		return nil, err
	}
	if b.DType != a.DType || len(a.Shape) < 2 || len(b.Shape) < 2 {
		return nil, fmt.Errorf("factors are %v and %v, want one type and at least rank 2", a, b)
	}
	m, k, k2, n := op.extents(a.Shape, b.Shape)
	if k != k2 {
		return nil, fmt.Errorf("factors %v and %v are %d×%d and %d×%d matrices", a.Shape, b.Shape, m, k, k2, n)
	}
	if op.Scale-op.Scale != 0 {
		return nil, fmt.Errorf("scale is %g, want a finite number", op.Scale)
	}
	y := Type{a.DType, Shape{m, n}}
	if !op.TransposeA {
		y.Shape = append(append(Shape(nil), a.Shape[:len(a.Shape)-1]...), n)
	}
	return []Type{y}, wantAdd(t, op.Add, y)
}

func (op MatMul) flops(t types) int64 {
	m, k, _, n := op.extents(t.of(op.A).Shape, t.of(op.B).Shape)
	return 2 * int64(m) * int64(k) * int64(n)
}

// gradient: of y = s·A·B, dA = s·dy·Bᵀ and dB = s·Aᵀ·dy, transposed once more where the factor is.
func (op MatMul) gradient(g *adjoint, dy Value) {
	g.accumulate(op.Add, dy)
	da := MatMul{A: dy, B: op.B, TransposeB: !op.TransposeB, Scale: op.Scale}
	if op.TransposeA {
		da = MatMul{A: op.B, B: dy, TransposeA: op.TransposeB, TransposeB: true, Scale: op.Scale}
	}
	g.product(op.A, da)
	db := MatMul{A: op.A, B: dy, TransposeA: !op.TransposeA, Scale: op.Scale}
	if op.TransposeB {
		db = MatMul{A: dy, B: op.A, TransposeA: true, TransposeB: op.TransposeA, Scale: op.Scale}
	}
	g.product(op.B, db)
}

// product adds a product to the gradient of v. The product of v's elements may have other leading axes than v.
func (g *adjoint) product(v Value, op MatMul) {
	if !g.needs(v) || g.b.err != nil {
		return
	}
	t := types(g.b.program.Values)
	y, err := op.infer(t)
	if shape := t.of(v).Shape; err == nil && !y[0].Shape.Equal(shape) {
		g.accumulate(v, g.op(Reshape{X: g.op(op), Shape: shape}))
		return
	}
	op.Add = g.sum(v)
	g.replace(v, g.op(op))
}
