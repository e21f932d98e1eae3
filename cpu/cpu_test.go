package cpu

import (
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// sets are the kernel sets that this machine can run; with -short the one in Go alone, into which the race detector sees.
func sets(t *testing.T) []isa.Set {
	if testing.Short() {
		t.Log("-short: no kernel set with assembly")
		return []isa.Set{isa.Generic}
	}
	return isa.Sets()
}

// TestConformance runs the suite every device runs, against the reference device: with every kernel set that this
// machine can run, with one worker and with more than it may have processors, and with bfloat16 products.
func TestConformance(t *testing.T) {
	for _, set := range sets(t) {
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
			Open:            opener(Options{Workers: 3, Precision: compute.PrecisionBF16}),
			AllocationFree:  true,
			OperandRoundoff: 1.0 / 256, // a factor is rounded to bfloat16's eight bits
		}.Run(t)
	})
}

// TestGradientConformance runs the suite of training's ops like TestConformance; that one worker gives the same bits is
// for TestWorkersAgree.
func TestGradientConformance(t *testing.T) {
	for _, set := range sets(t) {
		t.Run(set.String(), func(t *testing.T) {
			t.Setenv(isa.EnvLower, set.String())
			computetest.Suite{Open: opener(Options{Workers: 3}), AllocationFree: true}.RunGradient(t)
		})
	}
	t.Run("bf16", func(t *testing.T) {
		isa.Need(t, isa.AVX512BF16)
		computetest.Suite{
			Open:            opener(Options{Workers: 3, Precision: compute.PrecisionBF16}),
			AllocationFree:  true,
			OperandRoundoff: 1.0 / 256, // a factor is rounded to bfloat16's eight bits
		}.RunGradient(t)
	})
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

// TestPrecision asks for bfloat16 where the processor's instructions are not used, and for half precision: the device says what it really does.
func TestPrecision(t *testing.T) {
	t.Setenv(isa.EnvLower, isa.Generic.String())
	for _, asked := range []compute.Precision{compute.PrecisionBF16, compute.PrecisionFP16} {
		d, err := Open(Options{Workers: 1, Precision: asked})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if p := d.Precision(); p != compute.PrecisionFP32 || !strings.Contains(d.Name(), "fp32") {
			t.Errorf("asked for %v, %s computes in %v, want fp32", asked, d.Name(), p)
		}
	}
}

// TestNoAllocations repeats a run, and the transfers around it, of forward ops, gradients and updates.
func TestNoAllocations(t *testing.T) {
	n := newNetwork(t, Options{Workers: 2})
	n.run(t)
	hosts := make([]compute.Buffer, len(n.in))
	for i, tensor := range n.in {
		hosts[i] = compute.Floats(make([]float32, tensor.Shape().Elements()))
	}
	if allocations := testing.AllocsPerRun(5, func() {
		for i, tensor := range n.in {
			if err := tensor.Download(hosts[i]); err != nil {
				t.Error(err)
			}
			if err := tensor.Upload(hosts[i]); err != nil {
				t.Error(err)
			}
		}
		n.run(t)
	}); allocations != 0 {
		t.Errorf("%v allocations, want none", allocations)
	}
}

// network is a small network of the ops whose work is divided, its loss, its gradients and an update, on a device.
type network struct {
	exe     compute.Executable
	in, out []compute.Tensor
}

func (n *network) run(t *testing.T) {
	t.Helper()
	if err := n.exe.Run(t.Context(), n.out, n.in); err != nil {
		t.Fatal(err)
	}
}

func runNetwork(t *testing.T, o Options) []float32 {
	t.Helper()
	return newNetwork(t, o).results(t)
}

// results runs the network once and returns all outputs one after the other.
func (n *network) results(t *testing.T) (all []float32) {
	t.Helper()
	n.run(t)
	for _, tensor := range n.out {
		values := make([]float32, tensor.Shape().Elements())
		if err := tensor.Download(compute.Floats(values)); err != nil {
			t.Fatal(err)
		}
		all = append(all, values...)
	}
	return all
}

func newNetwork(t *testing.T, o Options) *network {
	t.Helper()
	const h, w, c, rank = 20, 12, 64, 5
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
	down, up := b.Input("down", compute.F32, rank, c), b.Input("up", compute.F32, 6*c, rank)
	kernel := b.Input("kernel", compute.F32, 3, c, 3, 3)
	y := b.Op(compute.GroupNorm{X: x, Weight: param("gw", c), Bias: param("gb", c), Groups: 8, Eps: 1e-5, Activation: compute.SiLU})
	y = b.Op(compute.Conv2D{X: y, Weight: param("cw", c, c, 3, 3), Bias: param("cb", c), Stride: 1, Pad: compute.SamePadding(1)})
	tokens := b.Reshape(y, 2, h*w, c)
	norm := b.Op(compute.LayerNorm{X: tokens, Weight: param("lw", c), Bias: param("lb", c), Eps: 1e-5})
	tokens = b.Op(compute.Attention{Q: norm, K: norm, V: tokens, Heads: 4})
	wide := b.Op(compute.Linear{X: tokens, Weight: param("w", 6*c, c), Epilogue: compute.Epilogue{Activation: compute.GELU}})
	b.Output(wide)
	wide = b.Op(compute.MatMul{A: b.Op(compute.MatMul{A: tokens, B: down, TransposeB: true}), B: up, TransposeB: true, Scale: 0.1, Add: wide})
	narrow := b.Op(compute.Linear{X: b.Op(compute.GEGLU{X: wide}), Weight: param("v", c, 3*c)})
	y = b.Op(compute.Conv2D{X: b.Reshape(narrow, 2, h, w, c), Weight: kernel, Stride: 2, Pad: compute.SamePadding(1)})
	loss := b.Op(compute.Loss{Prediction: y, Target: b.Input("target", compute.F32, 2, h/2, w/2, 3)})
	b.Output(loss)
	gradients := compute.Gradient(&b, loss, []compute.Value{x, down, up, kernel})
	for _, g := range gradients {
		b.Output(g)
	}
	hyper, square := b.Input("hyper", compute.F32, 1, 7), b.Op(compute.Multiply{X: down, Factors: down})
	clip := b.Op(compute.ClipNorm{Gradients: gradients, Limits: b.Input("limits", compute.F32, 1, 2)})
	b.Output(clip)
	for _, v := range b.Results(compute.AdamW{
		Parameter: down, Gradient: gradients[1], M: b.Input("m", compute.F32, rank, c), V: square, Hyper: hyper, Clip: clip,
	}) {
		b.Output(v)
	}
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := opener(o)(t)
	t.Cleanup(func() { d.Close() })
	n := compile(t, d, program, source)
	at := slices.Index(program.Inputs, hyper)
	if err := n.in[at].Upload(compute.Floats([]float32{1e-3, 0.1, 0.001, 1e-8, 0.01, 0.1, 0.001})); err != nil {
		t.Fatal(err)
	}
	return n
}

// compile makes a program a network and fills its inputs with some numbers.
func compile(t *testing.T, d compute.Device, program *compute.Program, source *computetest.Source) *network {
	t.Helper()
	params, err := d.Load(source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { params.Close() })
	exe, err := d.Compile(program, params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exe.Close() })
	tensors := func(values []compute.Value) (list []compute.Tensor) {
		for _, v := range values {
			tensor, err := d.NewTensor(compute.F32, program.Shape(v)...)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, tensor)
		}
		return list
	}
	n := &network{exe, tensors(program.Inputs), tensors(program.Outputs)}
	for _, tensor := range n.in {
		values := make([]float32, tensor.Shape().Elements())
		for i := range values {
			values[i] = float32((i*104729)%2000-999) / 500
		}
		if err := tensor.Upload(compute.Floats(values)); err != nil {
			t.Fatal(err)
		}
	}
	return n
}
