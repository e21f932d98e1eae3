package gemm

import "fmt"

// MatMulConfig describes Y = Scale·op(A)·op(B) + Residual, where op(A) is [M,K], op(B) is [K,N] and op transposes what is
// stored as [K,M] or [N,K].
type MatMulConfig struct {
	M, N, K                int
	TransposeA, TransposeB bool
	Scale                  float32
	Workers                int // how many workers will share a phase; affects granularity, not results
}

// MatMul is a plan of a product of two matrices that are both operands of the run: Args.X is A, Args.W is B. One factor
// is read by rows, turned over in the workspace first where it is stored by columns, and the other gathered in panels. Of
// two factors that share a long side the narrower one gives the rows: where that is B the product made is Bᵀ·Aᵀ, turned
// over at the end. Where an extent is a rank that the set has kernels for, all that is not needed.
type MatMul struct {
	cfg      MatMulConfig
	ranked   *ranked // does the work if there is one
	swapped  bool    // the plan computes Yᵀ = op(B)ᵀ·op(A)ᵀ
	turned   bool    // its rows are stored as columns
	m, n     int     // extents of the plan's result
	stride   int     // elements between turned rows
	plan     *Plan
	leftSize int // workspace of turned rows, in front
	made     int // elements between rows of Yᵀ
}

// NewMatMul lays out the work for a kernel.
func NewMatMul(k *Kernel, cfg MatMulConfig) (*MatMul, error) {
	if cfg.M < 1 || cfg.N < 1 || cfg.K < 1 {
		return nil, fmt.Errorf("gemm: a product of %d×%d and %d×%d: every extent must be at least 1", cfg.M, cfg.K, cfg.K, cfg.N)
	}
	if r := newRanked(k, cfg); r != nil {
		return &MatMul{cfg: cfg, ranked: r}, nil
	}
	if k.thin != nil && cfg.N <= k.thin.NR {
		k = k.thin
	}
	p := &MatMul{cfg: cfg, m: cfg.M, n: cfg.N, turned: cfg.TransposeA}
	right := Matrix{N: cfg.N, Taps: 1, C: cfg.K, StrideN: 1, StrideC: cfg.N}
	if cfg.TransposeB {
		right.StrideN, right.StrideC = cfg.K, 1
	}
	if p.swapped = cfg.TransposeA && (cfg.TransposeB || cfg.N < cfg.M); p.swapped {
		p.m, p.n, p.turned = cfg.N, cfg.M, !cfg.TransposeB
		right.N, right.StrideN, right.StrideC = cfg.M, cfg.K, 1
		if cfg.TransposeA {
			right.StrideN, right.StrideC = 1, cfg.M
		}
	}
	c := Config{M: p.m, Workers: cfg.Workers}
	if p.swapped {
		p.made = TurnStride(p.n)
		c.StrideY = p.made
	}
	if p.turned {
		p.stride = TurnStride(cfg.K)
		p.leftSize = p.m * p.stride
		c.StrideX = p.stride
	}
	var err error
	p.plan, err = NewPlan(k.operand(right, cfg.Scale), c)
	return p, err
}

// Need is the memory the plan uses.
func (p *MatMul) Need() Need {
	if p.ranked != nil {
		return p.ranked.need()
	}
	need := p.plan.Need()
	need.Workspace += p.leftSize
	if p.swapped {
		need.Workspace += p.m * p.made
	}
	return need
}

// TurnRows is how many rows of a matrix one task should turn over.
const TurnRows = 128

// TurnStride is how far apart the rows of a matrix turned over for a plan should be, for k elements in each: rows a
// multiple of 4 KB apart would share sets of the first-level cache.
func TurnStride(k int) int { return (k+15)&^15 + 16 }

// Phases is the number of phases.
func (p *MatMul) Phases() int {
	if p.ranked != nil {
		return p.ranked.phases()
	}
	n := p.plan.Phases()
	if p.turned {
		n++
	}
	if p.swapped {
		n++
	}
	return n
}

// stage is the phase of the plan inside, below 0 before it and from its number of phases on after.
func (p *MatMul) stage(phase int) int {
	if p.turned {
		phase--
	}
	return phase
}

// Tasks is the number of independent tasks in a phase.
func (p *MatMul) Tasks(phase int) int {
	if p.ranked != nil {
		return p.ranked.tasks(phase)
	}
	switch stage := p.stage(phase); {
	case stage < 0:
		return (p.cfg.K + TurnRows - 1) / TurnRows
	case stage < p.plan.Phases():
		return p.plan.Tasks(stage)
	}
	return (p.n + TurnRows - 1) / TurnRows
}

// Check reports operands too short for the plan. Do relies on a caller that has checked.
func (p *MatMul) Check(a *Args) error {
	c := &p.cfg
	for _, o := range []struct {
		name       string
		have, want int
	}{
		{"X", len(a.X), c.M * c.K}, {"W", len(a.W), c.K * c.N}, {"Y", len(a.Y), c.M * c.N},
		{"Residual", len(a.Residual), c.M * c.N}, {"Workspace", len(a.Workspace), p.Need().Workspace},
	} {
		if o.have < o.want && (o.name != "Residual" || a.Residual != nil) {
			return fmt.Errorf("gemm: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	return nil
}

// Do runs one task. The args must pass Check and s must satisfy Need.
func (p *MatMul) Do(phase, task int, s *Scratch, a *Args) {
	if p.ranked != nil {
		p.ranked.do(phase, task, s, a)
		return
	}
	left, right := a.X, a.W
	if p.swapped {
		left, right = right, left
	}
	rows, rest := a.Workspace[:p.leftSize], a.Workspace[p.leftSize:]
	stage := p.stage(phase)
	from, to := task*TurnRows, (task+1)*TurnRows
	switch {
	case stage < 0:
		Turn(rows, left, from, min(to, p.cfg.K), p.m, p.stride)
	case stage >= p.plan.Phases():
		p.turnBack(a, rest, from, min(to, p.n))
	default:
		if p.turned {
			left = rows
		}
		s.Args = Args{X: left, W: right, Y: a.Y, Residual: a.Residual}
		if p.swapped {
			s.Args.Y, s.Args.Residual = rest[:p.m*p.made], nil
		}
		p.plan.Do(stage, task, s, &s.Args)
	}
}

// Turn sets dst[j][k] = src[k][j] for from ≤ k < to and j < width, rows of dst being stride apart.
func Turn(dst, src []float32, from, to, width, stride int) {
	const side = 16
	for k0 := from; k0 < to; k0 += side {
		for j := range width {
			row := dst[j*stride+k0:][:min(side, to-k0)]
			for i := range row {
				row[i] = src[(k0+i)*width+j]
			}
		}
	}
}

// turnBack stores rows from to to-1 of Y, the transpose of what the plan made, with the residual added.
func (p *MatMul) turnBack(a *Args, made []float32, from, to int) {
	for i := from; i < to; i++ {
		row := a.Y[i*p.m:][:p.m]
		for j := range row {
			v := made[j*p.made+i]
			if a.Residual != nil {
				v += a.Residual[i*p.m+j]
			}
			row[j] = v
		}
	}
}
