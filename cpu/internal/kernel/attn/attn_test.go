package attn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// run performs every task of a plan with the given number of workers.
func run(p *Plan, a *Args, workers int) {
	for phase := range p.Phases() {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				scratch := dirty(p.Need().Scratch)
				for t := int(next.Add(1)) - 1; t < p.Tasks(phase); t = int(next.Add(1)) - 1 {
					p.Do(phase, t, scratch, a)
				}
			})
		}
		wg.Wait()
	}
}

// dirty is n elements of NaN, as an arena may hold.
func dirty(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return x
}

const guard = 7 // elements on either side of a guarded slice; odd, so that it starts off any vector boundary
const sentinel = 12345.5

// guarded is a slice of n sentinels between two more strips of them, and a check of those.
func guarded(n int) (x []float32, check func(t *testing.T, name string)) {
	all := make([]float32, n+2*guard)
	for i := range all {
		all[i] = sentinel
	}
	return all[guard:][:n:n], func(t *testing.T, name string) {
		t.Helper()
		for i := range guard {
			if all[i] != sentinel || all[len(all)-1-i] != sentinel {
				t.Fatalf("%s: written outside, %d from an end", name, i)
			}
		}
	}
}

func random(r *rand.Rand, n int, sigma float64) []float32 {
	x := make([]float32, n+1)[1:]
	for i := range x {
		x[i] = float32(r.NormFloat64() * sigma)
	}
	return x
}

// naive is attention as it is written, in float64. size is the largest Σ|q·k|·scale: what the rounding
// errors of a score are proportional to.
func naive(c Config, a *Args) (out, lse []float64, size float64) {
	scale := c.Scale
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(c.D))
	}
	width := c.Heads * c.D
	out = make([]float64, c.N*c.T*width)
	lse = make([]float64, c.N*c.Heads*c.T)
	stride := func(s int) int {
		if s == 0 {
			return width
		}
		return s
	}
	scores := make([]float64, c.S)
	for n := range c.N {
		for h := range c.Heads {
			for t := range c.T {
				keys := c.S
				if c.Causal {
					keys = min(keys, t+1)
				}
				top := math.Inf(-1)
				for s := range keys {
					sum, abs := 0.0, 0.0
					for j := range c.D {
						qk := float64(a.Q[(n*c.T+t)*stride(c.StrideQ)+h*c.D+j]) * float64(a.K[(n*c.S+s)*stride(c.StrideK)+h*c.D+j])
						sum, abs = sum+qk, abs+math.Abs(qk)
					}
					size = max(size, abs*scale)
					scores[s] = sum * scale
					top = max(top, scores[s])
				}
				total := 0.0
				for s := range keys {
					scores[s] = math.Exp(scores[s] - top)
					total += scores[s]
				}
				for j := range c.D {
					sum := 0.0
					for s := range keys {
						sum += scores[s] * float64(a.V[(n*c.S+s)*stride(c.StrideV)+h*c.D+j])
					}
					out[(n*c.T+t)*width+h*c.D+j] = sum / total
				}
				lse[(n*c.Heads+h)*c.T+t] = top + math.Log(total)
			}
		}
	}
	return out, lse, size
}

type variant struct {
	set  isa.Set
	bf16 bool
}

func (v variant) String() string { return fmt.Sprintf("set=%v/bf16=%v", v.set, v.bf16) }

var variants = []variant{{isa.Generic, false}, {isa.AVX2, false}, {isa.AVX512, false}, {isa.AVX512BF16, true}}

