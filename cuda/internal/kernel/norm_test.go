package kernel

import (
	"fmt"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

func TestGroupNorm(t *testing.T) {
	for _, test := range []struct{ samples, positions, channels, channels2, groups, width int }{
		{2, 35, 12, 0, 3, 1}, {1, 9, 5, 0, 5, 1}, {2, 16, 32, 0, 4, 8}, {1, 13, 6, 4, 2, 1}, {2, 20, 24, 8, 4, 8}, {1, 1, 8, 0, 1, 8},
	} {
		for _, dtype := range types {
			t.Run(fmt.Sprint(test, dtype), func(t *testing.T) {
				const eps = 1e-5
				channels := test.channels + test.channels2
				elements := test.samples * test.positions * channels
				x, x2 := numbers(test.samples*test.positions*test.channels, 2), numbers(test.samples*test.positions*test.channels2, 1)
				for i := range x {
					x[i] += 4 // so that the variance is not that of the squares
				}
				x = values(bytes(x, dtype), dtype)
				weight, bias := numbers(channels, 1), numbers(channels, 0.5)
				op := compute.GroupNorm{Groups: test.groups, Eps: eps, Activation: compute.SiLU}
				want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
					op.X = input(x, test.samples, test.positions, test.channels)
					if test.channels2 > 0 {
						op.X2 = input(x2, test.samples, test.positions, test.channels2)
					}
					op.Weight, op.Bias = input(weight, channels), input(bias, channels)
					return b.Op(op)
				})
				k := GroupNorm{Parts: 1, Size: channels / test.groups, Width: test.width, Activation: compute.SiLU, Type: dtype}
				parts := []any{in{x, dtype}, test.channels}
				if test.channels2 > 0 {
					k.Parts, parts = 2, append(parts, in{x2, dtype}, test.channels2)
				}
				statistics, _ := job{
					kernel: k.Statistics(), grid: k.StatisticsGrid(test.samples, test.groups), shared: StatisticsShared,
					arguments: append([]any{out{2 * test.samples * test.groups, compute.F32}, test.positions, float32(eps)}, parts...),
				}.run(t)
				have, _ := job{
					kernel: k.Kernel(), grid: k.Grid(elements),
					arguments: append([]any{out{elements, dtype}, in{statistics, compute.F32}, in{weight, compute.F32}, in{bias, compute.F32}, elements, test.positions}, parts...),
				}.run(t)
				compare(t, have, want, tolerance(dtype))
			})
		}
	}
}

func TestLayerNorm(t *testing.T) {
	for _, test := range []struct{ rows, channels int }{{1, 1}, {9, 37}, {17, 320}, {8, 32}} {
		for _, dtype := range types {
			x, weight, bias := numbers(test.rows*test.channels, 2), numbers(test.channels, 1), numbers(test.channels, 0.5)
			want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
				return b.Op(compute.LayerNorm{X: input(x, test.rows, test.channels), Weight: input(weight, test.channels), Bias: input(bias, test.channels), Eps: 1e-5})
			})
			have, _ := job{kernel: LayerNorm{dtype}.Kernel(), grid: LayerNorm{}.Grid(test.rows), arguments: []any{
				out{len(x), dtype}, in{x, dtype}, in{weight, compute.F32}, in{bias, compute.F32}, test.rows, test.channels, float32(1e-5),
			}}.run(t)
			compare(t, have, want, tolerance(dtype))
		}
	}
}
