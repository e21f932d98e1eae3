package compute

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// opsAfter names the ops recorded after the first n.
func opsAfter(b *Builder, n int) (names []string) {
	for _, node := range b.program.Nodes[n:] {
		names = append(names, OpName(node.Op))
	}
	return names
}

// TestGradientVisitsWhatIsNeeded counts the ops of the adjoint of a network whose trainable factor is in the middle.
func TestGradientVisitsWhatIsNeeded(t *testing.T) {
	var b Builder
	x := b.Input("x", F32, 2, 4)
	down, up := b.Input("down", F32, 1, 4), b.Input("up", F32, 4, 1)
	h := b.Op(Linear{X: x, Weight: b.Param("below.weight", 4, 4)}) // below the factors: no adjoint at all
	h = b.Op(LayerNorm{X: h, Weight: b.Param("norm.weight", 4), Bias: b.Param("norm.bias", 4), Eps: 1e-5})
	end := b.Scope("lora")
	y := b.Op(Linear{X: h, Weight: b.Param("frozen.weight", 4, 4)}) // beside them: none either
	y = b.Op(MatMul{A: b.Op(MatMul{A: h, B: down, TransposeB: true}), B: up, TransposeB: true, Scale: 0.5, Add: y})
	end()
	end = b.Scope("above")
	z := b.Op(Linear{X: y, Weight: b.Param("above.weight", 4, 4), Bias: b.Param("above.bias", 4), Epilogue: Epilogue{Activation: SiLU, Residual: h}})
	end()
	b.Op(Activate{X: z, Activation: SiLU}) // on no way to the loss
	loss := b.Op(Loss{Prediction: z, Target: b.Input("target", F32, 2, 4)})
	unused := b.Input("unused", F32, 3)
	nodes := len(b.program.Nodes)
	gradients := Gradient(&b, loss, []Value{up, unused, down})
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Fill", "LossGradient",
		"Linear", "ActivateGradient", "LinearInputGradient", // the layer above, its activation's argument computed again
		"MatMul", "MatMul", "MatMul", // dy·up, dyᵀ·(x·downᵀ), (dy·up)ᵀ·x
	}
	if got := opsAfter(&b, nodes); !slices.Equal(got, want) {
		t.Errorf("the adjoint is\n%v, want\n%v", got, want)
	}
	if gradients[1].Valid() {
		t.Error("there is a gradient by a value that the loss does not depend on")
	}
	for i, v := range []Value{up, {}, down} {
		if v.Valid() && !b.program.Type(gradients[i]).Equal(b.program.Type(v)) {
			t.Errorf("the gradient of %v is %v", b.program.Type(v), b.program.Type(gradients[i]))
		}
	}
	if path := b.program.Nodes[nodes+4].Path; path != "above" {
		t.Errorf("the adjoint of the layer above is recorded in %q", path)
	}
	if len(b.scopes) != 0 {
		t.Errorf("the scopes %v are left open", b.scopes)
	}
}

// TestGradientOfNothing asks for derivatives of a loss that depends on none of the values.
func TestGradientOfNothing(t *testing.T) {
	var b Builder
	x, other := b.Input("x", F32, 1, 4), b.Input("other", F32, 1, 4)
	loss := b.Op(Loss{Prediction: x, Target: x})
	nodes := len(b.program.Nodes)
	if g := Gradient(&b, loss, []Value{other}); g[0].Valid() || len(b.program.Nodes) != nodes || b.Err() != nil {
		t.Errorf("gradient %v, ops %v, error %v; want nothing at all", g, opsAfter(&b, nodes), b.Err())
	}
}

// TestGradientSums uses one value in many places.
func TestGradientSums(t *testing.T) {
	var b Builder
	x := b.Input("x", F32, 2, 4, 4)
	y := b.Op(Attention{Q: x, K: x, V: x, Heads: 2})
	y = b.Op(Linear{X: y, X2: x, Weight: b.Param("w", 4, 8), Epilogue: Epilogue{Residual: x}})
	loss := b.Op(Loss{Prediction: y, Target: x})
	nodes := len(b.program.Nodes)
	Gradient(&b, loss, []Value{x})
	want := []string{
		"Fill", "LossGradient", "Fill", "Scale", // target
		"Add",                                        // residual
		"LinearInputGradient", "LinearInputGradient", // y and, with the sum added, x
		"AttentionGradient", "Add", "Add", "Add",
	}
	if got := opsAfter(&b, nodes); b.Err() != nil || !slices.Equal(got, want) {
		t.Errorf("error %v, the adjoint is\n%v, want\n%v", b.Err(), got, want)
	}
}

