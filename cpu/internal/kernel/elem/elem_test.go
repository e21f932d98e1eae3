package elem

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/isa"
	"github.com/atelier-go/atelier/internal/f16"
)

var sets = []isa.Set{isa.Generic, isa.AVX2, isa.AVX512}

// eachSet runs f as a subtest for every kernel set.
func eachSet(t *testing.T, f func(t *testing.T, k *Kernels)) {
	for _, s := range sets {
		t.Run("set="+s.String(), func(t *testing.T) {
			isa.Need(t, s)
			f(t, For(s))
		})
	}
}

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
				t.Fatalf("length %d: written outside, %d from an end", n, i+1)
			}
		}
	}
}

// points are operands of every size and both signs, dense where the functions bend.
func points() []float32 {
	var x []float32
	for v := -110.0; v <= 110; v += 0.00371 {
		x = append(x, float32(v))
	}
	for v := -8.0; v <= 8; v += 0.000313 {
		x = append(x, float32(v))
	}
	for e := -149; e <= 127; e++ {
		for _, m := range []float64{1, 1.3, 1.999} {
			x = append(x, float32(math.Ldexp(m, e)), float32(-math.Ldexp(m, e)))
		}
	}
	return append(x, 0, float32(math.Copysign(0, -1)), math.MaxFloat32, -math.MaxFloat32, 1e4, -1e4)
}

func sigmoid64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

var activations = []struct {
	name  string
	of    func(k *Kernels) func([]float32)
	exact func(x float64) float64
	ulps  float64
}{
	{"SiLU", func(k *Kernels) func([]float32) { return k.Activation(compute.SiLU) }, func(x float64) float64 { return x * sigmoid64(x) }, 3},
	// The argument is rounded before the exponential, which multiplies its relative error: x·1.702 up to 90.
	{"QuickGELU", func(k *Kernels) func([]float32) { return k.Activation(compute.QuickGELU) }, func(x float64) float64 {
		return x * sigmoid64(float64(float32(1.702*float32(x))))
	}, 3},
	{"GELU", func(k *Kernels) func([]float32) { return k.Activation(compute.GELU) }, func(x float64) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 }, 4.5},
	{"ReLU", func(k *Kernels) func([]float32) { return k.Activation(compute.ReLU) }, func(x float64) float64 { return max(x, 0) }, 0},
	{"LeakyReLU", func(k *Kernels) func([]float32) { return k.Activation(compute.LeakyReLU) }, func(x float64) float64 { return max(x, x/5) }, 0.5},
	{"Exp", func(k *Kernels) func([]float32) { return k.Exp }, math.Exp, 2},
}

// ulp is the distance between float32 values near x; below the normal range, twice that of subnormals
// for each factor that may have been one.
func ulp(x float64) float64 {
	_, e := math.Frexp(x)
	return math.Ldexp(1, max(e-24, -149))
}

func TestActivationAccuracy(t *testing.T) {
	for _, a := range activations {
		t.Run(a.name, func(t *testing.T) {
			eachSet(t, func(t *testing.T, k *Kernels) {
				x := points()
				y := slices.Clone(x)
				a.of(k)(y)
				worst, at := 0.0, 0
				for i, v := range x {
					want := a.exact(float64(v))
					if a.name == "Exp" && want > math.MaxFloat32 {
						if !math.IsInf(float64(y[i]), 1) {
							t.Fatalf("Exp(%v) = %v, want +Inf", v, y[i])
						}
						continue
					}
					d := math.Abs(float64(y[i]) - want)
					if math.Abs(want) < 0x1p-126*128 {
						// A subnormal exponential, times x up to 105: its last place is coarse.
						if d > 0x1p-149*128+a.ulps*ulp(want) {
							t.Fatalf("%v: got %v want %v", v, y[i], want)
						}
						continue
					}
					if u := d / ulp(want); !(u <= worst) {
						worst, at = u, i
					}
				}
				t.Logf("worst error %.2f ulp, at %v", worst, x[at])
				if !(worst <= a.ulps) {
					t.Errorf("worst error %.2f ulp, want at most %v: f(%v) = %v, want %v", worst, a.ulps, x[at], y[at], a.exact(float64(x[at])))
				}
			})
		})
	}
}

