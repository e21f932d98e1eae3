package kernel

import (
	"fmt"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/simgpu"
)

// testTiles are of every depth, with one warp and with several.
var testTiles = []Tile{
	{Rows: 64, Columns: 64, Depth: 16, WarpRows: 32, WarpColumns: 32, Stages: 2},
	{Rows: 64, Columns: 32, Depth: 32, WarpRows: 32, WarpColumns: 32, Stages: 3},
	{Rows: 32, Columns: 64, Depth: 64, WarpRows: 32, WarpColumns: 32, Stages: 3},
}

var everything = Epilogue{Bias: true, PerChannel: true, Residual: true, Activation: compute.SiLU}

// ends are the arrays of an epilogue, for so many samples.
type ends struct{ bias, perChannel, residual []float64 }

func (e Epilogue) arrays(samples, rows, columns int) ends {
	return ends{numbers(columns, 1), numbers(samples*columns, 1), numbers(rows*columns, 1)}
}

// arguments are those of a product up to its epilogue's.
func (e Epilogue) arguments(a ends, rows, columns, share int, t compute.DType) []any {
	arguments := []any{out{rows * columns, t}, rows, columns}
	if e.Bias {
		arguments = append(arguments, in{a.bias, compute.F32})
	}
	if e.PerChannel {
		arguments = append(arguments, in{a.perChannel, t}, share)
	}
	if e.Residual {
		arguments = append(arguments, in{a.residual, t})
	}
	return arguments
}

// record is the epilogue as the oracle takes it, and the bias.
func (e Epilogue) record(a ends, samples, columns int, shape []int, input func([]float64, ...int) compute.Value) (bias compute.Value, of compute.Epilogue) {
	of.Activation = e.Activation
	if e.Bias {
		bias = input(a.bias, columns)
	}
	if e.PerChannel {
		of.PerChannel = input(a.perChannel, samples, columns)
	}
	if e.Residual {
		of.Residual = input(a.residual, shape...)
	}
	return bias, of
}

func TestLinear(t *testing.T) {
	for _, tile := range testTiles {
		for _, test := range []struct {
			samples, positions, columns, depth int
			Epilogue
		}{
			{1, 1, 1, 8, Epilogue{}}, {2, 35, 40, 72, everything}, {1, 64, 64, 64, Epilogue{Bias: true}},
			{1, 67, 33, 200, everything}, {3, 11, 66, 24, Epilogue{PerChannel: true, Activation: compute.GELU}},
		} {
			t.Run(fmt.Sprint(tile, test), func(t *testing.T) {
				rows := test.samples * test.positions
				x, w := numbers(rows*test.depth, 1), numbers(test.columns*test.depth, 0.3)
				a := test.arrays(test.samples, rows, test.columns)
				want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
					op := compute.Linear{X: input(x, test.samples, test.positions, test.depth), Weight: input(w, test.columns, test.depth)}
					op.Bias, op.Epilogue = test.record(a, test.samples, test.columns, []int{test.samples, test.positions, test.columns}, input)
					return b.Op(op)
				})
				l := Linear{Tile: tile, Epilogue: test.Epilogue, Odd: test.columns%2 == 1}
				have, stats := job{
					kernel: l.Kernel(), grid: tile.Grid(rows, test.columns), shared: tile.Shared(),
					arguments: append(test.arguments(a, rows, test.columns, test.positions, compute.F16), in{x, compute.F16}, in{w, compute.F16}, test.depth),
				}.run(t)
				compare(t, have, want, 5e-4)
				if stats.Conflicts != 0 {
					t.Errorf("%d bank conflicts", stats.Conflicts)
				}
			})
		}
	}
}

// TestPromoted sums as tensor cores do, in half precision within a slice. Sums of 64 products keep their error whatever the depth; in
// float32 there is none but that of rounding the result.
func TestPromoted(t *testing.T) {
	const rows, columns, depth = 32, 64, 512
	x, w := numbers(rows*depth, 1), numbers(columns*depth, 0.3)
	want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
		return b.Op(compute.Linear{X: input(x, rows, depth), Weight: input(w, columns, depth)})
	})
	for _, chip := range []simgpu.Chip{simgpu.Ampere, simgpu.Hopper} {
		for promoted, tolerance := range map[bool]float64{false: 2.5e-4, true: 6e-4} {
			l := Linear{Tile: testTiles[2], Promoted: promoted}
			have, _ := job{
				kernel: l.Kernel(), grid: l.Grid(rows, columns), shared: l.Shared(), chip: &chip,
				arguments: append(Epilogue{}.arguments(ends{}, rows, columns, 1, compute.F16), in{x, compute.F16}, in{w, compute.F16}, depth),
			}.run(t)
			compare(t, have, want, tolerance)
		}
	}
}

// convolution is a case of Conv2D.
type convolution struct {
	samples, height, width, channels, channels2, outputs int
	window, stride                                       int
	pad                                                  compute.Padding
	resize                                               [2]int
	epilogue                                             Epilogue
}

var same = compute.SamePadding(1)

