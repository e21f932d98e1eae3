package elem

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// Kernels is the pointwise part of a kernel set. It is read-only and may be shared.
//
// The row functions work in place, on finite operands of any size without overflow on the way; NaN
// stays NaN. Against the exact value of their float32 operand, Exp is good to 2 units in the last place,
// SiLU and QuickGELU to 3, GELU to 4.5 on both sides of zero (a form built on 1+erf loses every digit
// of its negative tail); results near and below 2⁻¹²⁶ lose digits gradually.
type Kernels struct {
	SiLU      func(x []float32) // x·sigmoid(x)
	QuickGELU func(x []float32) // x·sigmoid(1.702·x), CLIP's
	GELU      func(x []float32) // x·Φ(x) = x/2·(1+erf(x/√2)): the exact one, as in SD's GEGLU, not the tanh form
	ReLU      func(x []float32) // max(x, 0)
	Exp       func(x []float32) // eˣ: +Inf from 88.73 up, 0 below -103.98

	siluGradient, quickGELUGradient, geluGradient func(dx, x, dy []float32) // see Gradient

	geglu         func(dst, a, gate []float32)           // dst = a·GELU(gate)
	gegluGradient func(da, dgate, a, gate, dy []float32) // its derivatives by both, times dy
	add           func(dst, a, b []float32)              // dst = a + b
	addScaled     func(dst, a []float32, c float32)      // dst += c·a
	adamW         func(p2, m2, v2, p, g, m, v []float32, h AdamW)
	widen         [2]func(dst []float32, src []byte) // binary16, bfloat16 to float32

	reaches func(p *byte, blocks int, exponent uint32) bool // whether an element in blocks of 128 bytes has all bits of the exponent; nil where slow
}

// For is the kernels of a set. A set above what the machine runs must not be asked for.
func For(set isa.Set) *Kernels { return kernelsFor(set) }

// Activation is the row function of a, nil for the identity.
func (k *Kernels) Activation(a compute.Activation) func(x []float32) {
	switch a {
	case compute.SiLU:
		return k.SiLU
	case compute.QuickGELU:
		return k.QuickGELU
	case compute.GELU:
		return k.GELU
	case compute.ReLU:
		return k.ReLU
	case compute.LeakyReLU:
		return leakyReLU
	}
	return nil
}

// GEGLU computes rows of the gated linear unit: dst is [rows,d], x is [rows,2d], a row of x is a followed by
// gate, and dst = a·GELU(gate). See Shazeer, "GLU Variants Improve Transformer" (arXiv:2002.05202).
// dst and x share no storage.
func (k *Kernels) GEGLU(dst, x []float32, rows, d int) {
	for r := range rows {
		row := x[2*d*r:][:2*d]
		k.geglu(dst[d*r:][:d], row[:d], row[d:])
	}
}

// Add computes dst = a + b over len(dst) elements. dst may be a or b.
func (k *Kernels) Add(dst, a, b []float32) { k.add(dst, a[:len(dst)], b[:len(dst)]) }

// AddScaled computes dst = dst + c·a over len(dst) elements, with one rounding where the set has FMA.
func (k *Kernels) AddScaled(dst, a []float32, c float32) { k.addScaled(dst, a[:len(dst)], c) }

// Widen converts len(dst) elements of src, stored as t in little-endian order, to float32. t is F32, F16
// or BF16; the conversion is exact. Signalling NaNs of F16 become quiet.
func (k *Kernels) Widen(dst []float32, src []byte, t compute.DType) {
	src = src[:len(dst)*t.Size()]
	switch t {
	case compute.F16:
		k.widen[0](dst, src)
	case compute.BF16:
		k.widen[1](dst, src)
	default:
		widenF32(dst, src)
	}
}
