//go:build amd64 && !purego

package attn

import "github.com/atelier-go/atelier/cpu/internal/isa"

//go:generate go run -C _asm . -out ../attn_amd64.s

var avx2 = kernels{
	lanes: 16, keys: 6, widths: []int{5, 4, 2, 1},
	scores: scoresAVX2,
	soften: softenAVX2,
	weigh: func(width int, o, correction, p, v []float32, keys int) {
		weighAVX2[width](o, correction, p, v, keys)
	},
	transpose: tiles(8, transposeAVX2),
	expect:    expectAVX2,
	derive:    deriveAVX2,
	sumRows:   sumRows,
	center:    center,
	agree:     agree,
}

var avx512 = kernels{
	lanes: 32, keys: 12, widths: []int{10, 8, 4, 2, 1},
	scores: scoresAVX512,
	soften: softenAVX512,
	weigh: func(width int, o, correction, p, v []float32, keys int) {
		weighAVX512[width](o, correction, p, v, keys)
	},
	transpose: tiles(16, transposeAVX512),
	expect:    expectAVX512,
	derive:    deriveAVX512,
	sumRows:   sumRows,
	center:    center,
	agree:     agree,
}

var bf16Kernels = &kernels{
	lanes: 32, keys: 12, widths: []int{10, 8, 4, 2, 1},
	scores: scoresAVX512BF16,
	soften: softenAVX512BF16,
	weigh: func(width int, o, correction, p, v []float32, keys int) {
		weighAVX512BF16[width](o, correction, p, v, keys)
	},
	transpose: tiles(16, transposeAVX512),
	expect:    expectAVX512,
	derive:    deriveAVX512BF16,
	sumRows:   sumRows,
	center:    center,
	agree:     agree,
	narrow:    narrowAVX512BF16,
	zipRows:   zipRowsAVX512BF16,
}

func kernelsFor(set isa.Set) *kernels {
	switch {
	case set >= isa.AVX512:
		return &avx512
	case set >= isa.AVX2:
		return &avx2
	}
	return &generic
}

// tiles makes a transposition of any size from one of at most n by n.
func tiles(n int, tile func(dst, src, scale []float32, dstStride, srcStride, rows, cols int)) func(dst, src, scale []float32, dstStride, srcStride, rows, cols int) {
	return func(dst, src, scale []float32, dstStride, srcStride, rows, cols int) {
		_ = dst[(cols-1)*dstStride+rows-1]
		_ = src[(rows-1)*srcStride+cols-1]
		for j := 0; j < cols; j += n {
			var s []float32
			if scale != nil {
				s = scale[j:min(j+n, cols)]
			}
			for i := 0; i < rows; i += n {
				tile(dst[j*dstStride+i:], src[i*srcStride+j:], s, dstStride, srcStride, min(n, rows-i), min(n, cols-j))
			}
		}
	}
}

// sumRows, center and agree leave rows whose length is no multiple of 8 to the generic kernels.

func sumRows(sum, src []float32, rows, stride int) {
	d := len(sum)
	if d%8 > 0 {
		sumRowsGeneric(sum, src, rows, stride)
	} else if rows > 0 {
		_ = src[(rows-1)*stride+d-1]
		sumRowsAVX2(&sum[0], &src[0], rows, d, stride)
	}
}

func center(dst, src, mean []float32, rows, stride int) {
	d := len(mean)
	if d%8 > 0 {
		centerGeneric(dst, src, mean, rows, stride)
	} else if rows > 0 {
		_, _ = dst[rows*d-1], src[(rows-1)*stride+d-1]
		centerAVX2(&dst[0], &src[0], &mean[0], rows, d, stride)
	}
}

func agree(dst, dy, y, mean []float32, stride int) {
	d, rows := len(mean), len(dst)
	if d%8 > 0 {
		agreeGeneric(dst, dy, y, mean, stride)
	} else if rows > 0 {
		last := (rows-1)*stride + d - 1
		_, _ = dy[last], y[last]
		agreeAVX2(&dst[0], &dy[0], &y[0], &mean[0], rows, d, stride)
	}
}

// sumRowsAVX2: for r, i := range rows × d { sum[i] += src[r*stride+i] }
//
//go:noescape
func sumRowsAVX2(sum, src *float32, rows, d, stride int)

