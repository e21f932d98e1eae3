package kernel

import (
	"slices"

	"github.com/atelier-go/atelier/compute"
)

// Way is one of the ways to compute an op.
type Way struct {
	Name string
	Work
}

// Product is y = x·w + bias + residual on halves with float32 sums, row-major, as cuBLASLt does it. y may be the residual.
type Product struct {
	Rows, Columns, Depth int
	Transposed           bool // w is [Columns,Depth], else [Depth,Columns]
	Pitch                int  // elements from a row of w to the next
	Bias, Residual       bool // the bias is halves too
}

// Convolution is y = SiLU(x*w + bias + perChannel) + residual on NHWC halves with float32 sums, as cuDNN does it, or, as Gradient, the
// input gradient x = y*w. y may be the residual.
type Convolution struct {
	Batch, Height, Width int // of x
	Input, Output        int // channels, multiples of 8
	Window               [2]int
	Stride               int
	Before, After        [2]int // rows and columns of zeros around x
	Gradient             bool
	PerChannel           int  // rows of it: 0 for none, 1 for all images or one for each
	Bias, SiLU, Residual bool // the bias is halves too
}

// The arguments of a launch that is a Call: arrays, or nil for what it has not, and at last the library's workspace, for which whoever
// plans the call makes room.
const (
	CallY = iota
	CallX
	CallW
	CallBias
	CallPerChannel
	CallResidual
	CallWorkspace
)

// Libraries are the ways to compute a node in which one of NVIDIA's libraries has a part: none in float32, for ops other than Linear, Conv2D
// and their input gradients, for enlarged images, and where cuDNN would want channels in eights.
func (k *Kernels) Libraries(p *compute.Program, n compute.Node) (ways []Way) {
	if !k.card.Half {
		return nil
	}
	add := func(name string, put func(c *choice) bool) {
		if c := (&choice{Kernels: k, program: p, out: n.Out}); put(c) {
			ways = append(ways, Way{name, c.work})
		}
	}
	const products, convolutions, apart = "cuBLASLt", "cuDNN", "cuDNN, the epilogue apart"
	switch op := n.Op.(type) {
	case compute.Linear:
		add(products, func(c *choice) bool { return c.linearCall(op) })
	case compute.LinearInputGradient:
		add(products, func(c *choice) bool { return c.linearGradientCall(op) })
	case compute.Conv2D:
		add(products, func(c *choice) bool { return c.pointCall(op) })
		add(convolutions, func(c *choice) bool { return c.convolutionCall(op, false) })
		add(apart, func(c *choice) bool { return c.convolutionCall(op, true) })
	case compute.Conv2DInputGradient:
		add(convolutions, func(c *choice) bool { return c.convolutionGradientCall(op) })
	}
	return ways
}

// call adds a product or a convolution.
func (c *choice) call(call any, arguments [CallWorkspace]any) {
	c.work.Launches = append(c.work.Launches, Launch{Call: call, Arguments: slices.Clone(arguments[:])})
}

// joined is x, or its two parts side by side, as halves.
func (c *choice) joined(x, x2 compute.Value) any {
	if !x2.Valid() {
		return c.operand(x, compute.F16)
	}
	rows, all, first := c.shape(x).Rows(), c.shape(x).Last()+c.shape(x2).Last(), 0
	y := c.scratch(rows * all * compute.F16.Size())
	for _, part := range []compute.Value{x, x2} {
		length := c.shape(part).Last()
		c.launch(Move{c.kept(part), compute.F16}, OneGrid(rows*length), 0, y, c.stored(part), rows*length, length, all, first, length, 0)
		first += length
	}
	return y
}

func (c *choice) linearCall(op compute.Linear) bool {
	if c.precision(op.X, op.X2, op.Epilogue.Residual) != compute.F16 {
		return false
	}
	w := c.shape(op.Weight)
	p := Product{Rows: c.shape(op.X).Rows(), Columns: w[0], Depth: w[1], Transposed: true, Pitch: w[1]}
	c.productCall(p, c.joined(op.X, op.X2), c.operand(op.Weight, compute.F16), op.Bias, op.Epilogue)
	return true
}

// pointCall is a convolution with a window of one pixel as a product.
func (c *choice) pointCall(op compute.Conv2D) bool {
	w := c.shape(op.Weight)
	if w[2] != 1 || w[3] != 1 || op.Stride != 1 || op.Pad != (compute.Padding{}) || op.Resize != [2]int{} {
		return false
	}
	return c.linearCall(compute.Linear{X: op.X, X2: op.X2, Weight: op.Weight, Bias: op.Bias, Epilogue: op.Epilogue})
}

func (c *choice) linearGradientCall(op compute.LinearInputGradient) bool {
	if c.precision(op.DY) != compute.F16 || op.First%8 != 0 {
		return false
	}
	dy, inputs := c.shape(op.DY), c.shape(op.Weight)[1]
	p := Product{Rows: dy.Rows(), Columns: op.Channels, Depth: dy.Last(), Pitch: inputs}
	w := behind(c.operand(op.Weight, compute.F16), op.First*compute.F16.Size())
	c.productCall(p, c.operand(op.DY, compute.F16), w, compute.Value{}, compute.Epilogue{Residual: op.Add})
	return true
}

