package kernel

import "github.com/atelier-go/atelier/compute"

// chooseGradient adds the launches of an op that only training has.
func (c *choice) chooseGradient(op compute.Op) bool {
	switch op := op.(type) {
	case compute.LinearInputGradient:
		c.linearInputGradient(op)
	case compute.Conv2DInputGradient:
		c.conv2DInputGradient(op)
	case compute.Conv2DWeightGradient:
		c.conv2DWeightGradient(op)
	case compute.GroupNormGradient:
		c.groupNormGradient(op)
	case compute.LayerNormGradient:
		c.layerNormGradient(op)
	case compute.AttentionGradient:
		c.attentionGradient(op)
	case compute.ActivateGradient:
		t, n := c.precision(op.X, op.DY), c.elements(op.X)
		y, done := c.result(c.out[0], t)
		c.launch(ActivateGradient{op.Activation, t}, ElementGrid(n), 0, y, c.operand(op.X, t), c.operand(op.DY, t), n)
		done()
	case compute.GEGLUGradient:
		t, n, half := c.precision(op.X, op.DY), c.elements(op.DY), c.shape(op.DY).Last()
		y, done := c.result(c.out[0], t)
		g := GEGLUGradient{GEGLU{eight(half), t}}
		c.launch(g, g.Grid(n), 0, y, c.operand(op.X, t), c.operand(op.DY, t), n, half)
		done()
	case compute.SumPositions:
		shape := c.shape(c.out[0])
		s := SumPositions{c.kept(op.X), c.kept(c.out[0])}
		c.launch(s, s.Grid(shape[0], shape[1]), SumPositionsShared, c.stored(c.out[0]), c.stored(op.X), c.shape(op.X).Rows()/shape[0], shape[1])
	case compute.ClipNorm:
		c.clipNorm(op)
	case compute.AdamW:
		c.adamW(op)
	default:
		return false
	}
	return true
}

// stored is a value as it is kept.
func (c *choice) stored(v compute.Value) Array { return Array{Value: v, Type: c.kept(v)} }

func (c *choice) linearInputGradient(op compute.LinearInputGradient) {
	t, dy, w := c.precision(op.DY), c.shape(op.DY), c.shape(op.Weight)
	rows, outputs := dy.Rows(), dy.Last()
	end := c.end(t, rows, op.Channels, compute.Value{}, compute.Epilogue{Residual: op.Add})
	weight := behind(c.operand(op.Weight, t), op.First*t.Size())
	x := c.operand(op.DY, t)
	if c.whole(t, outputs, op.Channels, op.First, w[1]) {
		c.matrices(end, rows, op.Channels, outputs, Linear{TransposedW: true}, x, weight, outputs, w[1])
	} else {
		plain := PlainMatrix{PlainFor(rows, op.Channels), end.Epilogue, t, t, t, plainWidth(op.Channels)}
		c.launch(plain, plain.Grid(rows, op.Channels), plain.Shared(), end.with(x, outputs, 1, weight, 1, w[1], outputs)...)
	}
	end.done()
}

// behind is an argument so many bytes further.
func behind(argument any, bytes int) any {
	if a, ok := argument.(Array); ok {
		a.Offset += bytes
		return a
	}
	return argument.(Scratch) + Scratch(bytes)
}

// weights are those of a convolution as elements of a type, and whether their channels count slowest.
func (c *choice) weights(v compute.Value, t compute.DType) (w any, planar bool) {
	shape := c.shape(v)
	if len(shape) < 4 || shape[2] == 1 && shape[3] == 1 {
		return c.operand(v, t), false
	}
	if c.program.Values[v.Index()].Kind == compute.ParamKind {
		return Array{Value: v, Type: t, Order: ChannelsLast}, false
	}
	return c.operand(v, t), true
}

func (c *choice) conv2DInputGradient(op compute.Conv2DInputGradient) {
	t, w, dy, y := c.precision(op.DY), c.shape(op.Weight), c.shape(op.DY), c.shape(c.out[0])
	v := Conv2D{Window: [2]int{w[2], w[3]}, Stride: op.Stride, Top: op.Pad.Top, Left: op.Pad.Left}
	resized := [2]int{op.Height, op.Width}
	if op.Resize != [2]int{} && op.Resize != resized {
		resized, v.Enlargement = op.Resize, Resized
	}
	end := c.end(t, y.Rows(), op.Channels, compute.Value{}, compute.Epilogue{Residual: op.Add})
	v.Epilogue = end.Epilogue
	weights, planar := c.weights(op.Weight, t)
	whole := c.whole(t, op.Channels, op.First, w[1]) && dy[3]%64 == 0 && !planar
	switch x := c.operand(op.DY, t); {
	case whole && v.Enlargement == AsIs && v.Stride <= 2:
		c.backward(end, v, behind(weights, op.First*t.Size()), x, dy, y, w[1])
	case whole && v.Stride == 1 && resized == [2]int{2 * op.Height, 2 * op.Width}:
		c.backwardTwice(end, v, behind(weights, op.First*t.Size()), x, dy, y, w[1])
	default:
		plain := PlainConv2DGradient{PlainFor(y.Rows(), op.Channels), v, planar, t, t, t, plainWidth(op.Channels)}
		c.launch(plain, plain.Grid(y.Rows(), op.Channels), plain.Plain.Shared(), end.with(
			weights, x, dy[3], w[1], op.First, op.Height, op.Width, resized[0], resized[1], dy[1], dy[2],
			ceil(resized[0], op.Height), ceil(resized[1], op.Width))...)
	}
	end.done()
}