func TestAttention(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   Config
		sigma float64 // deviation of Q and K
	}{
		{"one of each", Config{N: 1, T: 1, S: 1, Heads: 1, D: 1}, 1},
		{"tiny heads", Config{N: 2, T: 16, S: 16, Heads: 2, D: 4}, 1},
		{"tiny heads of 8", Config{N: 1, T: 9, S: 77, Heads: 2, D: 8}, 1},
		{"odd everything", Config{N: 2, T: 37, S: 29, Heads: 3, D: 7, StrideQ: 23, StrideK: 22, StrideV: 25, StrideOut: 26}, 1},
		{"prime sizes", Config{N: 1, T: 67, S: 193, Heads: 1, D: 13}, 1},
		{"self 16²", Config{N: 1, T: 256, S: 256, Heads: 2, D: 40}, 1},
		{"cross", Config{N: 2, T: 64, S: 77, Heads: 2, D: 40}, 1},
		{"several blocks", Config{N: 1, T: 33, S: 1000, Heads: 1, D: 40}, 1},
		{"self 8²", Config{N: 1, T: 64, S: 64, Heads: 2, D: 160}, 1},
		{"level 2", Config{N: 1, T: 50, S: 256, Heads: 1, D: 80}, 1},
		{"clip", Config{N: 2, T: 77, S: 77, Heads: 2, D: 64, Causal: true}, 1},
		{"causal blocks", Config{N: 1, T: 450, S: 450, Heads: 1, D: 8, Causal: true}, 1},
		{"causal single", Config{N: 1, T: 1, S: 1, Heads: 1, D: 4, Causal: true}, 1},
		{"vae", Config{N: 1, T: 70, S: 200, Heads: 1, D: 512}, 1},
		{"own scale", Config{N: 1, T: 20, S: 30, Heads: 2, D: 8, Scale: 0.7}, 1},
		{"equal logits", Config{N: 1, T: 40, S: 300, Heads: 1, D: 8}, 0},
		{"logits to 1e4", Config{N: 1, T: 64, S: 300, Heads: 1, D: 16}, 50},
		{"logits to 1e4, causal", Config{N: 1, T: 64, S: 64, Heads: 1, D: 16, Causal: true}, 50},
	} {
		for _, v := range variants {
			t.Run(fmt.Sprintf("%s/%v", c.name, v), func(t *testing.T) {
				isa.Need(t, v.set)
				r := rand.New(rand.NewPCG(1, 2))
				cfg := c.cfg
				cfg.BF16 = v.bf16
				p, err := New(v.set, cfg)
				if err != nil {
					t.Fatal(err)
				}
				n := p.cfg // strides filled in
				out, checkOut := guarded(n.N * n.T * n.StrideOut)
				lse, checkLSE := guarded(n.N * n.Heads * n.T)
				work, checkWork := guarded(p.Need().Workspace)
				copy(work, dirty(len(work)))
				a := &Args{
					Q: random(r, n.N*n.T*n.StrideQ, c.sigma), K: random(r, n.N*n.S*n.StrideK, c.sigma),
					V: random(r, n.N*n.S*n.StrideV, 1), Out: out, LSE: lse, Workspace: work,
				}
				if v.bf16 { // the reference sees what the kernels see
					a.Q, a.K, a.V = rounded(a.Q), rounded(a.K), rounded(a.V)
				}
				if err := p.Check(a); err != nil {
					t.Fatal(err)
				}
				run(p, a, 1)
				checkOut(t, "out")
				checkLSE(t, "lse")
				checkWork(t, "workspace")

				want, wantLSE, size := naive(c.cfg, a)
				// A relative error of the scores is an absolute one of the probabilities' logarithms.
				eps, tolerance := 0x1p-24, 0x1p-24*(20+8*size)
				if v.bf16 {
					// Scaled queries are rounded once more and probabilities carry 8 bits.
					eps, tolerance = 0x1p-9, 0x1p-9*(2+size)
				}
				width := n.Heads * n.D
				for i, w := range want {
					got := out[i/width*n.StrideOut+i%width]
					if d := math.Abs(float64(got) - w); !(d <= tolerance) {
						t.Fatalf("token %d channel %d: got %v want %v, off by %.3g, tolerance %.3g", i/width, i%width, got, w, d, tolerance)
					}
				}
				for i, w := range wantLSE {
					limit := eps * (4 + 4*size)
					if d := math.Abs(float64(lse[i]) - w); !(d <= limit) {
						t.Fatalf("lse %d: got %v want %v, off by %.3g, tolerance %.3g", i, lse[i], w, d, limit)
					}
				}
				for i := range out {
					if i%n.StrideOut >= width && out[i] != sentinel {
						t.Fatalf("written between rows of out, at %d", i)
					}
				}
			})
		}
	}
}

