package gemm

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/f16"
)

// Matrix describes W [N,K] as it lies in a checkpoint. K is Taps × C: output n, tap t, channel c is
// element Offset + n·StrideN + t·StrideT + c·StrideC of Data, and its k is t·C + c.
//
//	Linear [out,in]:  N=out, Taps=1, C=in, StrideN=in, StrideC=1   (see Linear)
//	Conv2D OIHW:      N=O, Taps=H·W, C=I, StrideN=I·H·W, StrideT=1, StrideC=H·W
type Matrix struct {
	Data             []byte        // little-endian elements, at any alignment
	DType            compute.DType // F32, F16 or BF16
	N, Taps, C       int
	Offset           int
	StrideN, StrideT int
	StrideC          int

	// Pairs packs for the bfloat16 micro-kernel: weights are rounded to bfloat16 and activations will
	// be. Only kernels that report HasBF16 can.
	Pairs bool
}

// Linear describes data, a row-major [out,in] matrix.
func Linear(data []byte, t compute.DType, out, in int) Matrix {
	return Matrix{Data: data, DType: t, N: out, Taps: 1, C: in, StrideN: in, StrideC: 1}
}

// K is the depth of the product.
func (m Matrix) K() int { return m.Taps * m.C }

// check reports a description that reads outside Data.
func (m Matrix) check(k *Kernel) error {
	switch m.DType {
	case compute.F32, compute.F16, compute.BF16:
	default:
		return fmt.Errorf("gemm: weights of type %v: want F32, F16 or BF16", m.DType)
	}
	if m.N < 1 || m.Taps < 1 || m.C < 1 {
		return fmt.Errorf("gemm: weights of %d×(%d·%d): every extent must be at least 1", m.N, m.Taps, m.C)
	}
	if m.Pairs && !k.HasBF16() {
		return fmt.Errorf("gemm: the %v kernels have no bfloat16 product", k.Set)
	}
	lo, hi := m.Offset, m.Offset
	for _, d := range [][2]int{{m.N, m.StrideN}, {m.Taps, m.StrideT}, {m.C, m.StrideC}} {
		lo += min(0, (d[0]-1)*d[1])
		hi += max(0, (d[0]-1)*d[1])
	}
	if lo < 0 || hi >= len(m.Data)/m.DType.Size() {
		return fmt.Errorf("gemm: weights of %d×(%d·%d) reach elements %d to %d of %d", m.N, m.Taps, m.C, lo, hi, len(m.Data)/m.DType.Size())
	}
	return nil
}

// Weights is a matrix packed for one kernel: panels of NR output channels, k-major, in the stored type:
// [⌈N/NR⌉][K][NR], or [⌈N/NR⌉][⌈K/2⌉][NR][2] for bfloat16 pairs. Channels beyond N are zero.
// It is read-only once made and may be shared by any number of plans and goroutines.
type Weights struct {
	N, K, Taps int
	DType      compute.DType // element type of the packed data
	Pairs      bool
	Kern       *Kernel

	data    []byte
	gather  Gather   // reads weights that are not packed; see Kernel.Live
	forward *Weights // whose adjoint these are, for channels from first on; see Adjoint
	first   int
}

// Weights are those that Pack makes of m, without their data: enough to plan with. m.Data is not looked at.
func (k *Kernel) Weights(m Matrix) *Weights {
	w := &Weights{N: m.N, K: m.K(), Taps: m.Taps, DType: m.DType, Pairs: m.Pairs, Kern: k}
	if m.Pairs {
		w.DType = compute.BF16
	}
	return w
}

// PackedSize is the number of bytes Pack writes for m.
func (k *Kernel) PackedSize(m Matrix) int {
	panels := (m.N + k.NR - 1) / k.NR
	if m.Pairs {
		return panels * ((m.K() + 1) / 2) * k.NR * 4
	}
	return panels * m.K() * k.NR * m.DType.Size()
}

// With is w over data, the PackedSize bytes that were or will be packed.
func (w *Weights) With(data []byte) *Weights {
	packed := *w
	packed.data = data
	return &packed
}

// Rows describes the first n of m's outputs, which are all that data holds. Those that begin a panel are packed to where the panel
// is, and so a matrix can be packed in parts, in any order.
func (m Matrix) Rows(data []byte, n int) Matrix {
	m.Data, m.N = data, n
	return m
}

// PackSpare is the number of float32 that PackInto needs.
func (k *Kernel) PackSpare() int { return 3 * k.NR * k.NR }

// Pack copies m into dst, PackedSize(m) bytes, or into new memory if dst is nil. The result keeps dst and does not keep m.Data.
func (k *Kernel) Pack(dst []byte, m Matrix) (*Weights, error) {
	if err := m.check(k); err != nil {
		return nil, err
	}
	if dst == nil {
		dst = make([]byte, k.PackedSize(m))
	}
	return k.Weights(m).With(dst), k.PackInto(dst, m, make([]float32, k.PackSpare()))
}

