package gemm

import "github.com/atelier-go/atelier/compute"

// Gather writes rows k0 to k0+n of a panel, [n][NR] float32 with zeros beyond N, from the operands of a run.
type Gather func(a *Args, dst []float32, panel, k0, n int)

// Live is a [n,k] matrix of weights that are known only while a plan runs: instead of being packed once, a panel is
// gathered whenever it is multiplied. That costs little where the matrix is small or met by few chunks of rows,
// as the factors of low-rank adapters are.
func (k *Kernel) Live(n, depth int, gather Gather) *Weights {
	return &Weights{N: n, K: depth, Taps: 1, DType: compute.F32, Kern: k, gather: gather}
}

// operand is the matrix of weights that m describes, times scale, in the float32 elements of Args.W: for a plan that multiplies by it
// once, so that gathering must not take long.
func (k *Kernel) operand(m Matrix, scale float32) *Weights {
	gather := m.Gather(k.NR, scale)
	return k.Live(m.N, m.C, func(a *Args, dst []float32, panel, k0, n int) {
		whole, at := 0, m.Offset+panel*k.NR*m.StrideN+k0*m.StrideC
		switch {
		case m.N-panel*k.NR < k.NR:
		case m.StrideN == 1 && k.gatherRows != nil:
			whole = n
			_, _ = dst[whole*k.NR-1], a.W[at+(whole-1)*m.StrideC+k.NR-1]
			k.gatherRows(&dst[0], &a.W[at], whole, m.StrideC, scale)
		case m.StrideC == 1 && k.gatherColumns != nil && n >= 16:
			whole = n &^ 15
			_, _ = dst[whole*k.NR-1], a.W[at+(k.NR-1)*m.StrideN+whole-1]
			k.gatherColumns(&dst[0], &a.W[at], whole/16, m.StrideN, scale)
		}
		if whole < n {
			gather(a, dst[whole*k.NR:], panel, k0+whole, n-whole)
		}
	})
}

// Live reports whether the weights are gathered while a plan runs.
func (w *Weights) Live() bool { return w.gather != nil }

// Gather reads the matrix that m describes, times scale, from the float32 elements of Args.W. m.Data is not looked at.
func (m Matrix) Gather(nr int, scale float32) Gather {
	return func(a *Args, dst []float32, panel, k0, n int) {
		dst = dst[:n*nr]
		columns := min(nr, m.N-panel*nr)
		if columns < nr {
			clear(dst)
		}
		first := m.Offset + panel*nr*m.StrideN
		if m.StrideN == 1 {
			for i := range n {
				t, c := (k0+i)/m.C, (k0+i)%m.C
				multiply(dst[i*nr:][:columns], a.W[first+t*m.StrideT+c*m.StrideC:], scale)
			}
			return
		}
		for j := range columns {
			at, t, c := first+j*m.StrideN, k0/m.C, k0%m.C
			for i := j; i < len(dst); i += nr {
				dst[i] = scale * a.W[at+t*m.StrideT+c*m.StrideC]
				if c++; c == m.C {
					c, t = 0, t+1
				}
			}
		}
	}
}

// multiply is dst = scale·src over len(dst) elements.
func multiply(dst, src []float32, scale float32) {
	src = src[:len(dst)]
	if scale == 1 {
		copy(dst, src)
		return
	}
	for i, v := range src {
		dst[i] = scale * v
	}
}
