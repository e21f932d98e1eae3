package ref_test

import (
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/compute/ref"
)

func open(testing.TB) compute.Device { return ref.New() }

func TestConformance(t *testing.T) {
	computetest.Run(t, open)
	computetest.Suite{Open: open}.RunGradient(t)
}

func BenchmarkConformance(b *testing.B) { computetest.Benchmark(b, open) }

func TestSupport(t *testing.T) {
	d := ref.New()
	defer d.Close()
	var table strings.Builder
	if err := computetest.Support(&table, d); err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(strings.TrimSpace(table.String()), "\n")
	if got, want := len(rows), 2+len(computetest.Cases())+len(computetest.GradientCases()); got != want {
		t.Fatalf("the table has %d lines, want %d", got, want)
	}
	for _, row := range rows[2:] {
		if !strings.HasSuffix(row, "| yes |") {
			t.Errorf("the oracle lacks %s", row)
		}
	}
}

// TestRowsAreIndependent checks that the number of cores changes no bit.
func TestRowsAreIndependent(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one := results(t)
	runtime.GOMAXPROCS(7)
	seven := results(t)
	for i := range one {
		if math.Float32bits(one[i]) != math.Float32bits(seven[i]) {
			t.Fatalf("element %d: %v on one core, %v on seven", i, one[i], seven[i])
		}
	}
}

func results(t *testing.T) []float32 {
	t.Helper()
	var b compute.Builder
	x := b.Input("x", compute.F32, 1, 5, 7, 6)
	h := b.Op(compute.Conv2D{X: x, Weight: b.Param("conv.weight", 6, 6, 3, 3), Stride: 1, Pad: compute.SamePadding(1)})
	h = b.Op(compute.GroupNorm{X: h, Weight: b.Param("norm.weight", 6), Bias: b.Param("norm.bias", 6), Groups: 3, Eps: 1e-5})
	h = b.Reshape(h, 1, 35, 6)
	h = b.Op(compute.LayerNorm{X: h, Weight: b.Param("norm.weight", 6), Bias: b.Param("norm.bias", 6), Eps: 1e-5})
	b.Output(b.Op(compute.Attention{Q: h, K: h, V: h, Heads: 2}))
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var src computetest.Source
	for _, v := range p.Params {
		info := p.Values[v.Index()]
		src.Add(info.Name, compute.F32, wave(info.Shape.Elements()), info.Shape...)
	}
	d := ref.New()
	defer d.Close()
	params, err := d.Load(&src)
	if err != nil {
		t.Fatal(err)
	}
	program, err := d.Compile(p, params)
	if err != nil {
		t.Fatal(err)
	}
	in, err := d.NewTensor(compute.F32, 1, 5, 7, 6)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Upload(compute.Floats(wave(210))); err != nil {
		t.Fatal(err)
	}
	out, err := d.NewTensor(compute.F32, 1, 35, 6)
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Run(t.Context(), []compute.Tensor{out}, []compute.Tensor{in}); err != nil {
		t.Fatal(err)
	}
	y := make([]float32, 210)
	if err := out.Download(compute.Floats(y)); err != nil {
		t.Fatal(err)
	}
	return y
}

func wave(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.Sin(float64(i * i)))
	}
	return x
}

// TestPanicIsAnError gives the device a program that no builder records: its weight is of ids.
func TestPanicIsAnError(t *testing.T) {
	var b compute.Builder
	x, w := b.Input("x", compute.F32, 1, 2), b.Input("w", compute.I32, 3, 2)
	end := b.Scope("mid_block")
	y := b.Op(compute.Linear{X: x, Weight: b.Param("weight", 3, 2)})
	end()
	b.Output(y)
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p.Nodes[0].Op = compute.Linear{X: x, Weight: w}
	p.Params = nil
	d := ref.New()
	defer d.Close()
	params, err := d.Load(&computetest.Source{})
	if err != nil {
		t.Fatal(err)
	}
	program, err := d.Compile(p, params)
	if err != nil {
		t.Fatal(err)
	}
	tensor := func(dtype compute.DType, shape ...int) compute.Tensor {
		t.Helper()
		v, err := d.NewTensor(dtype, shape...)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	in := []compute.Tensor{tensor(compute.F32, 1, 2), tensor(compute.I32, 3, 2)}
	err = program.Run(t.Context(), []compute.Tensor{tensor(compute.F32, 1, 3)}, in)
	if err == nil || !strings.Contains(err.Error(), "mid_block: Linear: panic: operand is I32[3 2], want F32") {
		t.Errorf("error is %v, want one that names the path, the op and the panic", err)
	}
}
