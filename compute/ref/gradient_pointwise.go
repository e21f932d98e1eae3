package ref

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// derivative is a'(x).
func derivative(a compute.Activation, x float64) float64 {
	switch a {
	case compute.SiLU:
		return gated(1, x)
	case compute.QuickGELU:
		return gated(1.702, x)
	case compute.GELU: // Φ(x) + x·φ(x)
		return math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case compute.ReLU:
		if x > 0 {
			return 1
		}
		return 0
	case compute.LeakyReLU:
		if x <= 0 {
			return 0.2
		}
	}
	return 1
}

// gated is the derivative of x·s with s = sigmoid(k·x): s + k·x·s·(1-s).
func gated(k, x float64) float64 {
	s, rest := 1/(1+math.Exp(-k*x)), 1/(1+math.Exp(k*x))
	return s + k*x*s*rest
}

// activateGradient is y = DY·Activation'(X).
func (f *frame[T]) activateGradient(op compute.ActivateGradient, y compute.Value) {
	x, dy, out := f.value(op.X), f.value(op.DY), f.value(y)
	for i := range out {
		out[i] = T(float64(dy[i]) * derivative(op.Activation, float64(x[i])))
	}
}

// gegluGradient is [DY·GELU(g), DY·a·GELU'(g)] with a and g the halves of each row.
func (f *frame[T]) gegluGradient(op compute.GEGLUGradient, y compute.Value) {
	x, dy, out, d := f.value(op.X), f.value(op.DY), f.value(y), f.shape(op.DY).Last()
	for i, v := range dy {
		row := i / d * 2 * d
		a, g := float64(x[row+i%d]), float64(x[row+d+i%d])
		out[row+i%d] = T(float64(v) * apply(compute.GELU, g))
		out[row+d+i%d] = T(float64(v) * a * derivative(compute.GELU, g))
	}
}

// sumPositions is y[n,c] = Σ_p X[n,p,c], with n over all samples at once or one by one.
func (f *frame[T]) sumPositions(op compute.SumPositions, y compute.Value) {
	x, out, channels := f.value(op.X), f.value(y), f.shape(y)[1]
	rows := len(x) / len(out)
	for i := range out {
		n, c := i/channels, i%channels
		var sum float64
		for r := range rows {
			sum += float64(x[(n*rows+r)*channels+c])
		}
		out[i] = T(sum)
	}
}
