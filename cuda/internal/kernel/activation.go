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

// erf is the error function, within two units in the last place: below 1 by a polynomial of erf(x)/x - 1 in x², above by one of the
// logarithm of 1 - erf(x), which beyond 4.1 is nothing.
func erf(k *ptx.Kernel, x ptx.Float) ptx.Float {
	m := x.Magnitude()
	near := polynomial(k, m.Times(m), 0.128379166, -0.37612626, 0.112835974, -0.0268543288, 0.00518931216, -0.000801885501, 7.88249745e-05)
	rest := polynomial(k, m.Less(4.1).ChooseFloat(m, 4.1),
		0.000405123894, -1.63035333, -0.911922038, -0.158445522, 0.0379092917, -0.0067931884, 0.000845294271, -6.45791588e-05, 2.26716952e-06)
	return m.Less(1.0).ChooseFloat(near.TimesPlus(x, x), k.Float(1.0).Minus(rest.Exp2()).Signed(x))
}

// polynomial is Σ cᵢ·xⁱ.
func polynomial(k *ptx.Kernel, x ptx.Float, coefficients ...float64) ptx.Float {
	last := len(coefficients) - 1
	sum := k.Float(coefficients[last])
	for i := last - 1; i >= 0; i-- {
		sum = sum.TimesPlus(x, coefficients[i])
	}
	return sum
}
