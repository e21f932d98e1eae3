package elem

import "github.com/atelier-go/atelier/compute"

// Gradient is a function that sets dx to a'(x)·dy, all of one length; dx may be x or dy. It is nil for the identity. ReLU's derivative is
// 0 at 0, LeakyReLU's 1/5. The error is a few float32 units of the larger of |a'(x)| and 1, times |dy|.
func (k *Kernels) Gradient(a compute.Activation) func(dx, x, dy []float32) {
	switch a {
	case compute.SiLU:
		return k.siluGradient
	case compute.QuickGELU:
		return k.quickGELUGradient
	case compute.GELU:
		return k.geluGradient
	case compute.ReLU:
		return reluGradient
	case compute.LeakyReLU:
		return leakyReLUGradient
	}
	return nil
}

func reluGradient(dx, x, dy []float32) {
	for i, v := range x {
		g := dy[i]
		if !(v > 0) {
			g = 0
		}
		dx[i] = g
	}
}

func leakyReLUGradient(dx, x, dy []float32) {
	for i, v := range x {
		g := dy[i]
		if !(v > 0) {
			g *= 0.2
		}
		dx[i] = g
	}
}

// GEGLUGradient computes rows of the derivative of [Kernels.GEGLU]: with a and g the halves of a row of x, [rows,2d], a row
// of dx is dy·GELU(g) followed by dy·a·GELU'(g). dy is [rows,d]; dx shares storage with neither.
func (k *Kernels) GEGLUGradient(dx, x, dy []float32, rows, d int) {
	for r := range rows {
		x, dx := x[2*d*r:][:2*d], dx[2*d*r:][:2*d]
		k.gegluGradient(dx[:d], dx[d:], x[:d], x[d:], dy[d*r:][:d])
	}
}
