package gemm

import (
	"fmt"
	"unsafe"
)

// Adjoint describes the matrix that makes of a gradient by y = x·Wᵀ the gradient by channels first to first+channels-1
// of x: outputs and channels exchanged, taps reversed. Of a convolution of stride 1 that is a convolution once more, its
// padding H-1 and W-1 minus the forward one.
func (m Matrix) Adjoint(first, channels int) Matrix {
	m.Offset += first*m.StrideC + (m.Taps-1)*m.StrideT
	m.N, m.C = channels, m.N
	m.StrideN, m.StrideT, m.StrideC = m.StrideC, -m.StrideT, m.StrideN
	return m
}

// Adjoint are the weights that Pack would make of the Matrix.Adjoint of w's, read from w's own data: a panel is turned
// over whenever it is multiplied. That takes about as long as a few rows of the product, and no memory.
func (w *Weights) Adjoint(first, channels int) (*Weights, error) {
	if w.Live() || w.forward != nil {
		return nil, fmt.Errorf("gemm: the adjoint of weights that are not packed")
	}
	if first < 0 || channels < 1 || first > w.K/w.Taps-channels {
		return nil, fmt.Errorf("gemm: the adjoint for channels %d to %d of %d", first, first+channels-1, w.K/w.Taps)
	}
	if w.Pairs && w.Taps > 1 {
		return nil, fmt.Errorf("gemm: the adjoint of bfloat16 pairs with %d taps: want 1", w.Taps)
	}
	return &Weights{N: channels, K: w.Taps * w.N, Taps: w.Taps, DType: w.DType, Pairs: w.Pairs, Kern: w.Kern, forward: w, first: first}, nil
}

// Turned reports whether the weights are those of an Adjoint, which have no data of their own.
func (w *Weights) Turned() bool { return w.forward != nil }

// Spare is the number of float32 that Panel needs besides the panel.
func (w *Weights) Spare() int {
	if w.forward == nil {
		return 0
	}
	return 2 * w.Kern.NR * w.Kern.NR
}

// turn sets dst to rows k0 to k0+n of a panel of an adjoint. These are pieces of square blocks: the NR outputs of a
// panel of the forward weights by NR channels at one tap. There a block is contiguous, the outputs side by side.
func (w *Weights) turn(dst, spare []float32, panel, k0, n int) {
	k, f, nr := w.Kern, w.forward, w.Kern.NR
	columns := min(nr, w.N-panel*nr)
	for n > 0 {
		tap, output := k0/f.N, k0%f.N
		skip := output % nr
		rows := min(n, nr-skip, f.N-output)
		at := (output/nr*f.K + (f.Taps-1-tap)*(f.K/f.Taps) + w.first + panel*nr) * nr
		if n > rows {
			f.prefetch(at + f.K*nr)
		}
		switch {
		case columns < nr || k.turn == nil:
			f.turnColumns(dst[:rows*nr], spare, at+skip, columns)
		case f.DType.Size() == 2:
			block, scratch := (*byte)(unsafe.Pointer(&spare[0])), (*byte)(unsafe.Pointer(&spare[nr*nr]))
			k.transpose(block, &f.data[2*at], scratch, 2*nr)
			f.widenBytes(dst[:rows*nr], unsafe.Slice(block, 2*nr*nr)[2*skip*nr:])
		case rows == nr:
			k.turn(&dst[:nr*nr][0], &f.widen(spare, at, nr*nr)[0], 4*nr)
		default:
			block := spare[nr*nr:][:nr*nr]
			k.turn(&block[0], &f.widen(spare, at, nr*nr)[0], 4*nr)
			copy(dst[:rows*nr], block[skip*nr:])
		}
		dst, k0, n = dst[rows*nr:], k0+rows, n-rows
	}
}

// prefetch begins to load a block. Blocks of different panels are far apart, which processors cannot foresee.
func (w *Weights) prefetch(at int) {
	if size := w.DType.Size(); w.Kern.prefetch != nil && at < len(w.data)/size {
		w.Kern.prefetch(&w.data[at*size], w.Kern.NR*w.Kern.NR*size/64)
	}
}

// turnColumns sets dst, rows of NR, to a part of a block whose elements start at, in that many columns and zeros.
func (w *Weights) turnColumns(dst, spare []float32, at, columns int) {
	nr := w.Kern.NR
	if columns < nr {
		clear(dst)
	}
	for j := range columns {
		for i, v := range w.widen(spare, at+j*nr, len(dst)/nr) {
			dst[i*nr+j] = v
		}
	}
}

// turnPairs is turn for bfloat16 pairs: n and k0 count pairs, and a block holds NR/2 of them by NR.
func (w *Weights) turnPairs(dst, spare []float32, panel, k0, n int) {
	k, f, nr := w.Kern, w.forward, w.Kern.NR
	columns, channel := min(nr, w.N-panel*nr), w.first+panel*nr
	for n > 0 {
		output := 2 * k0
		skip := output % nr
		rows := min(n, (nr-skip)/2)
		at := output / nr * ((f.K + 1) / 2) * nr * 2
		switch {
		case columns < nr || channel%2 > 0:
			to := unsafe.Slice((*uint16)(unsafe.Pointer(&dst[0])), 2*rows*nr)
			clear(to)
			from := unsafe.Slice((*uint16)(unsafe.Pointer(&f.data[0])), len(f.data)/2)[at:]
			for j := range columns {
				c := channel + j
				for r := range 2 * rows {
					to[(r/2*nr+j)*2+r%2] = from[(c/2*nr+skip+r)*2+c%2]
				}
			}
		default:
			if n > rows {
				f.prefetch(at + (f.K+1)/2*nr*2 + channel*nr)
			}
			block := dst
			if rows < nr/2 {
				block = spare
			}
			k.turnPairs(&block[:nr*nr/2][0], (*float32)(unsafe.Pointer(&f.data[2*(at+channel*nr)])))
			if rows < nr/2 {
				copy(dst[:rows*nr], spare[skip/2*nr:])
			}
		}
		dst, k0, n = dst[rows*nr:], k0+rows, n-rows
	}
}
