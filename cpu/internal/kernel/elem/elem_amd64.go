//go:build amd64 && !purego

package elem

import (
	"unsafe"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

//go:generate go run -C _asm . -out ../elem_amd64.s

var avx2 = Kernels{
	SiLU:      siluAVX2,
	QuickGELU: quickGELUAVX2,
	GELU:      geluAVX2,
	ReLU:      reluAVX2,
	Exp:       expAVX2,

	siluGradient:      siluGradientAVX2,
	quickGELUGradient: quickGELUGradientAVX2,
	geluGradient:      geluGradientAVX2,

	geglu:         gegluAVX2,
	gegluGradient: gegluGradientAVX2,
	add:           addAVX2,
	addScaled:     addScaledAVX2,
	adamW:         adamWWith(adamWAVX2),
	widen:         [2]func([]float32, []byte){widenWith(widenF16AVX2, widenF16Generic), widenWith(widenBF16AVX2, widenBF16Generic)},

	reaches: reachesAVX2,
}

var avx512 = Kernels{
	SiLU:      siluAVX512,
	QuickGELU: quickGELUAVX512,
	GELU:      geluAVX512,
	ReLU:      reluAVX512,
	Exp:       expAVX512,

	siluGradient:      siluGradientAVX512,
	quickGELUGradient: quickGELUGradientAVX512,
	geluGradient:      geluGradientAVX512,

	geglu:         gegluAVX512,
	gegluGradient: gegluGradientAVX512,
	add:           addAVX512,
	addScaled:     addScaledAVX512,
	adamW:         adamWWith(adamWAVX512),
	widen:         [2]func([]float32, []byte){widenWith(widenF16AVX512, widenF16Generic), widenWith(widenBF16AVX512, widenBF16Generic)},

	reaches: reachesAVX2,
}

func kernelsFor(set isa.Set) *Kernels {
	switch {
	case set >= isa.AVX512:
		return &avx512
	case set >= isa.AVX2:
		return &avx2
	}
	return &generic
}

// group is how many elements the conversions take at a time; the rest is left to the generic ones, which
// give the same bits.
const group = 16

func widenWith(asm func(dst, src unsafe.Pointer, groups int), generic func([]float32, []byte)) func([]float32, []byte) {
	return func(dst []float32, src []byte) {
		groups := len(dst) / group
		if groups > 0 {
			asm(unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(src)), groups)
		}
		generic(dst[groups*group:], src[groups*group*2:])
	}
}

// adamWWith runs asm on whole groups of 8 elements and the generic kernel, which gives the same bits, on the rest.
func adamWWith(asm func(p2, m2, v2, p, g, m, v *float32, n int, h AdamW)) func(p2, m2, v2, p, g, m, v []float32, h AdamW) {
	return func(p2, m2, v2, p, g, m, v []float32, h AdamW) {
		n := len(p2) &^ 7
		if n > 0 {
			asm(&p2[0], &m2[0], &v2[0], &p[0], &g[0], &m[0], &v[0], n, h)
		}
		adamWGeneric(p2[n:], m2[n:], v2[n:], p[n:], g[n:], m[n:], v[n:], h)
	}
}

// for i := range x { x[i] = x[i] / (1 + exp(-x[i])) }
//
//go:noescape
func siluAVX2(x []float32)

// for i := range x { x[i] = x[i] / (1 + exp(-1.702*x[i])) }
//
//go:noescape
func quickGELUAVX2(x []float32)

// for i := range x { x[i] = x[i] * (1 + erf(x[i]/√2)) / 2 }
//
//go:noescape
func geluAVX2(x []float32)

// for i := range x { x[i] = max(x[i], 0) }
//
//go:noescape
func reluAVX2(x []float32)

// for i := range x { x[i] = exp(x[i]) }
//
//go:noescape
func expAVX2(x []float32)

// for i := range dst { dst[i] = a[i] * gelu(gate[i]) }
//
//go:noescape
func gegluAVX2(dst, a, gate []float32)

// for i := range dst { dst[i] = a[i] + b[i] }
//
//go:noescape
func addAVX2(dst, a, b []float32)

// for i := range dst { dst[i] += c * a[i] }
//
//go:noescape
func addScaledAVX2(dst, a []float32, c float32)

// for i := range 16 * groups { dst[i] = float32(src[i]) }
//
//go:noescape
func widenF16AVX2(dst, src unsafe.Pointer, groups int)

