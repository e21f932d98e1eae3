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
	slope func(x []float32) // replaces x by Act'(x); nil is the derivative of the identity
}

// NewGroupGradient checks cfg, whose Act is not looked at, and lays out the work. slope replaces x by the
// activation's derivative; nil stands for the identity's.
func NewGroupGradient(set isa.Set, cfg GroupConfig, slope func(x []float32)) (*GroupGradient, error) {
	g, err := NewGroup(set, cfg)
	return &GroupGradient{g, slope}, err
}

// The phases of the gradient, after sums and combine.
const (
	gradientSums    = iota + 2 // per-channel sums of d and d·(x-μ) of each chunk
	gradientCombine            // their means
	gradientApply
)

// Workspace is the memory a run needs, shared by its tasks, in float32 elements.
func (g *GroupGradient) Workspace() int { return g.Group.Workspace() + g.cfg.N*8*g.c }

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

// terms are, for each channel of one batch item, the numbers that make dx = d·rstd + (x-mean)·inner + outer. They and what
// they make are float64: dx may be far smaller than its terms, in groups of few elements above all.
type terms struct{ mean, rstd, inner, outer []float64 }

func (g *GroupGradient) terms(n int, a *GroupGradientArgs) terms {
	all := unsafe.Slice((*float64)(unsafe.Pointer(&a.Workspace[g.Group.Workspace()])), g.cfg.N*4*g.c)
	p := all[n*4*g.c:][:4*g.c]
	return terms{p[:g.c], p[g.c : 2*g.c], p[2*g.c : 3*g.c], p[3*g.c:]}
}

// from is the terms of channels c onwards.
func (t terms) from(c int) terms { return terms{t.mean[c:], t.rstd[c:], t.inner[c:], t.outer[c:]} }

// normalise keeps the statistics of one group beside the affine map of the forward pass.
func (g *GroupGradient) normalise(n, group int, a *GroupGradientArgs) {
	mean, rstd := g.statistics(n, group, &a.GroupArgs)
	g.combine(n, group, &a.GroupArgs)
	t := g.terms(n, a)
	width := g.c / g.cfg.Groups
	for i := group * width; i < (group+1)*width; i++ {
		t.mean[i], t.rstd[i] = mean, rstd
	}
}

// means turns the sums of d and d·(x-mean) over one group into the last two terms.
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

// visit goes through a chunk a few rows at a time and hands f each row's index and derivative of the activation.
func (g *GroupGradient) visit(n, chunk int, scratch []float32, a *GroupGradientArgs, f func(row int, slope []float32)) {
	c1, c2 := g.cfg.C1, g.cfg.C2
	first, rows := g.span(n, chunk)
	scale, shift := g.affine(n, &a.GroupArgs)
	for step := g.step(); rows > 0; first, rows = first+step, rows-step {
		r := min(step, rows)
		block := scratch[:r*g.c]
		if g.slope == nil {
			for i := range block {
				block[i] = 1
			}
		} else {
			g.kern.affine(block, a.X1[first*c1:][:r*c1], scale[:c1], shift[:c1], r, c1, g.c, c1)
			if c2 > 0 {
				g.kern.affine(block[c1:], a.X2[first*c2:][:r*c2], scale[c1:], shift[c1:], r, c2, g.c, c2)
			}
			g.slope(block)
		}
		for i := range r {
			f(first+i, block[i*g.c:][:g.c])
		}
	}
}

func (g *GroupGradient) gradientSum(n, chunk int, scratch []float32, a *GroupGradientArgs) {
	c1, c2 := g.cfg.C1, g.cfg.C2
	sum, inner := g.partial(n*g.chunks+chunk, &a.GroupArgs)
	clear(sum)
	clear(inner)
	mean := g.terms(n, a).mean
	g.visit(n, chunk, scratch, a, func(row int, slope []float32) {
		dy := a.DY[row*g.c:][:g.c]
		accumulate(sum[:c1], inner[:c1], slope, dy, a.Weight, a.X1[row*c1:], mean)
		accumulate(sum[c1:], inner[c1:], slope[c1:], dy[c1:], a.Weight[c1:], a.X2[row*c2:], mean[c1:])
	})
}

// accumulate adds d = dy·slope·weight and d·(x-mean) to the sums of each channel.
func accumulate(sum, inner []float64, slope, dy, weight, x []float32, mean []float64) {
	n := len(sum)
	inner, slope, dy, weight, x, mean = inner[:n], slope[:n], dy[:n], weight[:n], x[:n], mean[:n]
	for i, v := range dy {
		d := float64(v) * float64(slope[i]) * float64(weight[i])
		sum[i] += d
		inner[i] += d * (float64(x[i]) - mean[i])
	}
}

func (g *GroupGradient) gradientApply(n, chunk int, scratch []float32, a *GroupGradientArgs) {
	c1, c2 := g.cfg.C1, g.cfg.C2
	t := g.terms(n, a)
	t2 := t.from(c1)
	g.visit(n, chunk, scratch, a, func(row int, slope []float32) {
		dx, dy := a.DX1[row*c1:][:c1], a.DY[row*g.c:][:g.c]
		if a.Add == nil {
			t.apply(dx, slope, dy, a.Weight, a.X1[row*c1:])
		} else {
			t.applyAdd(dx, slope, dy, a.Weight, a.X1[row*c1:], a.Add[row*c1:])
		}
		t2.apply(a.DX2[row*c2:][:c2], slope[c1:], dy[c1:], a.Weight[c1:], a.X2[row*c2:])
	})
}

// apply writes dx for a row of len(dx) channels.
func (t terms) apply(dx, slope, dy, weight, x []float32) {
	n := len(dx)
	slope, dy, weight, x = slope[:n], dy[:n], weight[:n], x[:n]
	mean, rstd, inner, outer := t.mean[:n], t.rstd[:n], t.inner[:n], t.outer[:n]
	for i, v := range dy {
		d := float64(v) * float64(slope[i]) * float64(weight[i])
		dx[i] = float32(d*rstd[i] + (float64(x[i])-mean[i])*inner[i] + outer[i])
	}
}

// applyAdd is apply with add on top; dx may be add.
func (t terms) applyAdd(dx, slope, dy, weight, x, add []float32) {
	n := len(dx)
	slope, dy, weight, x, add = slope[:n], dy[:n], weight[:n], x[:n], add[:n]
	mean, rstd, inner, outer := t.mean[:n], t.rstd[:n], t.inner[:n], t.outer[:n]
	for i, v := range dy {
		d := float64(v) * float64(slope[i]) * float64(weight[i])
		dx[i] = float32(d*rstd[i] + (float64(x[i])-mean[i])*inner[i] + outer[i] + float64(add[i]))
	}
}
