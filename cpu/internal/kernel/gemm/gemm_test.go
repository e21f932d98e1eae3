package gemm

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/internal/f16"
)

// guard is what surrounds every output; nothing may write over it.
const guard = float32(-12345)

// guarded returns n float32 that start off elements past a cache line, NaN-filled, inside a guarded
// array, and a function that reports damage to the guards.
func guarded(n, off int) ([]float32, func(t *testing.T)) {
	const margin = 64
	all := aligned(n + 2*margin + off)
	for i := range all {
		all[i] = guard
	}
	body := all[margin+off:][:n:n]
	for i := range body {
		body[i] = float32(math.NaN())
	}
	return body, func(t *testing.T) {
		t.Helper()
		for i, v := range all {
			if at := i - margin - off; (at < 0 || at >= n) && v != guard {
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

// misaligned copies v to a start that is off elements past a cache line.
func misaligned(v []float32, off int) []float32 {
	s := aligned(len(v) + off)[off:]
	copy(s, v)
	return s
}

// encode writes v in type t at an odd address and returns the bytes with the values they stand for.
func encode(v []float32, t compute.DType) ([]byte, []float32) {
	raw := make([]byte, 1, 1+len(v)*t.Size())
	seen := make([]float32, len(v))
	for i, f := range v {
		switch t {
		case compute.F32:
			raw, seen[i] = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f)), f
		case compute.BF16:
			h := f16.F32ToBF16(f)
			raw, seen[i] = binary.LittleEndian.AppendUint16(raw, h), f16.BF16ToF32(h)
		case compute.F16:
			h := uint16(math.Float32bits(f*0x1p-112) >> 13 & 0x7fff) // truncation of a normal number will do
			if f < 0 {
				h |= 0x8000
			}
			raw, seen[i] = binary.LittleEndian.AppendUint16(raw, h), f16.ToF32(h)
		}
	}
	return raw[1:], seen
}

// worst compares got with want, whose scale[i] is the sum of the magnitudes added up in want[i], and
// fails beyond tol of it.
func worst(t *testing.T, got []float32, want, scale []float64, tol float64) {
	t.Helper()
	at, most := -1, 0.0
	for i := range want {
		if e := math.Abs(float64(got[i])-want[i]) / scale[i]; !(e <= most) {
			at, most = i, e
		}
	}
	if !(most <= tol) {
		t.Fatalf("worst element %d of %d: got %g, want %g, error %.3g of the magnitudes summed; tolerance %.3g", at, len(want), got[at], want[at], most, tol)
	}
}

// roundoff bounds the float32 error of a sum of k products relative to the sum of their magnitudes: the
// error of n additions grows like √n ulps for random signs; 8 standard deviations never happen.
func roundoff(k int) float64 { return 8 * math.Sqrt(float64(k)+4) * 0x1p-24 }

type layer struct {
	m, k, k2, n int
	dtype       compute.DType
	adjoint     bool // the product by the weights turned over
	pairs       bool
	act         bool
	perChannel  bool
	residual    bool
	pad         int // extra elements between rows
}

func (l layer) String() string {
	return fmt.Sprintf("m=%d/k=%d+%d/n=%d/%v/adjoint=%v/bf16=%v/act=%v/perChannel=%v/residual=%v/pad=%d",
		l.m, l.k, l.k2, l.n, l.dtype, l.adjoint, l.pairs, l.act, l.perChannel, l.residual, l.pad)
}

// halve stands in for an activation function.
func halve(row []float32) {
	for i, v := range row {
		row[i] = v/2 + 1
	}
}

// testLayer runs one layer on a set with 1 and 3 workers, against sums in float64.
func testLayer(t *testing.T, set isa.Set, l layer) {
	r := rand.New(rand.NewPCG(1, uint64(l.m*7+l.k*5+l.n)))
	kern := For(set)
	K := l.k + l.k2
	const before, after = 4, 3 // other channels of a matrix whose adjoint is for some
	out, in := l.n, K
	if l.adjoint {
		out, in = K, before+l.n+after
	}
	data, wv := encode(random(r, out*in), l.dtype)
	mat := Linear(data, l.dtype, out, in)
	mat.Pairs = l.pairs
	w, err := kern.Pack(nil, mat)
	if err != nil {
		t.Fatal(err)
	}
	at := func(n, k int) float64 { return float64(wv[n*K+k]) }
	if l.adjoint {
		at = func(n, k int) float64 { return float64(wv[k*in+before+n]) }
		if w, err = w.Adjoint(before, l.n); err != nil {
			t.Fatal(err)
		}
	}
	items, N := 1, l.n
	if l.perChannel {
		items = 2
	}
	cfg := Config{M: l.m * items, K2: l.k2, RowsPerItem: l.m, StrideX: l.k + l.pad, StrideX2: l.k2 + l.pad, StrideY: N + l.pad, StrideResidual: N + l.pad}
	if l.act {
		cfg.Act = halve
	}
	M := cfg.M
	a := &Args{
		X:    misaligned(random(r, M*cfg.StrideX), 1),
		X2:   misaligned(random(r, M*cfg.StrideX2), 3),
		Bias: misaligned(random(r, l.n), 5),
	}
	if l.perChannel {
		a.PerChannel = random(r, items*l.n)
	}
	if l.residual {
		a.Residual = misaligned(random(r, M*cfg.StrideY), 7)
	}
	round := func(f float32) float64 {
		if l.pairs {
			return float64(f16.BF16ToF32(f16.F32ToBF16(f)))
		}
		return float64(f)
	}
	product := func(m, n int) (sum, mag float64) {
		sum, mag = float64(a.Bias[n]), 1
		if l.perChannel {
			sum += float64(a.PerChannel[m/l.m*l.n+n])
		}
		for k := range K {
			x, b := 0.0, at(n, k)
			if k < l.k {
				x = round(a.X[m*cfg.StrideX+k])
			} else {
				x = round(a.X2[m*cfg.StrideX2+k-l.k])
			}
			if l.pairs {
				b = round(float32(b))
			}
			sum += x * b
			mag += math.Abs(x * b)
		}
		return sum, mag
	}
	want, scale := make([]float64, M*N), make([]float64, M*N)
	for m := range M {
		for n := range N {
			sum, mag := product(m, n)
			if l.act {
				sum = sum/2 + 1
			}
			if l.residual {
				v := float64(a.Residual[m*cfg.StrideY+n])
				sum, mag = sum+v, mag+math.Abs(v)
			}
			want[m*N+n], scale[m*N+n] = sum, mag
		}
	}
	var first []float32
	for _, workers := range []int{1, 3} {
		cfg.Workers = workers
		p, err := NewPlan(w, cfg)
		if err != nil {
			t.Fatal(err)
		}
		need := p.Need()
		y, intact := guarded((M-1)*cfg.StrideY+N, 3)
		ws, wsIntact := guarded(need.Workspace, 0)
		a.Y, a.Workspace = y, ws
		if err := p.Check(a); err != nil {
			t.Fatal(err)
		}
		scratch := make([]*Scratch, workers)
		var check []func(*testing.T)
		for i := range scratch {
			floats, ok := guarded(need.Scratch, 0)
			scratch[i] = &Scratch{Floats: floats, Rows: make([]unsafe.Pointer, need.Rows)}
			check = append(check, ok)
		}
		run(p, scratch, a)
		intact(t)
		wsIntact(t)
		for _, ok := range check {
			ok(t)
		}
		got := make([]float32, 0, M*N)
		for m := range M {
			got = append(got, y[m*cfg.StrideY:][:N]...)
			if m+1 < M {
				for i, v := range y[m*cfg.StrideY+N:][:l.pad] {
					if v == v {
						t.Fatalf("padding element %d after row %d was overwritten with %g", i, m, v)
					}
				}
			}
		}
		worst(t, got, want, scale, roundoff(K))
		if first == nil {
			first = got
		} else if !slices.Equal(first, got) {
			t.Fatalf("%d workers and 1 worker differ", workers)
		}
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

// TestTiles visits every height and width of tile with every remainder of the unrolled loop.
func TestTiles(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		k := For(set)
		for m := 1; m <= 2*k.MR+1; m++ {
			for _, n := range []int{1, k.NR - 1, k.NR, k.NR + 1} {
				for _, depth := range []int{1, 2, 3, 4, 5, 7, 8, 33} {
					l := layer{m: m, k: depth, n: n, dtype: compute.F32}
					testLayer(t, set, l)
					if k.HasBF16() {
						l.pairs = true
						testLayer(t, set, l)
					}
				}
			}
		}
	})
}

// TestLayers visits types, epilogues, two inputs, strides and depths beyond one pass.
func TestLayers(t *testing.T) {
	layers := []layer{
		{m: 5, k: 36, n: 8, dtype: compute.F16},
		{m: 77, k: 77, n: 40, dtype: compute.BF16},
		{m: 13, k: 40, k2: 24, n: 64, dtype: compute.F16},
		{m: 13, k: 1, k2: 3, n: 5, dtype: compute.F32},
		{m: 26, k: 64, n: 96, dtype: compute.F16, adjoint: true},
		{m: 26, k: 100, n: 33, dtype: compute.F32, adjoint: true, residual: true},
		{m: 13, k: 1500, n: 70, dtype: compute.BF16, adjoint: true},
		{m: 30, k: 100, n: 32, dtype: compute.F16, act: true},
		{m: 30, k: 100, n: 33, dtype: compute.F16, act: true, residual: true},
		{m: 25, k: 48, n: 64, dtype: compute.F16, perChannel: true, residual: true},
		{m: 25, k: 48, n: 36, dtype: compute.F16, perChannel: true, residual: true, pad: 3},
		{m: 7, k: 1500, n: 64, dtype: compute.F16, residual: true},
		{m: 7, k: 1000, k2: 2100, n: 40, dtype: compute.BF16, act: true, pad: 1},
		{m: 500, k: 9, n: 33, dtype: compute.F16},
		{m: 600, k: 16, n: 128, dtype: compute.F32, perChannel: true},
		{m: 13, k: 1024, n: 1600, dtype: compute.F16}, // rows a multiple of 4 KB apart
	}
	forEachSet(t, func(t *testing.T, set isa.Set) {
		for _, l := range layers {
			for _, pairs := range []bool{false, true} {
				if pairs && !For(set).HasBF16() {
					continue
				}
				l.pairs = pairs
				t.Run(l.String(), func(t *testing.T) { testLayer(t, set, l) })
			}
		}
	})
}

// TestAdjoint compares panels of an adjoint, whole and in part, with those that packing the turned matrix gives.
func TestAdjoint(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		k := For(set)
		for _, c := range []struct{ out, in, taps, first, channels int }{
			{1, 1, 1, 0, 1}, {3, 5, 1, 1, 4}, {64, 64, 1, 0, 64}, {70, 96, 1, 32, 64}, {33, 70, 1, 2, 67}, {33, 70, 1, 1, 66}, {4, 64, 9, 0, 64}, {40, 100, 9, 31, 64}, {64, 35, 4, 0, 35},
		} {
			for _, dtype := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
				for _, pairs := range []bool{false, true} {
					if pairs && (c.taps > 1 || !k.HasBF16()) {
						continue
					}
					t.Run(fmt.Sprintf("%+v/%v/bf16=%v", c, dtype, pairs), func(t *testing.T) {
						data, _ := encode(random(rand.New(rand.NewPCG(5, 6)), c.out*c.in*c.taps), dtype)
						m := Matrix{Data: data, DType: dtype, N: c.out, Taps: c.taps, C: c.in, StrideN: c.in * c.taps, StrideT: 1, StrideC: c.taps, Pairs: pairs}
						testAdjoint(t, k, m, c.first, c.channels)
					})
				}
			}
		}
	})
}

