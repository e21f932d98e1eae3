package conv

import (
	"fmt"

	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// WeightGradient is a plan of the gradient of a convolution by its weight, the product of its result's gradient, turned
// over, and the patches that each pixel of the result reads: Y[o,c,u,v] = Σ_r DY[r,o]·patch_r[c,u,v] + Residual. Args.X
// and Args.X2 are the convolution's inputs, Args.W is DY, [N,h,w,Cout], and Args.Y the gradient, [Cout,C1+C2,KH,KW].
// Patches are gathered a panel at a time; Y is made tap by tap and put in order at the end. Run it like gemm.Plan.
type WeightGradient struct {
	cfg    Config
	oh, ow int
	ys, xs []int32
	stride int // elements between rows of DY turned over
	plan   *gemm.Plan
}

// The phases of the gradient by a weight.
const (
	turn = iota
	contract
	order
)

// NewWeightGradient lays out the gradient by its weight of the convolution that cfg describes.
func NewWeightGradient(k *gemm.Kernel, cfg Config) (*WeightGradient, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Stride = max(cfg.Stride, 1)
	p := &WeightGradient{cfg: cfg}
	p.oh, p.ow = cfg.Output()
	p.ys, p.xs = cfg.axes(0, 0)
	p.stride = gemm.TurnStride(p.pixels())
	patches := k.Live(p.patch(), p.pixels(), func(a *gemm.Args, dst []float32, panel, k0, n int) {
		for i := range n {
			p.gather(a, dst[i*k.NR:][:k.NR], k0+i, panel*k.NR)
		}
	})
	var err error
	p.plan, err = gemm.NewPlan(patches, gemm.Config{M: cfg.Cout, StrideX: p.stride, Workers: cfg.Workers})
	return p, err
}

func (p *WeightGradient) pixels() int { return p.cfg.N * p.oh * p.ow }
func (p *WeightGradient) patch() int  { return p.cfg.KH * p.cfg.KW * (p.cfg.C1 + p.cfg.C2) }

// split is the workspace: the result's gradient turned over, the gradient by taps, what the plan needs.
func (p *WeightGradient) split(w []float32) (turned, byTap, inside []float32) {
	m, n := p.cfg.Cout*p.stride, p.cfg.Cout*p.patch()
	return w[:m:m], w[m:][:n:n], w[m+n:]
}

// Need is the memory the plan uses.
func (p *WeightGradient) Need() gemm.Need {
	need := p.plan.Need()
	need.Workspace += p.cfg.Cout * (p.stride + p.patch())
	return need
}

// Phases is the number of phases.
func (p *WeightGradient) Phases() int { return 3 }

// Tasks is the number of independent tasks in a phase.
func (p *WeightGradient) Tasks(phase int) int {
	switch phase {
	case turn:
		return (p.pixels() + gemm.TurnRows - 1) / gemm.TurnRows
	case contract:
		return p.plan.Tasks(0)
	}
	return p.cfg.Cout
}

// Check reports operands too short for the plan. Do relies on a caller that has checked.
func (p *WeightGradient) Check(a *gemm.Args) error {
	c := &p.cfg
	result := c.Cout * p.patch()
	for _, o := range []struct {
		name       string
		have, want int
	}{
		{"X", len(a.X), c.N * c.H * c.W * c.C1}, {"X2", len(a.X2), c.N * c.H * c.W * c.C2}, {"W", len(a.W), p.pixels() * c.Cout},
		{"Y", len(a.Y), result}, {"Residual", len(a.Residual), result}, {"Workspace", len(a.Workspace), p.Need().Workspace},
	} {
		if o.have < o.want && (o.name != "Residual" || a.Residual != nil) {
			return fmt.Errorf("conv: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	return nil
}

// Do runs one task. The args must pass Check and s must satisfy Need.
func (p *WeightGradient) Do(phase, task int, s *gemm.Scratch, a *gemm.Args) {
	turned, byTap, inside := p.split(a.Workspace)
	switch phase {
	case turn:
		from := task * gemm.TurnRows
		gemm.Turn(turned, a.W, from, min(from+gemm.TurnRows, p.pixels()), p.cfg.Cout, p.stride)
	case contract:
		s.Args = gemm.Args{X: turned, W: a.X, X2: a.X2, Y: byTap, Workspace: inside}
		p.plan.Do(0, task, s, &s.Args)
	case order:
		p.order(task, byTap, a)
	}
}

// gather writes columns n0 onwards of the patch of pixel r of the result, in the order tap, channel, zeros beyond its end.
func (p *WeightGradient) gather(a *gemm.Args, dst []float32, r, n0 int) {
	c := &p.cfg
	n, i, j := r/(p.oh*p.ow), r/p.ow%p.oh, r%p.ow
	for len(dst) > 0 && n0 < p.patch() {
		tap, channel := n0/(c.C1+c.C2), n0%(c.C1+c.C2)
		x, width := a.W, c.C1
		if channel >= c.C1 {
			x, width, channel = a.X2, c.C2, channel-c.C1
		}
		part := dst[:min(len(dst), width-channel)]
		row, column := p.ys[i*c.Stride+tap/c.KW], p.xs[j*c.Stride+tap%c.KW]
		if row < 0 || column < 0 {
			clear(part)
		} else {
			copy(part, x[((n*c.H+int(row))*c.W+int(column))*width+channel:])
		}
		dst, n0 = dst[len(part):], n0+len(part)
	}
	clear(dst)
}

// order stores the gradient of one output channel.
func (p *WeightGradient) order(o int, byTap []float32, a *gemm.Args) {
	taps, channels := p.cfg.KH*p.cfg.KW, p.cfg.C1+p.cfg.C2
	from := o * p.patch()
	for i := range p.patch() {
		v := byTap[from+i%taps*channels+i/taps]
		if a.Residual != nil {
			v += a.Residual[from+i]
		}
		a.Y[from+i] = v
	}
}
