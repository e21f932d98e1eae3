package cpu

import (
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// TestConformance runs the suite every device runs, against the reference device: with every kernel set that this
// machine can run, with one worker and with more than it may have processors, and with bfloat16 products.
func TestConformance(t *testing.T) {
	for _, set := range isa.Sets() {
		t.Run(set.String(), func(t *testing.T) {
			t.Setenv(isa.EnvLower, set.String())
			computetest.Suite{Open: opener(Options{Workers: 3}), AllocationFree: true}.Run(t)
		})
	}
	t.Run("one worker", func(t *testing.T) {
		computetest.Suite{Open: opener(Options{Workers: 1}), AllocationFree: true}.Run(t)
	})
	t.Run("bf16", func(t *testing.T) {
		isa.Need(t, isa.AVX512BF16)
		computetest.Suite{
			Open:            opener(Options{Workers: 3, Precision: BF16}),
			AllocationFree:  true,
			OperandRoundoff: 1.0 / 256, // of a factor rounded to bfloat16's eight bits
		}.Run(t)
	})
}

// TestGradientConformance runs the suite of training's ops. Those that the device does not have yet are skipped by name.
func TestGradientConformance(t *testing.T) {
	computetest.Suite{Open: opener(Options{Workers: 3}), AllocationFree: true, Missing: []string{
		"MatMul", "Slice", "Fill", "Scale", "Multiply", "Loss", "LossGradient", "LinearInputGradient", "Conv2DInputGradient",
		"Conv2DWeightGradient", "Conv2D/weight is a value", "GroupNormGradient", "LayerNormGradient", "AttentionGradient",
		"ActivateGradient", "GEGLUGradient", "SumPositions", "ClipNorm", "AdamW",
	}}.RunGradient(t)
}

func BenchmarkConformance(b *testing.B) { computetest.Benchmark(b, opener(Options{})) }

func opener(o Options) func(testing.TB) compute.Device {
	return func(t testing.TB) compute.Device {
		t.Helper()
		d, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// TestWorkersAgree runs one program with different numbers of workers: the bits must be the same.
func TestWorkersAgree(t *testing.T) {
	var want []float32
	for _, workers := range []int{1, 2, 5} {
		got := runNetwork(t, Options{Workers: workers})
		if want == nil {
			want = got
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%d workers: element %d is %v, with one worker %v", workers, i, got[i], want[i])
			}
		}
	}
}

// runNetwork runs a small network of the ops whose work is divided and returns its output.
func runNetwork(t *testing.T, o Options) []float32 {
	t.Helper()
	const h, w, c = 20, 12, 64
	var b compute.Builder
	source := new(computetest.Source)
	param := func(name string, shape ...int) compute.Value {
		values := make([]float32, compute.Shape(shape).Elements())
		for i := range values {
			values[i] = float32((i*7919)%1000-500) / 4000
		}
		source.Add(name, compute.F16, values, shape...)
		return b.Param(name, shape...)
	}
	x := b.Input("x", compute.F32, 2, h, w, c)
	y := b.Op(compute.GroupNorm{X: x, Weight: param("gw", c), Bias: param("gb", c), Groups: 8, Eps: 1e-5, Activation: compute.SiLU})
	y = b.Op(compute.Conv2D{X: y, Weight: param("cw", c, c, 3, 3), Bias: param("cb", c), Stride: 1, Pad: compute.SamePadding(1)})
	tokens := b.Reshape(y, 2, h*w, c)
	norm := b.Op(compute.LayerNorm{X: tokens, Weight: param("lw", c), Bias: param("lb", c), Eps: 1e-5})
	tokens = b.Op(compute.Attention{Q: norm, K: norm, V: tokens, Heads: 4})
	b.Output(b.Op(compute.Linear{X: tokens, Weight: param("w", 3*c, c), Epilogue: compute.Epilogue{Activation: compute.GELU}}))
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}

	d := opener(o)(t)
	defer d.Close()
	params, err := d.Load(source)
	if err != nil {
		t.Fatal(err)
	}
	defer params.Close()
	exe, err := d.Compile(program, params)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	in, err1 := d.NewTensor(compute.F32, 2, h, w, c)
	out, err2 := d.NewTensor(compute.F32, 2, h*w, 3*c)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	values := make([]float32, in.Shape().Elements())
	for i := range values {
		values[i] = float32((i*104729)%2000-1000) / 500
	}
	if err := in.Upload(values); err != nil {
		t.Fatal(err)
	}
	if err := exe.Run(t.Context(), []compute.Tensor{out}, []compute.Tensor{in}); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, out.Shape().Elements())
	if err := out.Download(got); err != nil {
		t.Fatal(err)
	}
	return got
}
