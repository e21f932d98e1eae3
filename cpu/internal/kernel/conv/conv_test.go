package conv

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
	"github.com/atelier-go/atelier/internal/f16"
)

// run performs a plan with as many workers as there are scratches.
func run(p Plan, scratch []*gemm.Scratch, a *gemm.Args) {
	for phase := range p.Phases() {
		if len(scratch) > 1 {
			share(p, phase, scratch, a)
			continue
		}
		for task := range p.Tasks(phase) {
			p.Do(phase, task, scratch[0], a)
		}
	}
}

// share spreads one phase over workers.
func share(p Plan, phase int, scratch []*gemm.Scratch, a *gemm.Args) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for _, s := range scratch {
		wg.Go(func() {
			for task := int(next.Add(1)) - 1; task < p.Tasks(phase); task = int(next.Add(1)) - 1 {
				p.Do(phase, task, s, a)
			}
		})
	}
	wg.Wait()
}

func scratches(n gemm.Need, workers int) []*gemm.Scratch {
	s := make([]*gemm.Scratch, workers)
	for i := range s {
		s[i] = gemm.NewScratch(n)
	}
	return s
}

// guard is what surrounds every output; nothing may write over it.
const guard = float32(-12345)

// guarded returns n float32, NaN-filled and starting off a cache line, inside a guarded array, and a
// function that reports damage to the guards.
func guarded(n int) ([]float32, func(t *testing.T)) {
	const margin = 67
	all := make([]float32, n+2*margin)
	for i := range all {
		all[i] = guard
	}
	body := all[margin:][:n:n]
	for i := range body {
		body[i] = float32(math.NaN())
	}
	return body, func(t *testing.T) {
		t.Helper()
		for i, v := range all {
			if at := i - margin; (at < 0 || at >= n) && v != guard {
				t.Fatalf("guard at element %d of an output of %d was overwritten with %g", at, n, v)
			}
		}
	}
}

