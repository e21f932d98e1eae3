package gemm

import (
	"fmt"
	"unsafe"
)

// Config describes a linear layer besides its weights. Zero fields mean "none" or "dense".
type Config struct {
	M           int             // rows
	K2          int             // the last K2 of the K input channels come from X2
	RowsPerItem int             // rows that share a row of Args.PerChannel; 0: M
	Act         func([]float32) // activation, in place; nil is the identity
	Workers     int             // how many workers will share a phase; affects granularity, not results
	Narrowed    bool            // X holds the rows that Kernel.Narrow stored, all K channels, for bfloat16 products; StrideX is not looked at

	// Elements between rows; 0 is the dense width.
	StrideX, StrideX2, StrideY, StrideResidual int
}

// Plan computes Y = Act([X|X2]·Wᵀ + Bias + PerChannel) + Residual for one shape: Y is [M,N], X is
// [M,K-K2], X2 is [M,K2]. Run it as
//
//	for phase := range plan.Phases() {
//		every task of range plan.Tasks(phase), in any order, by any worker: plan.Do(phase, task, scratch, args)
//		wait for all of them
//	}
//
// The result does not depend on who does what. Do allocates nothing. A plan is read-only and may be
// shared.
type Plan struct {
	prod Product
	cfg  Config
	k1   int

	groups   int // groups of panels
	group    int // most panels in a group
	copied   int // float32 in a copied row of A, or 0 where A is read in place
	items    int // groups of rows with their own per-channel term
	perItem  int // rows in each
	chunks   int // chunks in each item
	mc       int // most rows in a chunk
	narrowed int // float32 in a narrowed row of A, for bfloat16 products
}

// NewPlan checks cfg against w and lays out the work.
func NewPlan(w *Weights, cfg Config) (*Plan, error) {
	if cfg.M < 1 {
		return nil, fmt.Errorf("gemm: %d rows: want at least 1", cfg.M)
	}
	if cfg.K2 < 0 || cfg.K2 >= w.K {
		return nil, fmt.Errorf("gemm: second input of %d channels: weights have %d", cfg.K2, w.K)
	}
	p := &Plan{cfg: cfg, k1: w.K - cfg.K2}
	c := &p.cfg
	for _, s := range []struct {
		stride *int
		width  int
		name   string
	}{{&c.StrideX, p.k1, "X"}, {&c.StrideX2, c.K2, "X2"}, {&c.StrideY, w.N, "Y"}, {&c.StrideResidual, w.N, "Residual"}} {
		if *s.stride == 0 {
			*s.stride = s.width
		}
		if *s.stride < s.width {
			return nil, fmt.Errorf("gemm: rows of %s are %d apart but %d wide", s.name, *s.stride, s.width)
		}
	}
	if c.RowsPerItem == 0 {
		c.RowsPerItem = c.M
	}
	if c.RowsPerItem < 0 || c.M%c.RowsPerItem != 0 {
		return nil, fmt.Errorf("gemm: %d rows are not a multiple of %d rows per item", c.M, c.RowsPerItem)
	}
	segments := []int{p.k1, c.K2}
	if c.K2 == 0 || w.Pairs {
		segments = []int{w.K}
	}
	prod, err := NewProduct(w, segments, c.Act)
	if err != nil {
		return nil, err
	}
	if c.Narrowed && (!w.Pairs || c.K2 > 0 || w.K%2 == 1) {
		return nil, fmt.Errorf("gemm: narrowed rows of %d channels, %d of a second input, for weights in bfloat16 pairs: %v", w.K, c.K2, w.Pairs)
	}
	p.prod = *prod
	p.items, p.perItem = c.M/c.RowsPerItem, c.RowsPerItem
	panels := p.prod.W.Panels()
	p.chunks, p.mc = Chunks(w.Kern, p.items, p.perItem, panels, c.Workers)
	p.groups, p.group = grouping(p.items*p.chunks, panels, max(c.Workers, 1))
	switch {
	case w.Pairs:
		p.narrowed = NarrowStride(w.K)
	case c.K2 == 0 && c.StrideX*4%aliasing == 0 && p.group > 2:
		p.copied = w.K + 16
	}
	return p, nil
}

