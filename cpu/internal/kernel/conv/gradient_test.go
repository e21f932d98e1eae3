package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

var gradientCases = []Config{
	same(2, 5, 7, 3, 0, 5),
	same(1, 8, 8, 48, 0, 32),
	{N: 1, H: 9, W: 7, C1: 20, Cout: 32, KH: 3, KW: 3, Stride: 1, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, Algorithm: Winograd},
	{N: 1, H: 9, W: 12, C1: 40, Cout: 16, KH: 3, KW: 3, Stride: 2, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, Algorithm: Winograd},
	{N: 2, H: 7, W: 8, C1: 6, Cout: 32, KH: 3, KW: 3, Stride: 2, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1},
	{N: 1, H: 8, W: 6, C1: 40, Cout: 24, KH: 3, KW: 3, Stride: 2, PadBottom: 1, PadRight: 1},
	{N: 1, H: 8, W: 7, C1: 5, Cout: 6, KH: 3, KW: 3, Stride: 3, PadTop: 2, PadLeft: 1},
	{N: 1, H: 4, W: 9, C1: 3, Cout: 4, KH: 2, KW: 5, Stride: 1, PadTop: 1, PadLeft: 2, PadRight: 2},
	{N: 1, H: 6, W: 5, C1: 16, Cout: 32, KH: 3, KW: 3, Stride: 1},
	resized(same(2, 3, 5, 16, 0, 32), 6, 10),
	resized(same(1, 4, 3, 8, 0, 6), 7, 5),
	resized(same(1, 7, 9, 8, 0, 6), 3, 4),
}

// taps calls f for every pixel of the result and every tap that reads a pixel of the input, both as indices of pixels.
func taps(c *Config, f func(out, tap, in int)) {
	oh, ow := c.Output()
	ih, iw := c.input()
	for r := range c.N * oh * ow * c.KH * c.KW {
		out, tap := r/(c.KH*c.KW), r%(c.KH*c.KW)
		y, x := out/ow%oh*max(c.Stride, 1)+tap/c.KW-c.PadTop, out%ow*max(c.Stride, 1)+tap%c.KW-c.PadLeft
		if y >= 0 && y < ih && x >= 0 && x < iw {
			f(out, tap, (out/(oh*ow)*c.H+y*c.H/ih)*c.W+x*c.W/iw)
		}
	}
}

// compare holds got to want within tol of the magnitudes that were added up.
func compare(t *testing.T, got []float32, want, size []float64, tol float64) {
	t.Helper()
	for i, w := range want {
		if e := math.Abs(float64(got[i]) - w); !(e <= tol*(size[i]+1)) {
			t.Fatalf("element %d of %d: got %v want %v, error %.3g, tolerance %.3g", i, len(want), got[i], w, e, tol*(size[i]+1))
		}
	}
}

func TestInputGradient(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		for _, c := range gradientCases {
			for _, part := range [][2]int{{0, c.C1}, {c.C1 / 3, (c.C1 + 1) / 2}} {
				t.Run(fmt.Sprintf("%+v/channels %d+%d", c, part[0], part[1]), func(t *testing.T) {
					testInputGradient(t, set, c, part[0], part[1])
				})
			}
		}
	})
}

