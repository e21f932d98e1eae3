package conv

import (
	"fmt"

	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// adjoint is the gradient of a resizing convolution by its input: the gradient by the resized input, made in the
// workspace, and for each pixel of the input the sum over those that were copied from it.
type adjoint struct {
	Plan
	n, h, w, c int // extents of the input
	resizedH   int
	resizedW   int
	rows       []int // first resized row copied from row i, and the end
	columns    []int
}

// NewAdjoint lays out the gradient by its input of the convolution that forward describes: Args.X is the gradient of
// the result, [N,h,w,Cout], and Args.Y that of channels of its input, [N,H,W,w.N]. w is the adjoint of [Weights] for
// those channels; forward.Algorithm is the gradient's. Stride 1 is a convolution of its own, a larger stride one whose
// input is spaced by it.
func NewAdjoint(w *gemm.Weights, forward Config) (Plan, error) {
	if err := forward.check(); err != nil {
		return nil, err
	}
	oh, ow := forward.Output()
	ih, iw := forward.input()
	cfg := Config{
		N: forward.N, H: oh, W: ow, C1: forward.Cout, Cout: w.N, KH: forward.KH, KW: forward.KW, Spacing: max(forward.Stride, 1),
		PadTop: forward.KH - 1 - forward.PadTop, PadLeft: forward.KW - 1 - forward.PadLeft, Workers: forward.Workers, Algorithm: forward.Algorithm, Fixed: forward.Fixed,
	}
	if cfg.PadTop < 0 || cfg.PadLeft < 0 {
		return nil, fmt.Errorf("conv: the gradient of a convolution padded by %d and %d, a kernel of %d×%d or more", forward.PadTop, forward.PadLeft, forward.KH, forward.KW)
	}
	sh, sw := cfg.input()
	cfg.PadBottom, cfg.PadRight = ih+forward.KH-1-cfg.PadTop-sh, iw+forward.KW-1-cfg.PadLeft-sw
	if cfg.PadBottom < 0 || cfg.PadRight < 0 {
		return nil, fmt.Errorf("conv: the gradient of a convolution padded by %d and %d, a kernel of %d×%d or more", forward.PadBottom, forward.PadRight, forward.KH, forward.KW)
	}
	plan, err := NewPlan(w, cfg)
	if err != nil || forward.ResizeH == 0 {
		return plan, err
	}
	return &adjoint{
		Plan: plan, n: forward.N, h: forward.H, w: forward.W, c: w.N, resizedH: ih, resizedW: iw,
		rows: copies(forward.H, ih), columns: copies(forward.W, iw),
	}, nil
}

// copies is, for each of n pixels along an axis, the first of those that nearest-neighbour resizing copies from it, and
// the number of all at the end.
func copies(n, resized int) []int {
	first := make([]int, n+1)
	for i := range first {
		first[i] = (i*resized + n - 1) / n
	}
	return first
}

func (p *adjoint) resized() int { return p.n * p.resizedH * p.resizedW * p.c }

func (p *adjoint) Need() gemm.Need {
	need := p.Plan.Need()
	need.Workspace += p.resized()
	return need
}

func (p *adjoint) Phases() int { return p.Plan.Phases() + 1 }

func (p *adjoint) Tasks(phase int) int {
	if phase < p.Plan.Phases() {
		return p.Plan.Tasks(phase)
	}
	return p.n * p.h
}

func (p *adjoint) Check(a *gemm.Args) error {
	if n := p.n * p.h * p.w * p.c; len(a.Y) < n || a.Residual != nil && len(a.Residual) < n {
		return fmt.Errorf("conv: Y and Residual have %d and %d elements: want %d", len(a.Y), len(a.Residual), n)
	}
	if len(a.Workspace) < p.Need().Workspace {
		return fmt.Errorf("conv: Workspace has %d elements: want %d", len(a.Workspace), p.Need().Workspace)
	}
	inside := gemm.Args{X: a.X, Y: a.Workspace[:p.resized()], Workspace: a.Workspace[p.resized():]}
	return p.Plan.Check(&inside)
}

func (p *adjoint) Do(phase, task int, s *gemm.Scratch, a *gemm.Args) {
	whole := a.Workspace[:p.resized()]
	if phase < p.Plan.Phases() {
		s.Args = gemm.Args{X: a.X, W: a.W, Y: whole, Workspace: a.Workspace[p.resized():]}
		p.Plan.Do(phase, task, s, &s.Args)
		return
	}
	n, h := task/p.h, task%p.h
	for w := range p.w {
		at := (task*p.w + w) * p.c
		y := a.Y[at:][:p.c]
		if a.Residual != nil {
			copy(y, a.Residual[at:])
		} else {
			clear(y)
		}
		for row := p.rows[h]; row < p.rows[h+1]; row++ {
			for column := p.columns[w]; column < p.columns[w+1]; column++ {
				for i, v := range whole[((n*p.resizedH+row)*p.resizedW+column)*p.c:][:p.c] {
					y[i] += v
				}
			}
		}
	}
}