func bfloat16(x float32) uint32 {
	b := math.Float32bits(x)
	return (b + 0x7fff + b>>16&1) >> 16
}

func rounded(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = math.Float32frombits(bfloat16(v) << 16)
	}
	return y
}

func TestWorkersDoNotChangeBits(t *testing.T) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			isa.Need(t, v.set)
			r := rand.New(rand.NewPCG(3, 4))
			p, err := New(v.set, Config{N: 2, T: 150, S: 210, Heads: 3, D: 20, BF16: v.bf16})
			if err != nil {
				t.Fatal(err)
			}
			a := &Args{Q: random(r, 2*150*60, 1), K: random(r, 2*210*60, 1), V: random(r, 2*210*60, 1), Workspace: dirty(p.Need().Workspace)}
			var first []float32
			for _, workers := range []int{1, 2, 5} {
				a.Out = make([]float32, 2*150*60)
				run(p, a, workers)
				if first == nil {
					first = a.Out
				}
				for i := range first {
					if math.Float32bits(first[i]) != math.Float32bits(a.Out[i]) {
						t.Fatalf("%d workers: element %d is %v, with one worker %v", workers, i, a.Out[i], first[i])
					}
				}
			}
		})
	}
}

// TestCausalIgnoresTheFuture changes the last token beyond all measure: no earlier result may move by a bit.
func TestCausalIgnoresTheFuture(t *testing.T) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			isa.Need(t, v.set)
			const T, D = 71, 8
			r := rand.New(rand.NewPCG(5, 6))
			p, err := New(v.set, Config{N: 1, T: T, S: T, Heads: 1, D: D, Causal: true, BF16: v.bf16})
			if err != nil {
				t.Fatal(err)
			}
			a := &Args{Q: random(r, T*D, 1), K: random(r, T*D, 1), V: make([]float32, T*D), Workspace: dirty(p.Need().Workspace)}
			a.Out = make([]float32, T*D)
			run(p, a, 1)
			first := a.Out
			a.Out = make([]float32, T*D)
			for i := range D {
				a.K[(T-1)*D+i], a.V[(T-1)*D+i] = 1e5, 1e38
			}
			run(p, a, 1)
			for i, x := range first[:(T-1)*D] {
				if math.Float32bits(x) != math.Float32bits(a.Out[i]) {
					t.Fatalf("token %d channel %d: got %v, before the change %v", i/D, i%D, a.Out[i], x)
				}
			}
			if a.Out[(T-1)*D] == first[(T-1)*D] {
				t.Error("the last token does not see itself")
			}
		})
	}
}

func TestNaNStaysInItsRow(t *testing.T) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			isa.Need(t, v.set)
			const T, S, D, bad = 40, 50, 8, 33
			r := rand.New(rand.NewPCG(5, 6))
			p, err := New(v.set, Config{N: 1, T: T, S: S, Heads: 1, D: D, BF16: v.bf16})
			if err != nil {
				t.Fatal(err)
			}
			a := &Args{Q: random(r, T*D, 1), K: random(r, S*D, 1), V: random(r, S*D, 1), Out: make([]float32, T*D), Workspace: dirty(p.Need().Workspace)}
			a.Q[bad*D+3] = float32(math.NaN())
			run(p, a, 1)
			for i, x := range a.Out {
				if isNaN, want := x != x, i/D == bad; isNaN != want {
					t.Fatalf("row %d channel %d is %v, the NaN is in query %d", i/D, i%D, x, bad)
				}
			}
		})
	}
}

