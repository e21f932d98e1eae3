package compute

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestBuilderKeepsFirstError(t *testing.T) {
	var b Builder
	x := b.Input("x", F32, 2, 4)
	end := b.Scope("down_blocks.1")
	inner := b.Scope("to_q")
	y := b.Op(Linear{X: x, Weight: b.Param("to_q.weight", 8, 5)})
	inner()
	end()
	if y.Valid() {
		t.Error("a rejected op gave a value")
	}
	nodes := len(b.program.Nodes)
	for range 3 { // model code goes on as if nothing had happened
		y = b.Op(Add{A: y, B: x})
		y = b.Reshape(y, 7)
		b.Param("to_k.weight", b.Dims(y, 3)...)
		b.Input("z", F32, -1)
		b.Output(y)
	}
	if len(b.program.Nodes) != nodes || len(b.program.Inputs) != 1 {
		t.Error("something was recorded after the first error")
	}
	p, err := b.Build()
	shape, ok := errors.AsType[*ShapeError](err)
	if p != nil || !ok {
		t.Fatalf("Build gave program %v, error %v; want a ShapeError", p, err)
	}
	if shape.Path != "down_blocks.1.to_q" || shape.Op != "Linear" {
		t.Errorf("the error is of %s in %s, want Linear in down_blocks.1.to_q", shape.Op, shape.Path)
	}
	if want := "compute: down_blocks.1.to_q: Linear: weight is [8 5], want [Cout 4]"; err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}
	if b.Err() != err {
		t.Errorf("Err is %v, Build returned %v", b.Err(), err)
	}
}

func TestBuilderFail(t *testing.T) {
	var b Builder
	first := errors.New("first")
	b.Fail(first)
	b.Fail(errors.New("second"))
	if _, err := b.Build(); err != first {
		t.Errorf("error is %v, want the first", err)
	}
}

