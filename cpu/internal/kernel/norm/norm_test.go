package norm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/elem"
)

var sets = []isa.Set{isa.Generic, isa.AVX2, isa.AVX512}

const sentinel = 12345.5

// guarded is a slice of n that starts off any vector boundary, between sentinels, and a check of those.
func guarded(n int) (x []float32, check func(t *testing.T)) {
	const guard = 19
	all := make([]float32, n+2*guard)
	for i := range all {
		all[i] = sentinel
	}
	return all[guard:][:n:n], func(t *testing.T) {
		t.Helper()
		for i := range guard {
			if all[i] != sentinel || all[len(all)-1-i] != sentinel {
				t.Fatalf("written outside, %d from an end", i+1)
			}
		}
	}
}

func random(r *rand.Rand, n int, mean, sigma float64) []float32 {
	x := make([]float32, n+1)[1:]
	for i := range x {
		x[i] = float32(mean + r.NormFloat64()*sigma)
	}
	return x
}

// runGroup performs every task, those of a phase from last to first if backwards.
func runGroup(g *Group, a *GroupArgs, backwards bool) {
	for phase := range g.Phases() {
		n := g.Tasks(phase)
		for task := range n {
			if backwards {
				task = n - 1 - task
			}
			g.Do(phase, task, a)
		}
	}
}

// naiveGroup is group normalisation as it is written, in float64, before any activation. size is the sum of
// the magnitudes that an element is made of, x/σ·weight, μ/σ·weight and bias: what its rounding error is
// proportional to.
func naiveGroup(c GroupConfig, a *GroupArgs) (out, size []float64) {
	channels := c.C1 + c.C2
	at := func(n, r, i int) float64 {
		if i < c.C1 {
			return float64(a.X1[(n*c.Rows+r)*c.C1+i])
		}
		return float64(a.X2[(n*c.Rows+r)*c.C2+i-c.C1])
	}
	out = make([]float64, c.N*c.Rows*channels)
	size = make([]float64, len(out))
	width := channels / c.Groups
	for n := range c.N {
		for g := range c.Groups {
			mean, variance := 0.0, 0.0
			for r := range c.Rows {
				for i := g * width; i < (g+1)*width; i++ {
					mean += at(n, r, i)
				}
			}
			mean /= float64(c.Rows * width)
			for r := range c.Rows {
				for i := g * width; i < (g+1)*width; i++ {
					variance += (at(n, r, i) - mean) * (at(n, r, i) - mean)
				}
			}
			variance /= float64(c.Rows * width)
			for r := range c.Rows {
				for i := g * width; i < (g+1)*width; i++ {
					scale := float64(a.Weight[i]) / math.Sqrt(variance+c.Eps)
					k := (n*c.Rows+r)*channels + i
					out[k] = (at(n, r, i)-mean)*scale + float64(a.Bias[i])
					size[k] = (math.Abs(at(n, r, i))+math.Abs(mean))*math.Abs(scale) + math.Abs(float64(a.Bias[i]))
				}
			}
		}
	}
	return out, size
}

var groupCases = []struct {
	name        string
	cfg         GroupConfig
	mean, sigma float64
	silu        bool
}{
	{"one element", GroupConfig{N: 1, Rows: 1, C1: 1, Groups: 1, Eps: 1e-5}, 0, 1, false},
	{"tiny model", GroupConfig{N: 2, Rows: 16, C1: 4, Groups: 2, Eps: 1e-5}, 0, 1, true},
	{"tiny model, two inputs", GroupConfig{N: 2, Rows: 9, C1: 8, C2: 4, Groups: 2, Eps: 1e-6}, 0, 1, true},
	{"one channel a group", GroupConfig{N: 1, Rows: 50, C1: 7, Groups: 7, Eps: 1e-5}, 0, 1, false},
	{"straddling groups", GroupConfig{N: 2, Rows: 33, C1: 37, C2: 53, Groups: 3, Eps: 1e-5}, 0.5, 2, true},
	{"unet 8²", GroupConfig{N: 2, Rows: 64, C1: 320, Groups: 32, Eps: 1e-5}, 0, 1, true},
	{"unet up block", GroupConfig{N: 1, Rows: 64, C1: 640, C2: 320, Groups: 32, Eps: 1e-5}, 0, 1, true},
	{"several chunks", GroupConfig{N: 2, Rows: 700, C1: 130, Groups: 10, Eps: 1e-6}, 0, 1, false},
	{"capped chunks", GroupConfig{N: 1, Rows: 2100, C1: 16, C2: 3, Groups: 1, Eps: 1e-6}, 0, 1, true},
	{"large mean", GroupConfig{N: 1, Rows: 3000, C1: 24, Groups: 3, Eps: 1e-6}, 1000, 1, false},
	{"constant", GroupConfig{N: 1, Rows: 100, C1: 24, Groups: 3, Eps: 1e-6}, 3, 0, false},
	{"huge", GroupConfig{N: 1, Rows: 100, C1: 24, Groups: 3, Eps: 1e-6}, 0, 1e18, false},
	{"no epsilon", GroupConfig{N: 1, Rows: 100, C1: 24, Groups: 3}, 0, 1e-15, false},
}

