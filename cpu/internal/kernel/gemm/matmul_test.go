package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// TestMatMul compares products with sums in float64, and the bits of one worker's plan with those of another's for five.
func TestMatMul(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		for _, e := range [][3]int{{1, 1, 1}, {3, 5, 7}, {67, 33, 130}, {33, 67, 150}, {16, 320, 1500}, {320, 16, 300}, {300, 5, 77}, {8, 48, 203}, {64, 4, 77}, {67, 48, 16}, {130, 320, 8}, {300, 10, 200}} {
			for op := range 8 {
				cfg := MatMulConfig{M: e[0], N: e[1], K: e[2], TransposeA: op&1 > 0, TransposeB: op&2 > 0, Scale: 1, Workers: 1}
				if op&4 > 0 {
					cfg.Scale = -0.75
				}
				t.Run(fmt.Sprintf("%d×%d×%d/A=%v/B=%v/scale=%g", cfg.M, cfg.N, cfg.K, cfg.TransposeA, cfg.TransposeB, cfg.Scale), func(t *testing.T) {
					testMatMul(t, set, cfg, op&4 > 0)
				})
			}
		}
	})
}

func testMatMul(t *testing.T, set isa.Set, cfg MatMulConfig, residual bool) {
	r := rand.New(rand.NewPCG(uint64(cfg.M), uint64(cfg.K)))
	a := &Args{X: misaligned(random(r, cfg.M*cfg.K), 1), W: misaligned(random(r, cfg.K*cfg.N), 3)}
	if residual {
		a.Residual = random(r, cfg.M*cfg.N)
	}
	want, scale := make([]float64, cfg.M*cfg.N), make([]float64, cfg.M*cfg.N)
	for i := range want {
		m, n := i/cfg.N, i%cfg.N
		for k := range cfg.K {
			p, q := m*cfg.K+k, k*cfg.N+n
			if cfg.TransposeA {
				p = k*cfg.M + m
			}
			if cfg.TransposeB {
				q = n*cfg.K + k
			}
			v := float64(cfg.Scale) * float64(a.X[p]) * float64(a.W[q])
			want[i], scale[i] = want[i]+v, scale[i]+math.Abs(v)
		}
		if residual {
			want[i], scale[i] = want[i]+float64(a.Residual[i]), scale[i]+math.Abs(float64(a.Residual[i]))
		}
	}
	var first []float32
	for _, workers := range []int{1, 5} {
		cfg.Workers = workers
		p, err := NewMatMul(For(set), cfg)
		if err != nil {
			t.Fatal(err)
		}
		var check func(*testing.T)
		a.Y, check = guarded(cfg.M*cfg.N, 5)
		a.Workspace = make([]float32, p.Need().Workspace)
		if err := p.Check(a); err != nil {
			t.Fatal(err)
		}
		s := NewScratch(p.Need())
		for phase := range p.Phases() {
			for task := range p.Tasks(phase) {
				p.Do(phase, task, s, a)
			}
		}
		check(t)
		worst(t, a.Y, want, scale, roundoff(cfg.K))
		if first == nil {
			first = a.Y
		}
		for i := range first {
			if first[i] != a.Y[i] {
				t.Fatalf("element %d is %v laid out for %d workers, %v for one", i, a.Y[i], workers, first[i])
			}
		}
	}
}

func TestMatMulErrors(t *testing.T) {
	if _, err := NewMatMul(For(isa.Generic), MatMulConfig{M: 2, N: 0, K: 3}); err == nil {
		t.Error("planned a product without columns, want an error")
	}
	p, err := NewMatMul(For(isa.Generic), MatMulConfig{M: 2, N: 4, K: 3, TransposeA: true, Scale: 1})
	if err != nil {
		t.Fatal(err)
	}
	full := Args{X: make([]float32, 6), W: make([]float32, 12), Y: make([]float32, 8), Workspace: make([]float32, p.Need().Workspace)}
	if err := p.Check(&full); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []func(a *Args){
		func(a *Args) { a.X = a.X[1:] }, func(a *Args) { a.W = a.W[1:] }, func(a *Args) { a.Y = a.Y[1:] },
		func(a *Args) { a.Residual = a.X[:1] }, func(a *Args) { a.Workspace = a.Workspace[1:] },
	} {
		a := full
		cut(&a)
		if p.Check(&a) == nil {
			t.Errorf("checked operands of %d, %d, %d, %d and %d elements, want an error", len(a.X), len(a.W), len(a.Y), len(a.Residual), len(a.Workspace))
		}
	}
}
