package computetest

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
)

// Tolerance bounds how far a result may be from the oracle's, in roundoffs of float32 (2⁻²⁴).
//
// With u the roundoff, want's root mean square as the size of an element of no size of its own, and E = Roundings·u, the worst
// element may err by E·max(|want|, rms) and the normalised mean squared error may reach (E/4)². For each matrix product,
// a device's OperandRoundoff adds 4 times itself to E: each factor errs by up to that much, and the errors of a
// sum's terms add up like the terms do, so that a result errs by about one roundoff of its size, rarely four. Its
// ValueRoundoff adds 6 times itself: operands and results are rounded, and in some ops what lies between. Errors below its ValueStep are none.
type Tolerance struct {
	Roundings float64 // 0 demands the same value
	Products  int     // matrix products that follow on one another in the op: 2 in attention
	Reason    string
}

const roundoff = 1.0 / (1 << 24)

// check compares a device's result with the oracle's.
func (tol Tolerance) check(got, want compute.Buffer, operandRoundoff, valueRoundoff, step float64) error {
	if want.I32 != nil {
		for i, w := range want.I32 {
			if got.I32[i] != w {
				return fmt.Errorf("element %d: got %d, want %d", i, got.I32[i], w)
			}
		}
		return nil
	}
	g, w := got.F32, want.F32
	limit := tol.Roundings * roundoff
	limit += 4*float64(tol.Products)*operandRoundoff + 6*valueRoundoff
	var square, errorSquare float64
	for i := range w {
		d := excess(g[i], w[i], step)
		square += float64(w[i]) * float64(w[i])
		errorSquare += d * d
	}
	rms := math.Sqrt(square / float64(len(w)))
	worst, at := -1.0, 0
	for i := range w {
		e := 0.0
		if g[i] != w[i] {
			e = excess(g[i], w[i], step) / max(math.Abs(float64(w[i])), rms)
		}
		if math.IsNaN(e) {
			e = math.Inf(1)
		}
		if e > worst {
			worst, at = e, i
		}
	}
	if worst > limit {
		return fmt.Errorf("worst element %d of %d: got %v, want %v, error %.3g of its size (rms %.3g), tolerance %.3g: %s",
			at, len(w), g[at], w[at], worst, rms, limit, tol.Reason)
	}
	if nmse, allowed := errorSquare/square, limit*limit/16; nmse > allowed {
		return fmt.Errorf("normalised mean squared error is %.3g, tolerance %.3g (worst element %d: got %v, want %v): %s",
			nmse, allowed, at, g[at], w[at], tol.Reason)
	}
	return nil
}

// excess is by how much more than a step two numbers differ.
func excess(a, b float32, step float64) float64 { return max(math.Abs(float64(a)-float64(b))-step, 0) }

// firstDifference is the first index at which two host arrays differ in any bit, or -1.
func firstDifference(a, b compute.Buffer) int {
	for i, v := range b.F32 {
		if math.Float32bits(a.F32[i]) != math.Float32bits(v) {
			return i
		}
	}
	for i, v := range b.I32 {
		if a.I32[i] != v {
			return i
		}
	}
	return -1
}

// exact is the tolerance of ops that only move values or round once.
func exact(reason string) Tolerance { return Tolerance{Reason: reason} }

// product is the tolerance of sums of k products.
func product(k int) Tolerance {
	return Tolerance{8 + 4*math.Sqrt(float64(k)), 1,
		"the float32 partial sums of k products of no preferred sign err by some √k roundoffs, the epilogue by a few more"}
}

// winograd is the tolerance of 3×3 convolutions with stride 1 over k products.
func winograd(k int) Tolerance {
	return Tolerance{8 * product(k).Roundings, 1,
		"as for a sum of k products, and a device may compute it by Winograd's F(4×4, 3×3), whose transforms, with factors up to 8, magnify roundings about as much"}
}

// normGradient is the tolerance of the derivatives of normalisations.
func normGradient() Tolerance {
	return Tolerance{Roundings: 256, Reason: "as for a normalisation, and two more means are taken from the result's gradient and subtracted"}
}

// pointwise is the tolerance of functions of one element.
func pointwise(roundings float64) Tolerance {
	return Tolerance{Roundings: roundings, Reason: "exp and erf may be approximated to a few units in the last place, followed by a few roundings"}
}

// norm is the tolerance of normalisations.
func norm() Tolerance {
	return Tolerance{Roundings: 64, Reason: "mean and variance in float32, summed in blocks, err by some ten roundoffs of a mean that is up to three deviations; then five roundings"}
}

// attention is the tolerance for heads of d channels and s keys.
func attention(d, s int) Tolerance {
	return Tolerance{32 + 4*math.Sqrt(float64(d)) + 4*math.Sqrt(float64(s)), 2,
		"logits are sums of d products and enter exp, results are sums of s products"}
}