// TestGradientOfIntermediates differentiates by results of ops, the loss itself among them, and twice. The prediction is an
// activation's, which is computed again for the loss.
func TestGradientOfIntermediates(t *testing.T) {
	var b Builder
	x := b.Input("x", F32, 2, 4)
	h := b.Op(Activate{X: x, Activation: SiLU})
	y := b.Op(Activate{X: h, Activation: GELU})
	loss := b.Op(Loss{Prediction: y, Target: b.Input("target", F32, 2, 4)})
	nodes := len(b.program.Nodes)
	g := Gradient(&b, loss, []Value{h, loss})
	if got, want := opsAfter(&b, nodes), []string{"Fill", "Activate", "LossGradient", "ActivateGradient"}; !slices.Equal(got, want) {
		t.Errorf("the adjoint is %v, want %v", got, want)
	}
	nodes = len(b.program.Nodes)
	again := Gradient(&b, loss, []Value{x})
	if got, want := opsAfter(&b, nodes), []string{"Fill", "Activate", "Activate", "LossGradient", "ActivateGradient", "ActivateGradient"}; !slices.Equal(got, want) {
		t.Errorf("the second adjoint is %v, want %v", got, want)
	}
	for _, v := range append(g, again...) {
		b.Output(v)
	}
	if _, err := b.Build(); err != nil {
		t.Error(err)
	}
}

func TestGradientRejects(t *testing.T) {
	for _, c := range []struct {
		name   string
		record func(b *Builder, x, ids Value) (loss, wrt Value)
		say    string
	}{
		{"loss of many numbers", func(b *Builder, x, _ Value) (Value, Value) { return b.Op(Activate{X: x}), x }, "the loss must be a result of one F32 number"},
		{"loss that is an input", func(b *Builder, x, _ Value) (Value, Value) { return b.Input("l", F32, 1), x }, "the loss must be a result"},
		{"no loss", func(b *Builder, x, _ Value) (Value, Value) { return Value{}, x }, "the loss must be a result"},
		{"loss of another program", func(b *Builder, x, _ Value) (Value, Value) { return Value{99}, x }, "the loss must be a result"},
		{"no value", func(b *Builder, x, _ Value) (Value, Value) { return norm2(b, x), Value{} }, "value 0 to differentiate by is missing"},
		{"parameter", func(b *Builder, x, _ Value) (Value, Value) {
			return norm2(b, x), b.Param("to_q.weight", 3, 3)
		}, `"to_q.weight" is a parameter, which is frozen`},
		{"ids", func(b *Builder, x, ids Value) (Value, Value) { return norm2(b, x), ids }, "value 0 to differentiate by is I32[2 5], want a float type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Builder
			x, ids := b.Input("x", F32, 2, 8), b.Input("ids", I32, 2, 5)
			loss, wrt := c.record(&b, x, ids)
			nodes := len(b.program.Nodes)
			g := Gradient(&b, loss, []Value{wrt})
			if err := b.Err(); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v, want %q in it", err, c.say)
			}
			if len(g) != 1 || g[0].Valid() || len(b.program.Nodes) != nodes {
				t.Errorf("gradients %v and ops %v after an error", g, opsAfter(&b, nodes))
			}
		})
	}
}

// norm2 is a loss of any value.
func norm2(b *Builder, x Value) Value {
	n := types(b.program.Values).of(x).Shape.Elements()
	return b.Op(Loss{Prediction: b.Reshape(x, 1, n), Target: b.Op(Fill{Shape: Shape{1, n}})})
}