// PackInto copies m into dst, PackedSize(m) bytes at a multiple of 4. It overwrites PackSpare elements of spare. Distinct calls may run
// concurrently.
func (k *Kernel) PackInto(dst []byte, m Matrix, spare []float32) error {
	if err := m.check(k); err != nil {
		return err
	}
	if size := k.PackedSize(m); len(dst) != size {
		return fmt.Errorf("gemm: packing takes %d bytes, have %d", size, len(dst))
	}
	if uintptr(unsafe.Pointer(&dst[0]))%4 != 0 {
		return fmt.Errorf("gemm: packed weights must start at a multiple of 4 bytes")
	}
	if k.turn != nil && m.contiguous() {
		k.packPanels(dst, m, spare)
	} else {
		k.packElements(dst, m)
	}
	return nil
}

// contiguous reports whether the elements of each output lie side by side, channels slowest, as in a checkpoint.
func (m *Matrix) contiguous() bool {
	return m.StrideC == m.Taps && (m.Taps == 1 || m.StrideT == 1)
}

// packPanels packs contiguous elements, NR × NR words at a time where there are as many. A word is an element or, for the bfloat16
// micro-kernel, a pair.
func (k *Kernel) packPanels(dst []byte, m Matrix, spare []float32) {
	words, size := m.K(), m.DType.Size()
	if m.Pairs {
		words, size = (words+1)/2, 4
	}
	whole := words >= k.NR && (!m.Pairs || m.Taps == 1 && m.C%2 == 0)
	for n0 := 0; n0 < m.N; n0 += k.NR {
		part, panel := m, dst[:words*k.NR*size]
		part.N, part.Offset = min(k.NR, m.N-n0), m.Offset+n0*m.StrideN
		if whole && part.N == k.NR {
			k.packBlocks(panel, part, words, spare)
		} else {
			k.packElements(panel, part)
		}
		dst = dst[len(panel):]
	}
}

// packBlocks packs one whole panel.
func (k *Kernel) packBlocks(panel []byte, m Matrix, words int, spare []float32) {
	square, row := k.NR*k.NR, len(panel)/words
	turned, block, rest := spare[:square], spare[square:][:square], spare[2*square:][:square]
	for i := 0; i < words; i += k.NR {
		i := min(i, words-k.NR) // the last block overlaps the one before
		to := panel[i*row:][:k.NR*row]
		if m.Taps > 1 {
			to = unsafe.Slice((*byte)(unsafe.Pointer(&turned[0])), len(to))
		}
		switch at := m.Offset + i; {
		case m.Pairs:
			k.narrowBlock(block, rest, m, m.Offset+2*i)
			k.turn((*float32)(unsafe.Pointer(&to[0])), &block[0], 4*k.NR)
		case m.DType == compute.F32:
			k.turn((*float32)(unsafe.Pointer(&to[0])), (*float32)(unsafe.Pointer(&m.Data[4*at])), 4*m.StrideN)
		default:
			k.transpose(&to[0], &m.Data[2*at], (*byte)(unsafe.Pointer(&rest[0])), 2*m.StrideN)
		}
		if m.Taps == 1 {
			continue
		}
		for c, t := i/m.Taps, i%m.Taps; len(to) > 0; to = to[row:] {
			copy(panel[(t*m.C+c)*row:][:row], to)
			if t++; t == m.Taps {
				c, t = c+1, 0
			}
		}
	}
}

// narrowBlock sets block to NR rows of NR pairs, from element at of each output.
func (k *Kernel) narrowBlock(block, wide []float32, m Matrix, at int) {
	width := 2 * k.NR
	pairs := unsafe.Slice((*uint16)(unsafe.Pointer(&block[0])), k.NR*width)
	for j := range k.NR {
		m.floats(wide[:width], at+j*m.StrideN, k)
		k.narrow(pairs[j*width:][:width], wide[:width])
	}
}

// packElements packs a matrix of any form, element by element.
func (k *Kernel) packElements(dst []byte, m Matrix) {
	switch {
	case m.Pairs:
		packPairs(dst, m, k)
	case m.DType == compute.F32:
		pack[[4]byte](dst, m, k.NR)
	default:
		pack[[2]byte](dst, m, k.NR)
	}
}

// Panels is the number of panels, ⌈N/NR⌉.
func (w *Weights) Panels() int { return (w.N + w.Kern.NR - 1) / w.Kern.NR }

// packDepth is how many k are packed for all channels of a panel before the next: the piece of the
// panel being written then stays in the first-level cache.
const packDepth = 128

