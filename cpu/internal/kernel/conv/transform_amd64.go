//go:build amd64 && !purego

package conv

import (
	"unsafe"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

//go:generate go run -C _asm . -out ../winograd_amd64.s

func transformsFor(k *gemm.Kernel) *transforms {
	switch {
	case k.Set >= isa.AVX512:
		return &avx512
	case k.Set >= isa.AVX2:
		return &avx2
	}
	return genericTransforms(k.NR)
}

var avx512 = transforms{
	input: func(dst *float32, stride int, rows *[36]unsafe.Pointer, channels int, tmp *float32, c *points) {
		inputAVX512(dst, stride, &rows[0], channels/16, tmp, c)
	},
	weights: func(dst *float32, plane int, src *byte, tap, n int, t compute.DType, pair int, c *points) {
		weightsAVX512[t][pair](dst, plane, src, tap, n/16, c)
	},
	output: outputAVX512,
	fixRows: func(dst *int16, dstStride int, src *float32, srcStride, n int, scale *float32, scaleStride int) {
		fixRowsAVX512(dst, dstStride, src, srcStride, n/16, scale, scaleStride)
	},
	bound: func(factor, scale *float32, src *byte, tap, rows int, t compute.DType, c *points) {
		bounds[t](factor, scale, src, tap, rows, c)
	},
	fixWeights: func(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, t compute.DType, pair int, c *points) {
		fixWeights[t][pair](dst, plane, src, tap, pairs, factor, c)
	},
}

var avx2 = transforms{
	input: func(dst *float32, stride int, rows *[36]unsafe.Pointer, channels int, tmp *float32, c *points) {
		inputAVX2(dst, stride, &rows[0], channels/8, tmp, c)
	},
	weights: func(dst *float32, plane int, src *byte, tap, n int, t compute.DType, pair int, c *points) {
		weightsAVX2[t][pair](dst, plane, src, tap, n/8, c)
	},
	output: outputAVX2,
}

// inputAVX512 is transforms.input, vectors of 16 channels at a time.
//
//go:noescape
func inputAVX512(dst *float32, stride int, rows *unsafe.Pointer, vectors int, tmp *float32, c *points)

// inputAVX2 is transforms.input, vectors of 8 channels at a time.
//
//go:noescape
func inputAVX2(dst *float32, stride int, rows *unsafe.Pointer, vectors int, tmp *float32, c *points)

// weightsAVX512 are transforms.weights for vectors of 16 elements, by type and pair of rows.
var weightsAVX512 = [...][3]func(dst *float32, plane int, src *byte, tap, vectors int, c *points){
	compute.F32:  {weightsAVX512F32x05, weightsAVX512F32x12, weightsAVX512F32x34},
	compute.F16:  {weightsAVX512F16x05, weightsAVX512F16x12, weightsAVX512F16x34},
	compute.BF16: {weightsAVX512BF16x05, weightsAVX512BF16x12, weightsAVX512BF16x34},
}

// weightsAVX2 are transforms.weights for vectors of 8 elements, by type and pair of rows.
var weightsAVX2 = [...][3]func(dst *float32, plane int, src *byte, tap, vectors int, c *points){
	compute.F32:  {weightsAVX2F32x05, weightsAVX2F32x12, weightsAVX2F32x34},
	compute.F16:  {weightsAVX2F16x05, weightsAVX2F16x12, weightsAVX2F16x34},
	compute.BF16: {weightsAVX2BF16x05, weightsAVX2BF16x12, weightsAVX2BF16x34},
}

//go:noescape
func weightsAVX512F32x05(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX512F32x12(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX512F32x34(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX512F16x05(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX512F16x12(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX512F16x34(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX512BF16x05(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX512BF16x12(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX512BF16x34(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX2F32x05(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX2F32x12(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX2F32x34(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX2F16x05(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX2F16x12(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX2F16x34(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX2BF16x05(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX2BF16x12(dst *float32, plane int, src *byte, tap, vectors int, c *points)

//go:noescape
func weightsAVX2BF16x34(dst *float32, plane int, src *byte, tap, vectors int, c *points)

// outputAVX512 is transforms.output for 32 channels.
//
//go:noescape
func outputAVX512(y *float32, row, col int, m, init, residual, tmp *float32, c *points)

// outputAVX2 is transforms.output for 16 channels.
//
//go:noescape
func outputAVX2(y *float32, row, col int, m, init, residual, tmp *float32, c *points)

// fixRowsAVX512 is transforms.fixRows for vectors of 16 elements.
//
//go:noescape
func fixRowsAVX512(dst *int16, dstStride int, src *float32, srcStride, vectors int, scale *float32, scaleStride int)

// bounds are transforms.bound for 32 columns, by type.
var bounds = [...]func(factor, scale *float32, src *byte, tap, rows int, c *points){
	compute.F32: boundF32, compute.F16: boundF16, compute.BF16: boundBF16,
}

// fixWeights are transforms.fixWeights for 32 columns, by type and pair of rows.
var fixWeights = [...][3]func(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points){
	compute.F32:  {fixWeightsF32x05, fixWeightsF32x12, fixWeightsF32x34},
	compute.F16:  {fixWeightsF16x05, fixWeightsF16x12, fixWeightsF16x34},
	compute.BF16: {fixWeightsBF16x05, fixWeightsBF16x12, fixWeightsBF16x34},
}

//go:noescape
func boundF32(factor, scale *float32, src *byte, tap, rows int, c *points)

//go:noescape
func fixWeightsF32x05(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points)

//go:noescape
func fixWeightsF32x12(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points)

//go:noescape
func fixWeightsF32x34(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points)

//go:noescape
func boundF16(factor, scale *float32, src *byte, tap, rows int, c *points)

//go:noescape
func fixWeightsF16x05(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points)

//go:noescape
func fixWeightsF16x12(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points)

//go:noescape
func fixWeightsF16x34(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points)

//go:noescape
func boundBF16(factor, scale *float32, src *byte, tap, rows int, c *points)

//go:noescape
func fixWeightsBF16x05(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points)

//go:noescape
func fixWeightsBF16x12(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points)

//go:noescape
func fixWeightsBF16x34(dst *int16, plane int, src *byte, tap, pairs int, factor *float32, c *points)
