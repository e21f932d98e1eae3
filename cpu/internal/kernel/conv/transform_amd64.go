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
	input: func(dst *float32, stride int, rows *[36]unsafe.Pointer, channels int, tmp *float32) {
		inputAVX512(dst, stride, &rows[0], channels/16, tmp)
	},
	weights: func(dst *float32, plane int, src *byte, tap, n int, t compute.DType, g *[3]float32) {
		switch t {
		case compute.F16:
			weightsAVX512F16(dst, plane, src, tap, n/16, &g[0])
		case compute.BF16:
			weightsAVX512BF16(dst, plane, src, tap, n/16, &g[0])
		default:
			weightsAVX512F32(dst, plane, src, tap, n/16, &g[0])
		}
	},
	output: outputAVX512,
}

var avx2 = transforms{
	input: func(dst *float32, stride int, rows *[36]unsafe.Pointer, channels int, tmp *float32) {
		inputAVX2(dst, stride, &rows[0], channels/8, tmp)
	},
	weights: func(dst *float32, plane int, src *byte, tap, n int, t compute.DType, g *[3]float32) {
		switch t {
		case compute.F16:
			weightsAVX2F16(dst, plane, src, tap, n/8, &g[0])
		case compute.BF16:
			weightsAVX2BF16(dst, plane, src, tap, n/8, &g[0])
		default:
			weightsAVX2F32(dst, plane, src, tap, n/8, &g[0])
		}
	},
	output: outputAVX2,
}

// inputAVX512 is transforms.input, vectors of 16 channels at a time.
//
//go:noescape
func inputAVX512(dst *float32, stride int, rows *unsafe.Pointer, vectors int, tmp *float32)

// inputAVX2 is transforms.input, vectors of 8 channels at a time.
//
//go:noescape
func inputAVX2(dst *float32, stride int, rows *unsafe.Pointer, vectors int, tmp *float32)

// weightsAVX512F32 is transforms.weights for float32, vectors of 16 elements at a time; likewise the others.
//
//go:noescape
func weightsAVX512F32(dst *float32, plane int, src *byte, tap, vectors int, coef *float32)

//go:noescape
func weightsAVX512F16(dst *float32, plane int, src *byte, tap, vectors int, coef *float32)

//go:noescape
func weightsAVX512BF16(dst *float32, plane int, src *byte, tap, vectors int, coef *float32)

//go:noescape
func weightsAVX2F32(dst *float32, plane int, src *byte, tap, vectors int, coef *float32)

//go:noescape
func weightsAVX2F16(dst *float32, plane int, src *byte, tap, vectors int, coef *float32)

//go:noescape
func weightsAVX2BF16(dst *float32, plane int, src *byte, tap, vectors int, coef *float32)

// outputAVX512 is transforms.output for 32 channels.
//
//go:noescape
func outputAVX512(y *float32, row, col int, m, init, residual, tmp *float32)

// outputAVX2 is transforms.output for 16 channels.
//
//go:noescape
func outputAVX2(y *float32, row, col int, m, init, residual, tmp *float32)
