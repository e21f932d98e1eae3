package simgpu

import (
	"math"
	"math/big"

	"github.com/atelier-go/atelier/internal/f16"
)

// Chip is how a kind of tensor core sums, by the model of MMA-Sim: products and addend are aligned to the largest exponent among
// them and cut to Fraction bits behind the point, their sum is exact, and the result is cut to float32 or rounded to the nearest
// half.
type Chip struct {
	Fraction int
	Group    int // how many products are summed at once
}

// The chips of the cards that kernels are for.
var (
	Ampere = Chip{Fraction: 24, Group: 8}  // compute capability 8.x: A100, RTX 30 and 40
	Hopper = Chip{Fraction: 25, Group: 16} // 9.0 and 12.0: H100, RTX 50
)

// addRow adds the product of a row of a with b.
func (chip Chip) addRow(sums *[8]float32, a *[16]float32, b *[16][8]float32, half bool) {
	for j := range sums {
		var column [16]float32
		for k := range b {
			column[k] = b[k][j]
		}
		for k := 0; k < 16; k += chip.Group {
			sums[j] = chip.sum(a[k:k+chip.Group], column[k:k+chip.Group], sums[j], half)
		}
	}
}

// sum is c plus the products of a and b, which are halves. Infinities and NaN are left to float64, in which they come out alike.
func (chip Chip) sum(a, b []float32, c float32, half bool) float32 {
	terms := []term{parts(float64(c), -126)}
	plain := float64(c)
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		plain += x * y
		terms = append(terms, product(x, y))
	}
	if math.IsNaN(plain) || math.IsInf(plain, 0) {
		return float32(plain)
	}
	top := terms[0].exponent
	for _, t := range terms {
		top = max(top, t.exponent)
	}
	var sum int64
	for _, t := range terms {
		sum += int64(math.Ldexp(t.significand, t.exponent-top+chip.Fraction)) // the conversion cuts
	}
	if half {
		return halves[nearestHalf(sum, top-chip.Fraction)]
	}
	return cut(sum, top-chip.Fraction)
}

// term is significand·2^exponent. The exponent is that of the operands' own, so that the significand of a product is from 1 to 4.
type term struct {
	significand float64
	exponent    int
}

// parts are a number's, with an exponent not below that of the smallest normal one.
func parts(x float64, smallest int) term {
	if x == 0 {
		return term{0, smallest}
	}
	_, e := math.Frexp(x)
	e = max(e-1, smallest)
	return term{math.Ldexp(x, -e), e}
}

// product is that of two halves, whose exponents are added. One with a zero counts for nothing.
func product(x, y float64) term {
	if x == 0 || y == 0 {
		return term{0, -126}
	}
	p, q := parts(x, -14), parts(y, -14)
	return term{p.significand * q.significand, p.exponent + q.exponent}
}

// cut is sum·2^exponent without the bits for which a float32 has no room.
func cut(sum int64, exponent int) float32 {
	f := new(big.Float).SetMode(big.ToZero).SetPrec(24).SetInt64(sum)
	v, _ := f.SetMantExp(f, exponent).Float64()
	return float32(v)
}

// nearestHalf is the half nearest to sum·2^exponent: which float32 is, rounded to odd, decides.
func nearestHalf(sum int64, exponent int) uint16 {
	f := new(big.Float).SetPrec(64).SetInt64(sum)
	exact := new(big.Float).SetMantExp(f, exponent)
	narrow, accuracy := exact.Float32()
	if accuracy != big.Exact && math.Float32bits(narrow)&1 == 0 {
		toward := float32(math.Inf(-1))
		if accuracy == big.Below {
			toward = float32(math.Inf(1))
		}
		narrow = math.Nextafter32(narrow, toward)
	}
	return f16.FromF32(narrow)
}