// TestPlaceDoesNotMatter checks every length and start against one long run, to the bit, and that nothing
// outside is written.
func TestPlaceDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	long := make([]float32, 200)
	other := make([]float32, 200)
	for i := range long {
		long[i], other[i] = float32(r.NormFloat64()*3), float32(r.NormFloat64())
	}
	type function func(k *Kernels, dst, x, y []float32)
	functions := map[string]function{
		"GEGLU":     func(k *Kernels, dst, x, y []float32) { k.geglu(dst, x, y) },
		"Add":       func(k *Kernels, dst, x, y []float32) { k.Add(dst, x, y) },
		"AddScaled": func(k *Kernels, dst, x, y []float32) { copy(dst, x); k.AddScaled(dst, y, 0.37) },
	}
	for _, a := range activations {
		functions[a.name] = func(k *Kernels, dst, x, _ []float32) { copy(dst, x); a.of(k)(dst) }
	}
	eachSet(t, func(t *testing.T, k *Kernels) {
		for name, f := range functions {
			whole := make([]float32, len(long))
			f(k, whole, long, other)
			for n := range 81 {
				for _, start := range []int{0, 1, 7} {
					dst, check := guarded(n)
					f(k, dst, long[start:][:n], other[start:][:n])
					check(t)
					for i, v := range dst {
						if math.Float32bits(v) != math.Float32bits(whole[start+i]) {
							t.Fatalf("%s: element %d of %d from %d is %v, in a long slice %v", name, i, n, start, v, whole[start+i])
						}
					}
				}
			}
		}
	})
}

func TestArithmetic(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const n = 5000
	in := make([][]float32, 3)
	for i := range in {
		in[i] = make([]float32, n)
		for j := range in[i] {
			in[i][j] = float32(r.NormFloat64())
		}
	}
	eachSet(t, func(t *testing.T, k *Kernels) {
		x := slices.Clone(in[0])
		k.AddScaled(x, in[1], 0.37)
		for j, got := range x {
			p, q := float64(in[0][j]), float64(float32(0.37))*float64(in[1][j])
			if d := math.Abs(float64(got) - p - q); d > 0x1p-23*(math.Abs(p)+math.Abs(q)) {
				t.Fatalf("AddScaled, element %d: got %v want %v", j, got, p+q)
			}
		}
		copy(x, in[0])
		k.Add(x, x, in[1])
		for j, got := range x {
			if want := in[0][j] + in[1][j]; got != want {
				t.Fatalf("Add in place, element %d: got %v want %v", j, got, want)
			}
		}
		const rows, d = 3, 37
		y, check := guarded(rows * d)
		k.GEGLU(y, in[2], rows, d)
		check(t)
		for i, got := range y {
			a, g := float64(in[2][i/d*2*d+i%d]), float64(in[2][i/d*2*d+d+i%d])
			want := a * g * math.Erfc(-g/math.Sqrt2) / 2
			if diff := math.Abs(float64(got) - want); diff > 6*ulp(want) {
				t.Fatalf("GEGLU row %d channel %d: got %v want %v", i/d, i%d, got, want)
			}
		}
	})
}

func TestNaN(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, a := range activations {
			x := make([]float32, 50)
			for _, i := range []int{0, 13, 31, 33, 49} {
				x[i] = float32(math.NaN())
			}
			y := slices.Clone(x)
			a.of(k)(y)
			for i := range x {
				if (x[i] != x[i]) != (y[i] != y[i]) {
					t.Errorf("%s: f(%v) = %v at %d", a.name, x[i], y[i], i)
				}
			}
		}
	})
}

func TestIdentityHasNoFunction(t *testing.T) {
	if f := For(isa.Generic).Activation(compute.Identity); f != nil {
		t.Error("the identity has a function, want nil")
	}
}

