//go:build amd64 && !purego

package gemm

import "github.com/atelier-go/atelier/cpu/internal/isa"

//go:generate go run -C _asm . -out ../gemm_amd64.s

var avx2 = Kernel{
	Set: isa.AVX2, MR: 6, NR: 16, KC: 1440, MC: 240,
	mul:       func(t *Tile, rows int) { mulAVX2[rows-1](t) },
	widenF16:  widenWith(widenF16AVX2, widenF16Generic),
	widenBF16: widenWith(widenBF16AVX2, widenBF16Generic),
	narrow:    narrowGeneric,
	transpose: transposeAVX2,
	turn:      func(dst, src *float32, stride int) { turnAVX2(dst, src, 16, stride) },
	prefetch:  prefetchLines,
	spin:      func(n int) int { spinAVX2(n); return n * 12 * 8 * 2 },
}

var avx512 = Kernel{
	Set: isa.AVX512, MR: 12, NR: 32, KC: 1440, MC: 480,
	mul:           func(t *Tile, rows int) { mulAVX512[rows-1](t) },
	widenF16:      widenWith(widenF16AVX512, widenF16Generic),
	widenBF16:     widenWith(widenBF16AVX512, widenBF16Generic),
	narrow:        narrowGeneric,
	transpose:     transposeAVX512,
	turn:          func(dst, src *float32, stride int) { turnAVX2(dst, src, 32, stride) },
	prefetch:      prefetchLines,
	thin:          &avx512thin,
	ranks:         ranksAVX512,
	gatherRows:    gatherRows32AVX512,
	gatherColumns: gatherColumns32AVX512,
	spin:          func(n int) int { spinAVX512(n); return n * 24 * 16 * 2 },
}

// avx512thin has fewer rows in a task: they share few panels.
var avx512thin = Kernel{
	Set: isa.AVX512, MR: 12, NR: 16, KC: 1440, MC: 240,
	mul:           func(t *Tile, rows int) { mulAVX512Thin[rows-1](t) },
	gatherRows:    gatherRows16AVX512,
	gatherColumns: gatherColumns16AVX512,
}

var ranksAVX512 = []rankKernel{
	{4, contractAVX512x4, updateAVX512x4}, {8, contractAVX512x8, updateAVX512x8}, {16, contractAVX512x16, updateAVX512x16},
}

var avx512bf16 = Kernel{
	Set: isa.AVX512BF16, MR: 12, NR: 32, KC: 1440, MC: 480,
	mul:           avx512.mul,
	mulBF16:       func(t *Tile, rows int) { mulAVX512BF16[rows-1](t) },
	mulInt16:      func(t *Tile, rows int) { mulAVX512Int16[rows-1](t) },
	widenF16:      avx512.widenF16,
	widenBF16:     avx512.widenBF16,
	narrow:        narrowAVX512BF16Slice,
	transpose:     transposeAVX512,
	turn:          avx512.turn,
	prefetch:      prefetchLines,
	turnPairs:     turnPairsAVX512,
	thin:          &avx512thin,
	ranks:         ranksAVX512,
	gatherRows:    gatherRows32AVX512,
	gatherColumns: gatherColumns32AVX512,
	spin:          avx512.spin,
	spinBF16:      func(n int) int { spinAVX512BF16(n); return n * 24 * 32 * 2 },
}

func kernelFor(set isa.Set) *Kernel {
	switch {
	case set >= isa.AVX512BF16:
		return &avx512bf16
	case set >= isa.AVX512:
		return &avx512
	case set >= isa.AVX2:
		return &avx2
	}
	return &generic
}

// widenWith runs asm on whole groups of 32 elements and generic on the rest.
func widenWith(asm func(dst *float32, p *byte, groups int), generic func([]float32, []byte)) func([]float32, []byte) {
	return func(dst []float32, p []byte) {
		_ = p[:2*len(dst)]
		g := len(dst) / 32
		if g > 0 {
			asm(&dst[0], &p[0], g)
		}
		generic(dst[32*g:], p[64*g:])
	}
}

func narrowAVX512BF16Slice(dst []uint16, p []float32) {
	_ = p[:len(dst)]
	g := len(dst) / 32
	if g > 0 {
		narrowAVX512BF16(&dst[0], &p[0], g)
	}
	narrowGeneric(dst[32*g:], p[32*g:])
}

// transposeAVX512 sets dst[32·c+r] = src[stride/2·r+c] for r, c < 32, the elements being of 16 bits. It overwrites
// 2048 bytes of scratch.
//
//go:noescape
func transposeAVX512(dst, src, scratch *byte, stride int)

// transposeAVX2 sets dst[16·c+r] = src[stride/2·r+c] for r, c < 16, the elements being of 16 bits. It overwrites
// 256 bytes of scratch.
//
//go:noescape
func transposeAVX2(dst, src, scratch *byte, stride int)

// turnAVX2 sets dst[side·c+r] = src[stride/4·r+c] for r, c < side, a multiple of 8.
//
//go:noescape
func turnAVX2(dst, src *float32, side, stride int)