func TestBuilderRejects(t *testing.T) {
	for _, c := range []struct {
		name   string
		record func(b *Builder)
		want   string // part of the error
	}{
		{"no output", func(b *Builder) { b.Op(Activate{X: b.Input("x", F32, 1)}) }, "no output"},
		{"output of an input", func(b *Builder) { b.Output(b.Input("x", F32, 1)) }, "result of an op"},
		{"output of nothing", func(b *Builder) { b.Output(Value{}) }, "result of an op"},
		{"input without extent", func(b *Builder) { b.Input("x", F32, 3, 0) }, `"x"`},
		{"input without type", func(b *Builder) { b.Input("x", InvalidDType, 3) }, `"x"`},
		{"input too large", func(b *Builder) { b.Input("x", F32, math.MaxInt/2) }, `"x"`},
		{"parameter of two shapes", func(b *Builder) { b.Param("w", 2, 3); b.Param("w", 3, 2) }, `"w" is used as [2 3] and as [3 2]`},
		{"dims of another rank", func(b *Builder) { b.Dims(b.Input("x", F32, 2, 3), 4) }, "rank 4"},
		{"dims of nothing", func(b *Builder) { b.Dims(Value{}, 2) }, "missing"},
		{"dims of another program's value", func(b *Builder) { b.Dims(Value{99}, 2) }, "another program"},
		{"output of another program", func(b *Builder) { b.Output(Value{99}) }, "result of an op"},
		{"value of another program", func(b *Builder) { b.Op(Activate{X: Value{99}}) }, "another program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Builder
			c.record(&b)
			if _, err := b.Build(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestParamTwiceIsOneValue(t *testing.T) {
	var b Builder
	if first, again := b.Param("w", 2, 3), b.Param("w", 2, 3); first != again {
		t.Error("the same parameter gave two values")
	}
	if n := len(b.program.Params); n != 1 {
		t.Errorf("the program has %d parameters, want 1", n)
	}
}

// operands are values of many types for the shape rules.
type operands struct {
	*Builder
	image, tokens, row, ids, half, flat Value // [2 4 6 8], [2 5 8], [2 8], I32[2 5], F16[2 5 8], [8]
}

func newOperands() operands {
	b := new(Builder)
	return operands{
		b, b.Input("image", F32, 2, 4, 6, 8), b.Input("tokens", F32, 2, 5, 8), b.Input("row", F32, 2, 8),
		b.Input("ids", I32, 2, 5), b.Input("half", F16, 2, 5, 8), b.Input("flat", F32, 8),
	}
}

// w is a parameter of the given shape.
func (o operands) w(shape ...int) Value { return o.Param(Shape(shape).String(), shape...) }

func TestShapeRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		record func(o operands) Op
		want   Type // no element type: the rule must reject
	}{
		{"Linear", func(o operands) Op { return Linear{X: o.tokens, Weight: o.w(3, 8), Bias: o.w(3)} }, Type{F32, Shape{2, 5, 3}}},
		{"Linear/1×1", func(o operands) Op { return Linear{X: o.image, Weight: o.w(3, 8, 1, 1)} }, Type{F32, Shape{2, 4, 6, 3}}},
		{"Linear/two inputs", func(o operands) Op { return Linear{X: o.tokens, X2: o.tokens, Weight: o.w(3, 16)} }, Type{F32, Shape{2, 5, 3}}},
		{"Linear/half", func(o operands) Op { return Linear{X: o.half, Weight: o.w(3, 8)} }, Type{F16, Shape{2, 5, 3}}},
		{"Linear/depth", func(o operands) Op { return Linear{X: o.tokens, Weight: o.w(8, 3)} }, Type{}},
		{"Linear/no weight", func(o operands) Op { return Linear{X: o.tokens} }, Type{}},
		{"Linear/no input", func(o operands) Op { return Linear{Weight: o.w(3, 8)} }, Type{}},
		{"Linear/ids", func(o operands) Op { return Linear{X: o.ids, Weight: o.w(3, 5)} }, Type{}},
		{"Linear/rank 1", func(o operands) Op { return Linear{X: o.flat, Weight: o.w(3, 8)} }, Type{}},
		{"Linear/3×3 weight", func(o operands) Op { return Linear{X: o.image, Weight: o.w(3, 8, 3, 3)} }, Type{}},
		{"Linear/bias", func(o operands) Op { return Linear{X: o.tokens, Weight: o.w(3, 8), Bias: o.w(8)} }, Type{}},
		{"Linear/second input", func(o operands) Op { return Linear{X: o.tokens, X2: o.row, Weight: o.w(3, 16)} }, Type{}},
		{"Linear/mixed inputs", func(o operands) Op { return Linear{X: o.tokens, X2: o.half, Weight: o.w(3, 16)} }, Type{}},
		{"Linear/parameter as input", func(o operands) Op { return Linear{X: o.w(2, 8), Weight: o.w(3, 8)} }, Type{}},
		{"Linear/residual", func(o operands) Op {
			return Linear{X: o.tokens, Weight: o.w(3, 8), Epilogue: Epilogue{Residual: o.tokens}}
		}, Type{}},
		{"Linear/half residual", func(o operands) Op {
			return Linear{X: o.tokens, Weight: o.w(8, 8), Epilogue: Epilogue{Residual: o.half}}
		}, Type{}},
		{"Linear/good epilogue", func(o operands) Op {
			return Linear{X: o.tokens, Weight: o.w(8, 8), Epilogue: Epilogue{PerChannel: o.row, Activation: GELU, Residual: o.tokens}}
		}, Type{F32, Shape{2, 5, 8}}},
		{"Linear/per channel", func(o operands) Op {
			return Linear{X: o.tokens, Weight: o.w(3, 8), Epilogue: Epilogue{PerChannel: o.row}}
		}, Type{}},
		{"Linear/activation", func(o operands) Op {
			return Linear{X: o.tokens, Weight: o.w(3, 8), Epilogue: Epilogue{Activation: LeakyReLU + 1}}
		}, Type{}},

		{"Conv2D", func(o operands) Op {
			return Conv2D{X: o.image, Weight: o.w(3, 8, 3, 3), Stride: 1, Pad: SamePadding(1)}
		}, Type{F32, Shape{2, 4, 6, 3}}},
		{"Conv2D/stride", func(o operands) Op {
			return Conv2D{X: o.image, Weight: o.w(3, 8, 3, 3), Stride: 2, Pad: Padding{Bottom: 1, Right: 1}}
		}, Type{F32, Shape{2, 2, 3, 3}}},
		{"Conv2D/resize", func(o operands) Op {
			return Conv2D{X: o.image, Weight: o.w(3, 8, 3, 3), Stride: 1, Pad: SamePadding(1), Resize: [2]int{7, 11}}
		}, Type{F32, Shape{2, 7, 11, 3}}},
		{"Conv2D/tokens", func(o operands) Op { return Conv2D{X: o.tokens, Weight: o.w(3, 8, 1, 1), Stride: 1} }, Type{}},
		{"Conv2D/weight of rank 2", func(o operands) Op { return Conv2D{X: o.image, Weight: o.w(3, 8), Stride: 1} }, Type{}},
		{"Conv2D/channels", func(o operands) Op { return Conv2D{X: o.image, Weight: o.w(3, 4, 3, 3), Stride: 1} }, Type{}},
		{"Conv2D/no stride", func(o operands) Op { return Conv2D{X: o.image, Weight: o.w(3, 8, 3, 3)} }, Type{}},
		{"Conv2D/negative padding", func(o operands) Op {
			return Conv2D{X: o.image, Weight: o.w(3, 8, 1, 1), Stride: 1, Pad: Padding{Left: -1}}
		}, Type{}},
		{"Conv2D/kernel too large", func(o operands) Op { return Conv2D{X: o.image, Weight: o.w(3, 8, 5, 5), Stride: 1} }, Type{}},
		{"Conv2D/no kernel", func(o operands) Op { return Conv2D{X: o.image, Weight: o.w(3, 8, 0, 1), Stride: 1} }, Type{}},
		{"Conv2D/resize to nothing", func(o operands) Op {
			return Conv2D{X: o.image, Weight: o.w(3, 8, 1, 1), Stride: 1, Pad: SamePadding(1), Resize: [2]int{0, 5}}
		}, Type{}},
		{"Conv2D/negative resize", func(o operands) Op {
			return Conv2D{X: o.image, Weight: o.w(3, 8, 1, 1), Stride: 1, Pad: SamePadding(2), Resize: [2]int{-1, 5}}
		}, Type{}},
		{"Conv2D/bias", func(o operands) Op { return Conv2D{X: o.image, Weight: o.w(3, 8, 1, 1), Bias: o.w(4), Stride: 1} }, Type{}},

		{"GroupNorm", func(o operands) Op {
			return GroupNorm{X: o.image, Weight: o.w(8), Bias: o.w(8), Groups: 4, Eps: 1e-5}
		}, Type{F32, Shape{2, 4, 6, 8}}},
		{"GroupNorm/two inputs", func(o operands) Op {
			return GroupNorm{X: o.image, X2: o.image, Weight: o.w(16), Bias: o.w(16), Groups: 4, Eps: 1e-5}
		}, Type{F32, Shape{2, 4, 6, 16}}},
		{"GroupNorm/groups", func(o operands) Op { return GroupNorm{X: o.image, Weight: o.w(8), Bias: o.w(8), Groups: 3, Eps: 1e-5} }, Type{}},
		{"GroupNorm/no groups", func(o operands) Op { return GroupNorm{X: o.image, Weight: o.w(8), Bias: o.w(8), Eps: 1e-5} }, Type{}},
		{"GroupNorm/epsilon", func(o operands) Op { return GroupNorm{X: o.image, Weight: o.w(8), Bias: o.w(8), Groups: 2} }, Type{}},
		{"GroupNorm/NaN epsilon", func(o operands) Op {
			return GroupNorm{X: o.image, Weight: o.w(8), Bias: o.w(8), Groups: 2, Eps: math.NaN()}
		}, Type{}},
		{"GroupNorm/no bias", func(o operands) Op { return GroupNorm{X: o.image, Weight: o.w(8), Groups: 2, Eps: 1e-5} }, Type{}},
		{"GroupNorm/weight", func(o operands) Op { return GroupNorm{X: o.image, Weight: o.w(4), Bias: o.w(8), Groups: 2, Eps: 1e-5} }, Type{}},
		{"GroupNorm/activation", func(o operands) Op {
			return GroupNorm{X: o.image, Weight: o.w(8), Bias: o.w(8), Groups: 2, Eps: 1e-5, Activation: LeakyReLU + 1}
		}, Type{}},
		{"LayerNorm", func(o operands) Op { return LayerNorm{X: o.tokens, Weight: o.w(8), Bias: o.w(8), Eps: 1e-5} }, Type{F32, Shape{2, 5, 8}}},
		{"LayerNorm/weight", func(o operands) Op { return LayerNorm{X: o.tokens, Weight: o.w(5), Bias: o.w(8), Eps: 1e-5} }, Type{}},
		{"LayerNorm/no bias", func(o operands) Op { return LayerNorm{X: o.tokens, Weight: o.w(8), Eps: 1e-5} }, Type{}},
		{"LayerNorm/epsilon", func(o operands) Op { return LayerNorm{X: o.tokens, Weight: o.w(8), Bias: o.w(8), Eps: -1} }, Type{}},

		{"Attention", func(o operands) Op { return Attention{Q: o.tokens, K: o.tokens, V: o.tokens, Heads: 4, Causal: true} }, Type{F32, Shape{2, 5, 8}}},
		{"Attention/cross", func(o operands) Op {
			k := o.Input("k", F32, 2, 3, 8)
			return Attention{Q: o.tokens, K: k, V: k, Heads: 2}
		}, Type{F32, Shape{2, 5, 8}}},
		{"Attention/causal cross", func(o operands) Op {
			k := o.Input("k", F32, 2, 3, 8)
			return Attention{Q: o.tokens, K: k, V: k, Heads: 2, Causal: true}
		}, Type{}},
		{"Attention/heads", func(o operands) Op { return Attention{Q: o.tokens, K: o.tokens, V: o.tokens, Heads: 3} }, Type{}},
		{"Attention/no heads", func(o operands) Op { return Attention{Q: o.tokens, K: o.tokens, V: o.tokens} }, Type{}},
		{"Attention/image", func(o operands) Op { return Attention{Q: o.image, K: o.image, V: o.image, Heads: 2} }, Type{}},
		{"Attention/batch", func(o operands) Op {
			k := o.Input("k", F32, 1, 5, 8)
			return Attention{Q: o.tokens, K: k, V: k, Heads: 2}
		}, Type{}},
		{"Attention/values", func(o operands) Op {
			return Attention{Q: o.tokens, K: o.tokens, V: o.Input("v", F32, 2, 4, 8), Heads: 2}
		}, Type{}},
		{"Attention/half keys", func(o operands) Op { return Attention{Q: o.tokens, K: o.half, V: o.half, Heads: 2} }, Type{}},

		{"Embed", func(o operands) Op { return Embed{IDs: o.ids, Table: o.w(100, 7), Position: o.w(6, 7)} }, Type{F32, Shape{2, 5, 7}}},
		{"Embed/float ids", func(o operands) Op { return Embed{IDs: o.row, Table: o.w(100, 7)} }, Type{}},
		{"Embed/table", func(o operands) Op { return Embed{IDs: o.ids, Table: o.w(100)} }, Type{}},
		{"Embed/too few positions", func(o operands) Op { return Embed{IDs: o.ids, Table: o.w(100, 7), Position: o.w(4, 7)} }, Type{}},
		{"Embed/width of positions", func(o operands) Op { return Embed{IDs: o.ids, Table: o.w(100, 7), Position: o.w(5, 8)} }, Type{}},
		{"TimestepEmbedding", func(o operands) Op { return TimestepEmbedding{Timesteps: o.flat, Dim: 6} }, Type{F32, Shape{8, 6}}},
		{"TimestepEmbedding/odd", func(o operands) Op { return TimestepEmbedding{Timesteps: o.flat, Dim: 5} }, Type{}},
		{"TimestepEmbedding/shift", func(o operands) Op { return TimestepEmbedding{Timesteps: o.flat, Dim: 2, FreqShift: 1} }, Type{}},
		{"TimestepEmbedding/rank", func(o operands) Op { return TimestepEmbedding{Timesteps: o.row, Dim: 6} }, Type{}},
		{"TimestepEmbedding/ids", func(o operands) Op { return TimestepEmbedding{Timesteps: o.Input("t", I32, 2), Dim: 6} }, Type{}},

		{"Activate", func(o operands) Op { return Activate{X: o.half, Activation: SiLU} }, Type{F16, Shape{2, 5, 8}}},
		{"Activate/ids", func(o operands) Op { return Activate{X: o.ids} }, Type{}},
		{"Activate/unknown", func(o operands) Op { return Activate{X: o.row, Activation: LeakyReLU + 1} }, Type{}},
		{"GEGLU", func(o operands) Op { return GEGLU{X: o.tokens} }, Type{F32, Shape{2, 5, 4}}},
		{"GEGLU/odd", func(o operands) Op { return GEGLU{X: o.Input("x", F32, 2, 3)} }, Type{}},
		{"GEGLU/ids", func(o operands) Op { return GEGLU{X: o.Input("x", I32, 2, 4)} }, Type{}},
		{"Add", func(o operands) Op { return Add{A: o.row, B: o.row} }, Type{F32, Shape{2, 8}}},
		{"Add/shapes", func(o operands) Op { return Add{A: o.row, B: o.flat} }, Type{}},
		{"Add/types", func(o operands) Op { return Add{A: o.tokens, B: o.half} }, Type{}},
		{"Add/ids", func(o operands) Op { return Add{A: o.ids, B: o.ids} }, Type{}},
		{"Add/nothing", func(o operands) Op { return Add{} }, Type{}},
		{"Add/parameters", func(o operands) Op { return Add{A: o.w(8), B: o.w(8)} }, Type{}},

		{"GuidanceCombine", func(o operands) Op { return GuidanceCombine{X: o.image, Weights: o.Input("w", F32, 2)} }, Type{F32, Shape{1, 4, 6, 8}}},
		{"GuidanceCombine/batch", func(o operands) Op { return GuidanceCombine{X: o.image, Weights: o.Input("w", F32, 3)} }, Type{}},
		{"GuidanceCombine/weights", func(o operands) Op { return GuidanceCombine{X: o.image, Weights: o.row} }, Type{}},
		{"GuidanceCombine/rescaled", func(o operands) Op {
			return GuidanceCombine{X: o.image, Weights: o.Input("w", F32, 1), Like: o.image, Rescale: 1}
		}, Type{F32, Shape{2, 4, 6, 8}}},
		{"GuidanceCombine/rescaled like nothing", func(o operands) Op {
			return GuidanceCombine{X: o.image, Weights: o.Input("w", F32, 2), Rescale: 0.5}
		}, Type{}},
		{"GuidanceCombine/rescaled like another", func(o operands) Op {
			return GuidanceCombine{X: o.image, Weights: o.Input("w", F32, 2), Like: o.image, Rescale: 0.5}
		}, Type{}},
		{"GuidanceCombine/rescaled too far", func(o operands) Op {
			return GuidanceCombine{X: o.image, Weights: o.Input("w", F32, 1), Like: o.image, Rescale: 1.5}
		}, Type{}},
		{"MergeTokens", func(o operands) Op {
			return MergeTokens{X: o.Input("x", F32, 2, 12, 5), Height: 4, Width: 3, Merged: 10}
		}, Type{F32, Shape{2, 2, 5}}},
		{"MergeTokens/too many", func(o operands) Op {
			return MergeTokens{X: o.Input("x", F32, 2, 12, 5), Height: 4, Width: 3, Merged: 11}
		}, Type{}},
		{"MergeTokens/map", func(o operands) Op { return MergeTokens{X: o.tokens, Height: 2, Width: 2} }, Type{}},
		{"MergeTokens/ids", func(o operands) Op { return MergeTokens{X: o.Input("x", I32, 2, 4, 5), Height: 2, Width: 2} }, Type{}},
		{"GuidanceCombine/ids", func(o operands) Op { return GuidanceCombine{X: o.ids, Weights: o.Input("w", F32, 2)} }, Type{}},
		{"LinearCombination", func(o operands) Op {
			return LinearCombination{Terms: []Value{o.row, o.row}, Coefficients: o.Input("c", F32, 3, 2), Row: 2}
		}, Type{F32, Shape{2, 8}}},
		{"LinearCombination/row", func(o operands) Op {
			return LinearCombination{Terms: []Value{o.row, o.row}, Coefficients: o.Input("c", F32, 3, 2), Row: 3}
		}, Type{}},
		{"LinearCombination/coefficients", func(o operands) Op {
			return LinearCombination{Terms: []Value{o.row}, Coefficients: o.Input("c", F32, 3, 2)}
		}, Type{}},
		{"LinearCombination/terms", func(o operands) Op {
			return LinearCombination{Terms: []Value{o.row, o.flat}, Coefficients: o.Input("c", F32, 3, 2)}
		}, Type{}},
		{"LinearCombination/missing term", func(o operands) Op {
			return LinearCombination{Terms: []Value{o.row, {}}, Coefficients: o.Input("c", F32, 3, 2)}
		}, Type{}},
		{"LinearCombination/no terms", func(o operands) Op { return LinearCombination{Coefficients: o.row} }, Type{}},
		{"LinearCombination/ids", func(o operands) Op {
			return LinearCombination{Terms: []Value{o.ids}, Coefficients: o.Input("c", F32, 1, 1)}
		}, Type{}},

		{"Reshape", func(o operands) Op { return Reshape{X: o.image, Shape: Shape{2, 24, 8}} }, Type{F32, Shape{2, 24, 8}}},
		{"Reshape/ids", func(o operands) Op { return Reshape{X: o.ids, Shape: Shape{10}} }, Type{I32, Shape{10}}},
		{"Reshape/elements", func(o operands) Op { return Reshape{X: o.image, Shape: Shape{2, 24, 9}} }, Type{}},
		{"Reshape/negative", func(o operands) Op { return Reshape{X: o.row, Shape: Shape{-2, -8}} }, Type{}},
		{"Reshape/parameter", func(o operands) Op { return Reshape{X: o.w(2, 3), Shape: Shape{6}} }, Type{}},
		{"Repeat", func(o operands) Op { return Repeat{X: o.ids, Times: 3} }, Type{I32, Shape{6, 5}}},
		{"Repeat/zero times", func(o operands) Op { return Repeat{X: o.ids} }, Type{}},
		{"Repeat/too often", func(o operands) Op { return Repeat{X: o.row, Times: math.MaxInt / 4} }, Type{}},
		{"Repeat/parameter", func(o operands) Op { return Repeat{X: o.w(2, 3), Times: 2} }, Type{}},
		{"Concat", func(o operands) Op { return Concat{Parts: []Value{o.tokens, o.tokens}, Axis: 1} }, Type{F32, Shape{2, 10, 8}}},
		{"Concat/no parts", func(o operands) Op { return Concat{} }, Type{}},
		{"Concat/missing part", func(o operands) Op { return Concat{Parts: []Value{o.row, {}}} }, Type{}},
		{"Concat/axis", func(o operands) Op { return Concat{Parts: []Value{o.row}, Axis: 2} }, Type{}},
		{"Concat/negative axis", func(o operands) Op { return Concat{Parts: []Value{o.row}, Axis: -1} }, Type{}},
		{"Concat/types", func(o operands) Op { return Concat{Parts: []Value{o.tokens, o.half}} }, Type{}},
		{"Concat/rank", func(o operands) Op { return Concat{Parts: []Value{o.row, o.tokens}} }, Type{}},
		{"Concat/other axes", func(o operands) Op { return Concat{Parts: []Value{o.tokens, o.Input("x", F32, 2, 5, 7)}} }, Type{}},
		{"Concat/parameters", func(o operands) Op { return Concat{Parts: []Value{o.w(2, 3)}} }, Type{}},
		{"Slice", func(o operands) Op { return Slice{X: o.ids, Axis: 1, Start: 2, Length: 3} }, Type{I32, Shape{2, 3}}},
		{"Slice/axis", func(o operands) Op { return Slice{X: o.row, Axis: 2, Length: 1} }, Type{}},
		{"Slice/negative axis", func(o operands) Op { return Slice{X: o.row, Axis: -1, Length: 1} }, Type{}},
		{"Slice/start", func(o operands) Op { return Slice{X: o.row, Axis: 1, Start: -1, Length: 1} }, Type{}},
		{"Slice/end", func(o operands) Op { return Slice{X: o.row, Axis: 1, Start: 6, Length: 3} }, Type{}},
		{"Slice/overflow", func(o operands) Op { return Slice{X: o.row, Axis: 1, Start: math.MaxInt, Length: math.MaxInt} }, Type{}},
		{"Slice/nothing", func(o operands) Op { return Slice{X: o.row, Axis: 1} }, Type{}},
		{"Slice/parameter", func(o operands) Op { return Slice{X: o.w(2, 3), Length: 1} }, Type{}},

		{"MatMul", func(o operands) Op { return MatMul{A: o.tokens, B: o.Input("b", F32, 8, 3)} }, Type{F32, Shape{2, 5, 3}}},
		{"MatMul/A transposed", func(o operands) Op { return MatMul{A: o.tokens, B: o.tokens, TransposeA: true} }, Type{F32, Shape{8, 8}}},
		{"MatMul/B transposed", func(o operands) Op { return MatMul{A: o.tokens, B: o.row, TransposeB: true, Scale: 2} }, Type{F32, Shape{2, 5, 2}}},
		{"MatMul/half", func(o operands) Op { return MatMul{A: o.half, B: o.half, TransposeB: true} }, Type{F16, Shape{2, 5, 10}}},
		{"MatMul/depth", func(o operands) Op { return MatMul{A: o.tokens, B: o.tokens} }, Type{}},
		{"MatMul/mixed", func(o operands) Op { return MatMul{A: o.tokens, B: o.half, TransposeB: true} }, Type{}},
		{"MatMul/vector", func(o operands) Op { return MatMul{A: o.row, B: o.flat} }, Type{}},
		{"MatMul/parameter", func(o operands) Op { return MatMul{A: o.tokens, B: o.w(8, 3)} }, Type{}},
		{"MatMul/add", func(o operands) Op { return MatMul{A: o.tokens, B: o.row, TransposeB: true, Add: o.row} }, Type{}},
		{"MatMul/infinite scale", func(o operands) Op { return MatMul{A: o.row, B: o.row, TransposeB: true, Scale: math.Inf(1)} }, Type{}},
		{"MatMul/no factor", func(o operands) Op { return MatMul{A: o.tokens} }, Type{}},

		{"LinearInputGradient", func(o operands) Op {
			return LinearInputGradient{DY: o.tokens, Weight: o.w(8, 12), First: 4, Channels: 6}
		}, Type{F32, Shape{2, 5, 6}}},
		{"LinearInputGradient/1×1", func(o operands) Op {
			return LinearInputGradient{DY: o.image, Weight: o.w(8, 3, 1, 1), Channels: 3}
		}, Type{F32, Shape{2, 4, 6, 3}}},
		{"LinearInputGradient/depth", func(o operands) Op { return LinearInputGradient{DY: o.tokens, Weight: o.w(3, 8), Channels: 8} }, Type{}},
		{"LinearInputGradient/channels", func(o operands) Op { return LinearInputGradient{DY: o.tokens, Weight: o.w(8, 3), Channels: 4} }, Type{}},
		{"LinearInputGradient/no channels", func(o operands) Op { return LinearInputGradient{DY: o.tokens, Weight: o.w(8, 3)} }, Type{}},
		{"LinearInputGradient/first", func(o operands) Op {
			return LinearInputGradient{DY: o.tokens, Weight: o.w(8, 3), First: -1, Channels: 3}
		}, Type{}},
		{"LinearInputGradient/add", func(o operands) Op {
			return LinearInputGradient{DY: o.tokens, Weight: o.w(8, 3), Channels: 3, Add: o.tokens}
		}, Type{}},

		{"Conv2DInputGradient", func(o operands) Op {
			return Conv2DInputGradient{DY: o.image, Weight: o.w(8, 5, 3, 3), Height: 8, Width: 11, First: 1, Channels: 4, Stride: 2, Pad: SamePadding(1)}
		}, Type{F32, Shape{2, 8, 11, 4}}},
		{"Conv2DInputGradient/resize", func(o operands) Op {
			return Conv2DInputGradient{DY: o.image, Weight: o.w(8, 5, 3, 3), Height: 2, Width: 3, Channels: 5, Stride: 1, Pad: SamePadding(1), Resize: [2]int{4, 6}}
		}, Type{F32, Shape{2, 2, 3, 5}}},
		{"Conv2DInputGradient/extents", func(o operands) Op {
			return Conv2DInputGradient{DY: o.image, Weight: o.w(8, 5, 3, 3), Height: 4, Width: 7, Channels: 5, Stride: 1, Pad: SamePadding(1)}
		}, Type{}},
		{"Conv2DInputGradient/no extents", func(o operands) Op {
			return Conv2DInputGradient{DY: o.image, Weight: o.w(8, 5, 3, 3), Channels: 5, Stride: 1, Pad: SamePadding(1), Resize: [2]int{4, 6}}
		}, Type{}},
		{"Conv2DInputGradient/channels", func(o operands) Op {
			return Conv2DInputGradient{DY: o.image, Weight: o.w(5, 8, 3, 3), Height: 4, Width: 6, Channels: 8, Stride: 1, Pad: SamePadding(1)}
		}, Type{}},

		{"Conv2DWeightGradient/extents", func(o operands) Op {
			return Conv2DWeightGradient{X: o.image, X2: o.image, DY: o.Input("dy", F32, 2, 2, 3, 5), Kernel: [2]int{3, 2}, Stride: 2, Pad: SamePadding(1)}
		}, Type{}},
		{"Conv2DWeightGradient/two inputs", func(o operands) Op {
			return Conv2DWeightGradient{X: o.image, X2: o.image, DY: o.Input("dy", F32, 2, 2, 4, 5), Kernel: [2]int{3, 2}, Stride: 2, Pad: SamePadding(1)}
		}, Type{F32, Shape{5, 16, 3, 2}}},
		{"Conv2DWeightGradient/batch", func(o operands) Op {
			return Conv2DWeightGradient{X: o.image, DY: o.Input("dy", F32, 1, 4, 6, 5), Kernel: [2]int{1, 1}, Stride: 1}
		}, Type{}},
		{"Conv2DWeightGradient/no kernel", func(o operands) Op { return Conv2DWeightGradient{X: o.image, DY: o.image, Stride: 1} }, Type{}},
		{"GroupNormGradient", func(o operands) Op {
			return GroupNormGradient{X: o.image, DY: o.image, Weight: o.w(8), Bias: o.w(8), Groups: 4, Eps: 1e-5, Add: o.image}
		}, Type{F32, Shape{2, 4, 6, 8}}},
		{"GroupNormGradient/two inputs", func(o operands) Op {
			return GroupNormGradient{X: o.tokens, X2: o.Input("x2", F32, 2, 5, 4), DY: o.Input("dy", F32, 2, 5, 12), Weight: o.w(12), Bias: o.w(12), Groups: 4, Eps: 1e-5}
		}, Type{F32, Shape{2, 5, 8}}},
		{"GroupNormGradient/gradient", func(o operands) Op {
			return GroupNormGradient{X: o.image, DY: o.tokens, Weight: o.w(8), Bias: o.w(8), Groups: 4, Eps: 1e-5}
		}, Type{}},
		{"GroupNormGradient/groups", func(o operands) Op {
			return GroupNormGradient{X: o.image, DY: o.image, Weight: o.w(8), Bias: o.w(8), Groups: 3, Eps: 1e-5}
		}, Type{}},
		{"LayerNormGradient", func(o operands) Op { return LayerNormGradient{X: o.tokens, DY: o.tokens, Weight: o.w(8), Eps: 1e-5} }, Type{F32, Shape{2, 5, 8}}},
		{"LayerNormGradient/gradient", func(o operands) Op { return LayerNormGradient{X: o.tokens, DY: o.row, Weight: o.w(8), Eps: 1e-5} }, Type{}},
		{"LayerNormGradient/add", func(o operands) Op {
			return LayerNormGradient{X: o.tokens, DY: o.tokens, Weight: o.w(8), Eps: 1e-5, Add: o.row}
		}, Type{}},
		{"AttentionGradient", func(o operands) Op {
			return AttentionGradient{Q: o.tokens, K: o.tokens, V: o.tokens, DY: o.tokens, Heads: 4}
		}, Type{F32, Shape{2, 5, 8}}},
		{"AttentionGradient/gradient", func(o operands) Op {
			return AttentionGradient{Q: o.tokens, K: o.tokens, V: o.tokens, DY: o.row, Heads: 4}
		}, Type{}},
		{"AttentionGradient/result", func(o operands) Op {
			return AttentionGradient{Q: o.tokens, K: o.tokens, V: o.tokens, DY: o.tokens, Y: o.row, Heads: 4}
		}, Type{}},
		{"AttentionGradient/heads", func(o operands) Op {
			return AttentionGradient{Q: o.tokens, K: o.tokens, V: o.tokens, DY: o.tokens, Heads: 3}
		}, Type{}},
		{"ActivateGradient", func(o operands) Op { return ActivateGradient{X: o.half, DY: o.half, Activation: SiLU} }, Type{F16, Shape{2, 5, 8}}},
		{"ActivateGradient/gradient", func(o operands) Op { return ActivateGradient{X: o.half, DY: o.tokens, Activation: SiLU} }, Type{}},
		{"GEGLUGradient", func(o operands) Op { return GEGLUGradient{X: o.Input("x", F32, 2, 16), DY: o.row} }, Type{F32, Shape{2, 16}}},
		{"GEGLUGradient/gradient", func(o operands) Op { return GEGLUGradient{X: o.row, DY: o.row} }, Type{}},
		{"SumPositions", func(o operands) Op { return SumPositions{X: o.image} }, Type{F32, Shape{2, 8}}},
		{"SumPositions/all samples", func(o operands) Op { return SumPositions{X: o.image, AllSamples: true} }, Type{F32, Shape{1, 8}}},
		{"SumPositions/vector", func(o operands) Op { return SumPositions{X: o.flat} }, Type{}},

		{"Fill", func(o operands) Op { return Fill{Shape: Shape{3, 2}, Value: -1} }, Type{F32, Shape{3, 2}}},
		{"Fill/values", func(o operands) Op { return Fill{Shape: Shape{2}, Values: []float32{1, 2}} }, Type{F32, Shape{2}}},
		{"Fill/number of values", func(o operands) Op { return Fill{Shape: Shape{3}, Values: []float32{1, 2}} }, Type{}},
		{"Fill/NaN", func(o operands) Op { return Fill{Shape: Shape{3}, Value: math.NaN()} }, Type{}},
		{"Fill/negative", func(o operands) Op { return Fill{Shape: Shape{-3}} }, Type{}},
		{"Scale", func(o operands) Op { return Scale{X: o.tokens, Factors: o.row, Column: 7} }, Type{F32, Shape{2, 5, 8}}},
		{"Scale/one for all", func(o operands) Op { return Scale{X: o.half, Factors: o.Input("f", F32, 1, 1)} }, Type{F16, Shape{2, 5, 8}}},
		{"Scale/column", func(o operands) Op { return Scale{X: o.tokens, Factors: o.row, Column: 8} }, Type{}},
		{"Scale/negative column", func(o operands) Op { return Scale{X: o.tokens, Factors: o.row, Column: -1} }, Type{}},
		{"Scale/samples", func(o operands) Op { return Scale{X: o.tokens, Factors: o.Input("f", F32, 3, 1)} }, Type{}},
		{"Scale/vector of factors", func(o operands) Op { return Scale{X: o.tokens, Factors: o.flat} }, Type{}},
		{"Scale/ids", func(o operands) Op { return Scale{X: o.ids, Factors: o.row} }, Type{}},

		{"Multiply", func(o operands) Op { return Multiply{X: o.half, Factors: o.tokens} }, Type{F16, Shape{2, 5, 8}}},
		{"Multiply/rows", func(o operands) Op { return Multiply{X: o.image, Factors: o.row} }, Type{F32, Shape{2, 4, 6, 8}}},
		{"Multiply/one row", func(o operands) Op { return Multiply{X: o.image, Factors: o.Input("f", F32, 1, 8)} }, Type{F32, Shape{2, 4, 6, 8}}},
		{"Multiply/samples", func(o operands) Op { return Multiply{X: o.image, Factors: o.Input("f", F32, 3, 8)} }, Type{}},
		{"Multiply/channels", func(o operands) Op { return Multiply{X: o.image, Factors: o.Input("f", F32, 2, 1)} }, Type{}},
		{"Multiply/half factors", func(o operands) Op { return Multiply{X: o.tokens, Factors: o.half} }, Type{}},
		{"Multiply/ids", func(o operands) Op { return Multiply{X: o.ids, Factors: o.tokens} }, Type{}},
		{"Loss", func(o operands) Op {
			return Loss{Prediction: o.image, Target: o.image, Weights: o.Input("w", F32, 2), Mask: o.Input("m", F32, 2, 4, 6, 1)}
		}, Type{F32, Shape{1}}},
		{"Loss/Huber", func(o operands) Op {
			return Loss{Prediction: o.row, Target: o.row, C: o.Input("c", F32, 2), Function: Huber}
		}, Type{F32, Shape{1}}},
		{"Loss/target", func(o operands) Op { return Loss{Prediction: o.image, Target: o.tokens} }, Type{}},
		{"Loss/half", func(o operands) Op { return Loss{Prediction: o.half, Target: o.half} }, Type{}},
		{"Loss/vector", func(o operands) Op { return Loss{Prediction: o.flat, Target: o.flat} }, Type{}},
		{"Loss/weights", func(o operands) Op { return Loss{Prediction: o.image, Target: o.image, Weights: o.row} }, Type{}},
		{"Loss/mask", func(o operands) Op { return Loss{Prediction: o.image, Target: o.image, Mask: o.image} }, Type{}},
		{"Loss/constant of L2", func(o operands) Op { return Loss{Prediction: o.row, Target: o.row, C: o.Input("c", F32, 2)} }, Type{}},
		{"Loss/Huber without constant", func(o operands) Op { return Loss{Prediction: o.row, Target: o.row, Function: Huber} }, Type{}},
		{"Loss/unknown function", func(o operands) Op { return Loss{Prediction: o.row, Target: o.row, Function: 4} }, Type{}},
		{"LossGradient", func(o operands) Op {
			return LossGradient{Prediction: o.row, Target: o.row, DY: o.Input("dy", F32, 1)}
		}, Type{F32, Shape{2, 8}}},
		{"ClipNorm", func(o operands) Op {
			return ClipNorm{Gradients: []Value{o.row, o.flat}, Limits: o.Input("limits", F32, 1, 2)}
		}, Type{F32, Shape{1, 2}}},
		{"ClipNorm/no gradients", func(o operands) Op { return ClipNorm{Limits: o.Input("limits", F32, 1, 2)} }, Type{}},
		{"ClipNorm/missing gradient", func(o operands) Op {
			return ClipNorm{Gradients: []Value{o.row, {}}, Limits: o.Input("limits", F32, 1, 2)}
		}, Type{}},
		{"ClipNorm/limits", func(o operands) Op { return ClipNorm{Gradients: []Value{o.row}, Limits: o.flat} }, Type{}},
		{"AdamW", func(o operands) Op {
			return AdamW{Parameter: o.row, Gradient: o.row, M: o.row, V: o.row, Hyper: o.Input("hyper", F32, 1, 7), Clip: o.Input("clip", F32, 1, 2)}
		}, Type{F32, Shape{2, 8}}},
		{"AdamW/half", func(o operands) Op {
			return AdamW{Parameter: o.half, Gradient: o.half, M: o.half, V: o.half, Hyper: o.Input("hyper", F32, 1, 7)}
		}, Type{}},
		{"AdamW/moments", func(o operands) Op {
			return AdamW{Parameter: o.row, Gradient: o.row, M: o.row, V: o.flat, Hyper: o.Input("hyper", F32, 1, 7)}
		}, Type{}},
		{"AdamW/hyper-parameters", func(o operands) Op { return AdamW{Parameter: o.row, Gradient: o.row, M: o.row, V: o.row, Hyper: o.row} }, Type{}},
		{"AdamW/clip", func(o operands) Op {
			return AdamW{Parameter: o.row, Gradient: o.row, M: o.row, V: o.row, Hyper: o.Input("hyper", F32, 1, 7), Clip: o.row}
		}, Type{}},
		{"AdamW/parameter", func(o operands) Op {
			return AdamW{Parameter: o.w(2, 8), Gradient: o.row, M: o.row, V: o.row, Hyper: o.Input("hyper", F32, 1, 7)}
		}, Type{}},
		{"LossGradient/gradient", func(o operands) Op { return LossGradient{Prediction: o.row, Target: o.row, DY: o.flat} }, Type{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOperands()
			end := o.Scope("block")
			op := c.record(o)
			y := o.Op(op)
			end()
			err := o.Err()
			if c.want.DType != InvalidDType {
				if err != nil {
					t.Fatal(err)
				}
				if got := o.program.Type(y); !got.Equal(c.want) {
					t.Errorf("the result is %v, want %v", got, c.want)
				}
				return
			}
			shape, ok := errors.AsType[*ShapeError](err)
			if !ok {
				t.Fatalf("error is %v, want a ShapeError", err)
			}
			name, _, _ := strings.Cut(c.name, "/")
			if shape.Path != "block" || shape.Op != name || shape.Detail == "" {
				t.Errorf("the error is %+v, want %s in block with a detail", shape, name)
			}
		})
	}
}