const (
	// tasksPerWorker is how many tasks each worker should find, so that the last one to finish is not
	// far behind.
	tasksPerWorker = 4
	// maxGroup is the most panels in one task.
	maxGroup = 8
	// aliasing is the distance in bytes at which rows fall into the same set of the first-level cache.
	aliasing = 4096
)

// grouping cuts panels into groups, so that the workers, who share the groups of all chunks, have few panels to do one after the other; narrower groups,
// of which there are more to set up, only where that saves a thirtieth.
func grouping(chunks, panels, workers int) (groups, group int) {
	least := 0
	for g := min(max(chunks*panels/(tasksPerWorker*workers), 1), maxGroup); g > 0; g-- {
		n := (panels + g - 1) / g
		wide := (panels + n - 1) / n
		if turns := (chunks*n + workers - 1) / workers * wide; least == 0 || 31*turns < 30*least {
			least, group = turns, wide
		}
	}
	return (panels + group - 1) / group, group
}

// Chunks cuts each of items × rows into chunks of at most mc rows, small enough for the cache and for
// workers × panels to share evenly.
func Chunks(k *Kernel, items, rows, panels, workers int) (chunks, mc int) {
	chunks = (rows + k.MC - 1) / k.MC
	for workers > 1 && items*chunks*panels < tasksPerWorker*workers && rows/(chunks+1) >= 2*k.MR {
		chunks++
	}
	mc = (rows + chunks - 1) / chunks
	if mc = (mc + k.MR - 1) / k.MR * k.MR; mc > rows {
		mc = rows
	}
	return (rows + mc - 1) / mc, mc
}

// Need is the memory the plan uses.
func (p *Plan) Need() Need {
	n := p.prod.Need(p.mc)
	n.Scratch += p.mc * p.copied
	if p.narrows() {
		n.Workspace = p.cfg.M * p.narrowed
	}
	return n
}

// narrows reports whether the first phase narrows the input.
func (p *Plan) narrows() bool { return p.narrowed > 0 && !p.cfg.Narrowed }

// Phases is the number of phases: a bfloat16 product first narrows its input, unless it is given narrowed.
func (p *Plan) Phases() int {
	if p.narrows() {
		return 2
	}
	return 1
}

// narrowRows is how many rows of A one task of the narrowing phase converts.
const narrowRows = 64

// Tasks is the number of independent tasks in a phase.
func (p *Plan) Tasks(phase int) int {
	if phase == 0 && p.narrows() {
		return (p.cfg.M + narrowRows - 1) / narrowRows
	}
	return p.items * p.chunks * p.groups
}

// FLOPs is the arithmetic of one run, two per multiply-add.
func (p *Plan) FLOPs() int { return 2 * p.cfg.M * p.prod.W.N * p.prod.W.K }