func testAdjoint(t *testing.T, k *Kernel, m Matrix, first, channels int) {
	forward, err := k.Pack(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := forward.Adjoint(first, channels)
	if err != nil {
		t.Fatal(err)
	}
	want, err := k.Pack(nil, m.Adjoint(first, channels))
	if err != nil {
		t.Fatal(err)
	}
	if got.N != want.N || got.K != want.K || got.DType != want.DType {
		t.Fatalf("%d×%d of %v, want %d×%d of %v", got.N, got.K, got.DType, want.N, want.K, want.DType)
	}
	depth := want.K
	if m.Pairs {
		depth = (depth + 1) / 2
	}
	for panel := range want.Panels() {
		for _, cut := range [][2]int{{0, depth}, {depth / 3, depth}, {depth / 2, depth/2 + 1}} {
			k0, n := cut[0], cut[1]-cut[0]
			buf, intact := guarded(n*k.NR, 1)
			spare, spareIntact := guarded(got.Spare(), 3)
			var have, wanted []uint32
			if m.Pairs {
				have = words(got.pairs(buf, spare, panel, k0, n), n*k.NR)
				wanted = words(want.pairs(nil, nil, panel, k0, n), n*k.NR)
			} else {
				have = words(&got.Panel(buf, spare, panel, k0, n)[0], n*k.NR)
				wanted = words(&want.Panel(make([]float32, n*k.NR), nil, panel, k0, n)[0], n*k.NR)
			}
			for i, w := range wanted {
				if have[i] != w {
					t.Fatalf("panel %d, rows %d+%d: element %d is %#x, want %#x", panel, k0, n, i, have[i], w)
				}
			}
			intact(t)
			spareIntact(t)
		}
	}
}

// TestPack packs matrices as they lie in checkpoints, whole and in parts, and compares with packing element by element.
func TestPack(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		k := For(set)
		for _, c := range []struct{ out, in, taps int }{
			{1, 1, 1}, {64, 64, 1}, {70, 96, 1}, {32, 31, 1}, {32, 33, 1}, {96, 130, 1}, {64, 4, 9}, {40, 36, 9}, {64, 35, 4}, {32, 200, 1},
		} {
			for _, dtype := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
				for _, pairs := range []bool{false, true} {
					if pairs && (c.taps > 1 || !k.HasBF16()) {
						continue
					}
					t.Run(fmt.Sprintf("%+v/%v/bf16=%v", c, dtype, pairs), func(t *testing.T) {
						data, _ := encode(random(rand.New(rand.NewPCG(7, 8)), c.out*c.in*c.taps), dtype)
						testPack(t, k, Matrix{Data: data, DType: dtype, N: c.out, Taps: c.taps, C: c.in, StrideN: c.in * c.taps, StrideT: 1, StrideC: c.taps, Pairs: pairs})
					})
				}
			}
		}
	})
}