// productCall adds a product with what of the epilogue the library does, or with a kernel for the epilogue behind it.
func (c *choice) productCall(p Product, x, w any, bias compute.Value, e compute.Epilogue) {
	arguments := [CallWorkspace]any{CallX: x, CallW: w}
	if e.Activation != compute.Identity || e.PerChannel.Valid() {
		c.apart(p.Rows, p.Columns, bias, e, func(y any) {
			arguments[CallY] = y
			c.call(p, arguments)
		})
		return
	}
	if p.Bias = bias.Valid(); p.Bias {
		arguments[CallBias] = c.operand(bias, compute.F16)
	}
	if p.Residual = e.Residual.Valid(); p.Residual {
		arguments[CallResidual] = c.operand(e.Residual, compute.F16)
	}
	y, done := c.result(c.out[0], compute.F16)
	arguments[CallY] = y
	c.call(p, arguments)
	done()
}

// apart adds a call that leaves halves in scratch, and a kernel that does what the epilogue says.
func (c *choice) apart(rows, columns int, bias compute.Value, e compute.Epilogue, call func(y any)) {
	y := c.scratch(rows * columns * compute.F16.Size())
	call(y)
	end := c.end(compute.F16, rows, columns, bias, e)
	f := Finish{end.Epilogue, compute.F16, plainWidth(columns), true}
	c.launch(f, f.Grid(rows*columns), 0, end.with(y, 1)...)
	end.done()
}

// convolutionCall adds a convolution with its epilogue in the library's graph or apart, if there is anything to be apart.
func (c *choice) convolutionCall(op compute.Conv2D, apart bool) bool {
	x, w, y, e := c.shape(op.X), c.shape(op.Weight), c.shape(c.out[0]), op.Epilogue
	v := Convolution{
		Batch: x[0], Height: x[1], Width: x[2], Input: w[1], Output: w[0], Window: [2]int{w[2], w[3]}, Stride: op.Stride,
		Before: [2]int{op.Pad.Top, op.Pad.Left}, After: [2]int{op.Pad.Bottom, op.Pad.Right},
	}
	more := op.Bias.Valid() || e.PerChannel.Valid() || e.Residual.Valid() || e.Activation != compute.Identity
	weights, planar := c.weights(op.Weight, compute.F16)
	switch {
	case c.precision(op.X, op.X2, e.Residual) != compute.F16 || planar || v.Input%8 != 0 || v.Output%8 != 0:
		return false
	case op.Resize != [2]int{} && op.Resize != [2]int{x[1], x[2]}:
		return false
	case apart && !more, !apart && e.Activation != compute.Identity && e.Activation != compute.SiLU:
		return false
	}
	arguments := [CallWorkspace]any{CallX: c.joined(op.X, op.X2), CallW: weights}
	if apart {
		c.apart(y.Rows(), v.Output, op.Bias, e, func(y any) {
			arguments[CallY] = y
			c.call(v, arguments)
		})
		return true
	}
	c.fused(v, arguments, op.Bias, e)
	return true
}

// fused adds a convolution whose graph has the epilogue in it.
func (c *choice) fused(v Convolution, arguments [CallWorkspace]any, bias compute.Value, e compute.Epilogue) {
	v.Bias, v.SiLU, v.Residual = bias.Valid(), e.Activation == compute.SiLU, e.Residual.Valid()
	if v.Bias {
		arguments[CallBias] = c.operand(bias, compute.F16)
	}
	if e.PerChannel.Valid() {
		v.PerChannel = c.shape(e.PerChannel)[0]
		arguments[CallPerChannel] = c.operand(e.PerChannel, compute.F16)
	}
	if v.Residual {
		arguments[CallResidual] = c.operand(e.Residual, compute.F16)
	}
	y, done := c.result(c.out[0], compute.F16)
	arguments[CallY] = y
	c.call(v, arguments)
	done()
}

// convolutionGradientCall is the gradient by all channels of an input; an addend is added apart.
func (c *choice) convolutionGradientCall(op compute.Conv2DInputGradient) bool {
	w, dy := c.shape(op.Weight), c.shape(op.DY)
	v := Convolution{
		Batch: dy[0], Height: op.Height, Width: op.Width, Input: w[1], Output: w[0], Window: [2]int{w[2], w[3]}, Stride: op.Stride,
		Before: [2]int{op.Pad.Top, op.Pad.Left}, After: [2]int{op.Pad.Bottom, op.Pad.Right}, Gradient: true,
	}
	weights, planar := c.weights(op.Weight, compute.F16)
	switch {
	case c.precision(op.DY) != compute.F16 || planar || op.Channels != w[1] || v.Input%8 != 0 || v.Output%8 != 0:
		return false
	case op.Resize != [2]int{} && op.Resize != [2]int{op.Height, op.Width}:
		return false
	}
	arguments := [CallWorkspace]any{CallY: c.operand(op.DY, compute.F16), CallW: weights}
	call := func(x any) {
		arguments[CallX] = x
		c.call(v, arguments)
	}
	if op.Add.Valid() {
		c.apart(dy[0]*op.Height*op.Width, v.Input, compute.Value{}, compute.Epilogue{Residual: op.Add}, call)
		return true
	}
	x, done := c.result(c.out[0], compute.F16)
	call(x)
	done()
	return true
}

// With is the work by another of the library's algorithms.
func (w Work) With(algorithm int) Work {
	w.Launches = slices.Clone(w.Launches)
	for i := range w.Launches {
		w.Launches[i].Algorithm = algorithm
	}
	return w
}

// IsProduct tells whether a library multiplies matrices in it.
func (w Work) IsProduct() bool {
	return slices.ContainsFunc(w.Launches, func(l Launch) bool {
		_, is := l.Call.(Product)
		return is
	})
}
