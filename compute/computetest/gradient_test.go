package computetest

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
)

// given tells how many of an op's inputs, from the last one, are given and have no gradient.
// A LinearCombination declares its coefficients first.
var given = map[string]int{"GuidanceCombine": 1, "Scale": 1, "Multiply": 1, "Loss": 3}

// TestGradientRules compares the gradient rule of every op, with every attribute of the tiny and odd cases, with central
// differences of a scalar made of the result. Both are computed in float64.
func TestGradientRules(t *testing.T) {
	tested := make(map[string]int)
	for _, c := range append(Cases(), GradientCases()...) {
		op := c.op()
		switch {
		case c.Params != compute.F32, strings.Contains(c.Name, "/sd"): // neither type nor size matters to a rule
		case strings.HasSuffix(op, "Gradient"), op == "SumPositions", op == "ClipNorm", op == "AdamW": // parts of an adjoint and of an optimizer's step
		case op == "Embed", op == "TimestepEmbedding", op == "Fill", op == "MergeTokens", c.Name == "GuidanceCombine/rescaled": // not differentiable: TestNotDifferentiable
		case strings.HasSuffix(c.Name, "/ids"): // no numbers
		case strings.HasSuffix(c.Name, "/extremes"): // a difference of 10⁻⁵ vanishes beside 10³⁰
		default:
			tested[op]++
			t.Run(c.Name, func(t *testing.T) { testGradientRule(t, c) })
		}
	}
	for _, op := range []string{
		"Linear", "Conv2D", "GroupNorm", "LayerNorm", "Attention", "Activate", "GEGLU", "Add", "GuidanceCombine",
		"LinearCombination", "Reshape", "Repeat", "Concat", "Slice", "MatMul", "Scale", "Multiply", "Loss",
	} {
		if tested[op] == 0 {
			t.Errorf("no case tests the rule of %s", op)
		}
	}
}

// op is the name of the case's op.
func (c Case) op() string {
	name, _, _ := strings.Cut(c.Name, "/")
	return name
}

func testGradientRule(t *testing.T, c Case) {
	plain, err := c.record(false)
	if err != nil {
		t.Fatal(err)
	}
	var b compute.Builder
	o := newOperands(&b, c.Name, c.Params)
	y := b.Op(c.Record(o))
	if strings.HasPrefix(c.Name, "Activate/") {
		awayFromZero(o.inputs[0].F32)
	}
	wrt := plain.program.Inputs // the values are the same in both recordings
	switch {
	case c.op() == "LinearCombination":
		wrt = wrt[1:]
	case c.op() == "Loss":
		wrt = wrt[:2] // the prediction and the target
	default:
		wrt = wrt[:len(wrt)-given[c.op()]]
	}
	loss := y
	if n := plain.program.Shape(y).Elements(); n > 1 {
		loss = b.Op(compute.Loss{Prediction: b.Reshape(y, 1, n), Target: o.Input(1, n)})
	}
	checkGradient(t, &b, &o.source, o.inputs, loss, wrt)
}

// awayFromZero keeps numbers where differences do not reach across the kink of a ReLU.
func awayFromZero(values []float32) {
	for i, v := range values {
		if math.Abs(float64(v)) < 0x1p-8 {
			values[i] = v + 0x1p-7
		}
	}
}

// checkGradient compares compute.Gradient with central differences, along random directions and single elements of each
// of wrt, which are inputs of the program, all evaluated in float64.
//
// The differences are of fourth order, (8·(f(h)-f(-h)) - (f(2h)-f(-2h)))/12h. The step h of 2⁻¹³ ≈ 1.2·10⁻⁴ leaves an error of
// h⁴·f⁽⁵⁾/30 ≈ 10⁻¹⁷·f⁽⁵⁾ and a rounding of 10⁻¹⁶/h ≈ 10⁻¹² of the loss. The tolerance of 10⁻⁷ of the gradient's size is far
// above both and far below any mistake in a formula.
func checkGradient(t *testing.T, b *compute.Builder, source *Source, inputs []compute.Buffer, loss compute.Value, wrt []compute.Value) {
	t.Helper()
	const step, tolerance = 0x1p-13, 1e-7
	b.Output(loss)
	forward, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	gradients := compute.Gradient(b, loss, wrt)
	for i, g := range gradients {
		if b.Err() == nil && !g.Valid() {
			t.Fatalf("there is no gradient by value %d", i)
		}
		b.Output(g)
	}
	adjoint, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}

	wide := make([]any, len(inputs))
	at := make(map[compute.Value][]float64)
	for i, in := range inputs {
		if in.I32 != nil {
			wide[i] = in.I32
			continue
		}
		x := make([]float64, len(in.F32))
		for k, v := range in.F32 {
			x[k] = float64(v)
		}
		wide[i], at[forward.Inputs[i]] = x, x
	}
	evaluate := func(p *compute.Program) []any {
		t.Helper()
		out, err := ref.Evaluate(p, source, wide...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	derived := evaluate(adjoint)[1:]

	random := rand.New(rand.NewPCG(1, 2))
	for i, v := range wrt {
		x, g := at[v], derived[i].([]float64)
		var square float64
		for _, d := range g {
			square += d * d
		}
		length := math.Sqrt(square)
		check := func(what string, direction []float64) {
			t.Helper()
			kept := slices.Clone(x)
			at := func(distance float64) float64 {
				for k, d := range direction {
					x[k] = kept[k] + distance*d
				}
				defer copy(x, kept)
				return evaluate(forward)[0].([]float64)[0]
			}
			want := (8*(at(step)-at(-step)) - (at(2*step) - at(-2*step))) / (12 * step)
			var got float64
			for k, d := range direction {
				got += d * g[k]
			}
			if !(math.Abs(got-want) <= tolerance*max(length, 1e-4)) {
				t.Errorf("value %d along %s: the gradient gives %.10g, the difference %.10g (length of the gradient %.4g)", i, what, got, want, length)
			}
		}
		for range 3 {
			direction := make([]float64, len(x))
			var square float64
			for k := range direction {
				direction[k] = random.NormFloat64()
				square += direction[k] * direction[k]
			}
			for k := range direction {
				direction[k] /= math.Sqrt(square)
			}
			check("a random direction", direction)
		}
		for range min(len(x), 5) {
			direction := make([]float64, len(x))
			direction[random.IntN(len(x))] = 1
			check("one element", direction)
		}
	}
}
