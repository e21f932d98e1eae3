//go:build amd64 && !purego

package norm

import (
	"unsafe"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

//go:generate go run -C _asm . -out ../norm_amd64.s

var (
	avx2 = kernels{
		momentsAVX2, affineAVX2, layerAVX2,
		gradientMomentsWith(gradientMomentsAVX2), gradientAffineWith(gradientAffineAVX2), layerGradientWith(layerGradientAVX2),
	}
	avx512 = kernels{
		momentsAVX512, affineAVX512, layerAVX512,
		gradientMomentsWith(gradientMomentsAVX512), gradientAffineWith(gradientAffineAVX512), layerGradientWith(layerGradientAVX512),
	}
)

func kernelsFor(set isa.Set) *kernels {
	switch {
	case set >= isa.AVX512:
		return &avx512
	case set >= isa.AVX2:
		return &avx2
	}
	return &generic
}

// vector is how many channels the gradients of groups take at a time; the rest is left to the generic kernels, which give the same bits.
const vector = 8

func gradientMomentsWith(asm func(sum, inner *float64, x, d *float32, mean *float64, rows, c, stride, dStride int)) func([]float64, []float64, []float32, []float32, []float64, int, int, int) {
	return func(sum, inner []float64, x, d []float32, mean []float64, rows, stride, dStride int) {
		c := len(sum) &^ (vector - 1)
		if c > 0 && rows > 0 {
			_, _, _, _ = inner[c-1], mean[c-1], x[(rows-1)*stride+c-1], d[(rows-1)*dStride+c-1]
			asm(&sum[0], &inner[0], &x[0], &d[0], &mean[0], rows, c, stride, dStride)
		}
		if c < len(sum) {
			gradientMomentsGeneric(sum[c:], inner[c:], x[c:], d[c:], mean[c:], rows, stride, dStride)
		}
	}
}

func gradientAffineWith(asm func(dx, x, d, add *float32, scale, mean, inner, outer *float64, rows, c, stride, dStride int)) func([]float32, []float32, []float32, []float32, terms, int, int, int, int) {
	return func(dx, x, d, add []float32, t terms, rows, all, stride, dStride int) {
		c := all &^ (vector - 1)
		if c > 0 && rows > 0 {
			last := (rows-1)*stride + c - 1
			_, _, _ = dx[last], x[last], d[(rows-1)*dStride+c-1]
			_, _, _, _ = t.scale[c-1], t.mean[c-1], t.inner[c-1], t.outer[c-1]
			if add != nil {
				_ = add[last]
			}
			asm(&dx[0], &x[0], &d[0], unsafe.SliceData(add), &t.scale[0], &t.mean[0], &t.inner[0], &t.outer[0], rows, c, stride, dStride)
		}
		if c < all {
			if add != nil {
				add = add[c:]
			}
			gradientAffineGeneric(dx[c:], x[c:], d[c:], add, t.from(c), rows, all-c, stride, dStride)
		}
	}
}

func layerGradientWith(asm func(dx, x, dy, add, weight *float32, c int, eps, count float64)) func([]float32, []float32, []float32, []float32, []float32, float64) {
	return func(dx, x, dy, add, weight []float32, eps float64) {
		c := len(dx)
		if c%lanes > 0 {
			layerGradientGeneric(dx, x, dy, add, weight, eps)
			return
		}
		_, _, _ = x[c-1], dy[c-1], weight[c-1]
		if add != nil {
			_ = add[c-1]
		}
		asm(&dx[0], &x[0], &dy[0], unsafe.SliceData(add), &weight[0], c, eps, float64(c))
	}
}

//	for i := range c {
//		sum[i], square[i] = Σ_r float64(x[r*stride+i]), Σ_r float64(x[r*stride+i])²
//	}
//
//go:noescape
func momentsAVX512(sum, square []float64, x []float32, rows, c, stride int)

//	for r, i := range rows × c {
//		dst[r*dstStride+i] = x[r*stride+i]*scale[i] + shift[i]
//	}
//
//go:noescape
func affineAVX512(dst, x, scale, shift []float32, rows, c, dstStride, stride int)

//	for r := range rows {
//		mean := Σ_i x[r*c+i] / c
//		rstd := 1 / √(Σ_i (x[r*c+i]-mean)² / c + eps)
//		for i := range c {
//			dst[r*c+i] = (x[r*c+i]-mean)*rstd*weight[i] + bias[i]
//		}
//	}
//
//go:noescape
func layerAVX512(dst, x, weight, bias []float32, rows, c int, eps, inverse float32)

//	for i := range c {
//		sum[i], square[i] = Σ_r float64(x[r*stride+i]), Σ_r float64(x[r*stride+i])²
//	}
//
//go:noescape
func momentsAVX2(sum, square []float64, x []float32, rows, c, stride int)

//	for r, i := range rows × c {
//		dst[r*dstStride+i] = x[r*stride+i]*scale[i] + shift[i]
//	}
//
//go:noescape
func affineAVX2(dst, x, scale, shift []float32, rows, c, dstStride, stride int)

//	for r := range rows {
//		mean := Σ_i x[r*c+i] / c
//		rstd := 1 / √(Σ_i (x[r*c+i]-mean)² / c + eps)
//		for i := range c {
//			dst[r*c+i] = (x[r*c+i]-mean)*rstd*weight[i] + bias[i]
//		}
//	}
//
//go:noescape
func layerAVX2(dst, x, weight, bias []float32, rows, c int, eps, inverse float32)

//	for r, i := range rows × c {
//		sum[i] += float64(d[r*dStride+i])
//		inner[i] += float64(d[r*dStride+i]) * (float64(x[r*stride+i])-mean[i])
//	}
//
// c is a multiple of 8; rows are not none.
//
//go:noescape
func gradientMomentsAVX512(sum, inner *float64, x, d *float32, mean *float64, rows, c, stride, dStride int)

//	for r, i := range rows × c {
//		dx[r*stride+i] = d[r*dStride+i]*scale[i] + (x[r*stride+i]-mean[i])*inner[i] + outer[i] + add[r*stride+i]
//	}
//
// c is a multiple of 8; rows are not none; add may be nil.
//
//go:noescape
func gradientAffineAVX512(dx, x, d, add *float32, scale, mean, inner, outer *float64, rows, c, stride, dStride int)

// layerGradientAVX512 is layerGradientGeneric for c channels, a multiple of 16.
//
//go:noescape
func layerGradientAVX512(dx, x, dy, add, weight *float32, c int, eps, count float64)

//	for r, i := range rows × c {
//		sum[i] += float64(d[r*dStride+i])
//		inner[i] += float64(d[r*dStride+i]) * (float64(x[r*stride+i])-mean[i])
//	}
//
// c is a multiple of 8; rows are not none.
//
//go:noescape
func gradientMomentsAVX2(sum, inner *float64, x, d *float32, mean *float64, rows, c, stride, dStride int)

//	for r, i := range rows × c {
//		dx[r*stride+i] = d[r*dStride+i]*scale[i] + (x[r*stride+i]-mean[i])*inner[i] + outer[i] + add[r*stride+i]
//	}
//
// c is a multiple of 8; rows are not none; add may be nil.
//
//go:noescape
func gradientAffineAVX2(dx, x, d, add *float32, scale, mean, inner, outer *float64, rows, c, stride, dStride int)

// layerGradientAVX2 is layerGradientGeneric for c channels, a multiple of 16.
//
//go:noescape
func layerGradientAVX2(dx, x, dy, add, weight *float32, c int, eps, count float64)