func random(r *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

// encode writes v in type t at an odd address and returns the bytes with the values they stand for.
func encode(v []float32, t compute.DType) ([]byte, []float32) {
	raw := make([]byte, 1, 1+len(v)*t.Size())
	seen := make([]float32, len(v))
	for i, f := range v {
		u := math.Float32bits(f)
		switch t {
		case compute.F32:
			raw, seen[i] = binary.LittleEndian.AppendUint32(raw, u), f
		case compute.BF16:
			raw, seen[i] = binary.LittleEndian.AppendUint16(raw, uint16(u>>16)), f16.BF16ToF32(uint16(u>>16))
		case compute.F16:
			h := uint16(math.Float32bits(f*0x1p-112)>>13&0x7fff) | uint16(u>>16&0x8000)
			raw, seen[i] = binary.LittleEndian.AppendUint16(raw, h), f16.ToF32(h)
		}
	}
	return raw[1:], seen
}

// naive is the definition of the convolution, in float64, with the magnitudes summed for each output.
func naive(c *Config, w []float32, a *gemm.Args) (want, scale []float64) {
	oh, ow := c.Output()
	ih, iw := c.input()
	C := c.C1 + c.C2
	for n := range c.N {
		for oy := range oh {
			for ox := range ow {
				for o := range c.Cout {
					sum := float64(a.Bias[o])
					mag := math.Abs(sum)
					if c.PerChannel {
						sum += float64(a.PerChannel[n*c.Cout+o])
						mag += math.Abs(float64(a.PerChannel[n*c.Cout+o]))
					}
					for ky := range c.KH {
						for kx := range c.KW {
							y, x := oy*max(c.Stride, 1)+ky-c.PadTop, ox*max(c.Stride, 1)+kx-c.PadLeft
							if y < 0 || y >= ih || x < 0 || x >= iw {
								continue
							}
							at := (n*c.H+y*c.H/ih)*c.W + x*c.W/iw
							for i := range C {
								v := 0.0
								if i < c.C1 {
									v = float64(a.X[at*c.C1+i])
								} else {
									v = float64(a.X2[at*c.C2+i-c.C1])
								}
								v *= float64(w[((o*C+i)*c.KH+ky)*c.KW+kx])
								sum += v
								mag += math.Abs(v)
							}
						}
					}
					if c.Act != nil {
						sum = sum/2 + 1
					}
					if a.Residual != nil {
						v := float64(a.Residual[len(want)])
						sum += v
						mag += math.Abs(v)
					}
					want, scale = append(want, sum), append(scale, mag+1)
				}
			}
		}
	}
	return want, scale
}

// halve stands in for an activation function.
func halve(row []float32) {
	for i, v := range row {
		row[i] = v/2 + 1
	}
}

// forEachSet runs f for every kernel set, and reports those that this machine lacks.
func forEachSet(t *testing.T, f func(t *testing.T, set isa.Set)) {
	for set := isa.Generic; set <= isa.AVX512BF16; set++ {
		t.Run(set.String(), func(t *testing.T) {
			isa.Need(t, set)
			f(t, set)
		})
	}
}

type testCase struct {
	Config
	dtype    compute.DType
	residual bool
}

func (c testCase) String() string {
	return fmt.Sprintf("n=%d/%dx%d/c=%d+%d/cout=%d/k=%dx%d/stride=%d/pad=%d,%d,%d,%d/resize=%dx%d/%v/%v",
		c.N, c.H, c.W, c.C1, c.C2, c.Cout, c.KH, c.KW, c.Stride, c.PadTop, c.PadLeft, c.PadBottom, c.PadRight,
		c.ResizeH, c.ResizeW, c.dtype, c.Algorithm)
}

// same is a 3×3 convolution that keeps the size.
func same(n, h, w, c1, c2, cout int) Config {
	return Config{N: n, H: h, W: w, C1: c1, C2: c2, Cout: cout, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}
}

// resized adds a resize of the input to c.
func resized(c Config, h, w int) Config {
	c.ResizeH, c.ResizeW = h, w
	return c
}

var testCases = []testCase{
	{Config: same(1, 1, 1, 1, 0, 1)},
	{Config: same(1, 5, 7, 4, 0, 8), dtype: compute.F16},
	{Config: same(2, 6, 5, 3, 0, 33), dtype: compute.F16, residual: true},
	{Config: same(2, 5, 6, 8, 5, 3), dtype: compute.BF16},
	{Config: same(1, 7, 9, 40, 0, 4), dtype: compute.F16},
	{Config: same(1, 4, 4, 40, 24, 32), dtype: compute.F16, residual: true},
	{Config: resized(same(1, 3, 4, 4, 0, 6), 6, 8)},
	{Config: resized(same(1, 3, 4, 4, 3, 6), 5, 9)},
	{Config: resized(same(2, 3, 4, 36, 0, 40), 5, 7), dtype: compute.F16},
	{Config: Config{N: 1, H: 9, W: 8, C1: 4, Cout: 5, KH: 3, KW: 3, Stride: 2, PadBottom: 1, PadRight: 1}},
	{Config: Config{N: 2, H: 8, W: 9, C1: 33, Cout: 34, KH: 3, KW: 3, Stride: 2, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}, dtype: compute.F16},
	{Config: Config{N: 2, H: 4, W: 3, C1: 20, C2: 12, Cout: 34, KH: 1, KW: 1}, dtype: compute.F16, residual: true},
	{Config: Config{N: 1, H: 6, W: 6, C1: 5, Cout: 7, KH: 2, KW: 5, PadLeft: 2, PadRight: 2}},
	{Config: Config{N: 1, H: 30, W: 30, C1: 200, Cout: 33, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}, dtype: compute.F16},
	{Config: Config{N: 2, H: 4, W: 4, C1: 40, Cout: 33, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, PerChannel: true, Act: halve}, dtype: compute.F16, residual: true},

	// Shapes that Winograd also computes.
	{Config: same(1, 4, 4, 16, 0, 32), dtype: compute.F16},
	{Config: same(1, 1, 1, 16, 0, 32), dtype: compute.F16},
	{Config: same(2, 8, 12, 32, 16, 64), dtype: compute.F16, residual: true},
	{Config: same(2, 8, 7, 32, 0, 3), dtype: compute.F16, residual: true},
	{Config: same(1, 8, 8, 16, 16, 40), dtype: compute.F16, residual: true},
	{Config: same(1, 7, 5, 48, 0, 32), dtype: compute.BF16, residual: true},
	{Config: same(3, 9, 6, 32, 0, 32), dtype: compute.F32},
	{Config: same(1, 8, 8, 400, 400, 32), dtype: compute.F16},
	{Config: resized(same(2, 3, 5, 32, 0, 32), 6, 10), dtype: compute.F16, residual: true},
	{Config: resized(same(1, 4, 4, 16, 16, 32), 8, 8), dtype: compute.F16},
	{Config: resized(same(1, 4, 6, 32, 0, 32), 7, 9), dtype: compute.F16},
	{Config: Config{N: 1, H: 9, W: 9, C1: 16, Cout: 32, KH: 3, KW: 3, PadTop: 2, PadBottom: 3, PadRight: 1}, dtype: compute.F16},
	{Config: Config{N: 2, H: 8, W: 8, C1: 32, Cout: 64, KH: 3, KW: 3, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, PerChannel: true}, dtype: compute.F16, residual: true},
}

// TestConv compares both algorithms with the definition, for 1 and 3 workers.
func TestConv(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		for _, c := range testCases {
			if c.dtype == compute.InvalidDType {
				c.dtype = compute.F32
			}
			for _, c.Algorithm = range []Algorithm{Direct, Winograd} {
				if c.Algorithm == Winograd && !canWinograd(&c.Config) {
					continue
				}
				if set == isa.Generic && c.FLOPs() > 2e8 {
					continue // the blocking is the same code in every set
				}
				t.Run(c.String(), func(t *testing.T) { testConv(t, set, c) })
			}
		}
	})
}

