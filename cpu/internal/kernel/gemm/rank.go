package gemm

import "unsafe"

// rankKernel are the kernels of products one of whose extents is a rank, so few that registers hold it.
type rankKernel struct {
	rank int

	// contract sets sums[j][i] = Σ t[k][j]·x[k][i] over k < n, for j < rank and i < rankColumns. Rows of x are stride apart.
	contract func(sums, t, x *float32, n, stride int)

	// update sets y[r][c] = residual[r][c] + Σ t[r][j]·b[j][c] over j < rank, for r < rows and c < columns. residual may be nil, or y.
	update func(y, residual, t, b *float32, rows, columns int)
}

const (
	rankColumns = 16 // columns that are computed at a time
	updateRows  = 8  // rows of Y that are made side by side: streams that processors foresee
	updateTask  = 64 // rows of Y in a task
)

// ranked are the products of a MatMul whose factors are both read where they are: the gradient of one factor of an adapter, a
// sum over all tokens of rank × width, and what an adapter adds to a layer or its gradient, tokens × rank × width.
type ranked struct {
	rankKernel
	cfg    MatMulConfig
	wide   int  // the other extent of the smaller factor
	sums   bool // over tokens
	turned bool // sums: the rank is N, so that Y is stored the other way round; else B is, or is scaled
}

// newRanked finds the kernel for cfg, and is nil where there is none.
func newRanked(k *Kernel, cfg MatMulConfig) *ranked {
	for _, r := range k.ranks {
		p := &ranked{rankKernel: r, cfg: cfg}
		switch {
		case cfg.TransposeA && !cfg.TransposeB && cfg.M == r.rank:
			p.sums, p.wide = true, cfg.N
		case cfg.TransposeA && !cfg.TransposeB && cfg.N == r.rank:
			p.sums, p.wide, p.turned = true, cfg.M, true
		case !cfg.TransposeA && cfg.K == r.rank:
			p.wide, p.turned = cfg.N, cfg.TransposeB || cfg.Scale != 1
		}
		if p.wide > 0 && p.wide%rankColumns == 0 {
			return p
		}
	}
	return nil
}

func (p *ranked) need() Need {
	switch {
	case p.sums:
		return Need{Scratch: p.rank * rankColumns}
	case p.turned:
		return Need{Workspace: p.rank * p.wide}
	}
	return Need{}
}

// phases is 1, or 2 where B is made first.
func (p *ranked) phases() int {
	if p.turned && !p.sums {
		return 2
	}
	return 1
}

func (p *ranked) tasks(phase int) int {
	switch {
	case p.sums:
		return p.wide / rankColumns
	case phase+1 < p.phases():
		return (p.wide + TurnRows - 1) / TurnRows
	}
	return (p.cfg.M + updateTask - 1) / updateTask
}

func (p *ranked) do(phase, task int, s *Scratch, a *Args) {
	switch {
	case p.sums:
		p.contractTask(task, s, a)
	case phase+1 < p.phases():
		p.turn(task*TurnRows, min((task+1)*TurnRows, p.wide), a)
	default:
		p.updateTask(task, a)
	}
}

// contractTask makes rankColumns columns of sums and puts them where they belong.
func (p *ranked) contractTask(task int, s *Scratch, a *Args) {
	t, x := a.X, a.W
	if p.turned {
		t, x = x, t
	}
	c0, sums := task*rankColumns, s.Floats[:p.rank*rankColumns]
	_, _ = t[p.cfg.K*p.rank-1], x[p.cfg.K*p.wide-1]
	p.contract(&sums[0], &t[0], &x[c0], p.cfg.K, p.wide)
	for j := range p.rank {
		for i, v := range sums[j*rankColumns:][:rankColumns] {
			at := j*p.wide + c0 + i
			if p.turned {
				at = (c0+i)*p.rank + j
			}
			v *= p.cfg.Scale
			if a.Residual != nil {
				v += a.Residual[at]
			}
			a.Y[at] = v
		}
	}
}

// turn makes columns from to to-1 of B, scaled, [rank][wide].
func (p *ranked) turn(from, to int, a *Args) {
	for j := range p.rank {
		row := a.Workspace[j*p.wide:][:p.wide]
		for c := from; c < to; c++ {
			at := j*p.wide + c
			if p.cfg.TransposeB {
				at = c*p.rank + j
			}
			row[c] = p.cfg.Scale * a.W[at]
		}
	}
}

// updateTask makes updateTask rows of Y.
func (p *ranked) updateTask(task int, a *Args) {
	b, n := a.W, p.wide
	if p.turned {
		b = a.Workspace
	}
	_ = b[p.rank*n-1]
	for from := task * updateTask; from < min((task+1)*updateTask, p.cfg.M); from += updateRows {
		rows := min(updateRows, p.cfg.M-from)
		y, t, residual := a.Y[from*n:][:rows*n], a.X[from*p.rank:][:rows*p.rank], []float32(nil)
		if a.Residual != nil {
			residual = a.Residual[from*n:][:rows*n]
		}
		p.update(&y[0], unsafe.SliceData(residual), &t[0], &b[0], rows, n)
	}
}
