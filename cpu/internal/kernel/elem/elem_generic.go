package elem

import (
	"encoding/binary"
	"math"

	"github.com/atelier-go/atelier/internal/f16"
)

// generic is the definition of the kernels and the set for machines without another.
var generic = Kernels{
	SiLU:      siluGeneric,
	QuickGELU: quickGELUGeneric,
	GELU:      geluGeneric,
	ReLU:      reluGeneric,
	Exp:       expGeneric,

	siluGradient:      siluGradientGeneric,
	quickGELUGradient: quickGELUGradientGeneric,
	geluGradient:      geluGradientGeneric,

	geglu:         gegluGeneric,
	gegluGradient: gegluGradientGeneric,
	add:           addGeneric,
	addScaled:     addScaledGeneric,
	adamW:         adamWGeneric,
	widen:         [2]func([]float32, []byte){widenF16Generic, widenBF16Generic},
}

func siluGeneric(x []float32) {
	for i, v := range x {
		x[i] = timesSigmoid(v, v)
	}
}

func quickGELUGeneric(x []float32) {
	for i, v := range x {
		x[i] = timesSigmoid(v, 1.702*v)
	}
}

func geluGeneric(x []float32) {
	for i, v := range x {
		x[i] = gelu(v)
	}
}

func reluGeneric(x []float32) {
	for i, v := range x {
		x[i] = max(v, 0)
	}
}

// leakyReLU has no kernel of its own in any set: it is a small part of the convolution before it.
func leakyReLU(x []float32) {
	for i, v := range x {
		x[i] = max(v, v/5)
	}
}

func expGeneric(x []float32) {
	for i, v := range x {
		x[i] = exp(v, 0)
	}
}

func gegluGeneric(dst, a, gate []float32) {
	for i, g := range gate {
		dst[i] = a[i] * gelu(g)
	}
}

func addGeneric(dst, a, b []float32) {
	for i, v := range a {
		dst[i] = v + b[i]
	}
}

func addScaledGeneric(dst, a []float32, c float32) {
	for i, v := range a {
		dst[i] += c * v
	}
}

// timesSigmoid is x·sigmoid(v) for v of the sign of x, by exponentials of negative numbers only.
func timesSigmoid(x, v float32) float32 {
	e := exp(-abs(v), 0)
	return (max(x, 0) + min(x, 0)*e) / (1 + e)
}

func siluGradientGeneric(dx, x, dy []float32) {
	for i, v := range x {
		dx[i] = dy[i] * sigmoidSlope(v, 1)
	}
}

func quickGELUGradientGeneric(dx, x, dy []float32) {
	for i, v := range x {
		dx[i] = dy[i] * sigmoidSlope(v, 1.702)
	}
}

func geluGradientGeneric(dx, x, dy []float32) {
	for i, v := range x {
		dx[i] = dy[i] * geluSlope(v)
	}
}

func gegluGradientGeneric(da, dgate, a, gate, dy []float32) {
	for i, g := range gate {
		da[i], dgate[i] = dy[i]*gelu(g), dy[i]*geluSlope(g)*a[i]
	}
}

// sigmoidSlope is s + k·x·s·(1-s) with s = sigmoid(k·x), by exponentials of negative numbers only.
func sigmoidSlope(x, k float32) float32 {
	e := exp(-abs(k*x), 0)
	r := 1 / (1 + e)
	s := r
	if x < 0 {
		s = e * r
	}
	return s + k*(x*e*r*r)
}

// geluSlope is Φ(x) + x·φ(x).
func geluSlope(x float32) float32 {
	const density = 1 / (math.Sqrt2 * math.SqrtPi)
	z := min(abs(x), 20)
	e := exp(-z*z/2, 0)
	p := e * tail(1/(1+0.3*z))
	if x > 0 {
		p = 1 - p
	}
	return p + x*e*density
}

// tail is (1-Φ(z))·e^(z²/2) for t = 1/(1+0.3z).
func tail(t float32) float32 {
	return t * (0.11968654 + t*(0.11957463+t*(0.1102133+t*(0.07848763+t*(0.0958872+
		t*(-0.07894436+t*(0.19123334+t*(-0.22781697+t*(0.11227328-t*0.020594621)))))))))
}

// gelu is max(x,0) - |x|·(1-Φ(|x|)), and 1-Φ(z) is e^(-z²/2) times a polynomial in 1/(1+0.3z): minimax for
// z ≤ 13.5, relative error 3.4e-9. Past 14.3 it is 0 in float32.
func gelu(x float32) float32 {
	z := abs(x)
	near := float64(min(z, 20))
	square := near * near / 2
	v := float32(square)
	e := exp(-v, float32(square-float64(v)))
	t := float32(1 / (1 + 0.3*float64(z)))
	return max(x, 0) - z*(tail(t)*e)
}

// exp is e^(v-tail) for a tail far below a unit in the last place of v. v = n·ln 2 + f with n the nearest
// integer; e^f is the minimax polynomial of degree 6 that starts 1 + f, relative error 3.1e-9.
func exp(v, tail float32) float32 {
	const (
		magic = 3 << 22 // adding it rounds to an integer
		ln2hi = 0x1.62cp-1
		ln2lo = math.Ln2 - ln2hi
	)
	if v != v {
		return v
	}
	v = min(max(v, -105), 89)
	n := float32(v*math.Log2E+magic) - magic
	f := v - n*ln2hi - n*ln2lo - tail
	p := ((((((0.0013814467*f+0.008368781)*f+0.041668393)*f+0.1666652)*f+0.49999994)*f + 1) * f) + 1
	// 2^n in two factors, as n may be outside the range of normal exponents.
	half := int32(n) >> 1
	return p * power2(int32(n)-half) * power2(half)
}

func power2(n int32) float32 { return math.Float32frombits(uint32(n+127) << 23) }

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func widenF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func widenF16Generic(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = f16.ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func widenBF16Generic(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = f16.BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}
