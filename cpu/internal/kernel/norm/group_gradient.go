package norm

import (
	"fmt"
	"unsafe"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// GroupGradientArgs are the operands of one run. Of the embedded ones Out is not looked at.
type GroupGradientArgs struct {
	GroupArgs
	DY       []float32 // [N,Rows,C1+C2]
	Add      []float32 // shaped like DX1, added to it, or nil
	DX1, DX2 []float32 // [N,Rows,C1] and [N,Rows,C2]; DX1 may be Add
}

// GroupGradient is the derivative of a [Group] by its inputs. With x̂ = (x-μ)/s and d = DY·Act'(x̂·Weight+Bias)·Weight,
//
//	dx = (d - mean(d) - x̂·mean(d·x̂))/s
//
// with means over a group. The statistics are computed again from x. It is run like a Group, with scratch for each worker.
type GroupGradient struct {
	*Group
	act func(dx, x, dy []float32) // sets dx to Act'(x)·dy; nil is the gradient of the identity
}

// NewGroupGradient checks cfg, whose Act is not looked at, and lays out the work. act sets dx, which may be x, to the
// activation's derivative at x times dy; nil stands for the identity's.
func NewGroupGradient(set isa.Set, cfg GroupConfig, act func(dx, x, dy []float32)) (*GroupGradient, error) {
	g, err := NewGroup(set, cfg)
	return &GroupGradient{g, act}, err
}

// The phases of the gradient, after sums and combine.
const (
	gradientSums    = iota + 2 // per-channel sums of d and d·(x-μ) of each chunk
	gradientCombine            // their means
	gradientApply
)

// Workspace is the memory a run needs, shared by its tasks, in float32 elements.
func (g *GroupGradient) Workspace() int { return g.Group.Workspace() + g.cfg.N*10*g.c }

// Scratch is the memory each worker needs, in float32 elements.
func (g *GroupGradient) Scratch() int { return g.step() * g.c }

// step is how many rows are visited at a time.
func (g *GroupGradient) step() int { return max(1, actElems/g.c) }

// Phases is the number of phases.
func (g *GroupGradient) Phases() int { return gradientApply + 1 }

// Tasks is the number of independent tasks in a phase.
func (g *GroupGradient) Tasks(phase int) int {
	if phase == combine || phase == gradientCombine {
		return g.cfg.N * g.cfg.Groups
	}
	return g.cfg.N * g.chunks
}

// Check reports operands too short for the plan. Do relies on a caller that has checked.
func (g *GroupGradient) Check(a *GroupGradientArgs) error {
	c := &g.cfg
	for _, o := range []struct {
		name       string
		have, want int
	}{
		{"X1", len(a.X1), c.N * c.Rows * c.C1},
		{"X2", len(a.X2), c.N * c.Rows * c.C2},
		{"Weight", len(a.Weight), g.c},
		{"Bias", len(a.Bias), g.c},
		{"DY", len(a.DY), c.N * c.Rows * g.c},
		{"DX1", len(a.DX1), c.N * c.Rows * c.C1},
		{"DX2", len(a.DX2), c.N * c.Rows * c.C2},
		{"Workspace", len(a.Workspace), g.Workspace()},
	} {
		if o.have < o.want {
			return fmt.Errorf("norm: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	if a.Add != nil && len(a.Add) < c.N*c.Rows*c.C1 {
		return fmt.Errorf("norm: Add has %d elements: want %d", len(a.Add), c.N*c.Rows*c.C1)
	}
	if uintptr(unsafe.Pointer(unsafe.SliceData(a.Workspace)))%8 != 0 {
		return fmt.Errorf("norm: Workspace does not start on an 8-byte boundary")
	}
	return nil
}

// Do runs one task. The args must pass Check and scratch must hold Scratch() elements.
func (g *GroupGradient) Do(phase, task int, scratch []float32, a *GroupGradientArgs) {
	groups := g.cfg.Groups
	switch phase {
	case sums:
		g.sum(task, &a.GroupArgs)
	case combine:
		g.normalise(task/groups, task%groups, a)
	case gradientSums:
		g.gradientSum(task/g.chunks, task%g.chunks, scratch, a)
	case gradientCombine:
		g.means(task/groups, task%groups, a)
	case gradientApply:
		g.gradientApply(task/g.chunks, task%g.chunks, scratch, a)
	}
}

// terms are, for each channel of one batch item, the numbers that make dx = d·scale + (x-mean)·inner + outer of d = DY·Act', and rstd,
// of which they are made. They and what they make are float64: dx may be far smaller than its terms, in groups of few elements
// above all.
type terms struct{ scale, mean, inner, outer, rstd []float64 }

func (g *GroupGradient) terms(n int, a *GroupGradientArgs) (t terms) {
	all := unsafe.Slice((*float64)(unsafe.Pointer(&a.Workspace[g.Group.Workspace()])), g.cfg.N*5*g.c)
	all = all[n*5*g.c:]
	for i, p := range []*[]float64{&t.scale, &t.mean, &t.inner, &t.outer, &t.rstd} {
		*p = all[i*g.c:][:g.c]
	}
	return t
}

// from is the terms of channels c onwards.
func (t terms) from(c int) terms {
	return terms{t.scale[c:], t.mean[c:], t.inner[c:], t.outer[c:], t.rstd[c:]}
}

// normalise keeps the statistics of one group beside the affine map of the forward pass.
func (g *GroupGradient) normalise(n, group int, a *GroupGradientArgs) {
	mean, rstd := g.statistics(n, group, &a.GroupArgs)
	g.combine(n, group, &a.GroupArgs)
	t := g.terms(n, a)
	width := g.c / g.cfg.Groups
	for i := group * width; i < (group+1)*width; i++ {
		t.scale[i], t.mean[i], t.rstd[i] = float64(a.Weight[i])*rstd, mean, rstd
	}
}

// means turns the sums of d·Weight and d·Weight·(x-mean) over one group into the last two terms.
func (g *GroupGradient) means(n, group int, a *GroupGradientArgs) {
	sum, inner := g.total(n, group, &a.GroupArgs)
	count, width := g.count(), g.c/g.cfg.Groups
	t := g.terms(n, a)
	for i := group * width; i < (group+1)*width; i++ {
		rstd := t.rstd[i]
		t.inner[i] = -inner / count * rstd * rstd * rstd
		t.outer[i] = -sum / count * rstd
	}
}

// visit goes through a chunk a few rows at a time and hands f the first of them, their number and their d = DY·Act'.
func (g *GroupGradient) visit(n, chunk int, scratch []float32, a *GroupGradientArgs, f func(first, rows int, d []float32)) {
	c1, c2 := g.cfg.C1, g.cfg.C2
	first, rows := g.span(n, chunk)
	scale, shift := g.affine(n, &a.GroupArgs)
	for step := g.step(); rows > 0; first, rows = first+step, rows-step {
		r := min(step, rows)
		d := a.DY[first*g.c:][:r*g.c]
		if g.act != nil {
			block := scratch[:r*g.c]
			g.kern.affine(block, a.X1[first*c1:][:r*c1], scale[:c1], shift[:c1], r, c1, g.c, c1)
			if c2 > 0 {
				g.kern.affine(block[c1:], a.X2[first*c2:][:r*c2], scale[c1:], shift[c1:], r, c2, g.c, c2)
			}
			g.act(block, block, d)
			d = block
		}
		f(first, r, d)
	}
}

func (g *GroupGradient) gradientSum(n, chunk int, scratch []float32, a *GroupGradientArgs) {
	c1, c2 := g.cfg.C1, g.cfg.C2
	sum, inner := g.partial(n*g.chunks+chunk, &a.GroupArgs)
	clear(sum)
	clear(inner)
	mean := g.terms(n, a).mean
	g.visit(n, chunk, scratch, a, func(first, rows int, d []float32) {
		g.kern.gradientMoments(sum[:c1], inner[:c1], a.X1[first*c1:][:rows*c1], d, mean, rows, c1, g.c)
		if c2 > 0 {
			g.kern.gradientMoments(sum[c1:], inner[c1:], a.X2[first*c2:][:rows*c2], d[c1:], mean[c1:], rows, c2, g.c)
		}
	})
	for i, w := range a.Weight[:g.c] {
		sum[i] *= float64(w)
		inner[i] *= float64(w)
	}
}

func (g *GroupGradient) gradientApply(n, chunk int, scratch []float32, a *GroupGradientArgs) {
	c1, c2 := g.cfg.C1, g.cfg.C2
	t := g.terms(n, a)
	g.visit(n, chunk, scratch, a, func(first, rows int, d []float32) {
		var add []float32
		if a.Add != nil {
			add = a.Add[first*c1:][:rows*c1]
		}
		g.kern.gradientAffine(a.DX1[first*c1:][:rows*c1], a.X1[first*c1:][:rows*c1], d, add, t, rows, c1, c1, g.c)
		if c2 > 0 {
			g.kern.gradientAffine(a.DX2[first*c2:][:rows*c2], a.X2[first*c2:][:rows*c2], d[c1:], nil, t.from(c1), rows, c2, c2, g.c)
		}
	})
}
