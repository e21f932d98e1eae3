package kernel

import (
	"fmt"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

// TestPlainMatrix multiplies matrices as they are and transposed.
func TestPlainMatrix(t *testing.T) {
	for i, test := range []struct {
		rows, columns, depth int
		scale                float64
		Epilogue
	}{
		{1, 1, 1, 1, Epilogue{}}, {5, 7, 3, -0.5, Epilogue{Residual: true}}, {67, 70, 33, 2, Epilogue{Residual: true}}, {33, 64, 40, 1, Epilogue{}},
	} {
		for transposed := range 4 {
			dtype := types[(i+transposed)%2]
			t.Run(fmt.Sprint(test, transposed, dtype), func(t *testing.T) {
				op := compute.MatMul{TransposeA: transposed&1 != 0, TransposeB: transposed&2 != 0, Scale: test.scale}
				aShape, aRow, aDepth := []int{test.rows, test.depth}, test.depth, 1
				if op.TransposeA {
					aShape, aRow, aDepth = []int{test.depth, test.rows}, 1, test.rows
				}
				bShape, bRow, bDepth := []int{test.depth, test.columns}, 1, test.columns
				if op.TransposeB {
					bShape, bRow, bDepth = []int{test.columns, test.depth}, test.depth, 1
				}
				x, w, ends := numbers(test.rows*test.depth, 1), numbers(test.columns*test.depth, 0.3), test.arrays(1, test.rows, test.columns)
				want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
					op.A, op.B = input(x, aShape...), input(w, bShape...)
					if test.Residual {
						op.Add = input(ends.residual, test.rows, test.columns)
					}
					return b.Op(op)
				})
				test.Scaled = test.scale != 1
				k := PlainMatrix{PlainFor(test.rows, test.columns), test.Epilogue, dtype, dtype, dtype, plainWidth(test.columns)}
				arguments := test.arguments(ends, test.rows, test.columns, 1, dtype)
				if k.Scaled {
					arguments = append(arguments, float32(test.scale))
				}
				have, stats := job{
					kernel: k.Kernel(), grid: k.Grid(test.rows, test.columns), shared: k.Shared(),
					arguments: append(arguments, in{x, dtype}, aRow, aDepth, in{w, dtype}, bRow, bDepth, test.depth),
				}.run(t)
				compare(t, have, want, tolerance(dtype))
				if stats.Conflicts != 0 {
					t.Errorf("%d bank conflicts", stats.Conflicts)
				}
			})
		}
	}
}
