package kernel

import (
	"fmt"
	"math"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

func TestActivate(t *testing.T) {
	for a := compute.Identity; a <= compute.LeakyReLU; a++ {
		for _, from := range types {
			for _, to := range types {
				t.Run(fmt.Sprint(a, from, to), func(t *testing.T) {
					const n = 2057 // a block, a whole thread of the next, and one element
					x := numbers(n, 3)
					want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
						return b.Op(compute.Activate{X: input(x, n), Activation: a})
					})
					k := Activate{a, from, to}
					have, _ := job{kernel: k.Kernel(), grid: ElementGrid(n), arguments: []any{out{n, to}, in{x, from}, n}}.run(t)
					compare(t, have, want, tolerance(to))
				})
			}
		}
	}
}

func TestAdd(t *testing.T) {
	for _, dtype := range types {
		for _, n := range []int{1, 7, 8, 4099} {
			a, b := numbers(n, 1), numbers(n, 2)
			want := make([]float64, n)
			for i := range want {
				want[i] = a[i] + b[i]
			}
			have, stats := job{kernel: Add{dtype}.Kernel(), grid: ElementGrid(n), arguments: []any{out{n, dtype}, in{a, dtype}, in{b, dtype}, n}}.run(t)
			compare(t, have, want, tolerance(dtype))
			if dtype == compute.F16 && n > 4000 && float64(stats.Sectors) > 1.1*float64(stats.FullSectors) {
				t.Errorf("%d elements move %d sectors, %d would do", n, stats.Sectors, stats.FullSectors)
			}
		}
	}
}

// TestLinearCombination has a term that is no number, which its coefficient of 0 leaves out.
func TestLinearCombination(t *testing.T) {
	const n = 19
	terms := [][]float64{numbers(n, 1), numbers(n, 2), numbers(n, 3)}
	coefficients := []float64{0.5, 0, -1.25}
	want := make([]float64, n)
	for i := range want {
		want[i] = 0.5*terms[0][i] - 1.25*terms[2][i]
		terms[1][i] = math.NaN()
	}
	for _, dtype := range types {
		k := LinearCombination{3, dtype}
		have, _ := job{kernel: k.Kernel(), grid: ElementGrid(n), arguments: []any{
			out{n, dtype}, in{coefficients, compute.F32}, n, in{terms[0], dtype}, in{terms[1], dtype}, in{terms[2], dtype},
		}}.run(t)
		compare(t, have, want, tolerance(dtype))
	}
}

func TestGEGLU(t *testing.T) {
	for _, test := range []struct{ rows, half, width int }{{5, 7, 1}, {70, 24, 8}} {
		for _, dtype := range types {
			x := numbers(test.rows*test.half*2, 2)
			want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
				return b.Op(compute.GEGLU{X: input(x, test.rows, 2*test.half)})
			})
			k := GEGLU{test.width, dtype}
			have, _ := job{kernel: k.Kernel(), grid: k.Grid(len(want)), arguments: []any{out{len(want), dtype}, in{x, dtype}, len(want), test.half}}.run(t)
			compare(t, have, want, tolerance(dtype))
		}
	}
}