// backward launches the input gradient of a convolution of stride 1 or 2 on tensor cores. The convolution has so many inputs.
func (c *choice) backward(end finish, v Conv2D, w, x any, dy, y compute.Shape, inputs int) {
	rows, columns, window, resized := y.Rows(), y[3], v.Window[0]*v.Window[1], [2]int{dy[1], dy[2]}
	if v.Stride == 2 {
		v.Stride, v.Enlargement, resized = 1, Spread, [2]int{2*dy[1] - 1, 2*dy[2] - 1}
	}
	v.Tile, v.Parts, v.Promoted, v.Backward = c.tileFor(rows, columns), 1, c.card.Promoted, true
	v.Top, v.Left = v.Window[0]-1-v.Top, v.Window[1]-1-v.Left
	c.product(end, v.Tile, rows, columns, window*dy[3], func(e Epilogue, split bool) writer {
		v.Epilogue, v.Split = e, split
		return v
	}, w, x, dy[3], dy[1], dy[2], resized[0], resized[1], y[1], y[2], window*inputs, inputs)
}

// backwardTwice is backward for a convolution of what is enlarged to twice its height and width: the gradient by that is shrunk.
func (c *choice) backwardTwice(end finish, v Conv2D, w, x any, dy, y compute.Shape, inputs int) {
	enlarged := compute.Shape{y[0], 2 * y[1], 2 * y[2], y[3]}
	large := c.scratch(enlarged.Elements() * end.dtype.Size())
	v.Enlargement, v.Epilogue = AsIs, Epilogue{}
	c.backward(finish{dtype: end.dtype, arguments: []any{large, enlarged.Rows(), y[3]}}, v, w, x, dy, enlarged, inputs)
	arguments := []any{end.arguments[0], large, y.Elements(), y[3], y[2]}
	if end.Residual {
		arguments = append(arguments, end.arguments[len(end.arguments)-1])
	}
	c.launch(Shrink{end.dtype, end.Residual}, ElementGrid(y.Elements()), 0, arguments...)
}

func (c *choice) conv2DWeightGradient(op compute.Conv2DWeightGradient) {
	dy := c.shape(op.DY)
	v := c.convolution(op.X, op.X2, op.Kernel, op.Stride, op.Pad, op.Resize, dy)
	columns := c.shape(c.out[0])[1:].Elements()
	end := c.end(c.kept(c.out[0]), dy[3], columns, compute.Value{}, compute.Epilogue{Residual: op.Add})
	v.Epilogue = end.Epilogue
	t := c.precision(op.X, op.X2, op.DY)
	plain := PlainConv2DWeights{PlainFor(dy[3], columns), v.Conv2D, t, t, c.kept(c.out[0]), plainWidth(columns)}
	c.launch(plain, plain.Grid(dy[3], columns), plain.Plain.Shared(), append(end.with(c.operand(op.DY, t)), append(c.picture(v, t), dy.Rows())...)...)
	end.done()
}

func (c *choice) groupNormGradient(op compute.GroupNormGradient) {
	n := c.normalization(op.X, op.X2, op.DY, op.Groups, op.Activation)
	t := n.Type
	if n.positions*n.Size <= smallNorm {
		c.smallNormGradient(smallNormalization{n, op.DY, op.Weight, op.Bias, op.Add, op.Groups, op.Eps})
		return
	}
	g := GroupNormGradient{n.GroupNorm, op.Add.Valid()}
	statistics, means := c.scratch(2*n.samples*op.Groups*4), c.scratch(2*n.samples*op.Groups*4)
	c.statistics(n, statistics, op.Groups, op.Eps)
	slopes := append([]any{c.operand(op.DY, t), statistics}, c.values(op.Weight, op.Bias)...)
	type key struct{ means GroupNorm }
	c.put(c.kernel(key{n.GroupNorm}, n.Means), g.StatisticsGrid(n.samples, op.Groups), StatisticsShared, append(append(append([]any{means}, slopes...), n.positions), n.x...)...)
	results, done := c.results(t)
	arguments := append(append(results, slopes...), means, n.elements, n.positions)
	if g.Add {
		arguments = append(arguments, c.operand(op.Add, t))
	}
	c.launch(g, OneGrid(n.elements), 0, append(arguments, n.x...)...)
	done()
}

// smallNormalization is what the gradient of one with small groups needs to know.
type smallNormalization struct {
	normalization
	dy, weight, bias, add compute.Value
	groups                int // of a sample
	eps                   float64
}

