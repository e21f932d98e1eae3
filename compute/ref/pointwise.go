package ref

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// apply is a(x).
func apply(a compute.Activation, x float64) float64 {
	switch a {
	case compute.SiLU:
		return x / (1 + math.Exp(-x))
	case compute.QuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	case compute.GELU:
		return x / 2 * math.Erfc(-x/math.Sqrt2)
	case compute.ReLU:
		return max(x, 0)
	case compute.LeakyReLU:
		return max(x, x/5)
	}
	return x
}

func (f *frame[T]) activate(op compute.Activate, y compute.Value) {
	x, out := f.value(op.X), f.value(y)
	for i, v := range x {
		out[i] = T(apply(op.Activation, float64(v)))
	}
}

// geglu is y = a·GELU(g) with a the first and g the second half of each row.
func (f *frame[T]) geglu(op compute.GEGLU, y compute.Value) {
	x, out, d := f.value(op.X), f.value(y), f.shape(y).Last()
	for i := range out {
		row := x[i/d*2*d:][:2*d]
		a, g := float64(row[i%d]), float64(row[d+i%d])
		out[i] = T(a * apply(compute.GELU, g))
	}
}

func (f *frame[T]) add(op compute.Add, y compute.Value) {
	a, b, out := f.value(op.A), f.value(op.B), f.value(y)
	for i := range out {
		out[i] = a[i] + b[i]
	}
}