func TestGroup(t *testing.T) {
	for _, c := range groupCases {
		for _, s := range sets {
			t.Run(fmt.Sprintf("%s/set=%v", c.name, s), func(t *testing.T) {
				isa.Need(t, s)
				r := rand.New(rand.NewPCG(1, 2))
				cfg := c.cfg
				if c.silu {
					cfg.Act = elem.For(s).SiLU
				}
				g, err := NewGroup(s, cfg)
				if err != nil {
					t.Fatal(err)
				}
				channels := cfg.C1 + cfg.C2
				out, check := guarded(cfg.N * cfg.Rows * channels)
				a := &GroupArgs{
					X1: random(r, cfg.N*cfg.Rows*cfg.C1, c.mean, c.sigma), X2: random(r, cfg.N*cfg.Rows*cfg.C2, c.mean, c.sigma),
					Weight: random(r, channels, 1, 0.3), Bias: random(r, channels, 0, 1), Out: out,
					Workspace: make([]float32, g.Workspace()),
				}
				for i := range a.Workspace {
					a.Workspace[i] = float32(math.NaN())
				}
				if err := g.Check(a); err != nil {
					t.Fatal(err)
				}
				runGroup(g, a, false)
				check(t)
				wants, sizes := naiveGroup(cfg, a)
				for i, want := range wants {
					// Scale, shift and the sum are rounded once each; SiLU's slope is at most 1.1.
					tolerance := 0x1p-24 * 4 * (sizes[i] + 0x1p-100)
					if c.silu {
						want /= 1 + math.Exp(-want)
					}
					if d := math.Abs(float64(out[i]) - want); !(d <= tolerance) {
						t.Fatalf("row %d channel %d: got %v want %v, off by %.3g, tolerance %.3g", i/channels, i%channels, out[i], want, d, tolerance)
					}
				}

				first := slices.Clone(out)
				runGroup(g, a, true)
				if i := differ(first, out); i >= 0 {
					t.Fatalf("tasks in another order: element %d is %v, was %v", i, out[i], first[i])
				}
				if cfg.C2 == 0 {
					a.Out = a.X1
					runGroup(g, a, false)
					if i := differ(first, a.X1); i >= 0 {
						t.Fatalf("in place: element %d is %v, was %v", i, a.X1[i], first[i])
					}
				}
			})
		}
	}
}

