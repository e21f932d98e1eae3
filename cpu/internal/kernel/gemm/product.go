package gemm

import (
	"fmt"
	"unsafe"
)

// Need is the memory a plan asks of its caller, in elements.
type Need struct {
	Workspace int // float32 shared by all workers during one run of the plan
	Scratch   int // float32 private to each worker
	Rows      int // row pointers private to each worker
}

// Max is the element-wise maximum: what serves either plan.
func (n Need) Max(o Need) Need {
	return Need{max(n.Workspace, o.Workspace), max(n.Scratch, o.Scratch), max(n.Rows, o.Rows)}
}

// Bytes is the size of one worker's scratch; the workspace is 4·Workspace bytes besides.
func (n Need) Bytes() int { return n.Scratch*4 + n.Rows*8 }

// Scratch is the private memory of one worker. Its contents mean nothing between calls.
type Scratch struct {
	Floats []float32
	Rows   []unsafe.Pointer
	Tile   Tile
	Args   Args // for a plan inside a plan
}

// NewScratch allocates what n asks for one worker.
func NewScratch(n Need) *Scratch {
	return &Scratch{Floats: aligned(n.Scratch), Rows: make([]unsafe.Pointer, n.Rows)}
}

// aligned allocates n float32 starting at a cache line.
func aligned(n int) []float32 {
	s := make([]float32, n+15)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(s))) / 4 % 16
	return s[skip:][:n:n]
}

// Args are the operands of one run. All activations are float32, row-major with channels last.
type Args struct {
	X, X2      []float32 // first input and, where the plan has one, second input
	W          []float32 // what weights that are not packed are gathered from; see Kernel.Live
	Y          []float32 // result
	Bias       []float32 // [N] or nil
	PerChannel []float32 // [items,N], added to every row of its item, or nil
	Residual   []float32 // shaped like Y, added after the activation, or nil; may be Y itself
	Workspace  []float32 // Need().Workspace elements
}

// Piece is a stretch of k that is contiguous in one row of A: Len elements from element Off of segment Seg.
type Piece struct{ Seg, Off, Len int }

// Product multiplies rows of A, given by pointers, by packed weights. It is the part that linear layers
// and convolutions share: cutting K, widening panels, running tiles, finishing the result.
type Product struct {
	W      *Weights
	Act    func([]float32) // applied in place to acc + bias; nil is the identity
	Pieces []Piece         // K in order

	steps  []int // kernel steps of each piece
	blocks []int // first piece of each pass over the panel, and the end
	depth  int   // deepest pass
}

// NewProduct cuts K, the concatenation of segments of the given lengths, into passes of about w.Kern.KC.
// The cut depends on the lengths alone, so the order of summation does too.
func NewProduct(w *Weights, segments []int, act func([]float32)) (*Product, error) {
	p := &Product{W: w, Act: act}
	total, unit := 0, 1
	for seg, n := range segments {
		if n < 1 {
			return nil, fmt.Errorf("gemm: segment %d has %d channels: want at least 1", seg, n)
		}
		total += n
	}
	if total != w.K {
		return nil, fmt.Errorf("gemm: inputs have %d channels in all, weights want %d", total, w.K)
	}
	kc := w.Kern.KC
	if w.Pairs {
		if len(segments) != 1 {
			return nil, fmt.Errorf("gemm: a bfloat16 product takes one segment, have %d", len(segments))
		}
		unit, total = 2, (total+1)/2
		segments = []int{total}
	}
	passes := (total + kc - 1) / kc
	target := (total + passes - 1) / passes
	target = (target + 15) &^ 15
	room := 0
	for seg, n := range segments {
		for off := 0; off < n; {
			if room == 0 {
				p.blocks = append(p.blocks, len(p.Pieces))
				room = target
			}
			take := min(n-off, room)
			p.Pieces = append(p.Pieces, Piece{seg, off * unit, take})
			p.steps = append(p.steps, take)
			off += take
			room -= take
		}
	}
	p.blocks = append(p.blocks, len(p.Pieces))
	p.depth = min(target, total)
	return p, nil
}

// Need is the scratch for Multiply on chunks of up to mc rows.
func (p *Product) Need(mc int) Need {
	nr := p.W.Kern.NR
	return Need{Scratch: nr + p.depth*nr + p.W.Spare() + mc*nr, Rows: len(p.Pieces) * mc}
}

