package svd

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// The numbers below are of PyTorch's torch.linalg.svd in float64.
var (
	matrix5x7 = []float32{
		1.4375, 3.5625, -3.5625, -0.3125, -3.375, -1.9375, -1.625, 2.125, -3.75, 1.375, 3.5625, -2.0625, -2.5625, 1.625,
		0.0625, 1.125, 0.3125, 0.75, 3.5, 3.3125, 2.0, 2.4375, 3.4375, 2.75, -3.75, -3.6875, 2.125, -3.375,
		2.9375, -1.25, -3.4375, 0.9375, -1.75, 2.625, 1.875,
	}
	values5x7 = []float64{9.67645036852336, 7.717685345398763, 6.261707535693706, 5.349908298477009, 2.306685362212369}
	best5x7   = []float64{ // of rank 2
		2.102468255905083, 1.6317361464163127, -1.0808846646618748, -0.988714001748985, -4.30851738710559, -1.1653602515785895,
		-1.954463903402697, 1.22485295298008, -3.2579446205422045, -1.595060121803047, 3.16282854431271, -1.5762318069822843,
		-2.453336033530186, 1.7751776765787697, -1.7166528254181537, -0.11693288951335179, 1.1613176315559257, -0.27244061953147825,
		3.2482058896923167, 1.4639367205746099, 0.7543437078560047, 1.045193918461641, 4.508816776229826, 0.31082733838663135,
		-3.77645130220273, -2.96233249607201, 0.9796736487016549, -3.531684872749418, 0.9561665371474327, -1.035630602763618,
		-0.8993406229579397, 1.1296510430609938, -1.564990487703327, -1.2795105757046872, 0.3419496028089023,
	}
	up4x2      = []float32{-3.0625, -0.4375, -1.8125, 2.6875, 0.625, -3.5625, 0.0625, 0.3125}
	down2x6    = []float32{-0.5, 3.4375, -0.9375, 3.0, -1.4375, 3.625, -1.3125, -3.0625, 2.125, 3.625, 0.875, -3.625}
	valuesProd = []float64{35.78521202585657, 15.591984840157506}
	bestProd   = []float64{ // of rank 1
		-1.2453955536294141, -6.530129618668085, 3.3915384870895644, 2.1652176119319884, 2.22418934095786, -7.380139412580968,
		-2.739946059631123, -14.366682830533215, 7.46159120827688, 4.763610602886647, 4.893351997982515, -16.23675614072948,
		2.736513769106117, 14.348685896184206, -7.452244181639032, -4.7576432972604525, -4.887222167200206, 16.21641659278007,
		-0.18094060524237116, -0.9487472490724261, 0.492748689176216, 0.3145793993263238, 0.32314726381807823, -1.0722431826529841,
	}
	// of 1/(1+i+j) and of sin(0.37i² + 1.3j + 0.011ij²), 400×500, in float32
	valuesHilbert = []float64{
		2.364730538733895, 1.1044862223700274, 0.39106677244880683, 0.12157872468235346, 0.03519431468113051,
		0.009686844363683824, 0.002559463198155532, 0.0006528778561827992,
	}
	valuesSine = []float64{
		35.77317527314661, 34.708266667479585, 33.88916771851385, 33.710936811373784, 33.42008849739058, 32.964166995432926,
		32.703570372715085, 32.17779459038317,
	}
)

func hilbert(i, j int) float64 { return 1 / float64(1+i+j) }

func sine(i, j int) float64 {
	x, y := float64(i), float64(j)
	return math.Sin(x*x*0.37 + y*1.3 + x*y*y*0.011)
}

func fill(rows, cols int, f func(i, j int) float64) []float32 {
	a := make([]float32, 0, rows*cols)
	for i := range rows {
		for j := range cols {
			a = append(a, float32(f(i, j)))
		}
	}
	return a
}

func transpose(a []float32, rows, cols int) []float32 {
	return fill(cols, rows, func(i, j int) float64 { return float64(a[j*cols+i]) })
}

// product is U·diag(S)·V of the first k values.
func (d *Decomposition) product(rows, cols, k int) []float64 {
	out := make([]float64, rows*cols)
	for i := range rows {
		for l := range k {
			f := d.U[i*len(d.S)+l] * d.S[l]
			for j := range cols {
				out[i*cols+j] += f * d.V[l*cols+j]
			}
		}
	}
	return out
}

func near(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	worst := 0
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= math.Abs(got[worst]-want[worst])) {
			worst = i
		}
	}
	if len(got) > 0 && !(math.Abs(got[worst]-want[worst]) <= tolerance) {
		t.Errorf("%s: element %d is %.12g, want %.12g within %g", what, worst, got[worst], want[worst], tolerance)
	}
}

// orthonormal checks the columns of U and the rows of V.
func orthonormal(t *testing.T, d *Decomposition, rows, cols int) {
	t.Helper()
	k := len(d.S)
	for a := range k {
		for b := range k {
			u, v, want := 0.0, 0.0, 0.0
			if a == b {
				want = 1
			}
			for i := range rows {
				u += d.U[i*k+a] * d.U[i*k+b]
			}
			for j := range cols {
				v += d.V[a*cols+j] * d.V[b*cols+j]
			}
			if math.Abs(u-want) > 1e-6 || math.Abs(v-want) > 1e-6 {
				t.Fatalf("vectors %d and %d: products %g and %g, want %g", a, b, u, v, want)
			}
		}
	}
}