func testPack(t *testing.T, k *Kernel, m Matrix) {
	size := k.PackedSize(m)
	want := make([]byte, size)
	k.packElements(want, m)
	for _, outputs := range []int{m.N, k.NR, 2 * k.NR} {
		floats, intact := guarded(size/4, 1)
		got := unsafe.Slice((*byte)(unsafe.Pointer(&floats[0])), size)
		for n0, to := 0, got; n0 < m.N; n0 += outputs {
			part := m.Rows(m.Data[n0*m.StrideN*m.DType.Size():], min(outputs, m.N-n0))
			spare, spareIntact := guarded(k.PackSpare(), 3)
			own := to[:k.PackedSize(part)]
			if err := k.PackInto(own, part, spare); err != nil {
				t.Fatal(err)
			}
			spareIntact(t)
			to = to[len(own):]
		}
		intact(t)
		for i, b := range want {
			if got[i] != b {
				t.Fatalf("%d outputs at a time: byte %d is %#x, want %#x", outputs, i, got[i], b)
			}
		}
	}
}

// words are the bits of n elements.
func words(p *float32, n int) []uint32 { return unsafe.Slice((*uint32)(unsafe.Pointer(p)), n) }

// TestResidualInPlace adds the product to its own output.
func TestResidualInPlace(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		data, wv := encode([]float32{1, 2, 3, 4, 5, 6}, compute.F32)
		w, err := For(set).Pack(nil, Linear(data, compute.F32, 3, 2))
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPlan(w, Config{M: 1})
		if err != nil {
			t.Fatal(err)
		}
		y := []float32{10, 20, 30}
		run(p, scratches(p.Need(), 1), &Args{X: []float32{1, 10}, Y: y, Residual: y})
		want := []float32{10 + wv[0] + 10*wv[1], 20 + wv[2] + 10*wv[3], 30 + wv[4] + 10*wv[5]}
		if !slices.Equal(y, want) {
			t.Errorf("got %v, want %v", y, want)
		}
	})
}

