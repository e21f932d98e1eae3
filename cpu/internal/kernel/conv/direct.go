package conv

import (
	"unsafe"

	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// direct is convolution as a product: row m of A is the patch of output pixel m, cut into segments that
// are contiguous in the input.
//
// With enough channels a segment is one tap of one input. With few, a task per padded row first copies
// the input into the workspace, resized, padded and concatenated, and a segment is a whole row of taps.
type direct struct {
	cfg    Config
	prod   *gemm.Product
	oh, ow int

	padded bool    // the few-channel form
	ys, xs []int32 // stored row and column by padded coordinate
	zero   []float32

	items, perItem, chunks, mc int
}

// fewChannels is the number of input channels below which a tap is too short for a segment of its own.
const fewChannels = 32

func newDirect(w *gemm.Weights, cfg Config) (*direct, error) {
	d := &direct{cfg: cfg}
	d.oh, d.ow = cfg.Output()
	d.ys, d.xs = cfg.axes(0, 0)
	var segments []int
	if d.padded = cfg.C1+cfg.C2 < fewChannels && cfg.KH*cfg.KW > 1; d.padded {
		for range cfg.KH {
			segments = append(segments, cfg.KW*(cfg.C1+cfg.C2))
		}
	} else {
		d.zero = make([]float32, max(cfg.C1, cfg.C2))
		for range cfg.KH * cfg.KW {
			segments = append(segments, cfg.C1)
			if cfg.C2 > 0 {
				segments = append(segments, cfg.C2)
			}
		}
	}
	var err error
	if d.prod, err = gemm.NewProduct(w, segments, cfg.Act); err != nil {
		return nil, err
	}
	d.items, d.perItem = 1, cfg.N*d.oh*d.ow
	if cfg.PerChannel {
		d.items, d.perItem = cfg.N, d.oh*d.ow
	}
	d.chunks, d.mc = gemm.Chunks(w.Kern, d.items, d.perItem, w.Panels(), cfg.Workers)
	return d, nil
}

func (d *direct) Algorithm() Algorithm      { return Direct }
func (d *direct) FLOPs() int                { return d.cfg.FLOPs() }
func (d *direct) Check(a *gemm.Args) error  { return checkArgs(&d.cfg, d.Need(), a) }
func (d *direct) channels() int             { return d.cfg.C1 + d.cfg.C2 }
func (d *direct) multiplies(phase int) bool { return !d.padded || phase == 1 }

func (d *direct) Need() gemm.Need {
	n := d.prod.Need(d.mc)
	if d.padded {
		n.Workspace = d.cfg.N * len(d.ys) * len(d.xs) * d.channels()
	}
	return n
}

func (d *direct) Phases() int {
	if d.padded {
		return 2
	}
	return 1
}

func (d *direct) Tasks(phase int) int {
	if d.multiplies(phase) {
		return d.items * d.chunks * d.prod.W.Panels()
	}
	return d.cfg.N * len(d.ys)
}

func (d *direct) Do(phase, task int, s *gemm.Scratch, a *gemm.Args) {
	if !d.multiplies(phase) {
		d.pad(task, a)
		return
	}
	panels := d.prod.W.Panels()
	chunk, panel := task/panels, task%panels
	item, sub := chunk/d.chunks, chunk%d.chunks
	m0 := item*d.perItem + sub*d.mc
	rows := min(d.mc, (item+1)*d.perItem-m0)
	for i, piece := range d.prod.Pieces {
		table := s.Rows[i*d.mc:][:rows]
		if d.padded {
			d.paddedRows(table, a, piece, m0)
		} else {
			d.tapRows(table, a, piece, m0)
		}
	}
	n := d.prod.W.N
	o := gemm.Output{Y: a.Y[m0*n:], StrideY: n, StrideResidual: n, Bias: a.Bias, Args: a}
	if a.Residual != nil {
		o.Residual = a.Residual[m0*n:]
	}
	if a.PerChannel != nil {
		o.PerChannel = a.PerChannel[item*n:][:n]
	}
	d.prod.Multiply(s, &o, panel, rows, d.mc)
}

// tapRows points each output pixel from m0 on to its input pixel under one tap.
func (d *direct) tapRows(table []unsafe.Pointer, a *gemm.Args, p gemm.Piece, m0 int) {
	c := &d.cfg
	x, width, tap := a.X, c.C1, p.Seg
	if c.C2 > 0 {
		if tap = p.Seg / 2; p.Seg%2 == 1 {
			x, width = a.X2, c.C2
		}
	}
	ky, kx := tap/c.KW, tap%c.KW
	base, zero := unsafe.Pointer(&x[p.Off]), unsafe.Pointer(&d.zero[p.Off])
	ox, oy, n := m0%d.ow, m0/d.ow%d.oh, m0/(d.ow*d.oh)
	for i := 0; i < len(table); {
		iy := int(d.ys[oy*c.Stride+ky])
		run := table[i:min(len(table), i+d.ow-ox)]
		if iy < 0 {
			for j := range run {
				run[j] = zero
			}
		} else {
			line := (n*c.H + iy) * c.W
			for j := range run {
				if ix := d.xs[(ox+j)*c.Stride+kx]; ix < 0 {
					run[j] = zero
				} else {
					run[j] = unsafe.Add(base, (line+int(ix))*width*4)
				}
			}
		}
		i += len(run)
		if ox, oy = 0, oy+1; oy == d.oh {
			oy, n = 0, n+1
		}
	}
}

// paddedRows points each output pixel from m0 on to its row of taps in the padded copy.
func (d *direct) paddedRows(table []unsafe.Pointer, a *gemm.Args, p gemm.Piece, m0 int) {
	c := &d.cfg
	base := unsafe.Pointer(&a.Workspace[p.Off])
	for i := range table {
		m := m0 + i
		ox, oy, n := m%d.ow, m/d.ow%d.oh, m/(d.ow*d.oh)
		at := (n*len(d.ys)+oy*c.Stride+p.Seg)*len(d.xs) + ox*c.Stride
		table[i] = unsafe.Add(base, at*d.channels()*4)
	}
}

// pad fills one row of the padded copy.
func (d *direct) pad(task int, a *gemm.Args) {
	c, width := &d.cfg, d.channels()
	n, y := task/len(d.ys), task%len(d.ys)
	row := a.Workspace[task*len(d.xs)*width:][:len(d.xs)*width]
	if d.ys[y] < 0 {
		clear(row)
		return
	}
	line := (n*c.H + int(d.ys[y])) * c.W
	for i, ix := range d.xs {
		pixel := row[i*width:][:width]
		if ix < 0 {
			clear(pixel)
			continue
		}
		copy(pixel, a.X[(line+int(ix))*c.C1:][:c.C1])
		if c.C2 > 0 {
			copy(pixel[c.C1:], a.X2[(line+int(ix))*c.C2:][:c.C2])
		}
	}
}