// Check reports operands too short for the plan. Do relies on a caller that has checked.
func (p *Plan) Check(a *Args) error {
	c, w := &p.cfg, p.prod.W
	span := func(stride, width int) int { return (c.M-1)*stride + width }
	x := span(c.StrideX, p.k1)
	if c.Narrowed {
		x = c.M * p.narrowed
	}
	for _, o := range []struct {
		name       string
		have, want int
		optional   bool
	}{
		{"X", len(a.X), x, false},
		{"X2", len(a.X2), span(c.StrideX2, c.K2), c.K2 == 0},
		{"Y", len(a.Y), span(c.StrideY, w.N), false},
		{"Bias", len(a.Bias), w.N, a.Bias == nil},
		{"PerChannel", len(a.PerChannel), p.items * w.N, a.PerChannel == nil},
		{"Residual", len(a.Residual), span(c.StrideResidual, w.N), a.Residual == nil},
		{"Workspace", len(a.Workspace), p.Need().Workspace, false},
	} {
		if !o.optional && o.have < o.want {
			return fmt.Errorf("gemm: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	return nil
}

// Do runs one task. The args must pass Check and s must satisfy Need.
func (p *Plan) Do(phase, task int, s *Scratch, a *Args) {
	if p.narrows() && phase == 0 {
		p.narrow(task, a)
		return
	}
	c, w := &p.cfg, p.prod.W
	chunk, group := task/p.groups, task%p.groups
	item, sub := chunk/p.chunks, chunk%p.chunks
	m0 := item*p.perItem + sub*p.mc
	rows := min(p.mc, (item+1)*p.perItem-m0)

	for i, piece := range p.prod.Pieces {
		table := s.Rows[i*p.mc:][:rows]
		switch {
		case w.Pairs:
			rows := a.Workspace
			if c.Narrowed {
				rows = a.X
			}
			fillRows(table, unsafe.Add(unsafe.Pointer(&rows[0]), m0*p.narrowed*4+piece.Off*2), p.narrowed*4)
		case piece.Seg == 0:
			fillRows(table, unsafe.Pointer(&a.X[m0*c.StrideX+piece.Off]), c.StrideX*4)
		default:
			fillRows(table, unsafe.Pointer(&a.X2[m0*c.StrideX2+piece.Off]), c.StrideX2*4)
		}
	}
	o := Output{Y: a.Y[m0*c.StrideY:], StrideY: c.StrideY, StrideResidual: c.StrideResidual, Bias: a.Bias, Args: a}
	if a.Residual != nil {
		o.Residual = a.Residual[m0*c.StrideResidual:]
	}
	if a.PerChannel != nil {
		o.PerChannel = a.PerChannel[item*w.N:][:w.N]
	}
	if p.copied > 0 {
		p.copyRows(s, rows)
	}
	for panel := group * p.group; panel < min((group+1)*p.group, p.prod.W.Panels()); panel++ {
		p.prod.Multiply(s, &o, panel, rows, p.mc)
	}
}

// copyRows moves a chunk of A to scratch, where its rows do not share cache sets.
func (p *Plan) copyRows(s *Scratch, rows int) {
	to := s.Floats[len(s.Floats)-p.mc*p.copied:]
	for i, piece := range p.prod.Pieces {
		for m, from := range s.Rows[i*p.mc:][:rows] {
			row := to[m*p.copied+piece.Off:][:piece.Len]
			copy(row, unsafe.Slice((*float32)(from), piece.Len))
			s.Rows[i*p.mc+m] = unsafe.Pointer(&row[0])
		}
	}
}

// fillRows sets table[i] = base + i·stride bytes.
func fillRows(table []unsafe.Pointer, base unsafe.Pointer, stride int) {
	for i := range table {
		table[i] = unsafe.Add(base, i*stride)
	}
}

// NarrowStride is the float32 that a row of k channels takes narrowed: pairs of bfloat16, and so much room that rows do not lie a
// multiple of 4 KB apart.
func NarrowStride(k int) int { return (k+31)&^31/2 + 16 }

// Narrow rounds row to bfloat16, as row m of dst; an odd last channel is paired with zero. Only kernels that report HasBF16 read such
// rows.
func (k *Kernel) Narrow(dst []float32, m int, row []float32) {
	to := narrowRow(dst, m, len(row))
	k.narrow(to[:len(row)], row)
	clear(to[len(row):])
}

// narrowRow is row m of narrowed rows of width channels.
func narrowRow(all []float32, m, width int) []uint16 {
	row := all[m*NarrowStride(width):][:NarrowStride(width)]
	return unsafe.Slice((*uint16)(unsafe.Pointer(&row[0])), 2*len(row))
}

// narrow rounds [X|X2] of narrowRows rows in the workspace.
func (p *Plan) narrow(task int, a *Args) {
	c, k := &p.cfg, p.prod.W.Kern
	for m := task * narrowRows; m < min((task+1)*narrowRows, c.M); m++ {
		row := narrowRow(a.Workspace, m, p.k1+c.K2)
		k.narrow(row[:p.k1], a.X[m*c.StrideX:][:p.k1])
		if c.K2 > 0 {
			k.narrow(row[p.k1:][:c.K2], a.X2[m*c.StrideX2:][:c.K2])
		}
		clear(row[p.k1+c.K2:])
	}
}