func testInputGradient(t *testing.T, set isa.Set, c Config, first, channels int) {
	r := rand.New(rand.NewPCG(21, 22))
	size := c.KH * c.KW
	data, w := encode(random(r, c.Cout*c.C1*size), compute.F16)
	oh, ow := c.Output()
	a := &gemm.Args{X: random(r, c.N*oh*ow*c.Cout), Residual: random(r, c.N*c.H*c.W*channels)}
	want, sizes := make([]float64, len(a.Residual)), make([]float64, len(a.Residual))
	for i, v := range a.Residual {
		want[i] = float64(v)
	}
	taps(&c, func(out, tap, in int) {
		for o, g := range a.X[out*c.Cout:][:c.Cout] {
			for i := range channels {
				v := float64(g) * float64(w[(o*c.C1+first+i)*size+tap])
				want[in*channels+i] += v
				sizes[in*channels+i] += math.Abs(v)
			}
		}
	})
	m := Weights(data, compute.F16, c.Cout, c.C1, c.KH, c.KW)
	packed, err := gemm.For(set).Pack(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	turned, err := packed.Adjoint(first, channels)
	if err != nil {
		t.Fatal(err)
	}
	m.Data = nil
	m = m.Adjoint(first, channels)
	for _, weights := range []*gemm.Weights{turned, gemm.For(set).Live(m.N, m.K(), m.Gather(gemm.For(set).NR, 1))} {
		if weights.Live() {
			c.Algorithm = Auto
		}
		p, err := NewAdjoint(weights, c)
		if err != nil {
			t.Fatal(err)
		}
		var check func(*testing.T)
		a.W = w
		a.Y, check = guarded(len(want))
		a.Workspace = make([]float32, p.Need().Workspace)
		if err := p.Check(a); err != nil {
			t.Fatal(err)
		}
		run(p, scratches(p.Need(), 3), a)
		check(t)
		tol := 2e-6
		if p.Algorithm() == Winograd {
			tol = 2e-5
		}
		compare(t, a.Y, want, sizes, tol)
	}
}

func TestWeightGradient(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		for _, c := range append([]Config{same(2, 6, 5, 5, 3, 2), same(1, 9, 8, 33, 40, 16)}, gradientCases...) {
			t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) { testWeightGradient(t, set, c) })
		}
	})
}

func testWeightGradient(t *testing.T, set isa.Set, c Config) {
	p, err := NewWeightGradient(gemm.For(set), c)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(23, 24))
	oh, ow := c.Output()
	size, channels, pixels := c.KH*c.KW, c.C1+c.C2, c.N*c.H*c.W
	a := &gemm.Args{
		X: random(r, pixels*c.C1), X2: random(r, pixels*c.C2), W: random(r, c.N*oh*ow*c.Cout), Residual: random(r, c.Cout*channels*size),
	}
	want, sizes := make([]float64, len(a.Residual)), make([]float64, len(a.Residual))
	for i, v := range a.Residual {
		want[i] = float64(v)
	}
	taps(&c, func(out, tap, in int) {
		for o, g := range a.W[out*c.Cout:][:c.Cout] {
			for i := range channels {
				x := float64(0)
				if i < c.C1 {
					x = float64(a.X[in*c.C1+i])
				} else {
					x = float64(a.X2[in*c.C2+i-c.C1])
				}
				at := (o*channels+i)*size + tap
				want[at] += float64(g) * x
				sizes[at] += math.Abs(float64(g) * x)
			}
		}
	})
	var check func(*testing.T)
	a.Y, check = guarded(len(want))
	a.Workspace = make([]float32, p.Need().Workspace)
	if err := p.Check(a); err != nil {
		t.Fatal(err)
	}
	s := scratches(p.Need(), 1)[0]
	for phase := range p.Phases() {
		for task := range p.Tasks(phase) {
			p.Do(phase, task, s, a)
		}
	}
	check(t)
	compare(t, a.Y, want, sizes, 2e-6)
}

func TestGradientErrors(t *testing.T) {
	k := gemm.For(isa.Generic)
	wide := same(1, 8, 8, 4, 0, 4)
	wide.PadTop = 3
	weights := k.Live(4, 36, nil)
	for _, c := range []Config{{}, wide} {
		if _, err := NewAdjoint(weights, c); err == nil {
			t.Errorf("%+v: planned, want an error", c)
		}
	}
	if _, err := NewWeightGradient(k, Config{}); err == nil {
		t.Error("planned the gradient of no convolution, want an error")
	}
	p, err := NewAdjoint(weights, resized(same(1, 4, 4, 4, 0, 4), 8, 8))
	if err != nil {
		t.Fatal(err)
	}
	if p.Check(&gemm.Args{X: make([]float32, 8*8*4), Y: make([]float32, 4*4*4-1), Workspace: make([]float32, p.Need().Workspace)}) == nil {
		t.Error("checked a result too short, want an error")
	}
	live := same(1, 8, 8, 16, 0, 4)
	live.Algorithm = Winograd
	if _, err := NewPlan(k.Live(4, 9*16, func(*gemm.Args, []float32, int, int, int) {}), live); err == nil {
		t.Error("planned Winograd with live weights, want an error")
	}
}
