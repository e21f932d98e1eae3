package attn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

func runGradient(g *Gradient, a *GradientArgs, scratch []float32, backwards bool) {
	for phase := range g.Phases() {
		n := g.Tasks(phase)
		for task := range n {
			if backwards {
				task = n - 1 - task
			}
			g.Do(phase, task, scratch, a)
		}
	}
}

// naiveGradient is the derivative as it is written, in float64.
func naiveGradient(c Config, a *GradientArgs) (dq, dk, dv []float64) {
	width, scale := c.Heads*c.D, 1/math.Sqrt(float64(c.D))
	dq, dk, dv = make([]float64, c.N*c.T*width), make([]float64, c.N*c.S*width), make([]float64, c.N*c.S*width)
	p, dp := make([]float64, c.S), make([]float64, c.S)
	for i := range c.N * c.Heads * c.T {
		n, h, t := i/(c.Heads*c.T), i/c.T%c.Heads, i%c.T
		query := (n*c.T+t)*width + h*c.D
		key := func(s int) int { return (n*c.S+s)*width + h*c.D }
		keys := c.S
		if c.Causal {
			keys = min(keys, t+1)
		}
		sum, delta := 0.0, 0.0
		for s := range keys {
			p[s], dp[s] = 0, 0
			for j := range c.D {
				p[s] += scale * float64(a.Q[query+j]) * float64(a.K[key(s)+j])
				dp[s] += float64(a.DY[query+j]) * float64(a.V[key(s)+j])
			}
			p[s] = math.Exp(p[s])
			sum += p[s]
		}
		for s := range keys {
			p[s] /= sum
			delta += p[s] * dp[s]
		}
		for s := range keys {
			ds := scale * p[s] * (dp[s] - delta)
			for j := range c.D {
				dq[query+j] += ds * float64(a.K[key(s)+j])
				dk[key(s)+j] += ds * float64(a.Q[query+j])
				dv[key(s)+j] += p[s] * float64(a.DY[query+j])
			}
		}
	}
	return dq, dk, dv
}

// TestGradient holds the results to float64 sums, their neighbourhood to sentinels, and the order of tasks to no bits.
func TestGradient(t *testing.T) {
	for _, set := range []isa.Set{isa.Generic, isa.AVX2, isa.AVX512} {
		for _, c := range []Config{
			{N: 1, T: 1, S: 1, Heads: 1, D: 1},
			{N: 2, T: 5, S: 7, Heads: 3, D: 5},
			{N: 1, T: 131, S: 201, Heads: 2, D: 40},
			{N: 1, T: 70, S: 77, Heads: 1, D: 160},
			{N: 1, T: 1, S: 33, Heads: 2, D: 8},
			{N: 1, T: 250, S: 3, Heads: 1, D: 20},
			{N: 2, T: 13, S: 13, Heads: 2, D: 7, Causal: true},
			{N: 1, T: 205, S: 205, Heads: 1, D: 16, Causal: true},
			{N: 1, T: 40, S: 150, Heads: 1, D: 16, Causal: true},
		} {
			t.Run(fmt.Sprintf("set=%v/%d,%d×%d×%d×%d,causal=%v", set, c.N, c.T, c.S, c.Heads, c.D, c.Causal), func(t *testing.T) {
				isa.Need(t, set)
				testGradient(t, set, c)
			})
		}
	}
}

