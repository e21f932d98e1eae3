package attn

// kernels is the attention part of a kernel set. Shapes are in elements; L is lanes, the queries of a
// panel. For bfloat16 read pairs of channels for d, pairs of keys for the keys of weigh, and two
// bfloat16 in the bits of a float32 for each element of q, k, p and v.
type kernels struct {
	lanes  int   // queries in a panel
	keys   int   // keys in a group of packed K
	widths []int // widths of the panels of V, widest first; after the first they halve down to 1

	// scores sets s[g·keys+i][l] = Σ_c q[c][l]·k[g][c][i] for g < groups, i < keys, and raises next[l]
	// to the largest of them. q is [d][L], k is [groups][d][keys], s is [groups·keys][L].
	scores func(s, next, q, k []float32, d, groups int)

	// soften replaces the first n rows of s by p = 2^(s-next) and adds them to the running sum, after
	// correcting that for the change of the maximum. state is [max | next | sum | correction] of L each:
	//
	//	correction = 2^(max-next); sum = sum·correction + Σ p; max = next
	//
	// For bfloat16 the pairs of p go to the front of s, the last of an odd n paired with zero.
	soften func(s, state []float32, n int)

	// weigh sets o[c][l] = o[c][l]·correction[l] + Σ_j p[j][l]·v[j][c] for c < width, j < keys.
	// o is [width][L], p is [keys][L], v is [keys][width].
	weigh func(width int, o, correction, p, v []float32, keys int)

	// transpose sets dst[j][i] = src[i][j]·scale[j] for i < rows, j < cols, rows of dst and src being
	// dstStride and srcStride elements apart. A nil scale stands for ones, and then any 32 bits will do.
	transpose func(dst, src, scale []float32, dstStride, srcStride, rows, cols int)

	// expect lets n rows of s weigh those of x: with p = 2^(s-next), or 0 where that is below 2^-125, and the state
	// [max | next | sum | mean] of L each,
	//
	//	sum = sum·2^(max-next) + Σ p; mean = mean·2^(max-next) + Σ p·x; max = next
	//
	// It leaves s and x as they are. They are float32 for bfloat16 too.
	expect func(s, x, state []float32, n int)

	// derive replaces n rows of s by p = 2^(s-lse), or 0 where that is below 2^-125, and those of x by p·(x-delta), lse[j]
	// and delta[j] being row j's. Both are float32. For bfloat16 the pairs of rows of p and of the products go to the front
	// of s and x, the last of an odd n paired with zero, and pairs of neighbouring lanes of the products to twins, [n][L/2].
	derive func(s, x, twins, lse, delta []float32, n int)

	// The gradient's loops over rows of len(mean) elements, or len(sum), stride elements apart; the same bits in every set.
	//
	// sumRows adds rows to sum. center sets dense rows of dst to those of src less the mean. agree sets dst[r] = Σ dy[r][i]·(y[r][i]-mean[i])
	// for r < len(dst).
	sumRows func(sum, src []float32, rows, stride int)
	center  func(dst, src, mean []float32, rows, stride int)
	agree   func(dst, dy, y, mean []float32, stride int)

	// narrow rounds src·scale to bfloat16 and stores neighbours as the low and high half of each of the
	// (len(src)+1)/2 words of dst; an odd last one is paired with zero. Bfloat16 only.
	narrow func(dst, src []float32, scale float32)

	// zipRows rounds to bfloat16 and stores low[i] and high[i] as the halves of dst[i]. Bfloat16 only.
	zipRows func(dst, low, high []float32)
}

// stateRows is the number of values kept for each query: max, next, sum and correction.
const stateRows = 4
