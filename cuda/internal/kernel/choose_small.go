package kernel

import "github.com/atelier-go/atelier/compute"

// eight is how many neighbours are treated at once where rows have these lengths.
func eight(lengths ...int) int {
	for _, n := range lengths {
		if n%8 != 0 {
			return 1
		}
	}
	return 8
}

func (c *choice) groupNorm(op compute.GroupNorm) {
	n := c.normalization(op.X, op.X2, c.out[0], op.Groups, op.Activation)
	y, done := c.result(c.out[0], n.Type)
	statistics := c.scratch(2 * n.samples * op.Groups * 4)
	c.statistics(n, statistics, op.Groups, op.Eps)
	arguments := append(append([]any{y, statistics}, c.values(op.Weight, op.Bias)...), n.elements, n.positions)
	c.launch(n.GroupNorm, n.Grid(n.elements), 0, append(arguments, n.x...)...)
	done()
}

// normalization is what GroupNorm and its gradient need to know.
type normalization struct {
	GroupNorm
	samples, positions, elements int
	x                            []any // arguments
}

// normalization is that of x in its parts to something of the shape of joined.
func (c *choice) normalization(x, x2, joined compute.Value, groups int, a compute.Activation) normalization {
	shape, t := c.shape(joined), c.precision(x, x2, joined)
	n := normalization{samples: shape[0], positions: shape.Rows() / shape[0], elements: shape.Elements()}
	n.GroupNorm = GroupNorm{Size: shape.Last() / groups, Width: 8, Activation: a, Type: t}
	for _, part := range []compute.Value{x, x2} {
		if part.Valid() {
			channels := c.shape(part).Last()
			n.Parts, n.Width = n.Parts+1, min(n.Width, eight(channels))
			n.x = append(n.x, c.operand(part, t), channels)
		}
	}
	return n
}

// statistics finds those of each group.
func (c *choice) statistics(n normalization, to any, groups int, eps float64) {
	type key struct{ statistics GroupNorm }
	c.put(c.kernel(key{n.GroupNorm}, n.Statistics), n.StatisticsGrid(n.samples, groups), StatisticsShared, append([]any{to, n.positions, float32(eps)}, n.x...)...)
}

func (c *choice) layerNorm(op compute.LayerNorm) {
	t, shape := c.precision(op.X), c.shape(op.X)
	y, done := c.result(c.out[0], t)
	l := LayerNorm{t}
	c.launch(l, l.Grid(shape.Rows()), 0, append(append([]any{y, c.operand(op.X, t)}, c.values(op.Weight, op.Bias)...), shape.Rows(), shape.Last(), float32(op.Eps))...)
	done()
}

func (c *choice) activate(op compute.Activate) {
	n := c.elements(op.X)
	from, to := c.kept(op.X), c.kept(c.out[0])
	c.launch(Activate{op.Activation, from, to}, ElementGrid(n), 0, Array{Value: c.out[0], Type: to}, Array{Value: op.X, Type: from}, n)
}

func (c *choice) geglu(op compute.GEGLU) {
	t, n, half := c.precision(op.X), c.elements(c.out[0]), c.shape(c.out[0]).Last()
	y, done := c.result(c.out[0], t)
	g := GEGLU{eight(half), t}
	c.launch(g, g.Grid(n), 0, y, c.operand(op.X, t), n, half)
	done()
}

func (c *choice) add(op compute.Add) {
	t, n := c.precision(op.A, op.B), c.elements(op.A)
	y, done := c.result(c.out[0], t)
	c.launch(Add{t}, ElementGrid(n), 0, y, c.operand(op.A, t), c.operand(op.B, t), n)
	done()
}

func (c *choice) embed(op compute.Embed) {
	ids, table, n := c.shape(op.IDs), c.shape(op.Table), c.elements(c.out[0])
	e := Embed{Table: c.tableType(op.Table), Y: c.kept(c.out[0]), Position: op.Position.Valid()}
	at := Array{Value: op.IDs, Type: compute.I32}
	arguments := []any{Array{Value: c.out[0], Type: e.Y}, at, c.operand(op.Table, e.Table), table[0], n, table[1]}
	if e.Position {
		arguments = append(arguments, c.operand(op.Position, e.Table), ids[1])
	}
	c.put(c.kernel("check ids", CheckIDs), [3]int{1, 1, 1}, 0, &Report{ids.Elements(), ids[1], table[0]}, at, ids.Elements(), table[0])
	c.launch(e, OneGrid(n), 0, arguments...)
}

// tableType is that of a table of rows: its own if it is a value.
func (c *choice) tableType(v compute.Value) compute.DType {
	switch {
	case c.program.Values[v.Index()].Kind != compute.ParamKind:
		return c.kept(v)
	case c.card.Half:
		return compute.F16
	}
	return compute.F32
}

func (c *choice) timestepEmbedding(op compute.TimestepEmbedding) {
	n := c.elements(c.out[0])
	y, done := c.result(c.out[0], compute.F32)
	c.launch(TimestepEmbedding{op.FlipSinToCos}, OneGrid(n), 0, y, c.operand(op.Timesteps, compute.F32), Table(op.Frequencies()), n, op.Dim/2)
	done()
}