// differ is the first index at which the bits of a and b differ, or -1.
func differ(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// TestGroupOfMillions has a group as large as the VAE's at 512², with a mean a hundred times the deviation:
// float32 sums would lose the variance.
func TestGroupOfMillions(t *testing.T) {
	const rows, channels, mean, sigma = 1 << 18, 8, 100, 1
	r := rand.New(rand.NewPCG(7, 8))
	cfg := GroupConfig{N: 1, Rows: rows, C1: channels, Groups: 1, Eps: 1e-6}
	a := &GroupArgs{X1: random(r, rows*channels, mean, sigma), Weight: make([]float32, channels), Bias: make([]float32, channels), Out: make([]float32, rows*channels)}
	for i := range a.Weight {
		a.Weight[i] = 1
	}
	want, size := naiveGroup(cfg, a)
	for _, s := range sets {
		t.Run("set="+s.String(), func(t *testing.T) {
			isa.Need(t, s)
			g, err := NewGroup(s, cfg)
			if err != nil {
				t.Fatal(err)
			}
			a.Workspace = make([]float32, g.Workspace())
			runGroup(g, a, false)
			for i, w := range want {
				if d := math.Abs(float64(a.Out[i]) - w); d > 0x1p-24*4*size[i] {
					t.Fatalf("element %d: got %v want %v", i, a.Out[i], w)
				}
			}
		})
	}
}

func TestLayer(t *testing.T) {
	for _, c := range []struct {
		name        string
		rows, c     int
		mean, sigma float64
	}{
		{"one element", 1, 1, 0, 1}, {"hidden 8", 3, 8, 0, 1}, {"odd", 5, 37, 0.3, 1}, {"63", 2, 63, 0, 1}, {"65", 2, 65, 0, 1},
		{"unet 320", 120, 320, 0, 1}, {"clip", 77, 768, 0, 3}, {"1280", 70, 1280, 0, 1}, {"large mean", 10, 320, 1000, 1}, {"constant", 4, 320, 5, 0},
	} {
		for _, s := range sets {
			t.Run(fmt.Sprintf("%s/set=%v", c.name, s), func(t *testing.T) {
				isa.Need(t, s)
				r := rand.New(rand.NewPCG(1, 2))
				const eps = 1e-5
				l, err := NewLayer(s, LayerConfig{Rows: c.rows, C: c.c, Eps: eps})
				if err != nil {
					t.Fatal(err)
				}
				out, check := guarded(c.rows * c.c)
				a := &LayerArgs{X: random(r, c.rows*c.c, c.mean, c.sigma), Out: out, Weight: random(r, c.c, 1, 0.3), Bias: random(r, c.c, 0, 1)}
				if err := l.Check(a); err != nil {
					t.Fatal(err)
				}
				for task := range l.Tasks() {
					l.Do(task, a)
				}
				check(t)
				for row := range c.rows {
					x := a.X[row*c.c:][:c.c]
					mean, variance := 0.0, 0.0
					for _, v := range x {
						mean += float64(v) / float64(c.c)
					}
					for _, v := range x {
						variance += (float64(v) - mean) * (float64(v) - mean) / float64(c.c)
					}
					for i, v := range x {
						scale := float64(a.Weight[i]) / math.Sqrt(variance+eps)
						want := (float64(v)-mean)*scale + float64(a.Bias[i])
						// The mean is rounded to float32 and its sum of deviations too; the scale magnifies both. The
						// rest is relative.
						tolerance := 0x1p-24 * (2*math.Abs(mean*scale) + math.Abs(float64(a.Weight[i])) + 8*math.Abs((float64(v)-mean)*scale) + 2*math.Abs(float64(a.Bias[i])))
						if d := math.Abs(float64(out[row*c.c+i]) - want); !(d <= tolerance) {
							t.Fatalf("row %d channel %d: got %v want %v, off by %.3g, tolerance %.3g", row, i, out[row*c.c+i], want, d, tolerance)
						}
					}
				}
				first := slices.Clone(out)
				a.Out = a.X
				for task := range l.Tasks() {
					l.Do(l.Tasks()-1-task, a)
				}
				if i := differ(first, a.X); i >= 0 {
					t.Fatalf("in place: element %d is %v, was %v", i, a.X[i], first[i])
				}
			})
		}
	}
}

// TestStrides checks the kernels' rows that lie apart, and that nothing between them is touched.
func TestStrides(t *testing.T) {
	const rows, c, stride, dstStride = 5, 45, 51, 60
	for _, s := range sets {
		t.Run("set="+s.String(), func(t *testing.T) {
			isa.Need(t, s)
			k := kernelsFor(s)
			r := rand.New(rand.NewPCG(5, 6))
			x, scale, shift := random(r, rows*stride, 0, 1), random(r, c, 0, 1), random(r, c, 0, 1)
			dst, check := guarded((rows-1)*dstStride + c)
			k.affine(dst, x, scale, shift, rows, c, dstStride, stride)
			check(t)
			for i, got := range dst {
				want, tolerance := float32(sentinel), 0.0
				if i%dstStride < c {
					want, tolerance = x[i/dstStride*stride+i%dstStride]*scale[i%dstStride]+shift[i%dstStride], 1e-6
				}
				if math.Abs(float64(got-want)) > tolerance {
					t.Fatalf("affine, element %d: got %v want %v", i, got, want)
				}
			}
			all := make([]float64, 2*c+2)
			all[0], all[2*c+1] = sentinel, sentinel
			k.moments(all[1:][:c], all[1+c:][:c], x, rows, c, stride)
			for i := range c {
				sum, square := 0.0, 0.0
				for r := range rows {
					v := float64(x[r*stride+i])
					sum, square = sum+v, square+v*v
				}
				if math.Abs(all[1+i]-sum) > 1e-12 || math.Abs(all[1+c+i]-square) > 1e-12 {
					t.Fatalf("moments of channel %d: got %v, %v want %v, %v", i, all[1+i], all[1+c+i], sum, square)
				}
			}
			if all[0] != sentinel || all[2*c+1] != sentinel {
				t.Fatal("moments wrote outside")
			}
		})
	}
}

func TestNaNStaysInItsGroup(t *testing.T) {
	for _, s := range sets {
		t.Run("set="+s.String(), func(t *testing.T) {
			isa.Need(t, s)
			r := rand.New(rand.NewPCG(9, 10))
			g, err := NewGroup(s, GroupConfig{N: 1, Rows: 20, C1: 12, Groups: 3, Eps: 1e-5, Act: elem.For(s).SiLU})
			if err != nil {
				t.Fatal(err)
			}
			a := &GroupArgs{X1: random(r, 240, 0, 1), Weight: random(r, 12, 1, 0), Bias: random(r, 12, 0, 1), Out: make([]float32, 240), Workspace: make([]float32, g.Workspace())}
			a.X1[12*7+5] = float32(math.NaN())
			runGroup(g, a, false)
			for i, y := range a.Out {
				if isNaN, want := y != y, i%12/4 == 1; isNaN != want {
					t.Fatalf("row %d channel %d is %v, the NaN is in group 1", i/12, i%12, y)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, cfg := range []GroupConfig{
		{N: 0, Rows: 1, C1: 4, Groups: 2}, {N: 1, Rows: 1, C1: 4, Groups: 3}, {N: 1, Rows: 1, C1: 4, Groups: 0},
		{N: 1, Rows: 1, C1: 4, C2: -4, Groups: 1}, {N: 1, Rows: 1, C1: 4, Groups: 2, Eps: math.NaN()},
	} {
		if _, err := NewGroup(isa.Generic, cfg); err == nil {
			t.Errorf("NewGroup(%+v): no error", cfg)
		}
	}
	for _, cfg := range []LayerConfig{{0, 4, 1e-5}, {1, 0, 1e-5}, {1, 1, -1}} {
		if _, err := NewLayer(isa.Generic, cfg); err == nil {
			t.Errorf("NewLayer(%+v): no error", cfg)
		}
	}
	g, err := NewGroup(isa.Generic, GroupConfig{N: 1, Rows: 2, C1: 4, C2: 2, Groups: 2})
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 12)
	full := GroupArgs{X1: x[:8], X2: x[:4], Weight: x[:6], Bias: x[:6], Out: x, Workspace: make([]float32, g.Workspace())}
	if err := g.Check(&full); err != nil {
		t.Errorf("Check of fitting operands: %v", err)
	}
	for i, f := range []func(*GroupArgs){
		func(a *GroupArgs) { a.X1 = x[:7] }, func(a *GroupArgs) { a.X2 = nil }, func(a *GroupArgs) { a.Weight = x[:5] },
		func(a *GroupArgs) { a.Bias = nil }, func(a *GroupArgs) { a.Out = x[:11] }, func(a *GroupArgs) { a.Workspace = a.Workspace[1:] },
	} {
		a := full
		f(&a)
		if g.Check(&a) == nil {
			t.Errorf("Check accepts short operand %d", i)
		}
	}
	l, err := NewLayer(isa.Generic, LayerConfig{Rows: 2, C: 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(&LayerArgs{X: x[:8], Out: x[:7], Weight: x[:4], Bias: x[:4]}); err == nil {
		t.Error("Layer.Check accepts a short result")
	}
}

func TestDoAllocatesNothing(t *testing.T) {
	for _, s := range sets {
		t.Run("set="+s.String(), func(t *testing.T) {
			isa.Need(t, s)
			g, err := NewGroup(s, GroupConfig{N: 1, Rows: 20, C1: 12, C2: 6, Groups: 3, Act: elem.For(s).SiLU})
			if err != nil {
				t.Fatal(err)
			}
			l, err := NewLayer(s, LayerConfig{Rows: 20, C: 12})
			if err != nil {
				t.Fatal(err)
			}
			x := make([]float32, 360)
			a := &GroupArgs{X1: x, X2: x, Weight: x, Bias: x, Out: make([]float32, 360), Workspace: make([]float32, g.Workspace())}
			b := &LayerArgs{X: x, Out: x, Weight: x, Bias: x}
			if n := testing.AllocsPerRun(5, func() { runGroup(g, a, false); l.Do(0, b) }); n != 0 {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
}

// BenchmarkCopy is the rate that the memory-bound benchmarks are measured against.
func BenchmarkCopy(b *testing.B) {
	for _, n := range []int{1 << 18, 1 << 23} {
		b.Run(fmt.Sprintf("elements=%d", n), func(b *testing.B) {
			x, y := random(rand.New(rand.NewPCG(1, 2)), n, 0, 1), make([]float32, n)
			b.SetBytes(int64(8 * n)) // read once, written once
			for b.Loop() {
				copy(y, x)
			}
		})
	}
}

func BenchmarkGroup(b *testing.B) {
	for _, c := range []GroupConfig{
		{N: 2, Rows: 4096, C1: 320, Groups: 32}, {N: 2, Rows: 4096, C1: 640, C2: 320, Groups: 32}, {N: 2, Rows: 64, C1: 1280, Groups: 32}, {N: 1, Rows: 1 << 18, C1: 128, Groups: 32},
	} {
		for _, s := range isa.Sets() {
			if s > isa.AVX512 {
				continue
			}
			for _, act := range []string{"none", "SiLU"} {
				b.Run(fmt.Sprintf("n=%d/rows=%d/c=%d+%d/act=%s/set=%v", c.N, c.Rows, c.C1, c.C2, act, s), func(b *testing.B) {
					cfg := c
					if act == "SiLU" {
						cfg.Act = elem.For(s).SiLU
					}
					g, err := NewGroup(s, cfg)
					if err != nil {
						b.Fatal(err)
					}
					r := rand.New(rand.NewPCG(1, 2))
					channels := cfg.C1 + cfg.C2
					n := cfg.N * cfg.Rows
					a := &GroupArgs{X1: random(r, n*cfg.C1, 0, 1), X2: random(r, n*cfg.C2, 0, 1), Weight: random(r, channels, 1, 0), Bias: random(r, channels, 0, 1), Out: make([]float32, n*channels), Workspace: make([]float32, g.Workspace())}
					b.SetBytes(int64(12 * n * channels)) // read twice, written once
					for b.Loop() {
						runGroup(g, a, false)
					}
				})
			}
		}
	}
}

func BenchmarkLayer(b *testing.B) {
	for _, c := range []LayerConfig{{Rows: 8192, C: 320, Eps: 1e-5}, {Rows: 128, C: 1280, Eps: 1e-5}} {
		for _, s := range isa.Sets() {
			if s > isa.AVX512 {
				continue
			}
			b.Run(fmt.Sprintf("rows=%d/c=%d/set=%v", c.Rows, c.C, s), func(b *testing.B) {
				l, err := NewLayer(s, c)
				if err != nil {
					b.Fatal(err)
				}
				r := rand.New(rand.NewPCG(1, 2))
				a := &LayerArgs{X: random(r, c.Rows*c.C, 0, 1), Out: make([]float32, c.Rows*c.C), Weight: random(r, c.C, 1, 0), Bias: random(r, c.C, 0, 1)}
				b.SetBytes(int64(8 * c.Rows * c.C))
				for b.Loop() {
					for task := range l.Tasks() {
						l.Do(task, a)
					}
				}
			})
		}
	}
}