// f16Value is binary16 as its definition reads.
func f16Value(h uint16) float64 {
	sign, e, m := 1-2*float64(h>>15), int(h>>10&31), float64(h&0x3ff)
	switch e {
	case 0:
		return sign * math.Ldexp(m, -24)
	case 31:
		if m != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1+m/1024, e-15)
}

func TestWidenEveryHalf(t *testing.T) {
	src := make([]byte, 2<<16+1)[1:]
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	eachSet(t, func(t *testing.T, k *Kernels) {
		dst := make([]float32, 1<<16)
		for _, c := range []struct {
			t     compute.DType
			value func(h uint16) float64
		}{{compute.F16, f16Value}, {compute.BF16, func(h uint16) float64 { return float64(math.Float32frombits(uint32(h) << 16)) }}} {
			k.Widen(dst, src, c.t)
			for i, got := range dst {
				want := c.value(uint16(i))
				if float64(got) != want && (want == want || got == got) || math.Signbit(float64(got)) != (i>>15 == 1) {
					t.Fatalf("%v %#04x: got %v want %v", c.t, i, got, want)
				}
			}
		}
	})
}

// TestWidenEdges visits every length about those of vectors, at an odd address.
func TestWidenEdges(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		for _, dt := range []compute.DType{compute.F32, compute.F16, compute.BF16} {
			for n := range 50 {
				src := make([]byte, 3, 3+n*dt.Size())
				for i := range n {
					switch v := float32(i) - 7; dt {
					case compute.F32:
						src = binary.LittleEndian.AppendUint32(src, math.Float32bits(v))
					case compute.F16:
						src = binary.LittleEndian.AppendUint16(src, f16.FromF32(v))
					case compute.BF16:
						src = binary.LittleEndian.AppendUint16(src, f16.F32ToBF16(v))
					}
				}
				x, check := guarded(n)
				k.Widen(x, src[3:], dt)
				check(t)
				for i := range x {
					if want := float32(i) - 7; x[i] != want {
						t.Fatalf("%v: element %d of %d is %v, want %v", dt, i, n, x[i], want)
					}
				}
			}
		}
	})
}

func TestAllocatesNothing(t *testing.T) {
	eachSet(t, func(t *testing.T, k *Kernels) {
		x := make([]float32, 100)
		table := make([]byte, 400)
		in := make([]float32, 100)
		if n := testing.AllocsPerRun(5, func() {
			k.SiLU(x)
			k.GEGLU(x[:50], in, 1, 50)
			k.AddScaled(x, in, 2)
			k.Widen(x, table, compute.F16)
		}); n != 0 {
			t.Errorf("%v allocations, want none", n)
		}
	})
}

func BenchmarkElem(b *testing.B) {
	const n = 1 << 14 // 64 KB a slice: second-level cache, as inside a fused run
	x, y, z := make([]float32, n), make([]float32, n), make([]float32, n)
	half := make([]byte, 2*n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		y[i], z[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
	}
	for _, s := range isa.Sets() {
		if s > isa.AVX512 {
			continue
		}
		k := For(s)
		for _, c := range []struct {
			name  string
			bytes int // read and written for each element
			f     func()
		}{
			{"SiLU", 8, func() { copy(x, y); k.SiLU(x) }},
			{"QuickGELU", 8, func() { copy(x, y); k.QuickGELU(x) }},
			{"GELU", 8, func() { copy(x, y); k.GELU(x) }},
			{"Exp", 8, func() { copy(x, y); k.Exp(x) }},
			{"GEGLU", 12, func() { k.geglu(x, y, z) }},
			{"Add", 12, func() { k.Add(x, y, z) }},
			{"AddScaled", 12, func() { k.AddScaled(x, y, 0.5) }},
			{"WidenF16", 6, func() { k.Widen(x, half, compute.F16) }},
			{"WidenBF16", 6, func() { k.Widen(x, half, compute.BF16) }},
		} {
			b.Run(fmt.Sprintf("f=%s/set=%v", c.name, s), func(b *testing.B) {
				b.SetBytes(int64(c.bytes * n))
				for b.Loop() {
					c.f()
				}
			})
		}
	}
}