// TestNotDifferentiable differentiates by operands that have no derivative, and ops of an adjoint once more.
func TestNotDifferentiable(t *testing.T) {
	const frozen = "its weight and bias are frozen"
	for _, c := range []struct {
		name   string
		record func(b *Builder, x, image, ids, wrt Value) Value // [2 4 8], [2 3 3 8], I32[2 4]; wrt is for the case to shape
		shape  Shape
		say    string
	}{
		{"Linear/weight", func(b *Builder, x, _, _, w Value) Value { return b.Op(Linear{X: x, Weight: w}) }, Shape{3, 8}, frozen + "; trainable factors go through MatMul"},
		{"Linear/bias", func(b *Builder, x, _, _, w Value) Value {
			return b.Op(Linear{X: x, Weight: b.Param("w", 3, 8), Bias: w})
		}, Shape{3}, frozen},
		{"Conv2D/bias", func(b *Builder, _, image, _, w Value) Value {
			return b.Op(Conv2D{X: image, Weight: b.Param("w", 3, 8, 1, 1), Bias: w, Stride: 1})
		}, Shape{3}, "its bias is frozen"},
		{"GroupNorm/weight", func(b *Builder, x, _, _, w Value) Value {
			return b.Op(GroupNorm{X: x, Weight: w, Bias: b.Param("b", 8), Groups: 2, Eps: 1e-5})
		}, Shape{8}, frozen},
		{"LayerNorm/bias", func(b *Builder, x, _, _, w Value) Value {
			return b.Op(LayerNorm{X: x, Weight: b.Param("w", 8), Bias: w, Eps: 1e-5})
		}, Shape{8}, frozen},
		{"Embed/table", func(b *Builder, _, _, ids, w Value) Value { return b.Op(Embed{IDs: ids, Table: w}) }, Shape{9, 3}, "its tables are frozen"},
		{"TimestepEmbedding", func(b *Builder, _, _, _, w Value) Value { return b.Op(TimestepEmbedding{Timesteps: w, Dim: 4}) }, Shape{2}, "its timesteps are given"},
		{"GuidanceCombine/weights", func(b *Builder, x, _, _, w Value) Value { return b.Op(GuidanceCombine{X: x, Weights: w}) }, Shape{2}, "its weights are given"},
		{"MergeTokens", func(b *Builder, _, _, _, w Value) Value {
			return b.Op(MergeTokens{X: w, Height: 2, Width: 2, Merged: 1})
		}, Shape{1, 4, 2}, "which tokens are merged is a choice"},
		{"LinearCombination/coefficients", func(b *Builder, x, _, _, w Value) Value {
			return b.Op(LinearCombination{Terms: []Value{x}, Coefficients: w})
		}, Shape{1, 1}, "its coefficients are given"},
		{"Scale/factors", func(b *Builder, x, _, _, w Value) Value { return b.Op(Scale{X: x, Factors: w}) }, Shape{2, 1}, "its factors are given"},
		{"Multiply/factors", func(b *Builder, x, _, _, w Value) Value { return b.Op(Multiply{X: x, Factors: w}) }, Shape{2, 8}, "its factors are given"},
		{"Loss/weights", func(b *Builder, x, _, _, w Value) Value { return b.Op(Loss{Prediction: x, Target: x, Weights: w}) }, Shape{2}, "its weights, mask and constant are given"},
		{"ActivateGradient", func(b *Builder, x, _, _, w Value) Value { return b.Op(ActivateGradient{X: x, DY: w, Activation: SiLU}) }, Shape{2, 4, 8}, secondDerivative},
		{"GEGLUGradient", func(b *Builder, x, _, _, w Value) Value { return b.Op(GEGLUGradient{X: x, DY: w}) }, Shape{2, 4, 4}, secondDerivative},
		{"SumPositions", func(b *Builder, _, _, _, w Value) Value { return b.Op(SumPositions{X: w}) }, Shape{2, 4, 8}, secondDerivative},
		{"LossGradient", func(b *Builder, x, _, _, w Value) Value {
			return b.Op(LossGradient{Prediction: x, Target: x, DY: w})
		}, Shape{1}, secondDerivative},
		{"LinearInputGradient", func(b *Builder, _, _, _, w Value) Value {
			return b.Op(LinearInputGradient{DY: w, Weight: b.Param("w", 8, 3), Channels: 3})
		}, Shape{2, 8}, secondDerivative},
		{"Conv2DInputGradient", func(b *Builder, _, _, _, w Value) Value {
			return b.Op(Conv2DInputGradient{DY: w, Weight: b.Param("w", 8, 3, 1, 1), Height: 2, Width: 2, Channels: 3, Stride: 1})
		}, Shape{1, 2, 2, 8}, secondDerivative},
		{"Conv2DWeightGradient", func(b *Builder, _, image, _, w Value) Value {
			return b.Op(Conv2DWeightGradient{X: image, DY: w, Kernel: [2]int{3, 3}, Stride: 1, Pad: SamePadding(1)})
		}, Shape{2, 3, 3, 5}, secondDerivative},
		{"GroupNormGradient", func(b *Builder, x, _, _, w Value) Value {
			return b.Op(GroupNormGradient{X: x, DY: w, Weight: b.Param("w", 8), Bias: b.Param("b", 8), Groups: 2, Eps: 1e-5})
		}, Shape{2, 4, 8}, secondDerivative},
		{"LayerNormGradient", func(b *Builder, x, _, _, w Value) Value {
			return b.Op(LayerNormGradient{X: x, DY: w, Weight: b.Param("w", 8), Eps: 1e-5})
		}, Shape{2, 4, 8}, secondDerivative},
		{"ClipNorm", func(b *Builder, x, _, _, w Value) Value {
			return b.Op(ClipNorm{Gradients: []Value{x, w}, Limits: b.Input("limits", F32, 1, 2)})
		}, Shape{3}, optimizerStep},
		{"AdamW", func(b *Builder, x, _, _, w Value) Value {
			return b.Op(AdamW{Parameter: w, Gradient: x, M: x, V: x, Hyper: b.Input("hyper", F32, 1, 7)})
		}, Shape{2, 4, 8}, optimizerStep},
		{"AttentionGradient", func(b *Builder, x, _, _, w Value) Value {
			return b.Results(AttentionGradient{Q: x, K: x, V: x, DY: w, Heads: 2})[2]
		}, Shape{2, 4, 8}, secondDerivative},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Builder
			x, image, ids := b.Input("x", F32, 2, 4, 8), b.Input("image", F32, 2, 3, 3, 8), b.Input("ids", I32, 2, 4)
			wrt := b.Input("wrt", F32, c.shape...)
			end := b.Scope("block")
			y := c.record(&b, x, image, ids, wrt)
			end()
			loss := norm2(&b, y)
			if err := b.Err(); err != nil {
				t.Fatal(err)
			}
			Gradient(&b, loss, []Value{wrt})
			shape, ok := errors.AsType[*ShapeError](b.Err())
			if !ok {
				t.Fatalf("the error is %v, want a ShapeError", b.Err())
			}
			op, _, _ := strings.Cut(c.name, "/")
			if shape.Path != "block" || shape.Op != op || !strings.Contains(shape.Detail, "is not differentiable here: ") || !strings.Contains(shape.Detail, c.say) {
				t.Errorf("the error is %q, want %q of %s in block", b.Err(), c.say, op)
			}
		})
	}
}