func testConv(t *testing.T, set isa.Set, c testCase) {
	r := rand.New(rand.NewPCG(5, uint64(c.FLOPs())))
	K := (c.C1 + c.C2) * c.KH * c.KW
	data, wv := encode(random(r, c.Cout*K), c.dtype)
	w, err := gemm.For(set).Pack(nil, Weights(data, c.dtype, c.Cout, c.C1+c.C2, c.KH, c.KW))
	if err != nil {
		t.Fatal(err)
	}
	oh, ow := c.Output()
	pixels := c.N * oh * ow
	a := &gemm.Args{X: random(r, c.N*c.H*c.W*c.C1), X2: random(r, c.N*c.H*c.W*c.C2), Bias: random(r, c.Cout)}
	if c.PerChannel {
		a.PerChannel = random(r, c.N*c.Cout)
	}
	if c.residual {
		a.Residual = random(r, pixels*c.Cout)
	}
	want, scale := naive(&c.Config, wv, a)
	var first []float32
	for _, workers := range []int{1, 3} {
		c.Workers = workers
		p, err := NewPlan(w, c.Config)
		if err != nil {
			t.Fatal(err)
		}
		need := p.Need()
		y, intact := guarded(pixels * c.Cout)
		ws, wsIntact := guarded(need.Workspace)
		a.Y, a.Workspace = y, ws
		if c.residual && workers > 1 { // the residual may be Y itself
			copy(y, a.Residual)
			a.Residual = y
		}
		if err := p.Check(a); err != nil {
			t.Fatal(err)
		}
		scratch := scratches(need, workers)
		var check []func(*testing.T)
		for _, s := range scratch {
			floats, ok := guarded(need.Scratch)
			s.Floats = floats
			check = append(check, ok)
		}
		run(p, scratch, a)
		intact(t)
		wsIntact(t)
		for _, ok := range check {
			ok(t)
		}
		// Direct: n additions of random sign drift by about √n roundings; 8 standard deviations never
		// happen. Winograd amplifies roundings, and spreads those of a whole tile over each of its
		// pixels, also over those at a border that sum few magnitudes themselves.
		tol := 8 * math.Sqrt(float64(K)+4) * 0x1p-24
		if c.Algorithm == Winograd {
			tol *= 4
			most := slices.Max(scale)
			for i := range scale {
				scale[i] = most
			}
		}
		at, most := -1, 0.0
		for i := range want {
			e := math.Abs(float64(y[i])-want[i]) / scale[i]
			if !(e <= most) {
				at, most = i, e
			}
		}
		if !(most <= tol) {
			t.Fatalf("worst element %d of %d: got %g, want %g, error %.3g of the magnitudes summed; tolerance %.3g", at, len(want), y[at], want[at], most, tol)
		}
		if first == nil {
			first = slices.Clone(y)
		} else if !slices.Equal(first, y) {
			t.Fatalf("%d workers and 1 worker differ", workers)
		}
	}
}

