package cudnn

import "errors"

// Convolution is y = SiLU(x*w + bias + perChannel) + residual on half-precision NHWC images with KRSC weights and float32 sums, or, as
// Gradient, the input gradient x = y*w of the plain convolution.
type Convolution struct {
	Batch, Height, Width int // of x
	Input, Output        int // channels, multiples of 8
	Kernel               [2]int
	Stride               int
	Before, After        [2]int // rows and columns of zeros around x
	Gradient             bool
	PerChannel           int // rows of it: 0 for none, 1 for all images or one for each
	Bias, Residual, SiLU bool
}

// Plan is a convolution with the engine that the library chose for it, or with an algorithm of the calls that were there before graphs.
type Plan struct {
	graph
	handle    Handle
	plan      descriptor
	older     *older
	workspace int64
}

// The operands of a graph by the numbers that tie them to memory.
const (
	operandX int64 = iota + 1
	operandW
	operandY
	operandBias
	operandPerChannel
	operandResidual
	operandInner // the first of those between two operations
)

// The library's numbers for types and modes.
const (
	float32Type, float16Type int32 = 0, 2
	crossCorrelation         int32 = 1
	addMode, swishMode       int32 = 0, 106
	heuristicA               int32 = 3
)

// Plan finds an engine that needs no more than workspace bytes of scratch, and for a plain convolution without one an older call. If there is
// neither, the error is [ErrUnsupported].
func (h Handle) Plan(c Convolution, workspace int64) (*Plan, error) {
	p, err := h.graph(c, workspace)
	if errors.Is(err, ErrUnsupported) && c.plain() {
		if o, failed := h.older(c, workspace); failed == nil {
			return &Plan{handle: h, graph: graph{Library: h.Library}, older: o, workspace: o.workspace}, nil
		}
	}
	return p, err
}

// plain tells whether the older calls can do a convolution: it has no epilogue, and as many zeros behind the image as before it.
func (c Convolution) plain() bool { return c.count() == 1 && c.Before == c.After }

// graph is the plan of a graph.
func (h Handle) graph(c Convolution, workspace int64) (*Plan, error) {
	p := &Plan{handle: h, graph: graph{Library: h.Library}}
	operations := p.operations(c)
	whole := p.make(operationGraph, func(d descriptor) {
		set(&p.graph, d, 800, handleValue, h.handle)
		p.setDescriptors(d, 801, operations...)
	})
	p.choose(whole, workspace)
	if p.err != nil {
		return nil, errors.Join(p.err, p.close())
	}
	return p, nil
}

// operations are the convolution and, one by one, what follows it.
func (p *Plan) operations(c Convolution) []descriptor {
	x := p.image(operandX, float16Type, false, c.Batch, c.Height, c.Width, c.Input)
	w := p.image(operandW, float16Type, false, c.Output, c.Kernel[0], c.Kernel[1], c.Input)
	height, width := c.extents()
	chain := chain{Plan: p, shape: [4]int{c.Batch, height, width, c.Output}, left: c.count(), inner: operandInner}
	if c.Gradient {
		y := p.image(operandY, float16Type, false, c.Batch, height, width, c.Output)
		return []descriptor{p.convolve(c, opInput, [5]attribute{708, 709, 710, 711, 706}, w, x, y)}
	}
	chain.operations = []descriptor{p.convolve(c, opForward, [5]attribute{702, 703, 704, 705, 700}, w, x, chain.next())}
	if c.Bias {
		chain.pointwise(addMode, p.image(operandBias, float16Type, false, 1, 1, 1, c.Output))
	}
	if c.PerChannel > 0 {
		chain.pointwise(addMode, p.image(operandPerChannel, float16Type, false, c.PerChannel, 1, 1, c.Output))
	}
	if c.SiLU {
		chain.pointwise(swishMode, descriptor{})
	}
	if c.Residual {
		chain.pointwise(addMode, p.image(operandResidual, float16Type, false, c.Batch, height, width, c.Output))
	}
	return chain.operations
}

// extents are the height and width of y.
func (c Convolution) extents() (height, width int) {
	return (c.Height+c.Before[0]+c.After[0]-c.Kernel[0])/c.Stride + 1, (c.Width+c.Before[1]+c.After[1]-c.Kernel[1])/c.Stride + 1
}

// count is how many operations there are.
func (c Convolution) count() int {
	n := 1
	for _, more := range []bool{c.Bias, c.PerChannel > 0, c.Residual, c.SiLU} {
		if more {
			n++
		}
	}
	return n
}

// chain is a row of operations, each of which reads what the one before it wrote. Only what the last one writes is in memory.
type chain struct {
	*Plan
	shape      [4]int
	operations []descriptor
	written    descriptor
	left       int
	inner      int64
}

// next is what the next operation writes.
func (c *chain) next() descriptor {
	c.left--
	number, dtype, virtual := operandY, float16Type, c.left > 0
	if virtual {
		number, dtype = c.inner, float32Type
		c.inner++
	}
	c.written = c.image(number, dtype, virtual, c.shape[0], c.shape[1], c.shape[2], c.shape[3])
	return c.written
}

