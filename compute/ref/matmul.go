package ref

import "github.com/atelier-go/atelier/compute"

// matrix is a value seen as rows of its last axis, possibly transposed.
type matrix[T number] struct {
	x             []T
	rows, columns int
	transposed    bool
}

func (f *frame[T]) matrix(v compute.Value, transposed bool) matrix[T] {
	shape := f.shape(v)
	m := matrix[T]{f.value(v), shape.Rows(), shape.Last(), transposed}
	if transposed {
		m.rows, m.columns = m.columns, m.rows
	}
	return m
}

func (m matrix[T]) at(i, j int) float64 {
	if m.transposed {
		return float64(m.x[j*m.rows+i])
	}
	return float64(m.x[i*m.columns+j])
}

// matMul is y[i,j] = Scale·Σ_k a[i,k]·b[k,j] + Add[i,j].
func (f *frame[T]) matMul(op compute.MatMul, y compute.Value) {
	a, b := f.matrix(op.A, op.TransposeA), f.matrix(op.B, op.TransposeB)
	out, add := f.value(y), f.optional(op.Add)
	scale := op.Scale
	if scale == 0 {
		scale = 1
	}
	parallel(a.rows, func(first, end int) {
		for i := first; i < end; i++ {
			for j := range b.columns {
				var sum float64
				for k := range a.columns {
					sum += a.at(i, k) * b.at(k, j)
				}
				at := i*b.columns + j
				out[at] = T(plus(scale*sum, add, at))
			}
		}
	})
}

// plus is x + add[at], add being optional.
func plus[T number](x float64, add []T, at int) float64 {
	if add != nil {
		x += float64(add[at])
	}
	return x
}