// Output says where a chunk of C goes: rows of Y, with what is added to them.
type Output struct {
	Y, Residual             []float32 // element [0,0] of the chunk first; Residual may be nil
	StrideY, StrideResidual int       // elements between rows
	Bias, PerChannel        []float32 // [N] or nil
	Args                    *Args     // what live weights are gathered from
}

// Multiply computes rows × NR of the product: columns panel·NR onwards of a chunk whose row pointers
// are s.Rows[piece·mc + row], rows ≤ mc.
func (p *Product) Multiply(s *Scratch, o *Output, panel, rows, mc int) {
	nr := p.W.Kern.NR
	n0 := panel * nr
	cols := min(nr, p.W.N-n0)
	c := s.Floats[nr+p.depth*nr+p.W.Spare():][:mc*nr]
	if cols == nr && p.Act == nil {
		p.sums(s, o, panel, rows, mc, c, true)
		return
	}
	p.sums(s, o, panel, rows, mc, c, false)
	if c = c[:rows*nr]; p.Act != nil {
		p.Act(c)
	}
	p.store(c, o, n0, cols)
}

// sums computes A·B + bias + per-channel term for one panel into c, [mc][NR], or, if direct, straight
// into Y with the residual added.
func (p *Product) sums(s *Scratch, o *Output, panel, rows, mc int, c []float32, direct bool) {
	w := p.W
	k := w.Kern
	nr := k.NR
	n0 := panel * nr
	init, buf, spare := s.Floats[:nr], s.Floats[nr:][:p.depth*nr], s.Floats[nr+p.depth*nr:][:w.Spare()]
	initRow(init, o, n0, min(nr, w.N-n0))
	t := &s.Tile
	*t = Tile{RowsStride: mc * 8, InitStride: nr * 4, CStride: nr * 4}
	mul := k.mul
	if w.Pairs {
		mul = k.mulBF16
	}
	tiles := (rows + k.MR - 1) / k.MR
	k0 := 0
	for b := range len(p.blocks) - 1 {
		first, end := p.blocks[b], p.blocks[b+1]
		n := 0
		for _, steps := range p.steps[first:end] {
			n += steps
		}
		switch {
		case w.Pairs:
			t.B = w.pairs(buf, spare, panel, k0, n)
		case w.Live():
			w.gather(o.Args, buf, panel, k0, n)
			t.B = &buf[0]
		default:
			t.B = unsafe.SliceData(w.Panel(buf, spare, panel, k0, n))
		}
		t.Seg, t.Segs = &p.steps[first], end-first
		last := end == len(p.Pieces)
		if b == 0 {
			t.Init, t.InitStride = &init[0], 0
		} else {
			t.InitStride = nr * 4
		}
		for i := range tiles {
			m0, m1 := i*rows/tiles, (i+1)*rows/tiles
			t.Rows = &s.Rows[first*mc+m0]
			if b > 0 {
				t.Init = &c[m0*nr]
			}
			if last && direct {
				t.C, t.CStride = &o.Y[m0*o.StrideY+n0], o.StrideY*4
				_ = o.Y[(m1-1)*o.StrideY+n0+nr-1]
				if o.Residual != nil {
					t.Residual, t.ResidualStride = &o.Residual[m0*o.StrideResidual+n0], o.StrideResidual*4
					_ = o.Residual[(m1-1)*o.StrideResidual+n0+nr-1]
				}
			} else {
				t.C, t.CStride = &c[m0*nr], nr*4
			}
			mul(t, m1-m0)
		}
		k0 += n
	}
}

// initRow sets init to bias + per-channel term, zero beyond cols.
func initRow(init []float32, o *Output, n0, cols int) {
	clear(init)
	if o.Bias != nil {
		copy(init, o.Bias[n0:n0+cols])
	}
	if o.PerChannel != nil {
		for j, v := range o.PerChannel[n0 : n0+cols] {
			init[j] += v
		}
	}
}

// store writes the first cols columns of c, [rows][NR], to Y with the residual added.
func (p *Product) store(c []float32, o *Output, n0, cols int) {
	nr := p.W.Kern.NR
	for m := 0; m*nr < len(c); m++ {
		row := c[m*nr:][:cols]
		y := o.Y[m*o.StrideY+n0:][:cols]
		if o.Residual == nil {
			copy(y, row)
			continue
		}
		res := o.Residual[m*o.StrideResidual+n0:][:cols]
		for j, v := range row {
			y[j] = v + res[j]
		}
	}
}
