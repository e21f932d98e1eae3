package rng

import (
	"math"
	"slices"
	"testing"
)

// Rows made with NumPy.
func TestSeedSequence(t *testing.T) {
	for _, c := range []struct {
		pool         int
		entropy, key []uint32
		want         []uint32
	}{
		{4, []uint32{0}, nil, []uint32{2968811710, 3677149159, 745650761, 2884920346}},
		{4, []uint32{3735928559, 195939070, 229505742, 305419896}, nil, []uint32{3914649087, 576849849, 3593928901, 2229911004}},
		{24, words32(0), nil, []uint32{4025752534}},
		{24, words32(0), []uint32{0, 0}, []uint32{245430115}},
		{24, words32(1), nil, []uint32{1562320788, 951463468, 2354141792}},
		{24, words32(1), []uint32{0, 0}, []uint32{182647522, 2616322182, 3015489495, 69013646}},
		{24, words32(1), []uint32{0, 1}, []uint32{2724922640, 1484558355, 2346085104, 593714096}},
		{24, words32(1), []uint32{5, 3}, []uint32{679079412, 1759833421, 3562489605, 1099931880}},
		{24, words32(42), nil, []uint32{387750627, 2536650517, 4078839648}},
		{24, words32(42), []uint32{0, 0}, []uint32{2102017995, 2891809698, 2144110403, 379559146}},
		{24, words32(42), []uint32{1, 1}, []uint32{1058881542, 1039740124, 2218853409, 2234354429}},
		{24, words32(42), []uint32{2, 2}, []uint32{4035801593, 908855496, 2535023666, 340069170}},
		{24, words32(5000000000), nil, []uint32{1129005945, 2441709551, 3025989428}},
		{24, words32(5000000000), []uint32{0, 1}, []uint32{3359946429, 2450410775, 3901461125, 2721519710}},
		{24, words32(5000000000), []uint32{5, 3}, []uint32{1458142593, 1361623864, 3882400128, 1183412325}},
	} {
		got := make([]uint32, len(c.want))
		seedSequence(got, c.pool, c.entropy, c.key)
		if !slices.Equal(got, c.want) {
			t.Errorf("pool %d, entropy %v, key %v\n got %v\nwant %v", c.pool, c.entropy, c.key, got, c.want)
		}
	}
}

// karras are ten Karras σ of Stable Diffusion 1.5, in float32.
var karras = []float32{14.614641189575195, 9.102928161621094, 5.478392124176025, 3.1686031818389893, 1.7494170665740967, 0.9140722751617432, 0.44691821932792664, 0.20139829814434052, 0.08191023766994476, 0.029167158529162407}

func newPath(t *testing.T, seed uint64, n int) *Brownian {
	t.Helper()
	w, err := NewBrownian(seed, n, float64(karras[len(karras)-1]), float64(karras[0]), func(seed uint64) Source { return NewPhilox(seed) })
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The values follow torchsde's construction in float64, with Philox normals whose constants differ
// from ours by a float32 rounding, up to 2·10⁻⁷ in each.
func TestBrownianReference(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		b, z []float64
	}{
		{1,
			[]float64{5.491052548, 2.205194635, 2.66742587, 0.7381171917, -0.2579709251, 0.4740597632, 0.02695434517, 0.3407383289, 0.06095273674, 0},
			[]float64{-1.399604986, 0.2427912766, -1.269449909, -0.8361382329, 0.8009333977, -0.6541538034, 0.6332677979, -0.8093997958, -0.2654058369}},
		{42,
			[]float64{2.733122632, 1.352656355, -1.196399312, -1.774840183, -1.029421677, -1.626145142, -0.9881845917, 0.05705448396, 0.2644731586, 0},
			[]float64{-0.5880070092, -1.338915314, -0.3806035394, 0.6257206583, -0.6528903226, 0.9333913296, 2.109464734, 0.6000474563, -1.15159259}},
	} {
		w := newPath(t, c.seed, 16)
		at, z := make([]float64, 16), make([]float32, 16)
		for i, sigma := range karras {
			w.at(at, float64(sigma))
			if math.Abs(at[0]-c.b[i]) > 2e-6 {
				t.Errorf("seed %d: W(σ[%d]) = %.9f, want %.9f", c.seed, i, at[0], c.b[i])
			}
			if i == 0 {
				continue
			}
			w.Noise(z, float64(karras[i-1]), float64(sigma))
			if math.Abs(float64(z[0])-c.z[i-1]) > 2e-6 {
				t.Errorf("seed %d: z(σ[%d]→σ[%d]) = %.9f, want %.9f", c.seed, i-1, i, z[0], c.z[i-1])
			}
		}
	}
}

// Whatever was asked before, in whatever order, the path stays the same, and increments add up.
func TestBrownianIsOnePath(t *testing.T) {
	const n = 20
	used := newPath(t, 3, n)
	times := []float64{5, 0.1, 14, 7.25, 7.250001, 0.03, 5, 1, 100, -1, 2}
	a, b, c := make([]float32, n), make([]float32, n), make([]float32, n)
	for i, s := range times {
		for _, u := range times[:i] {
			used.Noise(a, s, u)
			newPath(t, 3, n).Noise(b, s, u)
			used.Noise(c, u, s)
			for j := range a {
				if a[j] != b[j] || a[j] != -c[j] {
					t.Fatalf("%v → %v: element %d is %v, in a fresh path %v, in reverse %v", s, u, j, a[j], b[j], c[j])
				}
			}
		}
	}
	used.Noise(a, 9, 6)
	used.Noise(b, 6, 4)
	used.Noise(c, 9, 4)
	for j := range a {
		sum := float64(a[j])*math.Sqrt(3) + float64(b[j])*math.Sqrt(2)
		if want := float64(c[j]) * math.Sqrt(5); math.Abs(sum-want) > 1e-5 {
			t.Errorf("element %d: the increments of 9→6 and 6→4 add to %v, 9→4 has %v", j, sum, want)
		}
	}
}

func TestBrownianNoiseIsNormal(t *testing.T) {
	const n = 4096
	w := newPath(t, 11, n)
	z := make([]float32, n)
	w.Noise(z, 3.3, 1.7)
	mean, square := 0.0, 0.0
	for _, v := range z {
		mean += float64(v) / n
		square += float64(v) * float64(v) / n
	}
	// Five standard deviations of the two estimates.
	if math.Abs(mean) > 5/math.Sqrt(n) || math.Abs(square-1) > 5*math.Sqrt(2.0/n) {
		t.Errorf("mean %v, mean square %v", mean, square)
	}
}

func TestNewBrownianErrors(t *testing.T) {
	source := func(seed uint64) Source { return NewTorch(seed) }
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range [][2]float64{{1, 1}, {2, 1}, {1, 1 + 1e-9}, {nan, 1}, {0, nan}, {0, inf}, {-inf, 0}, {0, 1e9}} {
		if _, err := NewBrownian(0, 4, c[0], c[1], source); err == nil {
			t.Errorf("σ from %v to %v: no error", c[0], c[1])
		}
	}
	if _, err := NewBrownian(0, -1, 0, 1, source); err == nil {
		t.Error("a path of -1 elements: no error")
	}
}

func BenchmarkBrownian(b *testing.B) {
	w, err := NewBrownian(0, 4*64*64, 0.0292, 14.6146, func(seed uint64) Source { return NewTorch(seed) })
	if err != nil {
		b.Fatal(err)
	}
	z := make([]float32, 4*64*64)
	for i := 0; b.Loop(); i++ {
		sigma := 1 + float64(i%20)/2
		w.Noise(z, sigma+0.5, sigma)
	}
}