// TestSegment looks at what is computed again, of what the adjoint needs: a norm in any case, and with checkpoints what
// only its own segment reads.
func TestSegment(t *testing.T) {
	adjoint := func(derive func(b *Builder, loss Value, wrt []Value) []Value) []string {
		t.Helper()
		var b Builder
		x := b.Input("x", F32, 2, 4)
		y := segment(&b, "0", x)
		z := segment(&b, "1", y)
		loss := norm2(&b, b.Op(Add{A: y, B: z}))
		nodes := len(b.program.Nodes)
		derive(&b, loss, []Value{x})
		if err := b.Err(); err != nil {
			t.Fatal(err)
		}
		return opsAfter(&b, nodes)
	}
	head := []string{"Fill", "LossGradient", "Reshape"}
	want := append(slices.Clone(head),
		"LinearInputGradient", "LayerNorm", "ActivateGradient", "LayerNormGradient", "LinearInputGradient",
		"LinearInputGradient", "LayerNorm", "ActivateGradient", "LayerNormGradient", "LinearInputGradient")
	if got := adjoint(Gradient); !slices.Equal(got, want) {
		t.Errorf("the plain adjoint is\n%v, want\n%v", got, want)
	}
	want = append(slices.Clone(head), // y and z are kept; what the norm and the activation read is computed again, the activation for nobody
		"LinearInputGradient", "Linear", "LayerNorm", "ActivateGradient", "LayerNormGradient", "LinearInputGradient",
		"LinearInputGradient", "Linear", "LayerNorm", "ActivateGradient", "LayerNormGradient", "LinearInputGradient")
	if got := adjoint(CheckpointedGradient); !slices.Equal(got, want) {
		t.Errorf("the checkpointed adjoint is\n%v, want\n%v", got, want)
	}
}

// segment records a layer that is a segment.
func segment(b *Builder, name string, x Value) Value {
	defer b.Segment()()
	defer b.Segment()() // within the first
	h := b.Op(Linear{X: x, Weight: b.Param(name+".first.weight", 4, 4)})
	h = b.Op(LayerNorm{X: h, Weight: b.Param(name+".norm.weight", 4), Bias: b.Param(name+".norm.bias", 4), Eps: 1e-5})
	h = b.Op(Activate{X: h, Activation: GELU})
	return b.Op(Linear{X: h, Weight: b.Param(name+".weight", 4, 4)})
}

// TestSubstitute replaces operands wherever an op may hold them, and leaves the op itself alone.
func TestSubstitute(t *testing.T) {
	next := func(v Value) Value {
		if v.Valid() {
			v.id++
		}
		return v
	}
	conv := Conv2D{X: Value{1}, Weight: Value{2}, Stride: 2, Pad: Padding{Top: 1}, Epilogue: Epilogue{PerChannel: Value{3}, Activation: SiLU}}
	want := Conv2D{X: Value{2}, Weight: Value{3}, Stride: 2, Pad: Padding{Top: 1}, Epilogue: Epilogue{PerChannel: Value{4}, Activation: SiLU}}
	if got := substitute(conv, next); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	concat := Concat{Parts: []Value{{1}, {2}}, Axis: 1}
	got := substitute(concat, next).(Concat)
	if !slices.Equal(got.Parts, []Value{{2}, {3}}) || got.Axis != 1 {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(concat.Parts, []Value{{1}, {2}}) {
		t.Error("the op itself was changed")
	}
}
