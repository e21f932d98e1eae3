package norm

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// GroupConfig describes a group normalisation of [N,Rows,C1+C2], Rows being H·W. The channels may come
// from two tensors, [N,Rows,C1] and [N,Rows,C2], that are joined without being copied; a group may hold
// channels of both.
type GroupConfig struct {
	N, Rows int
	C1, C2  int // C2 is 0 for a single input
	Groups  int
	Eps     float64
	Act     func(x []float32) // activation after the affine map, in place; nil is the identity
}

// GroupArgs are the operands of one run.
type GroupArgs struct {
	X1, X2       []float32 // [N,Rows,C1] and [N,Rows,C2]
	Weight, Bias []float32 // [C1+C2]
	Out          []float32 // [N,Rows,C1+C2]; may be X1 if C2 is 0
	Workspace    []float32 // Workspace() elements, starting on an 8-byte boundary
}

// Group is a group normalisation laid out for one shape and kernel set:
//
//	y = Act((x-μ)/√(σ²+Eps)·Weight + Bias)
//
// with the mean μ and the biased variance σ² of each batch item and group. See Wu and He, "Group
// Normalization" (arXiv:1803.08494). Run it as
//
//	for phase := range g.Phases() {
//		every task of range g.Tasks(phase), in any order, by any worker: g.Do(phase, task, args)
//		wait for all of them
//	}
//
// The result does not depend on who does what. A Group is read-only and may be shared.
type Group struct {
	cfg    GroupConfig
	kern   *kernels
	c      int // channels
	chunks int // chunks of each batch item
	rows   int // rows in a chunk, fewer in the last
}

// The phases of a group normalisation.
const (
	sums    = iota // per-channel sums of each chunk
	combine        // chunks and channels to a scale and a shift for each channel
	apply          // the affine map and the activation
)

// chunkElems is about how many elements a task covers, maxChunks how many chunks a batch item is cut into
// at most.
const (
	chunkElems = 32 << 10
	maxChunks  = 256
)

// NewGroup checks cfg and lays out the work for a kernel set.
func NewGroup(set isa.Set, cfg GroupConfig) (*Group, error) {
	c := cfg.C1 + cfg.C2
	switch {
	case cfg.N < 1 || cfg.Rows < 1 || cfg.C1 < 1 || cfg.C2 < 0:
		return nil, fmt.Errorf("norm: batch %d, %d rows, %d and %d channels: want at least 1 (second input: 0)", cfg.N, cfg.Rows, cfg.C1, cfg.C2)
	case cfg.Groups < 1 || c%cfg.Groups != 0:
		return nil, fmt.Errorf("norm: %d channels do not divide into %d groups", c, cfg.Groups)
	case !(cfg.Eps >= 0):
		return nil, fmt.Errorf("norm: epsilon %v is not a number from 0 up", cfg.Eps)
	}
	g := &Group{cfg: cfg, kern: kernelsFor(set), c: c}
	g.rows = max(1, chunkElems/c, (cfg.Rows+maxChunks-1)/maxChunks)
	g.chunks = (cfg.Rows + g.rows - 1) / g.rows
	return g, nil
}

// Workspace is the memory a run needs, shared by its tasks, in float32 elements.
func (g *Group) Workspace() int { return g.cfg.N * g.c * (4*g.chunks + 2) }

// Phases is the number of phases.
func (g *Group) Phases() int { return 3 }

// Tasks is the number of independent tasks in a phase.
func (g *Group) Tasks(phase int) int {
	if phase == combine {
		return g.cfg.N * g.cfg.Groups
	}
	return g.cfg.N * g.chunks
}