func TestConv2D(t *testing.T) {
	for i, test := range []convolution{
		{2, 5, 7, 8, 0, 10, 3, 1, same, [2]int{}, everything},
		{1, 8, 8, 24, 0, 33, 3, 1, same, [2]int{}, Epilogue{Bias: true}},
		{1, 9, 6, 16, 0, 16, 3, 2, same, [2]int{}, Epilogue{Bias: true, Residual: true}},
		{1, 8, 8, 8, 0, 8, 3, 2, compute.Padding{Bottom: 1, Right: 1}, [2]int{}, Epilogue{}},
		{2, 4, 5, 16, 8, 12, 3, 1, same, [2]int{}, everything},
		{1, 4, 3, 40, 0, 8, 3, 1, same, [2]int{8, 6}, Epilogue{Bias: true}},
		{1, 4, 3, 8, 0, 8, 3, 1, same, [2]int{7, 5}, Epilogue{Bias: true}},
		{2, 5, 5, 24, 40, 20, 1, 1, compute.Padding{}, [2]int{}, Epilogue{Bias: true}},
		{1, 1, 1, 8, 0, 1, 1, 1, compute.Padding{}, [2]int{}, Epilogue{}},
	} {
		for _, tile := range testTiles[:2+i%2] {
			t.Run(fmt.Sprint(test, tile), func(t *testing.T) {
				stats := test.run(t, tile, compute.F16, func(c Conv2D, rows int) job {
					return job{kernel: c.Kernel(), grid: tile.Grid(rows, test.outputs), shared: tile.Shared()}
				})
				if stats.Conflicts != 0 {
					t.Errorf("%d bank conflicts", stats.Conflicts)
				}
			})
		}
	}
}

// TestPlainConv2D has channels that are no multiples of 8.
func TestPlainConv2D(t *testing.T) {
	for i, test := range []convolution{
		{2, 5, 4, 4, 0, 10, 3, 1, same, [2]int{}, Epilogue{Bias: true}},
		{1, 6, 5, 20, 0, 3, 3, 1, same, [2]int{}, everything},
		{1, 4, 5, 5, 4, 4, 3, 2, same, [2]int{}, Epilogue{}},
		{2, 3, 3, 9, 0, 7, 1, 1, compute.Padding{}, [2]int{}, Epilogue{Bias: true}},
		{1, 3, 4, 3, 0, 5, 3, 1, same, [2]int{5, 7}, Epilogue{}},
		{1, 9, 8, 3, 0, 36, 3, 1, same, [2]int{}, everything},
		{2, 6, 6, 5, 0, 36, 3, 1, same, [2]int{}, everything},
	} {
		dtype := types[i%2]
		t.Run(fmt.Sprint(test, dtype), func(t *testing.T) {
			stats := test.run(t, Tile{}, dtype, func(c Conv2D, rows int) job {
				k := PlainConv2D{Plain: PlainFor(rows, test.outputs), Conv2D: c, X: dtype, W: dtype, Y: dtype, Width: plainWidth(test.outputs)}
				return job{kernel: k.Kernel(), grid: k.Grid(rows, test.outputs), shared: k.Shared()}
			})
			if stats.Conflicts != 0 {
				t.Errorf("%d bank conflicts", stats.Conflicts)
			}
		})
	}
}

// run compares a kernel of the convolution with the oracle.
func (test convolution) run(t *testing.T, tile Tile, dtype compute.DType, launch func(c Conv2D, rows int) job) simgpu.Stats {
	t.Helper()
	x, x2 := numbers(test.samples*test.height*test.width*test.channels, 1), numbers(test.samples*test.height*test.width*test.channels2, 1)
	channels := test.channels + test.channels2
	w := numbers(test.outputs*channels*test.window*test.window, 0.3)
	resized := test.resize
	if resized == [2]int{} {
		resized = [2]int{test.height, test.width}
	}
	height := (resized[0]+test.pad.Top+test.pad.Bottom-test.window)/test.stride + 1
	width := (resized[1]+test.pad.Left+test.pad.Right-test.window)/test.stride + 1
	rows := test.samples * height * width
	a := test.epilogue.arrays(test.samples, rows, test.outputs)
	want := oracle(t, func(b *compute.Builder, input func([]float64, ...int) compute.Value) compute.Value {
		op := compute.Conv2D{
			X: input(x, test.samples, test.height, test.width, test.channels), Weight: input(planar(w, test.outputs, channels, test.window), test.outputs, channels, test.window, test.window),
			Stride: test.stride, Pad: test.pad, Resize: test.resize,
		}
		if test.channels2 > 0 {
			op.X2 = input(x2, test.samples, test.height, test.width, test.channels2)
		}
		op.Bias, op.Epilogue = test.epilogue.record(a, test.samples, test.outputs, []int{test.samples, height, width, test.outputs}, input)
		return b.Op(op)
	})
	c := Conv2D{
		Tile: tile, Epilogue: test.epilogue, Parts: 1, Window: [2]int{test.window, test.window}, Stride: test.stride,
		Top: test.pad.Top, Left: test.pad.Left, Odd: test.outputs%2 == 1, Enlargement: enlargement(test.height, test.width, resized),
	}
	arguments := append(test.epilogue.arguments(a, rows, test.outputs, height*width, dtype), in{w, dtype}, in{x, dtype}, test.channels)
	if test.channels2 > 0 {
		c.Parts, arguments = 2, append(arguments, in{x2, dtype}, test.channels2)
	}
	arguments = append(arguments, test.height, test.width, resized[0], resized[1], height, width)
	j := launch(c, rows)
	j.arguments = arguments
	have, stats := j.run(t)
	compare(t, have, want, tolerance(dtype))
	return stats
}

func enlargement(height, width int, resized [2]int) Enlargement {
	switch resized {
	case [2]int{height, width}:
		return AsIs
	case [2]int{2 * height, 2 * width}:
		return Twice
	}
	return Resized
}

// planar are weights [outputs][window][window][channels] in the order of compute.Conv2D, [outputs][channels][window][window].
func planar(w []float64, outputs, channels, window int) []float64 {
	p := make([]float64, len(w))
	for i := range p {
		c, rest := i/(window*window)%channels, i%(window*window)
		p[i] = w[(i/(channels*window*window)*window*window+rest)*channels+c]
	}
	return p
}