// prefetchLines begins to load lines > 0 cache lines from p on, which may lie anywhere.
//
//go:noescape
func prefetchLines(p *byte, lines int)

// turnPairsAVX512 sets element dst[(32·(r/2)+c)·2+r%2] = src[(32·(c/2)+r)·2+c%2] for r, c < 32, the elements being of
// 16 bits.
//
//go:noescape
func turnPairsAVX512(dst, src *float32)

// widenF16AVX512 sets dst[i] = float32(p[i]) for i < 32·groups, p holding binary16.
//
//go:noescape
func widenF16AVX512(dst *float32, p *byte, groups int)

// widenBF16AVX512 sets dst[i] = float32(p[i]) for i < 32·groups, p holding bfloat16.
//
//go:noescape
func widenBF16AVX512(dst *float32, p *byte, groups int)

// widenF16AVX2 is widenF16AVX512 in half as wide registers.
//
//go:noescape
func widenF16AVX2(dst *float32, p *byte, groups int)

// widenBF16AVX2 is widenBF16AVX512 in half as wide registers.
//
//go:noescape
func widenBF16AVX2(dst *float32, p *byte, groups int)

// narrowAVX512BF16 sets dst[i] = bfloat16(p[i]) for i < 32·groups, rounding to nearest even.
// Subnormals become zero.
//
//go:noescape
func narrowAVX512BF16(dst *uint16, p *float32, groups int)

// gatherRows32AVX512: for i, j := range n × 32 { dst[32*i+j] = scale * src[stride*i+j] }
//
//go:noescape
func gatherRows32AVX512(dst, src *float32, n, stride int, scale float32)

// gatherColumns32AVX512: for i, j := range 16·n × 32 { dst[32*i+j] = scale * src[stride*j+i] }
//
//go:noescape
func gatherColumns32AVX512(dst, src *float32, n, stride int, scale float32)

// gatherRows16AVX512: for i, j := range n × 16 { dst[16*i+j] = scale * src[stride*i+j] }
//
//go:noescape
func gatherRows16AVX512(dst, src *float32, n, stride int, scale float32)

// gatherColumns16AVX512: for i, j := range 16·n × 16 { dst[16*i+j] = scale * src[stride*j+i] }
//
//go:noescape
func gatherColumns16AVX512(dst, src *float32, n, stride int, scale float32)

// contractAVX512x4: for k, j, i := range n × 4 × 16 { sums[16*j+i] += t[4*k+j] * x[stride*k+i] } from zero on
//
//go:noescape
func contractAVX512x4(sums, t, x *float32, n, stride int)

// updateAVX512x4: for r, c := range rows × columns { y[columns*r+c] = residual[columns*r+c] + Σ_j t[4*r+j] * b[columns*j+c] }; columns are a
// multiple of 16, and residual may be nil.
//
//go:noescape
func updateAVX512x4(y, residual, t, b *float32, rows, columns int)

// contractAVX512x8: for k, j, i := range n × 8 × 16 { sums[16*j+i] += t[8*k+j] * x[stride*k+i] } from zero on
//
//go:noescape
func contractAVX512x8(sums, t, x *float32, n, stride int)

// updateAVX512x8: for r, c := range rows × columns { y[columns*r+c] = residual[columns*r+c] + Σ_j t[8*r+j] * b[columns*j+c] }; columns are a
// multiple of 16, and residual may be nil.
//
//go:noescape
func updateAVX512x8(y, residual, t, b *float32, rows, columns int)

// contractAVX512x16: for k, j, i := range n × 16 × 16 { sums[16*j+i] += t[16*k+j] * x[stride*k+i] } from zero on
//
//go:noescape
func contractAVX512x16(sums, t, x *float32, n, stride int)

// updateAVX512x16: for r, c := range rows × columns { y[columns*r+c] = residual[columns*r+c] + Σ_j t[16*r+j] * b[columns*j+c] }; columns are a
// multiple of 16, and residual may be nil.
//
//go:noescape
func updateAVX512x16(y, residual, t, b *float32, rows, columns int)

// mulAVX512 are the micro-kernels for float32 rows by 32 columns; entry h-1 computes a Tile of h rows.
var mulAVX512 = [...]func(t *Tile){
	mulAVX512x1, mulAVX512x2, mulAVX512x3, mulAVX512x4, mulAVX512x5, mulAVX512x6, mulAVX512x7, mulAVX512x8, mulAVX512x9, mulAVX512x10, mulAVX512x11, mulAVX512x12,
}

// mulAVX512Thin are those for 16 columns.
var mulAVX512Thin = [...]func(t *Tile){
	mulAVX512Thinx1, mulAVX512Thinx2, mulAVX512Thinx3, mulAVX512Thinx4, mulAVX512Thinx5, mulAVX512Thinx6, mulAVX512Thinx7, mulAVX512Thinx8, mulAVX512Thinx9, mulAVX512Thinx10, mulAVX512Thinx11, mulAVX512Thinx12,
}

