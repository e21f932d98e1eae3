package kernel

import (
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// activate is a(x).
func activate(k *ptx.Kernel, a compute.Activation, x ptx.Float) ptx.Float {
	switch a {
	case compute.SiLU:
		return x.Times(sigmoid(k, x))
	case compute.QuickGELU:
		return x.Times(sigmoid(k, x.Times(1.702)))
	case compute.GELU:
		return x.Times(0.5).Times(erf(k, x.Times(math.Sqrt2/2)).Plus(1.0))
	case compute.ReLU:
		return x.Less(0.0).ChooseFloat(0.0, x)
	case compute.LeakyReLU:
		return x.Less(0.0).ChooseFloat(x.Times(0.2), x)
	}
	return x
}

// sigmoid is 1 / (1 + e⁻ˣ).
func sigmoid(k *ptx.Kernel, x ptx.Float) ptx.Float {
	return x.Times(-math.Log2E).Exp2().Plus(1.0).Reciprocal()
}

// erf is the error function within 3e-7: Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26.
func erf(k *ptx.Kernel, x ptx.Float) ptx.Float {
	m := x.Magnitude()
	t := m.TimesPlus(0.3275911, 1.0).Reciprocal()
	sum := t.TimesPlus(1.061405429, -1.453152027)
	for _, c := range []float64{1.421413741, -0.284496736, 0.254829592} {
		sum = sum.TimesPlus(t, c)
	}
	tail := m.Times(m).Times(-math.Log2E).Exp2().Times(sum).Times(t)
	return k.Float(1.0).Minus(tail).Signed(x)
}