func testGradient(t *testing.T, set isa.Set, c Config) {
	g, err := NewGradient(set, c)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, uint64(c.T)))
	queries, keys := c.N*c.T*c.Heads*c.D, c.N*c.S*c.Heads*c.D
	a := &GradientArgs{Q: random(r, queries, 1), K: random(r, keys, 1), V: random(r, keys, 1), DY: random(r, queries, 1)}
	var checks [3]func(*testing.T, string)
	a.DQ, checks[0] = guarded(queries)
	a.DK, checks[1] = guarded(keys)
	a.DV, checks[2] = guarded(keys)
	a.Workspace = dirty(g.Need().Workspace)
	if err := g.Check(a); err != nil {
		t.Fatal(err)
	}
	runGradient(g, a, dirty(g.Need().Scratch), false)
	dq, dk, dv := naiveGradient(c, a)
	results := []struct {
		name string
		got  []float32
		want []float64
	}{{"dQ", a.DQ, dq}, {"dK", a.DK, dk}, {"dV", a.DV, dv}}
	for i, o := range results {
		checks[i](t, o.name)
		// Rounding is in proportion to what is summed up: rows of D products that nearly cancel in dS.
		limit := 64 * 0x1p-24 * math.Sqrt(float64(c.D)) * 4
		for j, w := range o.want {
			if e := math.Abs(float64(o.got[j]) - w); !(e <= limit*(1+math.Abs(w))) {
				t.Fatalf("%s: element %d: got %v want %v, error %.3g, tolerance %.3g", o.name, j, o.got[j], w, e, limit*(1+math.Abs(w)))
			}
		}
	}
	b := *a
	b.DQ, b.DK, b.DV, b.Workspace = make([]float32, queries), make([]float32, keys), make([]float32, keys), dirty(len(a.Workspace))
	scratch := dirty(g.Need().Scratch)
	runGradient(g, &b, scratch, true)
	for i, got := range [][]float32{b.DQ, b.DK, b.DV} {
		for j, v := range got {
			if v != results[i].got[j] {
				t.Fatalf("%s: element %d is %v with the tasks in reverse, %v in order", results[i].name, j, v, results[i].got[j])
			}
		}
	}
	if n := testing.AllocsPerRun(5, func() { runGradient(g, &b, scratch, false) }); n != 0 {
		t.Errorf("%v allocations in a run, want none", n)
	}
}

// TestGradientOfSpreadAttention has probabilities that are nearly uniform, and keys and values that vary little about a common
// one: dQ is then a thousandth of the sums (P∘dP)·K and δ·(P·K) that it is the difference of.
func TestGradientOfSpreadAttention(t *testing.T) {
	for _, set := range []isa.Set{isa.Generic, isa.AVX2, isa.AVX512} {
		for _, c := range []Config{
			{N: 1, T: 33, S: 77, Heads: 2, D: 16}, {N: 1, T: 40, S: 300, Heads: 1, D: 16}, {N: 1, T: 120, S: 120, Heads: 1, D: 16, Causal: true},
		} {
			t.Run(fmt.Sprintf("set=%v/%d×%d,causal=%v", set, c.T, c.S, c.Causal), func(t *testing.T) {
				isa.Need(t, set)
				g, err := NewGradient(set, c)
				if err != nil {
					t.Fatal(err)
				}
				r := rand.New(rand.NewPCG(5, uint64(c.S)))
				queries, keys := c.N*c.T*c.Heads*c.D, c.N*c.S*c.Heads*c.D
				a := &GradientArgs{Q: random(r, queries, 0.1), K: random(r, keys, 0.1), V: random(r, keys, 0.1), DY: random(r, queries, 1)}
				for i := range a.K {
					a.K[i]++
					a.V[i]++
				}
				a.DQ, a.DK, a.DV = make([]float32, queries), make([]float32, keys), make([]float32, keys)
				a.Workspace = dirty(g.Need().Workspace)
				runGradient(g, a, dirty(g.Need().Scratch), false)
				dq, dk, dv := naiveGradient(c, a)
				for _, o := range []struct {
					name string
					got  []float32
					want []float64
				}{{"dQ", a.DQ, dq}, {"dK", a.DK, dk}, {"dV", a.DV, dv}} {
					var worst, size float64
					for i, w := range o.want {
						worst, size = max(worst, math.Abs(float64(o.got[i])-w)), max(size, math.Abs(w))
					}
					if !(worst <= 2e-5*size) {
						t.Errorf("%s is %.2g of its largest element away from the exact one", o.name, worst/size)
					}
				}
			})
		}
	}
}

func TestGradientErrors(t *testing.T) {
	for _, c := range []Config{{}, {N: 1, T: 1, S: 1, Heads: 1, D: 2, StrideQ: 4}} {
		if _, err := NewGradient(isa.Generic, c); err == nil {
			t.Errorf("%+v: planned, want an error", c)
		}
	}
	g, err := NewGradient(isa.Generic, Config{N: 1, T: 2, S: 3, Heads: 1, D: 4})
	if err != nil {
		t.Fatal(err)
	}
	operand := func(n int) []float32 { return make([]float32, n) }
	a := &GradientArgs{operand(8), operand(12), operand(12), operand(8), operand(8), operand(12), operand(12), operand(g.Need().Workspace)}
	if err := g.Check(a); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*[]float32{&a.Q, &a.K, &a.V, &a.DY, &a.DQ, &a.DK, &a.DV, &a.Workspace} {
		whole := *o
		if *o = whole[1:]; g.Check(a) == nil {
			t.Errorf("checked an operand of %d elements, want an error", len(*o))
		}
		*o = whole
	}
}
