package norm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// double stands in for the derivative of an activation: that of x².
func double(x []float32) {
	for i := range x {
		x[i] *= 2
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
	var slope func([]float32)
	if activated {
		slope = double
	}
	g, err := NewGroupGradient(set, c, slope)
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
	for _, c := range []LayerConfig{{Rows: 1, C: 1, Eps: 1e-5}, {Rows: 3, C: 2, Eps: 1e-5}, {Rows: 7, C: 37, Eps: 1e-6}, {Rows: 120, C: 320, Eps: 1e-5}} {
		l, err := NewLayerGradient(c)
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

func TestGradientErrors(t *testing.T) {
	if _, err := NewGroupGradient(isa.Generic, GroupConfig{N: 1, Rows: 1, C1: 3, Groups: 2}, nil); err == nil {
		t.Error("planned groups that do not divide the channels, want an error")
	}
	if _, err := NewLayerGradient(LayerConfig{Rows: 1}); err == nil {
		t.Error("planned rows without channels, want an error")
	}
	l, err := NewLayerGradient(LayerConfig{Rows: 2, C: 3})
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
