package gemm

import (
	"unsafe"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// Tile is the argument of a micro-kernel: up to MR rows by NR columns of C. For r < rows and j < NR
//
//	C[r][j] = Init[r][j] + Σ A[r][k]·B[k][j] + Residual[r][j]
//
// summed over k upwards. A is given as pointers: segment s of row r starts at Rows[s·RowsStride + r] and
// has Seg[s] elements; the segments of a row are consecutive in k and need not be adjacent in memory.
// Strides are in bytes. A zero InitStride repeats one row, which is how a bias enters.
type Tile struct {
	Rows       *unsafe.Pointer // row pointers of the first segment
	RowsStride int             // bytes from one segment's row pointers to the next one's
	Seg        *int            // length of each segment in kernel steps, all > 0
	Segs       int             // number of segments, > 0

	B    *float32 // [Σ Seg][NR], or the same bytes holding pairs of bfloat16 or of 16-bit integers
	Init *float32 // [rows][NR]
	C    *float32 // [rows][NR]

	InitStride, CStride int

	Residual       *float32 // [rows][NR] or nil
	ResidualStride int

	// Where A and B hold pairs of 16-bit integers, each sum is multiplied by its row's and its column's scale.
	RowScale    *float32 // [rows]
	ColumnScale *float32 // [NR]
}

// Kernel is the GEMM part of a kernel set: a micro-kernel, its tile and its conversions.
type Kernel struct {
	Set isa.Set
	MR  int // most rows in a tile
	NR  int // columns in a tile, and output channels in a panel of packed weights
	KC  int // most k that one pass over a panel covers
	MC  int // most rows that one task covers

	mul       func(t *Tile, rows int)       // float32 tile
	mulBF16   func(t *Tile, rows int)       // bfloat16 pairs; nil where the set has none
	mulInt16  func(t *Tile, rows int)       // pairs of 16-bit integers; there where mulBF16 is
	widenF16  func(dst []float32, p []byte) // binary16 to float32
	widenBF16 func(dst []float32, p []byte) // bfloat16 to float32
	narrow    func(dst []uint16, p []float32)
	transpose func(dst, src, scratch *byte, stride int) // transposes NR × NR elements of 16 bits, rows of src stride bytes apart; there where turn is
	turn      func(dst, src *float32, stride int)       // the same of 32 bits; nil where slow
	prefetch  func(p *byte, lines int)                  // begins to load cache lines; there where turn is
	turnPairs func(dst, src *float32)                   // the same of NR/2 × NR pairs of bfloat16, as packed; nil without HasBF16
	thin      *Kernel                                   // of the same set for half as many columns; nil where NR is 16 or less
	ranks     []rankKernel                              // of products with a rank for an extent
	// A panel of NR columns of a matrix of float32 times a scale, the rows, or the columns n times 16 at a time, stride elements
	// apart; nil where slow.
	gatherRows, gatherColumns func(dst, src *float32, n, stride int, scale float32)
	spin                      func(n int) int // n rounds of nothing but multiply-adds; returns their FLOPs
	spinBF16                  func(n int) int
}

// For is the kernel of a set. A set above what the machine runs must not be asked for.
func For(set isa.Set) *Kernel { return kernelFor(set) }

// HasBF16 reports whether the set multiplies bfloat16 pairs, so that Matrix.Pairs may be set.
func (k *Kernel) HasBF16() bool { return k.mulBF16 != nil }

// Mul runs the float32 micro-kernel on a tile of 1 ≤ rows ≤ MR rows. The caller vouches for every
// address in t.
func (k *Kernel) Mul(t *Tile, rows int) { k.mul(t, rows) }

// MulInt16 is Mul for pairs of 16-bit integers, which HasBF16 kernels multiply too. Sums must stay below 2³¹.
func (k *Kernel) MulInt16(t *Tile, rows int) { k.mulInt16(t, rows) }

// Spin runs n rounds of independent multiply-adds from registers, in float32 or, where HasBF16, on
// bfloat16 pairs, and returns the floating-point operations done. Timed, it is the core's peak.
func (k *Kernel) Spin(n int, bf16 bool) (flops int) {
	if bf16 {
		return k.spinBF16(n)
	}
	return k.spin(n)
}
