//go:build amd64 && !purego

package norm

import "github.com/atelier-go/atelier/cpu/internal/isa"

//go:generate go run -C _asm . -out ../norm_amd64.s

var (
	avx2   = kernels{momentsAVX2, affineAVX2, layerAVX2}
	avx512 = kernels{momentsAVX512, affineAVX512, layerAVX512}
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