func (c *choice) smallNormGradient(n smallNormalization) {
	g := SmallNormGradient{n.Parts, n.Activation, n.Type, n.add.Valid()}
	arguments, done := c.results(n.Type)
	arguments = append(append(arguments, c.operand(n.dy, n.Type)), c.values(n.weight)...)
	arguments = append(arguments, n.samples*n.groups, n.groups, n.Size, n.positions, float32(n.eps))
	if n.Activation != compute.Identity {
		arguments = append(arguments, c.values(n.bias)...)
	}
	if n.add.Valid() {
		arguments = append(arguments, c.operand(n.add, n.Type))
	}
	c.launch(g, OneGrid(n.samples*n.groups), 0, append(arguments, n.x...)...)
	done()
}

// results are all of the op's as elements of a type. Where they are kept as another, finish converts them.
func (c *choice) results(t compute.DType) (ys []any, finish func()) {
	var converting []func()
	for _, out := range c.out {
		y, done := c.result(out, t)
		ys, converting = append(ys, y), append(converting, done)
	}
	return ys, func() {
		for _, done := range converting {
			done()
		}
	}
}

func (c *choice) layerNormGradient(op compute.LayerNormGradient) {
	t, shape := c.precision(op.X, op.DY), c.shape(op.X)
	if shape.Last() <= smallNorm {
		n := normalization{samples: shape.Rows(), positions: 1, elements: shape.Elements(), x: []any{c.operand(op.X, t), shape.Last()}}
		n.GroupNorm = GroupNorm{Parts: 1, Size: shape.Last(), Type: t}
		c.smallNormGradient(smallNormalization{normalization: n, dy: op.DY, weight: op.Weight, add: op.Add, groups: 1, eps: op.Eps})
		return
	}
	y, done := c.result(c.out[0], t)
	l := LayerNormGradient{t, op.Add.Valid()}
	arguments := []any{y, c.operand(op.X, t), c.operand(op.DY, t), c.operand(op.Weight, compute.F32), shape.Rows(), shape.Last(), float32(op.Eps)}
	if l.Add {
		arguments = append(arguments, c.operand(op.Add, t))
	}
	c.launch(l, LayerNorm{}.Grid(shape.Rows()), 0, arguments...)
	done()
}

func (c *choice) attentionGradient(op compute.AttentionGradient) {
	t, q, keys := c.precision(op.Q, op.K, op.DY), c.shape(op.Q), c.shape(op.K)[1]
	operands := []any{c.scratch(16 * q[0] * q[1] * op.Heads)}
	for _, v := range []compute.Value{op.Q, op.K, op.V, op.DY} {
		operands = append(operands, c.operand(v, t))
	}
	results, done := c.results(t)
	type queries struct{ writer any }
	type byKeys struct{ writer any }
	if flash, ok := FlashGradientFor(q[2]/op.Heads, q[1], op.Causal); ok && t == compute.F16 {
		operands = append(operands, q[2], q[1], keys)
		c.put(c.kernel(queries{flash}, flash.Queries), flash.Grid(q[0], q[1], op.Heads), flash.Shared(), append(results[:1:1], operands...)...)
		flash, _ = FlashGradientFor(q[2]/op.Heads, keys, op.Causal)
		c.put(c.kernel(byKeys{flash}, flash.Keys), flash.Grid(q[0], keys, op.Heads), flash.Shared(), append(results[1:], operands...)...)
	} else {
		plain := PlainAttentionGradient{PlainAttention{q[2] / op.Heads, op.Causal, t}}
		operands = append(operands, q[1], keys)
		c.put(c.kernel(queries{plain}, plain.Queries), plain.Grid(q[0], q[1], op.Heads), 0, append(results[:1:1], operands...)...)
		c.put(c.kernel(byKeys{plain}, plain.Keys), plain.Grid(q[0], keys, op.Heads), 0, append(results[1:], operands...)...)
	}
	done()
}

func (c *choice) clipNorm(op compute.ClipNorm) {
	measures := c.scratch(8 * len(op.Gradients))
	for i, g := range op.Gradients {
		c.put(c.kernel("measure", ClipNorm{}.Measure), [3]int{1, 1, 1}, ClipNormShared, measures+Scratch(8*i), c.operand(g, compute.F32), c.elements(g))
	}
	y, done := c.result(c.out[0], compute.F32)
	c.launch(ClipNorm{}, [3]int{1, 1, 1}, ClipNormShared, y, measures, len(op.Gradients), c.operand(op.Limits, compute.F32))
	done()
}

func (c *choice) adamW(op compute.AdamW) {
	n := c.elements(op.Parameter)
	var arguments []any
	for _, v := range c.out {
		arguments = append(arguments, c.stored(v))
	}
	arguments = append(arguments, c.values(op.Parameter, op.Gradient, op.M, op.V, op.Hyper)...)
	arguments = append(append(arguments, n), c.values(op.Clip)...)
	c.launch(AdamW{op.Clip.Valid()}, OneGrid(n), 0, arguments...)
}
