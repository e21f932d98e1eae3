package norm

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// double stands in for the gradient of an activation: that of x².
func double(dx, x, dy []float32) {
	for i := range x {
		dx[i] = 2 * x[i] * dy[i]
	}
}

// naiveGradient is the derivative of the normalisation of n numbers, in float64, with d given x̂. size is the sum of the
// magnitudes that an element is made of.
func naiveGradient(n int, eps float64, x func(i int) float64, d func(i int, normal float64) float64) (dx, size []float64) {
	var mean, variance, sum, inner, most float64
	for i := range n {
		mean += x(i) / float64(n)
	}
	for i := range n {
		variance += (x(i) - mean) * (x(i) - mean) / float64(n)
	}
	s := math.Sqrt(variance + eps)
	normal := func(i int) float64 { return (x(i) - mean) / s }
	for i := range n {
		v := d(i, normal(i))
		sum += v / float64(n)
		inner += v * normal(i) / float64(n)
		most = max(most, math.Abs(v))
	}
	dx, size = make([]float64, n), make([]float64, n)
	for i := range n {
		v := d(i, normal(i))
		dx[i] = (v - sum - normal(i)*inner) / s
		size[i] = (math.Abs(v) + most*(1+math.Abs(normal(i)))) / s
	}
	return dx, size
}

func TestGroupGradient(t *testing.T) {
	for _, set := range []isa.Set{isa.Generic, isa.AVX2, isa.AVX512} {
		for _, c := range groupCases {
			if c.name == "huge" || c.name == "no epsilon" || c.name == "large mean" || c.name == "constant" {
				continue // their statistics are TestGroup's; here they only lose the digits of x̂ in float32
			}
			t.Run(set.String()+"/"+c.name, func(t *testing.T) {
				isa.Need(t, set)
				testGroupGradient(t, set, c.cfg, c.mean, c.sigma, c.silu)
			})
		}
	}
}