// for i := range 16 * groups { dst[i] = float32(src[i]) }
//
//go:noescape
func widenBF16AVX2(dst, src unsafe.Pointer, groups int)

// for i := range x { x[i] = x[i] / (1 + exp(-x[i])) }
//
//go:noescape
func siluAVX512(x []float32)

// for i := range x { x[i] = x[i] / (1 + exp(-1.702*x[i])) }
//
//go:noescape
func quickGELUAVX512(x []float32)

// for i := range x { x[i] = x[i] * (1 + erf(x[i]/√2)) / 2 }
//
//go:noescape
func geluAVX512(x []float32)

// for i := range x { x[i] = max(x[i], 0) }
//
//go:noescape
func reluAVX512(x []float32)

// for i := range x { x[i] = exp(x[i]) }
//
//go:noescape
func expAVX512(x []float32)

// for i := range dst { dst[i] = a[i] * gelu(gate[i]) }
//
//go:noescape
func gegluAVX512(dst, a, gate []float32)

// for i := range dst { dst[i] = a[i] + b[i] }
//
//go:noescape
func addAVX512(dst, a, b []float32)

// for i := range dst { dst[i] += c * a[i] }
//
//go:noescape
func addScaledAVX512(dst, a []float32, c float32)

// for i := range 16 * groups { dst[i] = float32(src[i]) }
//
//go:noescape
func widenF16AVX512(dst, src unsafe.Pointer, groups int)

// for i := range 16 * groups { dst[i] = float32(src[i]) }
//
//go:noescape
func widenBF16AVX512(dst, src unsafe.Pointer, groups int)

// for i := range dx { dx[i] = dy[i] * (s + x[i]*s*(1-s)) } with s = 1 / (1 + exp(-x[i]))
//
//go:noescape
func siluGradientAVX2(dx, x, dy []float32)

// for i := range dx { dx[i] = dy[i] * (s + 1.702*x[i]*s*(1-s)) } with s = 1 / (1 + exp(-1.702*x[i]))
//
//go:noescape
func quickGELUGradientAVX2(dx, x, dy []float32)

// for i := range dx { dx[i] = dy[i] * ((1+erf(x[i]/√2))/2 + x[i]*exp(-x[i]*x[i]/2)/√(2π)) }
//
//go:noescape
func geluGradientAVX2(dx, x, dy []float32)

// for i := range da { da[i], dgate[i] = dy[i]*gelu(gate[i]), dy[i]*gelu'(gate[i])*a[i] }
//
//go:noescape
func gegluGradientAVX2(da, dgate, a, gate, dy []float32)

// for i := range dx { dx[i] = dy[i] * (s + x[i]*s*(1-s)) } with s = 1 / (1 + exp(-x[i]))
//
//go:noescape
func siluGradientAVX512(dx, x, dy []float32)

// for i := range dx { dx[i] = dy[i] * (s + 1.702*x[i]*s*(1-s)) } with s = 1 / (1 + exp(-1.702*x[i]))
//
//go:noescape
func quickGELUGradientAVX512(dx, x, dy []float32)

// for i := range dx { dx[i] = dy[i] * ((1+erf(x[i]/√2))/2 + x[i]*exp(-x[i]*x[i]/2)/√(2π)) }
//
//go:noescape
func geluGradientAVX512(dx, x, dy []float32)

// for i := range da { da[i], dgate[i] = dy[i]*gelu(gate[i]), dy[i]*gelu'(gate[i])*a[i] }
//
//go:noescape
func gegluGradientAVX512(da, dgate, a, gate, dy []float32)

// reachesAVX2 reports whether x&exponent has the same upper 16 bits as exponent, or where exponent has them lower 16 bits, for any of
// the 32 bits x in blocks > 0 of 128 bytes.
//
//go:noescape
func reachesAVX2(p *byte, blocks int, exponent uint32) bool

// adamWAVX2 is adamWGeneric for n elements, a multiple of 8 above 0.
//
//go:noescape
func adamWAVX2(p2, m2, v2, p, dp, m, v *float32, n int, h AdamW)

// adamWAVX512 is adamWGeneric for n elements, a multiple of 8 above 0.
//
//go:noescape
func adamWAVX512(p2, m2, v2, p, dp, m, v *float32, n int, h AdamW)
