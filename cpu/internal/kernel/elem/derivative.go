package elem

import "github.com/atelier-go/atelier/compute"

// Derivative is a function that replaces x by a'(x), nil for the identity, whose derivative is 1. ReLU's is 0 at 0, LeakyReLU's 1/5. The
// error is a few float32 units of the larger of |a'(x)| and 1.
func (k *Kernels) Derivative(a compute.Activation) func(x []float32) {
	switch a {
	case compute.SiLU:
		return k.siluSlope
	case compute.QuickGELU:
		return k.quickGELUSlope
	case compute.GELU:
		return k.geluSlope
	case compute.ReLU:
		return reluSlope
	case compute.LeakyReLU:
		return leakyReLUSlope
	}
	return nil
}

func reluSlope(x []float32) {
	for i, v := range x {
		x[i] = 0
		if v > 0 {
			x[i] = 1
		}
	}
}

func leakyReLUSlope(x []float32) {
	for i, v := range x {
		x[i] = 0.2
		if v > 0 {
			x[i] = 1
		}
	}
}

// GEGLUGradient computes rows of the derivative of [Kernels.GEGLU]: with a and g the halves of a row of x, [rows,2d], a row
// of dx is dy·GELU(g) followed by dy·a·GELU'(g). dy is [rows,d]; dx shares storage with neither.
func (k *Kernels) GEGLUGradient(dx, x, dy []float32, rows, d int) {
	for r := range rows {
		x, dx, dy := x[2*d*r:][:2*d], dx[2*d*r:][:2*d], dy[d*r:][:d]
		k.geglu(dx[:d], dy, x[d:])
		gate := dx[d:]
		copy(gate, x[d:])
		k.geluSlope(gate)
		k.multiply(gate, gate, dy)
		k.multiply(gate, gate, x[:d])
	}
}
