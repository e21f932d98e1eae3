package cpu

import (
	"slices"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/computetest"
	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// TestNarrow computes a transformer block in bfloat16 twice: with values that only products read, which are kept rounded, and with the same values
// as outputs too, so that they are not. The block's result must have the same bits.
func TestNarrow(t *testing.T) {
	isa.Need(t, isa.AVX512BF16)
	rounded, kept := transformerBlock(t, false), transformerBlock(t, true)
	if !slices.Equal(rounded, kept) {
		t.Error("values kept in bfloat16 give another result than float32 ones that products round")
	}
}

func transformerBlock(t *testing.T, keep bool) []float32 {
	const tokens, c, heads = 50, 96, 3
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
	var inner []compute.Value
	norm := func(x compute.Value) compute.Value {
		y := b.Op(compute.LayerNorm{X: x, Weight: param("lw", c), Bias: param("lb", c), Eps: 1e-5})
		inner = append(inner, y)
		return y
	}
	linear := func(name string, x, residual compute.Value, in, out int) compute.Value {
		return b.Op(compute.Linear{X: x, Weight: param(name, out, in), Epilogue: compute.Epilogue{Residual: residual}})
	}
	none := compute.Value{}
	x := b.Input("x", compute.F32, 2, tokens, c)
	h := norm(x)
	attended := b.Op(compute.Attention{Q: linear("q", h, none, c, c), K: linear("k", h, none, c, c), V: linear("v", h, none, c, c), Heads: heads})
	y := linear("o", attended, x, c, c)
	gated := b.Op(compute.GEGLU{X: linear("proj", norm(y), none, c, 8*c)})
	y = linear("out", gated, y, 4*c, c)
	b.Output(y)
	inner = append(inner, attended, gated)
	if keep {
		for _, v := range inner {
			b.Output(v)
		}
	}
	program, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	d := opener(Options{Workers: 3, Precision: compute.PrecisionBF16})(t)
	defer d.Close()
	finder := &compiler{device: d.(*Device), program: program}
	if finder.findNarrow(); slices.ContainsFunc(inner, func(v compute.Value) bool { return finder.narrow[v.Index()] == keep }) {
		t.Errorf("kept rounded: %v, want %v for all of %v", finder.narrow, !keep, inner)
	}
	return compile(t, d, program, source).results(t)[:2*tokens*c]
}