func testGroupGradient(t *testing.T, set isa.Set, c GroupConfig, mean, sigma float64, activated bool) {
	var act func(dx, x, dy []float32)
	if activated {
		act = double
	}
	g, err := NewGroupGradient(set, c, act)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 8))
	channels := c.C1 + c.C2
	a := &GroupGradientArgs{
		GroupArgs: GroupArgs{
			X1: random(r, c.N*c.Rows*c.C1, mean, sigma), X2: random(r, c.N*c.Rows*c.C2, mean, sigma),
			Weight: random(r, channels, 1, 0.3), Bias: random(r, channels, 0, 1), Workspace: make([]float32, g.Workspace()),
		},
		DY: random(r, c.N*c.Rows*channels, 0, 1), Add: random(r, c.N*c.Rows*c.C1, 0, 1),
	}
	var check, check2 func(*testing.T)
	a.DX1, check = guarded(len(a.X1))
	a.DX2, check2 = guarded(len(a.X2))
	if err := g.Check(a); err != nil {
		t.Fatal(err)
	}
	scratch := make([]float32, g.Scratch())
	for phase := range g.Phases() {
		for task := range g.Tasks(phase) {
			g.Do(phase, task, scratch, a)
		}
	}
	check(t)
	check2(t)
	width := channels / c.Groups
	for i := range c.N * c.Groups {
		row, c0 := i/c.Groups*c.Rows, i%c.Groups*width
		x := func(i int) float64 {
			if r, j := row+i/width, c0+i%width; j < c.C1 {
				return float64(a.X1[r*c.C1+j])
			} else {
				return float64(a.X2[r*c.C2+j-c.C1])
			}
		}
		d := func(i int, normal float64) float64 {
			r, j := row+i/width, c0+i%width
			v := float64(a.DY[r*channels+j]) * float64(a.Weight[j])
			if activated {
				v *= 2 * (normal*float64(a.Weight[j]) + float64(a.Bias[j]))
			}
			return v
		}
		want, size := naiveGradient(c.Rows*width, c.Eps, x, d)
		for i, w := range want {
			var got float32
			if r, j := row+i/width, c0+i%width; j < c.C1 {
				got = a.DX1[r*c.C1+j]
				w += float64(a.Add[r*c.C1+j])
			} else {
				got = a.DX2[r*c.C2+j-c.C1]
			}
			if e := math.Abs(float64(got) - w); !(e <= 8*0x1p-24*(size[i]+math.Abs(w))) {
				t.Fatalf("group at row %d, channel %d: element %d: got %v want %v, error %.3g, size %.3g", row, c0, i, got, w, e, size[i])
			}
		}
	}
	if n := testing.AllocsPerRun(2, func() { g.Do(gradientApply, 0, scratch, a) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestLayerGradient(t *testing.T) {
	for _, set := range sets {
		t.Run(set.String(), func(t *testing.T) {
			isa.Need(t, set)
			testLayerGradient(t, set)
		})
	}
}

func testLayerGradient(t *testing.T, set isa.Set) {
	for _, c := range []LayerConfig{{Rows: 1, C: 1, Eps: 1e-5}, {Rows: 3, C: 2, Eps: 1e-5}, {Rows: 5, C: 16, Eps: 1e-5}, {Rows: 7, C: 37, Eps: 1e-6}, {Rows: 120, C: 320, Eps: 1e-5}} {
		l, err := NewLayerGradient(set, c)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(9, uint64(c.C)))
		n := c.Rows * c.C
		a := &LayerGradientArgs{X: random(r, n, 3, 1), DY: random(r, n, 0, 1), Add: random(r, n, 0, 1), Weight: random(r, c.C, 1, 0.3)}
		var check func(*testing.T)
		a.DX, check = guarded(n)
		if err := l.Check(a); err != nil {
			t.Fatal(err)
		}
		for task := range l.Tasks() {
			l.Do(task, a)
		}
		check(t)
		for row := range c.Rows {
			want, size := naiveGradient(c.C, c.Eps,
				func(i int) float64 { return float64(a.X[row*c.C+i]) },
				func(i int, _ float64) float64 { return float64(a.DY[row*c.C+i]) * float64(a.Weight[i]) })
			for i, w := range want {
				w += float64(a.Add[row*c.C+i])
				got := a.DX[row*c.C+i]
				if e := math.Abs(float64(got) - w); !(e <= 2*0x1p-24*(size[i]*0x1p-20+math.Abs(w))) {
					t.Fatalf("%+v: row %d, channel %d: got %v want %v, error %.3g", c, row, i, got, w, e)
				}
			}
		}
	}
}

// TestGradientBits wants the same bits of every set.
func TestGradientBits(t *testing.T) {
	for _, set := range sets[1:] {
		t.Run(set.String(), func(t *testing.T) {
			isa.Need(t, set)
			k := kernelsFor(set)
			for _, c := range []int{1, 7, 8, 16, 24, 37, 48, 100, 320} {
				const rows, wide = 5, 3 // d has further channels
				r := rand.New(rand.NewPCG(3, uint64(c)))
				x, d, add, weight := random(r, rows*c, 3, 1), random(r, rows*(c+wide), 0, 1), random(r, rows*c, 0, 1), random(r, c, 1, 0.3)
				double := func() []float64 {
					v := make([]float64, c)
					for i := range v {
						v[i] = r.NormFloat64()
					}
					return v
				}
				terms := terms{double(), double(), double(), double(), double()}
				sum, inner := double(), double()
				wantSum, wantInner := slices.Clone(sum), slices.Clone(inner)
				k.gradientMoments(sum, inner, x, d, terms.mean, rows, c, c+wide)
				generic.gradientMoments(wantSum, wantInner, x, d, terms.mean, rows, c, c+wide)
				if !slices.Equal(sum, wantSum) || !slices.Equal(inner, wantInner) {
					t.Errorf("%d channels: sums differ", c)
				}
				for _, add := range [][]float32{nil, add} {
					dx, check := guarded(rows * c)
					want := make([]float32, rows*c)
					k.gradientAffine(dx, x, d, add, terms, rows, c, c, c+wide)
					generic.gradientAffine(want, x, d, add, terms, rows, c, c, c+wide)
					check(t)
					if !slices.Equal(dx, want) {
						t.Errorf("%d channels: terms make different gradients", c)
					}
					dx, check = guarded(c)
					k.layerGradient(dx, x[:c], d[:c], add, weight, 1e-5)
					generic.layerGradient(want[:c], x[:c], d[:c], add, weight, 1e-5)
					check(t)
					if !slices.Equal(dx, want[:c]) {
						t.Errorf("%d channels: gradients of a row differ", c)
					}
				}
			}
		})
	}
}

func TestGradientErrors(t *testing.T) {
	if _, err := NewGroupGradient(isa.Generic, GroupConfig{N: 1, Rows: 1, C1: 3, Groups: 2}, nil); err == nil {
		t.Error("planned groups that do not divide the channels, want an error")
	}
	if _, err := NewLayerGradient(isa.Generic, LayerConfig{Rows: 1}); err == nil {
		t.Error("planned rows without channels, want an error")
	}
	l, err := NewLayerGradient(isa.Generic, LayerConfig{Rows: 2, C: 3})
	if err != nil {
		t.Fatal(err)
	}
	six := make([]float32, 6)
	if l.Check(&LayerGradientArgs{X: six, DY: six, DX: six[1:], Weight: six}) == nil || l.Check(&LayerGradientArgs{X: six, DY: six, DX: six, Weight: six, Add: six[1:]}) == nil {
		t.Error("checked operands too short, want an error")
	}
	g, err := NewGroupGradient(isa.Generic, GroupConfig{N: 1, Rows: 2, C1: 3, Groups: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &GroupGradientArgs{GroupArgs: GroupArgs{X1: six, Weight: six, Bias: six, Workspace: make([]float32, g.Workspace())}, DY: six, DX1: six[1:]}
	if g.Check(a) == nil {
		t.Error("checked a result too short, want an error")
	}
}