// TestBlocks cuts a convolution into several blocks of tiles, the last one smaller, and these into parts, with either
// transform made first, in float32 and, where there are kernels for it, in 16-bit integers. Its channels take two passes.
func TestBlocks(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		t.Run("float32", func(t *testing.T) { testBlocks(t, set, false, 2e-6) })
		if gemm.For(set).HasBF16() {
			// Rounding moves each of 36 sums of products by some 1.3e-5 of the product of both factors' lengths, which
			// for random numbers is half again as much as the magnitudes summed; the transforms magnify that.
			t.Run("int16", func(t *testing.T) { testBlocks(t, set, true, 3e-4) })
		}
	})
}

func testBlocks(t *testing.T, set isa.Set, fixed bool, tolerance float64) {
	r := rand.New(rand.NewPCG(6, 7))
	c := same(2, 22, 30, 304, 32, 40)
	c.PerChannel, c.Fixed = true, fixed
	C := c.C1 + c.C2
	weights := random(r, c.Cout*C*9)
	clear(weights[9 : 2*C*9]) // an output that hears one channel alone, and one that hears nothing
	data, wv := encode(weights, compute.F16)
	w, err := gemm.For(set).Pack(nil, Weights(data, compute.F16, c.Cout, C, 3, 3))
	if err != nil {
		t.Fatal(err)
	}
	pixels := c.N * c.H * c.W
	a := &gemm.Args{X: random(r, pixels*c.C1), X2: random(r, pixels*c.C2), Bias: random(r, c.Cout), PerChannel: random(r, c.N*c.Cout)}
	clear(a.X[:6*c.W*c.C1]) // a tile of zeros has no scale
	clear(a.X2[:6*c.W*c.C2])
	want, scale := naive(&c, wv, a)
	most := slices.Max(scale)
	var first []float32
	for _, budgets := range [][2]int{{96 * 36 * C, 0}, {50 * 36 * C, 0}, {13 * 36 * C, 0}, {0, 0}, {0, maxU}} {
		for _, c.Workers = range []int{1, 64} {
			p := newWinograd(w, c, budgets[0], budgets[1])
			if p.many != (budgets[1] > 0) || p.fixed != fixed {
				t.Fatalf("budgets %v: planned for many tiles: %v, for integers: %v", budgets, p.many, p.fixed)
			}
			y, intact := guarded(pixels * c.Cout)
			ws, wsIntact := guarded(p.Need().Workspace)
			a.Y, a.Workspace = y, ws
			run(p, scratches(p.Need(), 2), a)
			intact(t)
			wsIntact(t)
			for i := range want {
				if e := math.Abs(float64(y[i])-want[i]) / most; !(e <= tolerance) {
					t.Fatalf("budgets %v, element %d: got %g, want %g, error %.3g of the magnitudes summed", budgets, i, y[i], want[i], e)
				}
			}
			if first == nil {
				first = slices.Clone(y)
			} else if !slices.Equal(first, y) {
				t.Fatalf("budgets %v for %d workers give other bits than one block", budgets, c.Workers)
			}
		}
	}
}