func TestAgainstTorch(t *testing.T) {
	d, err := Product(up4x2, down2x6, 4, 2, 6)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "values of a product", d.S, valuesProd, 1e-12)
	near(t, "best product of rank 1", d.product(4, 6, 1), bestProd, 1e-12)
	orthonormal(t, d, 4, 6)
	for _, c := range []struct {
		name       string
		a          []float32
		rows, cols int
		values     []float64
		tolerance  float64
	}{
		{"whole", matrix5x7, 5, 7, values5x7, 1e-12},
		{"whole, upright", transpose(matrix5x7, 5, 7), 7, 5, values5x7, 1e-12},
		{"decaying", fill(400, 500, hilbert), 400, 500, valuesHilbert, 1e-8}, // of float32 numbers
		{"flat", fill(400, 500, sine), 400, 500, valuesSine, 1e-5},
		{"flat, upright", transpose(fill(400, 500, sine), 400, 500), 500, 400, valuesSine, 1e-5},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Leading(c.a, c.rows, c.cols, len(c.values))
			if err != nil {
				t.Fatal(err)
			}
			near(t, "values", d.S, c.values, c.tolerance)
			orthonormal(t, d, c.rows, c.cols)
		})
	}
	if d, err = Leading(matrix5x7, 5, 7, 2); err != nil {
		t.Fatal(err)
	}
	near(t, "best of rank 2", d.product(5, 7, 2), best5x7, 1e-12)
}

// TestLeadingRestores wants a matrix of low rank back, and of a matrix with noise the part above it, in every shape.
func TestLeadingRestores(t *testing.T) {
	for _, c := range []struct {
		name             string
		rows, cols, rank int
		k                int
		values           int
	}{
		{"wide", 330, 1200, 4, 4, 4},
		{"tall", 1200, 330, 4, 4, 4},
		{"more asked than there is", 330, 700, 3, 8, 8},
		{"zero", 330, 340, 0, 2, 2},
		{"small", 3, 9, 2, 5, 3},
		{"one column", 400, 1, 1, 4, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			up, down := make([]float64, c.rows*c.rank), make([]float64, c.rank*c.cols)
			for i := range up {
				up[i] = r.NormFloat64()
			}
			for i := range down {
				down[i] = r.NormFloat64()
			}
			a := fill(c.rows, c.cols, func(i, j int) (sum float64) {
				for l := range c.rank {
					sum += up[i*c.rank+l] * down[l*c.cols+j]
				}
				return sum
			})
			d, err := Leading(a, c.rows, c.cols, c.k)
			if err != nil {
				t.Fatal(err)
			}
			for i := range d.S {
				if len(d.S) != c.values || i > 0 && d.S[i] > d.S[i-1]+1e-8*d.S[0] {
					t.Errorf("values %v, want %d in descending order", d.S, c.values)
				}
			}
			want := make([]float64, len(a))
			for i, v := range a {
				want[i] = float64(v)
			}
			near(t, "product", d.product(c.rows, c.cols, len(d.S)), want, 2e-6)
			again, err := Leading(a, c.rows, c.cols, c.k)
			if err != nil || !slices.Equal(again.U, d.U) || !slices.Equal(again.V, d.V) {
				t.Errorf("the second time differs (%v)", err)
			}
		})
	}
}

// TestLeadingIsBest compares what is left of a matrix without structure with what the whole decomposition leaves.
func TestLeadingIsBest(t *testing.T) {
	const rows, cols, k = 330, 350, 12
	a := fill(rows, cols, sine)
	all, err := Leading(a, rows, cols, rows)
	if err != nil {
		t.Fatal(err)
	}
	some, err := Leading(a, rows, cols, k)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "values", some.S, all.S[:k], 1e-10*all.S[0])
	near(t, "product", some.product(rows, cols, k), all.product(rows, cols, k), 1e-5)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	alone, err := Leading(a, rows, cols, k)
	if err != nil || !slices.Equal(alone.U, some.U) || !slices.Equal(alone.V, some.V) {
		t.Errorf("on one processor the result differs (%v)", err)
	}
}

// TestProductShapes covers ranks beyond the sides and factors of 0.
func TestProductShapes(t *testing.T) {
	for _, c := range []struct{ rows, rank, cols, values int }{{3, 8, 5, 3}, {6, 2, 2, 2}, {1, 1, 9, 1}, {4, 4, 4, 4}} {
		up, down := fill(c.rows, c.rank, sine), fill(c.rank, c.cols, hilbert)
		d, err := Product(up, down, c.rows, c.rank, c.cols)
		if err != nil {
			t.Fatal(err)
		}
		var want []float64
		for i := range c.rows {
			for j := range c.cols {
				sum := 0.0
				for l := range c.rank {
					sum += float64(up[i*c.rank+l]) * float64(down[l*c.cols+j])
				}
				want = append(want, sum)
			}
		}
		if len(d.S) != c.values {
			t.Errorf("%v: %d values", c, len(d.S))
		}
		near(t, "product", d.product(c.rows, c.cols, len(d.S)), want, 1e-12)
	}
	d, err := Product(make([]float32, 6), make([]float32, 8), 3, 2, 4)
	if err != nil || d.S[0] != 0 {
		t.Errorf("of zeros: %v, %v", d, err)
	}
}