// pack copies elements of type E without looking inside.
func pack[E [2]byte | [4]byte](dst []byte, m Matrix, nr int) {
	src := unsafe.Slice((*E)(unsafe.Pointer(&m.Data[0])), len(m.Data)/m.DType.Size())
	out := unsafe.Slice((*E)(unsafe.Pointer(&dst[0])), len(dst)/m.DType.Size())
	for n0 := 0; n0 < m.N; n0 += nr {
		have := min(nr, m.N-n0)
		panel := out[:m.K()*nr]
		out = out[m.K()*nr:]
		for c0 := 0; c0 < m.C; c0 += packDepth {
			for t := range m.Taps {
				block := panel[(t*m.C+c0)*nr:][:min(packDepth, m.C-c0)*nr]
				if have < nr {
					clear(block)
				}
				at := m.Offset + n0*m.StrideN + t*m.StrideT + c0*m.StrideC
				for j := range have {
					from := at + j*m.StrideN
					for i := j; i < len(block); i += nr {
						block[i] = src[from]
						from += m.StrideC
					}
				}
			}
		}
	}
}

// packPairs rounds to bfloat16 and interleaves neighbours in k; an odd last k is paired with zero.
func packPairs(dst []byte, m Matrix, k *Kernel) {
	K, nr := m.K(), k.NR
	panel := (K + 1) / 2 * nr * 2
	out := unsafe.Slice((*uint16)(unsafe.Pointer(&dst[0])), len(dst)/2)
	var wide [packDepth]float32
	var narrow [packDepth]uint16
	for n0 := 0; n0 < m.N; n0 += nr {
		have := min(nr, m.N-n0)
		block := out[:panel]
		out = out[panel:]
		if have < nr || K%2 == 1 {
			clear(block)
		}
		for t := range m.Taps {
			for c0 := 0; c0 < m.C; c0 += packDepth {
				depth := min(packDepth, m.C-c0)
				for j := range have {
					m.floats(wide[:depth], m.Offset+(n0+j)*m.StrideN+t*m.StrideT+c0*m.StrideC, k)
					k.narrow(narrow[:depth], wide[:depth])
					for i, h := range narrow[:depth] {
						at := t*m.C + c0 + i
						block[(at/2*nr+j)*2+at%2] = h
					}
				}
			}
		}
	}
}

// floats reads dst from elements at, at + StrideC, ….
func (m *Matrix) floats(dst []float32, at int, k *Kernel) {
	switch {
	case m.StrideC == 1 && m.DType == compute.F16:
		k.widenF16(dst, m.Data[2*at:])
		return
	case m.StrideC == 1 && m.DType == compute.BF16:
		k.widenBF16(dst, m.Data[2*at:])
		return
	case m.StrideC == 1:
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), 4*len(dst)), m.Data[4*at:])
		return
	}
	for i := range dst {
		switch m.DType {
		case compute.F16:
			dst[i] = f16.ToF32(binary.LittleEndian.Uint16(m.Data[2*at:]))
		case compute.BF16:
			dst[i] = f16.BF16ToF32(binary.LittleEndian.Uint16(m.Data[2*at:]))
		default:
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(m.Data[4*at:]))
		}
		at += m.StrideC
	}
}

// Panel is [n][NR] float32: rows k0 to k0+n of panel p. Packed float32 weights are returned in place, others are
// written to buf, which must hold n·NR; spare must hold Spare elements.
func (w *Weights) Panel(buf, spare []float32, p, k0, n int) []float32 {
	if w.forward != nil {
		w.turn(buf, spare, p, k0, n)
		return buf
	}
	return w.widen(buf, (p*w.K+k0)*w.Kern.NR, n*w.Kern.NR)
}

// widen is count elements of the packing from the given one on, in place if they are float32, otherwise in buf.
func (w *Weights) widen(buf []float32, from, count int) []float32 {
	if w.DType == compute.F32 {
		return unsafe.Slice((*float32)(unsafe.Pointer(&w.data[4*from])), count)
	}
	w.widenBytes(buf[:count], w.data[2*from:])
	return buf[:count]
}

// widenBytes converts elements of 16 bits.
func (w *Weights) widenBytes(dst []float32, p []byte) {
	if w.DType == compute.F16 {
		w.Kern.widenF16(dst, p[:2*len(dst)])
	} else {
		w.Kern.widenBF16(dst, p[:2*len(dst)])
	}
}

// Raw is the address of row k0 of panel p as stored: NR elements of w.DType, the next row right behind.
func (w *Weights) Raw(p, k0 int) *byte {
	return &w.data[(p*w.K+k0)*w.Kern.NR*w.DType.Size()]
}

// pairs is the address of pairs k0 to k0+n of panel p, in place or, of an adjoint, in buf.
func (w *Weights) pairs(buf, spare []float32, p, k0, n int) *float32 {
	if w.forward != nil {
		w.turnPairs(buf, spare, p, k0, n)
		return &buf[0]
	}
	return (*float32)(unsafe.Pointer(&w.data[(p*((w.K+1)/2)+k0)*w.Kern.NR*4]))
}