// TestAdjoint checks ⟨conv(x), dy⟩ = ⟨x, adjoint(dy)⟩.
func TestAdjoint(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		for _, c := range []Config{same(1, 6, 7, 5, 0, 9), same(1, 8, 8, 32, 0, 64)} {
			r := rand.New(rand.NewPCG(8, 9))
			data, _ := encode(random(r, c.Cout*c.C1*9), compute.F16)
			w, err := gemm.For(set).Pack(nil, Weights(data, compute.F16, c.Cout, c.C1, 3, 3))
			if err != nil {
				t.Fatal(err)
			}
			turned, err := w.Adjoint(0, c.C1)
			if err != nil {
				t.Fatal(err)
			}
			conv := func(cfg Config, w *gemm.Weights, x []float32) []float32 {
				p, err := NewPlan(w, cfg)
				if err != nil {
					t.Fatal(err)
				}
				y := make([]float32, c.H*c.W*cfg.Cout)
				a := &gemm.Args{X: x, Y: y, Workspace: make([]float32, p.Need().Workspace)}
				run(p, scratches(p.Need(), 1), a)
				return y
			}
			dot := func(a, b []float32) (sum, mag float64) {
				for i := range a {
					v := float64(a[i]) * float64(b[i])
					sum, mag = sum+v, mag+math.Abs(v)
				}
				return sum, mag
			}
			x, dy := random(r, c.H*c.W*c.C1), random(r, c.H*c.W*c.Cout)
			y := conv(c, w, x)
			back := c
			back.C1, back.Cout = c.Cout, c.C1
			dx := conv(back, turned, dy)
			forward, mag := dot(y, dy)
			backward, _ := dot(x, dx)
			if math.Abs(forward-backward) > 1e-5*mag {
				t.Errorf("⟨conv(x), dy⟩ = %g, ⟨x, adjoint(dy)⟩ = %g", forward, backward)
			}
		}
	})
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want Algorithm
	}{
		{"resnet", same(2, 64, 64, 320, 0, 320), Winograd},
		{"concatenated", same(2, 32, 32, 640, 320, 640), Winograd},
		{"middle", same(2, 8, 8, 1280, 0, 1280), Winograd},
		{"one pixel", same(2, 1, 1, 1280, 0, 1280), Direct},
		{"the VAE's conv_out", same(1, 512, 512, 128, 0, 3), Winograd},
		{"a tiny model's resnet", same(2, 16, 16, 128, 0, 128), Direct},
		{"conv_in", same(2, 64, 64, 4, 0, 320), Direct},
		{"downsampler", Config{N: 2, H: 64, W: 64, C1: 320, Cout: 320, KH: 3, KW: 3, Stride: 2, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}, Direct},
		{"shortcut", Config{N: 2, H: 64, W: 64, C1: 320, Cout: 640, KH: 1, KW: 1}, Direct},
	} {
		if got := Choose(c.cfg); got != c.want {
			t.Errorf("%s: chose %v, want %v", c.name, got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	good := same(1, 4, 4, 16, 0, 32)
	w, err := gemm.For(isa.Detected()).Pack(nil, Weights(make([]byte, 4*32*16*9), compute.F32, 32, 16, 3, 3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewPlan(w, good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		edit func(*Config)
	}{
		{"batch", func(c *Config) { c.N = 0 }},
		{"padding", func(c *Config) { c.PadLeft = -1 }},
		{"channels", func(c *Config) { c.C2 = 16 }},
		{"outputs", func(c *Config) { c.Cout = 64 }},
		{"half a resize", func(c *Config) { c.ResizeH = 3 }},
		{"too small", func(c *Config) { c.H, c.PadTop, c.PadBottom = 1, 0, 0 }},
		{"Winograd with stride", func(c *Config) { c.Algorithm, c.Stride = Winograd, 2 }},
	} {
		cfg := good
		c.edit(&cfg)
		if _, err := NewPlan(w, cfg); err == nil {
			t.Errorf("%s: planned, want an error", c.name)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		for _, algorithm := range []Algorithm{Direct, Winograd} {
			w, err := gemm.For(set).Pack(nil, Weights(make([]byte, 2*32*32*9), compute.F16, 32, 32, 3, 3))
			if err != nil {
				t.Fatal(err)
			}
			cfg := same(1, 8, 8, 32, 0, 32)
			cfg.Algorithm = algorithm
			p, err := NewPlan(w, cfg)
			if err != nil {
				t.Fatal(err)
			}
			s := scratches(p.Need(), 1)
			a := &gemm.Args{X: make([]float32, 8*8*32), Y: make([]float32, 8*8*32), Workspace: make([]float32, p.Need().Workspace)}
			if n := testing.AllocsPerRun(10, func() { run(p, s, a) }); n != 0 {
				t.Errorf("%v: %g allocations a run, want none", algorithm, n)
			}
		}
	})
}
