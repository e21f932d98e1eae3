package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/compute"
)

type recorder = func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value

func TestTimestepEmbedding(t *testing.T) {
	steps := []float64{0, 1, 500.25, 999, 0.5}
	for _, cosinesFirst := range []bool{false, true} {
		op := compute.TimestepEmbedding{Dim: 10, FlipSinToCos: cosinesFirst}
		want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
			op.Timesteps = input(steps, len(steps))
			return b.Op(op)
		})
		var frequencies []float64
		for _, f := range op.Frequencies() {
			frequencies = append(frequencies, float64(f))
		}
		have, _ := job{kernel: TimestepEmbedding{cosinesFirst}.Kernel(), grid: OneGrid(len(want)), arguments: []any{
			out{len(want), compute.F32}, in{steps, compute.F32}, in{frequencies, compute.F32}, len(want), op.Dim / 2,
		}}.run(t)
		for i := range want {
			if math.Abs(have[i]-want[i]) > 3e-7 {
				t.Errorf("feature %d is %g, want %g", i, have[i], want[i])
			}
		}
	}
}

func TestScale(t *testing.T) {
	const samples, positions, channels = 3, 5, 7
	x := numbers(samples*positions*channels, 1)
	x[0] = math.Inf(1)
	for _, test := range []struct {
		factors                     []int
		column                      int
		sample, rows, pitch, width_ int
	}{
		{[]int{3, 2}, 1, positions * channels, 3, 2, 1},
		{[]int{1, 2}, 1, positions * channels, 1, 2, 1},
	} {
		for _, dtype := range types {
			factors := numbers(test.factors[0]*test.factors[1], 1)
			factors[1] = 0 // of the sample with the infinity
			want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
				return b.Op(compute.Scale{X: input(x, samples, positions, channels), Factors: input(factors, test.factors...), Column: test.column})
			})
			have, _ := job{kernel: Scale{dtype}.Kernel(), grid: OneGrid(len(x)), arguments: []any{
				out{len(x), dtype}, in{x, dtype}, in{factors, compute.F32}, len(x), test.sample, test.rows, test.pitch, test.column, test.width_,
			}}.run(t)
			if test.factors[0] == 1 {
				if slices.ContainsFunc(have, func(v float64) bool { return v != 0 }) {
					t.Error("a factor of 0 leaves something")
				}
				continue
			}
			compare(t, have, want, tolerance(dtype))
		}
	}
}

func TestMultiply(t *testing.T) {
	const samples, positions, channels = 3, 5, 7
	x := numbers(samples*positions*channels, 1)
	for _, shape := range [][]int{{samples, positions, channels}, {samples, channels}, {1, channels}} {
		factors := numbers(compute.Shape(shape).Elements(), 1)
		want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
			return b.Op(compute.Multiply{X: input(x, samples, positions, channels), Factors: input(factors, shape...)})
		})
		sample, rows := len(x)/len(factors)*channels, len(factors)/channels
		have, _ := job{kernel: Scale{compute.F32}.Kernel(), grid: OneGrid(len(x)), arguments: []any{
			out{len(x), compute.F32}, in{x, compute.F32}, in{factors, compute.F32}, len(x), sample, rows, channels, 0, channels,
		}}.run(t)
		compare(t, have, want, tolerance(compute.F32))
	}
}

func TestMove(t *testing.T) {
	x := numbers(3*4*5, 1)
	want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
		return b.Op(compute.Slice{X: input(x, 3, 4, 5), Axis: 1, Start: 1, Length: 2})
	})
	for _, from := range types {
		for _, to := range types {
			have, _ := job{kernel: Move{from, to}.Kernel(), grid: OneGrid(len(want)), arguments: []any{out{len(want), to}, in{x, from}, len(want), 10, 10, 0, 20, 5}}.run(t)
			compare(t, have, want, 0)
		}
	}
}