// TestConversions compares every binary16 and bfloat16 number with the portable conversion, and the
// portable conversion with the definition of the format.
func TestConversions(t *testing.T) {
	raw := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(raw[2*i:], uint16(i))
	}
	same := func(a, b float32) bool { return a == b || a != a && b != b }
	for i := range 1 << 16 {
		exp, frac := i>>10&31, float64(i&1023)
		want := math.Ldexp(1024+frac, exp-25)
		switch {
		case exp == 0:
			want = math.Ldexp(frac, -24)
		case exp == 31 && frac == 0:
			want = math.Inf(1)
		case exp == 31:
			want = math.NaN()
		}
		if i>>15 == 1 {
			want = -want
		}
		if got := f16.ToF32(uint16(i)); !same(got, float32(want)) {
			t.Fatalf("f16.ToF32(%#04x) = %g, want %g", i, got, want)
		}
	}
	forEachSet(t, func(t *testing.T, set isa.Set) {
		k := For(set)
		for _, n := range []int{0, 1, 31, 32, 33, 1 << 16} {
			got, intact := guarded(n, 1)
			k.widenF16(got, raw[:2*n])
			for i, v := range got {
				if want := f16.ToF32(uint16(i)); !same(v, want) {
					t.Fatalf("binary16 %#04x: got %g, want %g", i, v, want)
				}
			}
			k.widenBF16(got, raw[:2*n])
			for i, v := range got {
				if want := f16.BF16ToF32(uint16(i)); !same(v, want) {
					t.Fatalf("bfloat16 %#04x: got %g, want %g", i, v, want)
				}
			}
			intact(t)
		}
		r := rand.New(rand.NewPCG(3, 4))
		in := append(random(r, 100), 0, 1, -1, 1.00390625, 1.01171875, 3e38, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()))
		out := make([]uint16, len(in))
		k.narrow(out, in)
		for i, h := range out {
			if got, want := f16.BF16ToF32(h), f16.BF16ToF32(f16.F32ToBF16(in[i])); !same(got, want) {
				t.Errorf("narrow(%g) = %g, want %g", in[i], got, want)
			}
		}
	})
	// Ties go to even, anything above a tie goes up.
	for _, c := range []struct{ in, want float32 }{{1.00390625, 1}, {1.01171875, 1.015625}, {1.00390637, 1.0078125}, {-1.00390625, -1}} {
		if got := f16.BF16ToF32(f16.F32ToBF16(c.in)); got != c.want {
			t.Errorf("toBF16(%g) = %g, want %g", c.in, got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	k := For(isa.Generic)
	good := Linear(make([]byte, 4*6), compute.F32, 2, 3)
	for _, c := range []struct {
		name string
		edit func(*Matrix)
	}{
		{"type", func(m *Matrix) { m.DType = compute.I32 }},
		{"empty", func(m *Matrix) { m.N = 0 }},
		{"short", func(m *Matrix) { m.Data = m.Data[:20] }},
		{"offset", func(m *Matrix) { m.Offset = 1 }},
		{"negative", func(m *Matrix) { m.StrideN = -1 }},
		{"bfloat16 on generic", func(m *Matrix) { m.Pairs = true }},
	} {
		m := good
		c.edit(&m)
		if _, err := k.Pack(nil, m); err == nil {
			t.Errorf("%s: packed, want an error", c.name)
		}
	}
	if err := k.PackInto(make([]byte, 5), good, make([]float32, k.PackSpare())); err == nil {
		t.Error("short destination: packed, want an error")
	}
	w, err := k.Pack(nil, good)
	if err != nil {
		t.Fatal(err)
	}
	turned, err := w.Adjoint(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		w               *Weights
		first, channels int
	}{{w, -1, 1}, {w, 0, 0}, {w, 2, 2}, {turned, 0, 1}, {k.Live(2, 3, good.Gather(k.NR, 1)), 0, 1}, {&Weights{N: 2, K: 4, Taps: 2, Pairs: true}, 0, 1}} {
		if _, err := c.w.Adjoint(c.first, c.channels); err == nil {
			t.Errorf("adjoint of %+v for channels %d+%d, want an error", c.w, c.first, c.channels)
		}
	}
	for _, c := range []Config{{}, {M: 1, K2: 3}, {M: 1, K2: -1}, {M: 4, RowsPerItem: 3}, {M: 1, StrideX: 2}, {M: 1, StrideY: 1}} {
		if _, err := NewPlan(w, c); err == nil {
			t.Errorf("%+v: planned, want an error", c)
		}
	}
	p, err := NewPlan(w, Config{M: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []Args{{}, {X: make([]float32, 6)}, {X: make([]float32, 6), Y: make([]float32, 4), Bias: make([]float32, 1)}} {
		if err := p.Check(&a); err == nil {
			t.Errorf("operands of %d, %d, %d elements passed Check", len(a.X), len(a.Y), len(a.Bias))
		}
	}
}

func TestNoAllocations(t *testing.T) {
	forEachSet(t, func(t *testing.T, set isa.Set) {
		w, err := For(set).Pack(nil, Linear(make([]byte, 2*64*64), compute.F16, 64, 64))
		if err != nil {
			t.Fatal(err)
		}
		turned, err := w.Adjoint(0, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []*Weights{w, turned} {
			p, err := NewPlan(w, Config{M: 40})
			if err != nil {
				t.Fatal(err)
			}
			s := scratches(p.Need(), 1)
			a := &Args{X: make([]float32, 40*64), Y: make([]float32, 40*64)}
			if n := testing.AllocsPerRun(10, func() { run(p, s, a) }); n != 0 {
				t.Errorf("%g allocations a run, want none", n)
			}
		}
	})
}

// TestGrouping cuts panels for few workers and for many: no group is empty, and how many panels a worker has to do one after the other is close to a fair share.
func TestGrouping(t *testing.T) {
	for _, c := range []struct{ chunks, panels, workers, turns int }{
		{17, 10, 2, 85}, {5, 20, 2, 50}, {5, 80, 32, 13}, {1, 40, 1, 40}, {3, 1, 64, 1}, {5, 320, 32, 50}, {2, 7, 4, 4},
	} {
		groups, group := grouping(c.chunks, c.panels, c.workers)
		if groups*group < c.panels || (groups-1)*group >= c.panels || group > maxGroup {
			t.Errorf("%+v: %d groups of %d", c, groups, group)
		}
		if turns := (c.chunks*groups + c.workers - 1) / c.workers * group; turns != c.turns {
			t.Errorf("%+v: %d groups of %d make %d panels one after the other, want %d", c, groups, group, turns, c.turns)
		}
	}
}
