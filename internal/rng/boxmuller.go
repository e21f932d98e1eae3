package rng

import "math"

// normalBlock is the number of values that PyTorch's vectorised normal fill makes at once.
const normalBlock = 16

// boxMuller turns 16 uniform numbers in [0, 1) into 16 normal ones (Box and Muller 1958): for j < 8,
//
//	r = √(−2 ln(1−u[j])), θ = 2π·u[j+8]:  u[j] = r·cos θ, u[j+8] = r·sin θ
//
// The last bits depend on how ln, sin and cos are approximated, so they are evaluated here as the
// reference does: with the single-precision polynomials of Moshier's Cephes library, and a fused
// multiply-add wherever a compiler for AVX2 contracts a product and a sum.
func boxMuller(u *[normalBlock]float32) {
	for j := range normalBlock / 2 {
		r := float32(math.Sqrt(float64(-2 * log32(1-u[j]))))
		sin, cos := sincos32(float32(2*math.Pi) * u[j+normalBlock/2])
		u[j], u[j+normalBlock/2] = float32(r*cos), float32(r*sin)
	}
}

// log32 is ln x for positive normal x: with x = m·2ᵉ, √½ ≤ m < √2, it is e·ln 2 + ln m, the latter a
// polynomial in m−1, and ln 2 in two parts.
func log32(x float32) float32 {
	bits := math.Float32bits(x)
	e := float32(int32(bits>>23) - 126)
	m := math.Float32frombits(bits&0x007FFFFF | 0x3F000000)
	if m < math.Sqrt2/2 {
		e--
		m = float32(m-1) + m
	} else {
		m--
	}
	z := float32(m * m)
	p := float32(7.0376836292e-2)
	for _, c := range [...]float32{
		-1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
		-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
	} {
		p = fma32(p, m, c)
	}
	p = fma32(float32(p*m), z, float32(e*-2.12194440e-4))
	p -= float32(z * 0.5)
	return fma32(e, 0.693359375, float32(m+p))
}

// sincos32 is the sine and cosine of x ≥ 0: x is brought to within π/4 of a multiple of π/2 by
// subtracting that in three parts, and a polynomial gives each.
func sincos32(x float32) (sin, cos float32) {
	octant := (int32(float32(x*(4/math.Pi))) + 1) &^ 1
	k := float32(octant)
	x = fma32(k, -0.78515625, x)
	x = fma32(k, -2.4187564849853515625e-4, x)
	x = fma32(k, -3.77489497744594108e-8, x)
	z := float32(x * x)

	c := fma32(2.443315711809948e-5, z, -1.388731625493765e-3)
	c = fma32(c, z, 4.166664568298827e-2)
	c = fma32(float32(c*z), z, -float32(z*0.5)) + 1

	s := fma32(-1.9515295891e-4, z, 8.3321608736e-3)
	s = fma32(s, z, -1.6666654611e-1)
	s = fma32(float32(s*z), x, x)

	switch octant & 6 {
	case 0:
		return s, c
	case 2:
		return c, -s
	case 4:
		return -s, -c
	}
	return -c, s
}

// fma32 is a·b + c rounded once. The product is exact in float64; its sum with c is rounded there to
// odd, which the second rounding, to float32, cannot mistake for a tie.
func fma32(a, b, c float32) float32 {
	p, q := float64(a)*float64(b), float64(c)
	sum := p + q
	virtual := sum - p
	if lost := (p - (sum - virtual)) + (q - virtual); lost != 0 {
		if bits := math.Float64bits(sum); bits&1 == 0 {
			if (lost > 0) == (sum > 0) {
				bits++
			} else {
				bits--
			}
			sum = math.Float64frombits(bits)
		}
	}
	return float32(sum)
}