func TestGuidanceCombine(t *testing.T) {
	const n = 35
	x, weights, like := numbers(4*n, 1), []float64{-6.5, 7.5}, numbers(2*n, 3)
	for _, rescale := range []float64{0, 0.7} {
		want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
			op := compute.GuidanceCombine{X: input(x, 4, n), Weights: input(weights, 2), Rescale: rescale}
			if rescale > 0 {
				op.Like = input(like, 2, n)
			}
			return b.Op(op)
		})
		have, _ := job{kernel: GuidanceCombine{2, compute.F32}.Kernel(), grid: OneGrid(2 * n), arguments: []any{out{2 * n, compute.F32}, in{x, compute.F32}, in{weights, compute.F32}, 2 * n}}.run(t)
		if rescale > 0 {
			have, _ = job{kernel: Rescale{compute.F32}.Kernel(), grid: [3]int{2, 1, 1}, shared: RescaleShared, arguments: []any{both{have, compute.F32}, in{like, compute.F32}, n, float32(rescale)}}.run(t)
		}
		compare(t, have, want, tolerance(compute.F32))
	}
}

func TestEmbed(t *testing.T) {
	const rows, channels, length = 11, 6, 5
	ids, table, position := []int32{0, 10, 3, 3, 7, 1, 2, 9, 10, 0}, numbers(rows*channels, 1), numbers((length+1)*channels, 1)
	for _, dtype := range types {
		for _, positions := range []bool{false, true} {
			var want []float64
			for i, id := range ids {
				for c := range channels {
					v := table[int(id)*channels+c]
					if positions {
						v += position[i%length*channels+c]
					}
					want = append(want, v)
				}
			}
			arguments := []any{out{len(want), dtype}, words(ids), in{table, dtype}, rows, len(want), channels}
			if positions {
				arguments = append(arguments, in{position, dtype}, length)
			}
			have, _ := job{kernel: Embed{dtype, dtype, positions}.Kernel(), grid: OneGrid(len(want)), arguments: arguments}.run(t)
			compare(t, have, want, tolerance(dtype))
		}
	}
	for _, test := range []struct {
		ids         []int32
		place, word int32
	}{{ids, int32(len(ids)), 0}, {[]int32{0, 4, 11, 2, -1}, 2, 11}, {append(make([]int32, 70), -7, 12), 70, -7}} {
		have, _ := job{kernel: CheckIDs(), grid: [3]int{1, 1, 1}, arguments: []any{out{2, compute.I32}, words(test.ids), len(test.ids), rows}}.run(t)
		if int32(have[0]) != test.place || int32(have[1]) != test.word {
			t.Errorf("%v: reported %v, want %d at %d", test.ids, have, test.word, test.place)
		}
	}
}

func TestFill(t *testing.T) {
	have, _ := job{kernel: Fill{compute.F32}.Kernel(), grid: ElementGrid(13), arguments: []any{out{13, compute.F32}, float32(2.5), 13}}.run(t)
	if slices.ContainsFunc(have, func(v float64) bool { return v != 2.5 }) {
		t.Errorf("filled with %v", have)
	}
}