// centerAVX2: for r, i := range rows × d { dst[r*d+i] = src[r*stride+i] - mean[i] }
//
//go:noescape
func centerAVX2(dst, src, mean *float32, rows, d, stride int)

// agreeAVX2: for r := range rows { dst[r] = Σ_i dy[r*stride+i] * (y[r*stride+i]-mean[i]) }
//
//go:noescape
func agreeAVX2(dst, dy, y, mean *float32, rows, d, stride int)

// weighAVX2 are the weigh kernels by width.
var weighAVX2 = [...]func(o, correction, p, v []float32, keys int){
	1: weighAVX2x1,
	2: weighAVX2x2,
	4: weighAVX2x4,
	5: weighAVX2x5,
}

// scoresAVX2: 16 lanes, 6 keys.
//
//	for g, i, l := range groups × 6 × 16 {
//		s[g*6+i][l] = Σ_c q[c][l]*k[g][c][i]
//		next[l] = max(next[l], s[g*6+i][l])
//	}
//
//go:noescape
func scoresAVX2(s, next, q, k []float32, d, groups int)

// transposeAVX2: at most 8 rows and columns. Without a scale it does not look at the values.
//
//	for i, j := range rows × cols {
//		dst[j*dstStride+i] = src[i*srcStride+j] * scale[j]
//	}
//
//go:noescape
func transposeAVX2(dst, src, scale []float32, dstStride, srcStride, rows, cols int)

// softenAVX2: 16 lanes.
//
//	for l := range 16 {
//		correction[l], max[l] = exp2(max[l]-next[l]), next[l]
//		s[j][l] = exp2(s[j][l]-next[l]) // for every j
//		sum[l] = sum[l]*correction[l] + Σ_j s[j][l]
//	}
//
//go:noescape
func softenAVX2(s, state []float32, keys int)