func TestDoAllocatesNothing(t *testing.T) {
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			isa.Need(t, v.set)
			p, err := New(v.set, Config{N: 1, T: 40, S: 50, Heads: 2, D: 20, BF16: v.bf16})
			if err != nil {
				t.Fatal(err)
			}
			a := &Args{Q: make([]float32, 40*40), K: make([]float32, 50*40), V: make([]float32, 50*40), Out: make([]float32, 40*40), Workspace: dirty(p.Need().Workspace)}
			scratch := dirty(p.Need().Scratch)
			if n := testing.AllocsPerRun(3, func() {
				for phase := range p.Phases() {
					for task := range p.Tasks(phase) {
						p.Do(phase, task, scratch, a)
					}
				}
			}); n != 0 {
				t.Errorf("a run makes %v allocations, want none", n)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	ok := Config{N: 1, T: 2, S: 2, Heads: 1, D: 4}
	for _, c := range []struct {
		name string
		set  isa.Set
		edit func(*Config)
	}{
		{"no keys", isa.Generic, func(c *Config) { c.S = 0 }},
		{"narrow rows", isa.Generic, func(c *Config) { c.StrideV = 3 }},
		{"bf16 without instructions", isa.Generic, func(c *Config) { c.BF16 = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := ok
			c.edit(&cfg)
			if p, err := New(c.set, cfg); err == nil {
				t.Errorf("New(%+v) = %v, want an error", cfg, p)
			}
		})
	}
	p, err := New(isa.Generic, ok)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 8)
	full := Args{Q: x, K: x, V: x, Out: x, LSE: x[:2], Workspace: dirty(p.Need().Workspace)}
	if err := p.Check(&full); err != nil {
		t.Errorf("Check of fitting operands: %v", err)
	}
	for _, f := range []func(*Args){
		func(a *Args) { a.Q = x[:7] }, func(a *Args) { a.K = nil }, func(a *Args) { a.V = x[:7] },
		func(a *Args) { a.Out = x[:7] }, func(a *Args) { a.LSE = x[:1] }, func(a *Args) { a.Workspace = nil },
	} {
		a := full
		f(&a)
		if p.Check(&a) == nil {
			t.Errorf("Check accepts a short operand: %d %d %d %d %d %d", len(a.Q), len(a.K), len(a.V), len(a.Out), len(a.LSE), len(a.Workspace))
		}
	}
}

func BenchmarkAttention(b *testing.B) {
	for _, c := range []struct {
		name string
		cfg  Config
	}{
		{"self64", Config{N: 2, T: 4096, S: 4096, Heads: 8, D: 40}},
		{"self32", Config{N: 2, T: 1024, S: 1024, Heads: 8, D: 80}},
		{"self16", Config{N: 2, T: 256, S: 256, Heads: 8, D: 160}},
		{"cross64", Config{N: 2, T: 4096, S: 77, Heads: 8, D: 40}},
		{"cross16", Config{N: 2, T: 256, S: 77, Heads: 8, D: 160}},
		{"clip", Config{N: 1, T: 77, S: 77, Heads: 12, D: 64, Causal: true}},
		{"vae", Config{N: 1, T: 4096, S: 4096, Heads: 1, D: 512}},
	} {
		for _, v := range variants {
			if v.set > isa.Detected() {
				continue
			}
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("shape=%s/%v/workers=%d", c.name, v, workers), func(b *testing.B) {
					cfg := c.cfg
					cfg.BF16 = v.bf16
					p, err := New(v.set, cfg)
					if err != nil {
						b.Fatal(err)
					}
					r := rand.New(rand.NewPCG(1, 2))
					width := cfg.Heads * cfg.D
					a := &Args{Q: random(r, cfg.N*cfg.T*width, 1), K: random(r, cfg.N*cfg.S*width, 1), V: random(r, cfg.N*cfg.S*width, 1), Out: make([]float32, cfg.N*cfg.T*width), Workspace: make([]float32, p.Need().Workspace)}
					for b.Loop() {
						run(p, a, workers)
					}
					b.ReportMetric(float64(p.FLOPs())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}