// pointwise adds an operation with an optional second operand.
func (c *chain) pointwise(mode int32, second descriptor) {
	g := &c.Plan.graph
	how := c.make(pointwise, func(d descriptor) {
		set(g, d, 0, pointwiseValue, mode)
		set(g, d, 1, dataValue, float32Type)
	})
	first := c.written
	result := c.next()
	c.operations = append(c.operations, c.make(opPointwise, func(d descriptor) {
		c.setDescriptors(d, 750, how)
		c.setDescriptors(d, 751, first)
		if second.handle != 0 {
			c.setDescriptors(d, 752, second)
		}
		c.setDescriptors(d, 753, result)
	}))
}

// image describes an NHWC tensor or, the same, KRSC weights. The library counts dimensions as N, C, H, W and is told by strides
// where they lie.
func (p *Plan) image(number int64, dtype int32, virtual bool, n, h, w, c int) descriptor {
	g := &p.graph
	return p.make(tensor, func(d descriptor) {
		set(g, d, 901, dataValue, dtype)
		set(g, d, 902, int64Value, int64(n), int64(c), int64(h), int64(w))
		set(g, d, 903, int64Value, int64(h*w*c), 1, int64(w*c), int64(c))
		set(g, d, 906, int64Value, number)
		set(g, d, 900, int64Value, int64(16))
		if virtual {
			set(g, d, 907, booleanValue, true)
		}
	})
}

// convolve makes the convolution; the attributes are those of its description, w, x, y and α, behind which β follows.
func (p *Plan) convolve(c Convolution, k kind, a [5]attribute, w, x, y descriptor) descriptor {
	g := &p.graph
	how := p.make(convolution, func(d descriptor) {
		pair := func(v [2]int) []int64 { return []int64{int64(v[0]), int64(v[1])} }
		set(g, d, 100, dataValue, float32Type)
		set(g, d, 101, modeValue, crossCorrelation)
		set(g, d, 102, int64Value, pair([2]int{1, 1})...)
		set(g, d, 103, int64Value, pair([2]int{c.Stride, c.Stride})...)
		set(g, d, 104, int64Value, pair(c.After)...)
		set(g, d, 105, int64Value, pair(c.Before)...)
		set(g, d, 106, int64Value, int64(2))
	})
	return p.make(k, func(d descriptor) {
		p.setDescriptors(d, a[0], how)
		p.setDescriptors(d, a[1], w)
		p.setDescriptors(d, a[2], x)
		p.setDescriptors(d, a[3], y)
		set(g, d, a[4], floatValue, float32(1))
		set(g, d, a[4]+1, floatValue, float32(0))
	})
}

// choose takes the first engine, in the library's order, that can be had within the workspace.
func (p *Plan) choose(whole descriptor, workspace int64) {
	g := &p.graph
	choice := p.make(engineChoice, func(d descriptor) {
		p.setDescriptors(d, 201, whole)
		set(g, d, 200, heuristicValue, heuristicA)
	})
	p.take(choice, workspace, func(plan descriptor) { set(g, plan, 400, handleValue, p.handle.handle) })
}

// take makes plans of the engines' configurations until one can be had within the workspace; whose says for which card they are.
func (p *Plan) take(choice descriptor, workspace int64, whose func(plan descriptor)) {
	for _, config := range p.configurations(choice) {
		plan := p.make(executionPlan, func(d descriptor) {
			whose(d)
			p.setDescriptors(d, 401, config)
		})
		if p.fits(plan, workspace) {
			return
		}
	}
	if p.err == nil {
		p.err = &Error{names[finalize], unsupported, "none of the engines can be used"}
	}
}

// configurations are those of the engines that there are to choose from.
func (p *Plan) configurations(choice descriptor) []descriptor {
	g := &p.graph
	configs := make([]descriptor, get[uintptr](g, choice, 202, descriptorValue, nil))
	handles := make([]uintptr, len(configs))
	for i := range configs {
		configs[i] = p.create(engineConfig)
		handles[i] = configs[i].handle
	}
	configs = configs[:get(g, choice, 202, descriptorValue, handles)]
	if p.err != nil {
		return nil
	}
	return configs
}

// fits takes a plan that could be made and needs no more than the workspace.
func (p *Plan) fits(plan descriptor, workspace int64) bool {
	need := make([]int64, 1)
	get(&p.graph, plan, 402, int64Value, need)
	refused := p.err != nil
	p.err = nil
	if refused || need[0] > workspace {
		return false
	}
	p.plan, p.workspace = plan, need[0]
	return true
}

// Workspace is how many bytes of scratch the plan needs.
func (p *Plan) Workspace() int64 { return p.workspace }

// Close gives back what describes the convolution.
func (p *Plan) Close() error {
	if p.older != nil {
		return p.older.close()
	}
	return p.close()
}