// mulAVX512BF16 are the micro-kernels for bfloat16 pairs by 32 columns; entry h-1 computes a Tile of h rows.
var mulAVX512BF16 = [...]func(t *Tile){
	mulAVX512BF16x1, mulAVX512BF16x2, mulAVX512BF16x3, mulAVX512BF16x4, mulAVX512BF16x5, mulAVX512BF16x6, mulAVX512BF16x7, mulAVX512BF16x8, mulAVX512BF16x9, mulAVX512BF16x10, mulAVX512BF16x11, mulAVX512BF16x12,
}

// mulAVX512Int16 are the micro-kernels for pairs of 16-bit integers by 32 columns; entry h-1 computes a Tile of h rows.
var mulAVX512Int16 = [...]func(t *Tile){
	mulAVX512Int16x1, mulAVX512Int16x2, mulAVX512Int16x3, mulAVX512Int16x4, mulAVX512Int16x5, mulAVX512Int16x6, mulAVX512Int16x7, mulAVX512Int16x8, mulAVX512Int16x9, mulAVX512Int16x10, mulAVX512Int16x11, mulAVX512Int16x12,
}

// mulAVX2 are the micro-kernels for float32 rows by 16 columns; entry h-1 computes a Tile of h rows.
var mulAVX2 = [...]func(t *Tile){
	mulAVX2x1, mulAVX2x2, mulAVX2x3, mulAVX2x4, mulAVX2x5, mulAVX2x6,
}

//go:noescape
func mulAVX512x1(t *Tile)

//go:noescape
func mulAVX512x2(t *Tile)

//go:noescape
func mulAVX512x3(t *Tile)

//go:noescape
func mulAVX512x4(t *Tile)

//go:noescape
func mulAVX512x5(t *Tile)

//go:noescape
func mulAVX512x6(t *Tile)

//go:noescape
func mulAVX512x7(t *Tile)

//go:noescape
func mulAVX512x8(t *Tile)

//go:noescape
func mulAVX512x9(t *Tile)

//go:noescape
func mulAVX512x10(t *Tile)

//go:noescape
func mulAVX512x11(t *Tile)

//go:noescape
func mulAVX512x12(t *Tile)

//go:noescape
func mulAVX512Thinx1(t *Tile)

//go:noescape
func mulAVX512Thinx2(t *Tile)

//go:noescape
func mulAVX512Thinx3(t *Tile)

//go:noescape
func mulAVX512Thinx4(t *Tile)

//go:noescape
func mulAVX512Thinx5(t *Tile)

//go:noescape
func mulAVX512Thinx6(t *Tile)

//go:noescape
func mulAVX512Thinx7(t *Tile)

//go:noescape
func mulAVX512Thinx8(t *Tile)

//go:noescape
func mulAVX512Thinx9(t *Tile)

//go:noescape
func mulAVX512Thinx10(t *Tile)

//go:noescape
func mulAVX512Thinx11(t *Tile)

//go:noescape
func mulAVX512Thinx12(t *Tile)

//go:noescape
func mulAVX512BF16x1(t *Tile)

//go:noescape
func mulAVX512BF16x2(t *Tile)

//go:noescape
func mulAVX512BF16x3(t *Tile)

//go:noescape
func mulAVX512BF16x4(t *Tile)

//go:noescape
func mulAVX512BF16x5(t *Tile)

//go:noescape
func mulAVX512BF16x6(t *Tile)

//go:noescape
func mulAVX512BF16x7(t *Tile)

//go:noescape
func mulAVX512BF16x8(t *Tile)

//go:noescape
func mulAVX512BF16x9(t *Tile)

//go:noescape
func mulAVX512BF16x10(t *Tile)

//go:noescape
func mulAVX512BF16x11(t *Tile)

//go:noescape
func mulAVX512BF16x12(t *Tile)

//go:noescape
func mulAVX512Int16x1(t *Tile)

//go:noescape
func mulAVX512Int16x2(t *Tile)

//go:noescape
func mulAVX512Int16x3(t *Tile)

//go:noescape
func mulAVX512Int16x4(t *Tile)

//go:noescape
func mulAVX512Int16x5(t *Tile)

//go:noescape
func mulAVX512Int16x6(t *Tile)

//go:noescape
func mulAVX512Int16x7(t *Tile)

//go:noescape
func mulAVX512Int16x8(t *Tile)

//go:noescape
func mulAVX512Int16x9(t *Tile)

//go:noescape
func mulAVX512Int16x10(t *Tile)

//go:noescape
func mulAVX512Int16x11(t *Tile)

//go:noescape
func mulAVX512Int16x12(t *Tile)

//go:noescape
func mulAVX2x1(t *Tile)

//go:noescape
func mulAVX2x2(t *Tile)

//go:noescape
func mulAVX2x3(t *Tile)

//go:noescape
func mulAVX2x4(t *Tile)

//go:noescape
func mulAVX2x5(t *Tile)

//go:noescape
func mulAVX2x6(t *Tile)

//go:noescape
func spinAVX512BF16(n int)

//go:noescape
func spinAVX512(n int)

//go:noescape
func spinAVX2(n int)