// Check reports operands too short for the plan. Do relies on a caller that has checked.
func (g *Group) Check(a *GroupArgs) error {
	c := &g.cfg
	for _, o := range []struct {
		name       string
		have, want int
	}{
		{"X1", len(a.X1), c.N * c.Rows * c.C1},
		{"X2", len(a.X2), c.N * c.Rows * c.C2},
		{"Weight", len(a.Weight), g.c},
		{"Bias", len(a.Bias), g.c},
		{"Out", len(a.Out), c.N * c.Rows * g.c},
		{"Workspace", len(a.Workspace), g.Workspace()},
	} {
		if o.have < o.want {
			return fmt.Errorf("norm: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(a.Workspace)))%8 != 0 {
		return fmt.Errorf("norm: Workspace does not start on an 8-byte boundary")
	}
	return nil
}

// Do runs one task. The args must pass Check.
func (g *Group) Do(phase, task int, a *GroupArgs) {
	switch phase {
	case sums:
		g.sum(task, a)
	case combine:
		g.combine(task/g.cfg.Groups, task%g.cfg.Groups, a)
	case apply:
		task = g.Tasks(apply) - 1 - task // what was summed last may still be in cache
		g.apply(task/g.chunks, task%g.chunks, a)
	}
}

// partial is the sums and sums of squares of the channels of one chunk; task counts chunks of all items.
func (g *Group) partial(task int, a *GroupArgs) (sum, square []float64) {
	n := g.cfg.N * g.chunks * 2 * g.c
	all := unsafe.Slice((*float64)(unsafe.Pointer(&a.Workspace[0])), n)
	p := all[task*2*g.c:][:2*g.c]
	return p[:g.c], p[g.c:]
}

// affine is the scale and shift of the channels of one batch item.
func (g *Group) affine(n int, a *GroupArgs) (scale, shift []float32) {
	p := a.Workspace[g.cfg.N*g.c*4*g.chunks+n*2*g.c:][:2*g.c]
	return p[:g.c], p[g.c:]
}

// span is the first row of a chunk, counted over all batch items, and its number of rows.
func (g *Group) span(n, chunk int) (first, rows int) {
	return n*g.cfg.Rows + chunk*g.rows, min(g.rows, g.cfg.Rows-chunk*g.rows)
}

func (g *Group) sum(task int, a *GroupArgs) {
	c1, c2 := g.cfg.C1, g.cfg.C2
	first, rows := g.span(task/g.chunks, task%g.chunks)
	sum, square := g.partial(task, a)
	g.kern.moments(sum[:c1], square[:c1], a.X1[first*c1:][:rows*c1], rows, c1, c1)
	if c2 > 0 {
		g.kern.moments(sum[c1:], square[c1:], a.X2[first*c2:][:rows*c2], rows, c2, c2)
	}
}

// statistics are the mean and 1/√(σ²+Eps) of one group of a batch item.
func (g *Group) statistics(n, group int, a *GroupArgs) (mean, rstd float64) {
	total, squares := g.total(n, group, a)
	count := g.count()
	mean = total / count
	variance := max(squares/count-mean*mean, 0)
	return mean, 1 / math.Sqrt(variance+g.cfg.Eps)
}

// count is the number of elements of a group.
func (g *Group) count() float64 { return float64(g.c/g.cfg.Groups) * float64(g.cfg.Rows) }

// total adds up both sums of one group of a batch item, over its channels and all chunks.
func (g *Group) total(n, group int, a *GroupArgs) (sum, square float64) {
	width := g.c / g.cfg.Groups
	from := group * width
	for chunk := range g.chunks {
		s, q := g.partial(n*g.chunks+chunk, a)
		for i := from; i < from+width; i++ {
			sum += s[i]
			square += q[i]
		}
	}
	return sum, square
}

func (g *Group) combine(n, group int, a *GroupArgs) {
	width := g.c / g.cfg.Groups
	mean, rstd := g.statistics(n, group, a)
	scale, shift := g.affine(n, a)
	for i := group * width; i < (group+1)*width; i++ {
		s := float64(a.Weight[i]) * rstd
		scale[i], shift[i] = float32(s), float32(float64(a.Bias[i])-mean*s)
	}
}

// actElems is how many elements are mapped before the activation visits them: they are still in the
// first-level cache.
const actElems = 4 << 10

func (g *Group) apply(n, chunk int, a *GroupArgs) {
	c1, c2 := g.cfg.C1, g.cfg.C2
	first, rows := g.span(n, chunk)
	scale, shift := g.affine(n, a)
	for step := max(1, actElems/g.c); rows > 0; first, rows = first+step, rows-step {
		r := min(step, rows)
		dst := a.Out[first*g.c:][:r*g.c]
		g.kern.affine(dst, a.X1[first*c1:][:r*c1], scale[:c1], shift[:c1], r, c1, g.c, c1)
		if c2 > 0 {
			g.kern.affine(dst[c1:], a.X2[first*c2:][:r*c2], scale[c1:], shift[c1:], r, c2, g.c, c2)
		}
		if g.cfg.Act != nil {
			g.cfg.Act(dst)
		}
	}
}