func TestLoss(t *testing.T) {
	const samples, positions, channels = 2, 6, 4
	n := samples * positions * channels
	prediction, target, weights, mask, c := numbers(n, 1), numbers(n, 0.5), numbers(samples, 1), numbers(samples*positions, 1), []float64{0.1, 1}
	target[3] = prediction[3]
	dy := []float64{3}
	for _, function := range []compute.LossFunction{compute.L2, compute.L1, compute.Huber, compute.SmoothL1} {
		for _, weighted := range []bool{false, true} {
			t.Run(fmt.Sprint(function, weighted), func(t *testing.T) {
				record := func(gradient bool) recorder {
					return func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
						op := compute.Loss{Prediction: input(prediction, samples, positions, channels), Target: input(target, samples, positions, channels), Function: function}
						if weighted {
							op.Weights, op.Mask = input(weights, samples), input(mask, samples, positions, 1)
						}
						if function >= compute.Huber {
							op.C = input(c, samples)
						}
						if !gradient {
							return b.Op(op)
						}
						return b.Op(compute.LossGradient{Prediction: op.Prediction, Target: op.Target, Weights: op.Weights, Mask: op.Mask, C: op.C, Function: function, DY: input(dy, 1)})
					}
				}
				l := Loss{function, weighted, weighted}
				operands := []any{in{prediction, compute.F32}, in{target, compute.F32}, n, n / samples, channels}
				if weighted {
					operands = append(operands, in{weights, compute.F32}, in{mask, compute.F32})
				}
				if function >= compute.Huber {
					operands = append(operands, in{c, compute.F32})
				}
				have, _ := job{kernel: l.Kernel(), grid: [3]int{1, 1, 1}, shared: LossShared, arguments: append([]any{out{1, compute.F32}}, operands...)}.run(t)
				compare(t, have, oracle(t, record(false)), 1e-6)
				have, _ = job{kernel: l.Gradient(), grid: OneGrid(n), arguments: append([]any{out{n, compute.F32}, in{dy, compute.F32}}, operands...)}.run(t)
				compare(t, have, oracle(t, record(true)), 1e-6)
			})
		}
	}
}

// TestSlopes has each activation's derivative, also where the activation is none.
func TestSlopes(t *testing.T) {
	x := append(numbers(2057, 3), 0, 20, -20)
	dy := numbers(len(x), 1)
	for a := compute.Identity; a <= compute.LeakyReLU; a++ {
		want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
			return b.Op(compute.ActivateGradient{X: input(x, len(x)), DY: input(dy, len(x)), Activation: a})
		})
		have, _ := job{kernel: ActivateGradient{a, compute.F32}.Kernel(), grid: ElementGrid(len(x)), arguments: []any{out{len(x), compute.F32}, in{x, compute.F32}, in{dy, compute.F32}, len(x)}}.run(t)
		compare(t, have, want, tolerance(compute.F32))
	}
}

// TestClipNorm has gradients whose squares overflow a float32, limits that clip and that do not, and numbers that are none.
func TestClipNorm(t *testing.T) {
	for _, test := range []struct {
		scale  float64
		limits []float64
		last   float64
		factor float64
	}{
		{1, []float64{0.5, 0}, 1, 0.5}, {1e30, []float64{1e-30, 1}, 1, 0}, {1e-30, []float64{1, 1}, 1e-30, 1},
		{0, []float64{1, 1}, 0, 1}, {1, []float64{1, 1}, math.NaN(), 0}, {1, []float64{1, 1}, math.Inf(-1), 0},
	} {
		gradients := [][]float64{numbers(300, 1), {test.last}}
		square := 0.0
		for i, v := range gradients[0] {
			gradients[0][i] = v * test.scale
			square += gradients[0][i] * gradients[0][i]
		}
		norm := math.Sqrt(square+test.last*test.last) * test.limits[0]
		var measures []float64
		for _, g := range gradients {
			measure, _ := job{kernel: ClipNorm{}.Measure(), grid: [3]int{1, 1, 1}, shared: ClipNormShared, arguments: []any{out{2, compute.F32}, in{g, compute.F32}, len(g)}}.run(t)
			measures = append(measures, measure...)
		}
		have, _ := job{kernel: ClipNorm{}.Kernel(), grid: [3]int{1, 1, 1}, shared: ClipNormShared, arguments: []any{out{2, compute.F32}, in{measures, compute.F32}, 2, in{test.limits, compute.F32}}}.run(t)
		if test.limits[1] != 0 && !math.IsNaN(norm) && !math.IsInf(norm, 0) {
			test.factor = test.limits[0] * min(1, test.limits[1]/(norm+1e-6))
		}
		if finite := !math.IsNaN(norm) && !math.IsInf(norm, 0); math.Abs(have[0]-test.factor) > 2e-6*test.factor || finite && math.Abs(have[1]-norm) > 2e-6*norm || !finite && have[1]-have[1] == 0 {
			t.Errorf("%v: factor %g and norm %g, want %g and %g", test, have[0], have[1], test.factor, norm)
		}
	}
}