// weighAVX2x5 and its narrower siblings: o[c][l] = o[c][l]*correction[l] + Σ_j p[j][l]*v[j][c]
// for 16 lanes and as many channels as the name says.
//
//go:noescape
func weighAVX2x5(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX2x4(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX2x2(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX2x1(o, correction, p, v []float32, keys int)

// weighAVX512 are the weigh kernels by width.
var weighAVX512 = [...]func(o, correction, p, v []float32, keys int){
	1:  weighAVX512x1,
	2:  weighAVX512x2,
	4:  weighAVX512x4,
	8:  weighAVX512x8,
	10: weighAVX512x10,
}

// scoresAVX512: 32 lanes, 12 keys.
//
//	for g, i, l := range groups × 12 × 32 {
//		s[g*12+i][l] = Σ_c q[c][l]*k[g][c][i]
//		next[l] = max(next[l], s[g*12+i][l])
//	}
//
//go:noescape
func scoresAVX512(s, next, q, k []float32, d, groups int)

// transposeAVX512: at most 16 rows and columns. Without a scale it does not look at the values.
//
//	for i, j := range rows × cols {
//		dst[j*dstStride+i] = src[i*srcStride+j] * scale[j]
//	}
//
//go:noescape
func transposeAVX512(dst, src, scale []float32, dstStride, srcStride, rows, cols int)

// softenAVX512: 32 lanes.
//
//	for l := range 32 {
//		correction[l], max[l] = exp2(max[l]-next[l]), next[l]
//		s[j][l] = exp2(s[j][l]-next[l]) // for every j
//		sum[l] = sum[l]*correction[l] + Σ_j s[j][l]
//	}
//
//go:noescape
func softenAVX512(s, state []float32, keys int)

// weighAVX512x10 and its narrower siblings: o[c][l] = o[c][l]*correction[l] + Σ_j p[j][l]*v[j][c]
// for 32 lanes and as many channels as the name says.
//
//go:noescape
func weighAVX512x10(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX512x8(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX512x4(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX512x2(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX512x1(o, correction, p, v []float32, keys int)

// weighAVX512BF16 are the weigh kernels by width.
var weighAVX512BF16 = [...]func(o, correction, p, v []float32, keys int){
	1:  weighAVX512BF16x1,
	2:  weighAVX512BF16x2,
	4:  weighAVX512BF16x4,
	8:  weighAVX512BF16x8,
	10: weighAVX512BF16x10,
}

// scoresAVX512BF16: 32 lanes, 12 keys, two channels of each in a word.
//
//	for g, i, l := range groups × 12 × 32 {
//		s[g*12+i][l] = Σ_c q[c][l].low*k[g][c][i].low + q[c][l].high*k[g][c][i].high
//		next[l] = max(next[l], s[g*12+i][l])
//	}
//
//go:noescape
func scoresAVX512BF16(s, next, q, k []float32, d, groups int)

// narrowAVX512BF16 treats subnormals as zero.
//
//	for i := range (len(src)+1)/2 {
//		dst[i] = pair(src[2*i]*scale, src[2*i+1]*scale) // zero past the end
//	}
//
//go:noescape
func narrowAVX512BF16(dst, src []float32, scale float32)

// zipRowsAVX512BF16 treats subnormals as zero.
//
//	for i := range low { dst[i] = pair(low[i], high[i]) }
//
//go:noescape
func zipRowsAVX512BF16(dst, low, high []float32)

// softenAVX512BF16: 32 lanes; words of two probabilities go to the front of s.
//
//	for l := range 32 {
//		correction[l], max[l] = exp2(max[l]-next[l]), next[l]
//		sum[l] = sum[l]*correction[l] + Σ_j exp2(s[j][l]-next[l])
//		s[j/2][l] = pair(exp2(s[j][l]-next[l]), exp2(s[j+1][l]-next[l])) // for even j
//	}
//
//go:noescape
func softenAVX512BF16(s, state []float32, keys int)

// weighAVX512BF16x10 and its narrower siblings: o[c][l] = o[c][l]*correction[l] + Σ_j p[j][l].low*v[j][c].low + p[j][l].high*v[j][c].high
// for 32 lanes and as many channels as the name says.
//
//go:noescape
func weighAVX512BF16x10(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX512BF16x8(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX512BF16x4(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX512BF16x2(o, correction, p, v []float32, keys int)

//go:noescape
func weighAVX512BF16x1(o, correction, p, v []float32, keys int)

// expectAVX2: 16 lanes.
//
//	for l := range 16 {
//		correction, max[l] = exp2(max[l]-next[l]), next[l]
//		sum[l] = sum[l]*correction + Σ_j exp2(s[j][l]-next[l])
//		mean[l] = mean[l]*correction + Σ_j exp2(s[j][l]-next[l])*x[j][l]
//	}
//
//go:noescape
func expectAVX2(s, x, state []float32, n int)

// deriveAVX2: 16 lanes.
//
//	for j, l := range n × 16 {
//		s[j][l] = exp2(s[j][l]-lse[j])
//		x[j][l] = s[j][l] * (x[j][l]-delta[j])
//	}
//
//go:noescape
func deriveAVX2(s, x, twins, lse, delta []float32, n int)

// expectAVX512: 32 lanes.
//
//	for l := range 32 {
//		correction, max[l] = exp2(max[l]-next[l]), next[l]
//		sum[l] = sum[l]*correction + Σ_j exp2(s[j][l]-next[l])
//		mean[l] = mean[l]*correction + Σ_j exp2(s[j][l]-next[l])*x[j][l]
//	}
//
//go:noescape
func expectAVX512(s, x, state []float32, n int)

// deriveAVX512: 32 lanes.
//
//	for j, l := range n × 32 {
//		s[j][l] = exp2(s[j][l]-lse[j])
//		x[j][l] = s[j][l] * (x[j][l]-delta[j])
//	}
//
//go:noescape
func deriveAVX512(s, x, twins, lse, delta []float32, n int)

// deriveAVX512BF16: 32 lanes; words of two results go to the front of s and x.
//
//	for j, l := range n × 32 {
//		p[j][l] = exp2(s[j][l]-lse[j])
//		ds[j][l] = p[j][l] * (x[j][l]-delta[j])
//	}
//	s[j/2][l], x[j/2][l] = pair(p[j][l], p[j+1][l]), pair(ds[j][l], ds[j+1][l]) // for even j
//	twins[j][l/2] = pair(ds[j][l], ds[j][l+1]) // for even l
//
//go:noescape
func deriveAVX512BF16(s, x, twins, lse, delta []float32, n int)