// move copies pieces of x, as they are kept.
func (c *choice) move(x compute.Value, elements, length, yDistance, yFirst, xDistance, xFirst int) {
	words := func(t compute.DType) compute.DType {
		if t == compute.I32 {
			return compute.F32
		}
		return t
	}
	m := Move{words(c.kept(x)), words(c.kept(c.out[0]))}
	c.launch(m, OneGrid(elements), 0, Array{Value: c.out[0], Type: c.kept(c.out[0])}, Array{Value: x, Type: c.kept(x)}, elements, length, yDistance, yFirst, xDistance, xFirst)
}

func (c *choice) slice(op compute.Slice) {
	x := c.shape(op.X)
	inner := x[op.Axis+1:].Elements()
	length := op.Length * inner
	c.move(op.X, c.elements(c.out[0]), length, length, 0, x[op.Axis]*inner, op.Start*inner)
}

func (c *choice) concat(op compute.Concat) {
	y := c.shape(c.out[0])
	inner, first := y[op.Axis+1:].Elements(), 0
	for _, part := range op.Parts {
		length := c.shape(part)[op.Axis] * inner
		c.move(part, c.elements(part), length, y[op.Axis]*inner, first, length, 0)
		first += length
	}
}

func (c *choice) scale(op compute.Scale) {
	factors := c.shape(op.Factors)
	c.factors(op.X, op.Factors, c.elements(op.X)/c.shape(op.X)[0], factors[0], factors[1], op.Column, 1)
}

func (c *choice) multiply(op compute.Multiply) {
	channels := c.shape(op.X).Last()
	rows := c.elements(op.Factors) / channels
	c.factors(op.X, op.Factors, c.elements(op.X)/rows, rows, channels, 0, channels)
}

func (c *choice) factors(x, factors compute.Value, sample, rows, pitch, column, width int) {
	t, n := c.precision(x), c.elements(x)
	y, done := c.result(c.out[0], t)
	c.launch(Scale{t}, OneGrid(n), 0, y, c.operand(x, t), c.operand(factors, compute.F32), n, sample, rows, pitch, column, width)
	done()
}

func (c *choice) fill(op compute.Fill) {
	t, n := c.kept(c.out[0]), c.elements(c.out[0])
	y := Array{Value: c.out[0], Type: t}
	if op.Values != nil {
		c.convert(y, t, Table(op.Values), compute.F32, n)
		return
	}
	c.launch(Fill{t}, ElementGrid(n), 0, y, float32(op.Value), n)
}

func (c *choice) guidanceCombine(op compute.GuidanceCombine) {
	n := c.elements(c.out[0])
	y, done := c.result(c.out[0], compute.F32)
	g := GuidanceCombine{c.shape(op.Weights)[0], compute.F32}
	c.launch(g, OneGrid(n), 0, y, c.operand(op.X, compute.F32), c.operand(op.Weights, compute.F32), n)
	if op.Rescale > 0 {
		samples := c.shape(c.out[0])[0]
		c.launch(Rescale{compute.F32}, [3]int{samples, 1, 1}, RescaleShared, y, c.operand(op.Like, compute.F32), n/samples, float32(op.Rescale))
	}
	done()
}

func (c *choice) linearCombination(op compute.LinearCombination) {
	n := c.elements(c.out[0])
	y, done := c.result(c.out[0], compute.F32)
	arguments := []any{y, Array{Value: op.Coefficients, Type: compute.F32, Offset: 4 * op.Row * len(op.Terms)}, n}
	l := LinearCombination{len(op.Terms), compute.F32}
	c.launch(l, ElementGrid(n), 0, append(arguments, c.values(op.Terms...)...)...)
	done()
}

// loss is the loss or, with its own gradient dy, the gradient.
func (c *choice) loss(op compute.Loss, out compute.Value, dy any) {
	shape := c.shape(op.Prediction)
	n := shape.Elements()
	l := Loss{op.Function, op.Weights.Valid(), op.Mask.Valid()}
	y, done := c.result(out, compute.F32)
	operands := append(c.values(op.Prediction, op.Target), n, n/shape[0], shape.Last())
	operands = append(operands, c.values(op.Weights, op.Mask, op.C)...)
	if dy == nil {
		c.launch(l, [3]int{1, 1, 1}, LossShared, append([]any{y}, operands...)...)
	} else {
		type key struct{ gradient Loss }
		c.put(c.kernel(key{l}, l.Gradient), OneGrid(n), 0, append([]any{y, dy}, operands...)...)
	}
	done()
}

func (c *choice) mergeTokens(op compute.MergeTokens) {
	t, shape := c.precision(op.X), c.shape(op.X)
	samples, tokens, channels := shape[0], shape[1], shape[2]
	m, x := MergeTokens{t}, c.operand(op.X, t)
	y, done := c.result(c.out[0], t)
	rows := c.stored(c.out[1])
	cosines, matches, merged := c.scratch(4*samples*tokens), c.scratch(4*samples*tokens), c.scratch(4*samples*tokens)
	perToken := OneGrid(tokens)
	perToken[1] = samples
	type match struct{ MergeTokens }
	c.put(c.kernel(match{m}, m.Match), m.Grid(samples, tokens), 0, cosines, matches, x, channels, op.Height, op.Width)
	c.put(c.kernel("merge rank", m.Rank), perToken, 0, merged, cosines, op.Merged, op.Height, op.Width)
	c.put(c.kernel("merge rows", m.Rows), perToken, 0, rows, merged, matches, op.Merged, op.Height, op.Width)
	c.launch(m, m.Grid(samples, tokens), 0, y, x, rows, merged, channels, op.Height, op.Width)
	done()
}
