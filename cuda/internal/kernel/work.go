package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Work is how an op is computed: by launches, one after the other, with memory that nobody else may use meanwhile.
type Work struct {
	Launches []Launch
	Scratch  int // bytes
}

// Launch is one launch of a kernel, of which those of one name are the same, or a library's call.
type Launch struct {
	Kernel    *ptx.Kernel
	Grid      [3]int
	Shared    int   // bytes of shared memory
	Arguments []any // of the kernel's parameters, in their order: Array, Scratch, Table, *Report, int (32 bits) or float32

	Call      any // Product or Convolution, without a kernel: its arguments are CallY and those that follow
	Algorithm int // which of the library's algorithms for it, the first being its best guess
}

// Array is the address of an operand or a result in device memory. Parameters are kept there as elements of the type, in the order.
type Array struct {
	Value  compute.Value
	Type   compute.DType
	Order  Order
	Offset int // bytes
}

// Order is the order of a parameter's elements.
type Order uint8

// The orders.
const (
	AsStored     Order = iota
	ChannelsLast       // [Cout][kh][kw][Cin] of what is stored as [Cout][Cin][kh][kw]
)

// Scratch is the address so many bytes behind the beginning of the op's scratch.
type Scratch int

// Table is the address of numbers, as float32, that are the same in every run.
type Table []float32

// Report is the address of two words that belong to this argument alone. Err tells, after a run, what they mean.
type Report struct{ count, length, rows int }

// ReportBytes is the size of a report.
const ReportBytes = 8

// Err is an error if an id was outside its table.
func (r *Report) Err(words [2]uint32) error {
	place, id := int(words[0]), int32(words[1])
	if place >= r.count {
		return nil
	}
	return fmt.Errorf("id %d at [%d %d] is outside 0…%d", id, place/r.length, place%r.length, r.rows-1)
}

// Card is what decides which kernels are chosen.
type Card struct {
	Half            bool // networks compute in half precision, their sums in float32
	Promoted        bool // sums within a slice are in half precision too: see Linear
	Multiprocessors int
}

// Kernels chooses kernels for a card and keeps those it has written. It is not safe for concurrent use.
type Kernels struct {
	card    Card
	written map[any]*ptx.Kernel
}

// New has nothing written yet.
func New(card Card) *Kernels { return &Kernels{card, make(map[any]*ptx.Kernel)} }

// Work is how a node of a program is computed whose values have the types that they are kept as: see [Kernels.Store]. An op without a
// kernel is an error that wraps compute.ErrUnsupported.
func (k *Kernels) Work(p *compute.Program, n compute.Node) (Work, error) {
	return k.tiled(p, n, Tile{})
}

func (k *Kernels) tiled(p *compute.Program, n compute.Node, tile Tile) (Work, error) {
	c := &choice{Kernels: k, program: p, out: n.Out, tile: tile}
	if !c.choose(n.Op) {
		return Work{}, fmt.Errorf("%s: %w", compute.OpName(n.Op), compute.ErrUnsupported)
	}
	return c.work, nil
}

// choice is the work for one node while it is put together.
type choice struct {
	*Kernels
	program *compute.Program
	out     []compute.Value
	tile    Tile // of products on tensor cores; none has TileFor decide
	work    Work
}

// choose adds the launches of an op, if there are any.
func (c *choice) choose(op compute.Op) bool {
	switch op := op.(type) {
	case compute.Reshape: // a view
	case compute.Linear:
		c.linear(op)
	case compute.Conv2D:
		c.conv2D(op)
	case compute.MatMul:
		c.matMul(op)
	case compute.Attention:
		c.attention(op)
	case compute.GroupNorm:
		c.groupNorm(op)
	case compute.LayerNorm:
		c.layerNorm(op)
	case compute.Activate:
		c.activate(op)
	case compute.GEGLU:
		c.geglu(op)
	case compute.Add:
		c.add(op)
	case compute.Embed:
		c.embed(op)
	case compute.TimestepEmbedding:
		c.timestepEmbedding(op)
	case compute.Repeat:
		n := c.elements(op.X)
		c.move(op.X, c.elements(c.out[0]), n, n, 0, 0, 0)
	case compute.Slice:
		c.slice(op)
	case compute.Concat:
		c.concat(op)
	case compute.Scale:
		c.scale(op)
	case compute.Multiply:
		c.multiply(op)
	case compute.Fill:
		c.fill(op)
	case compute.GuidanceCombine:
		c.guidanceCombine(op)
	case compute.LinearCombination:
		c.linearCombination(op)
	case compute.Loss:
		c.loss(op, c.out[0], nil)
	case compute.LossGradient:
		dy := c.operand(op.DY, compute.F32)
		c.loss(compute.Loss{Prediction: op.Prediction, Target: op.Target, Weights: op.Weights, Mask: op.Mask, C: op.C, Function: op.Function}, c.out[0], dy)
	case compute.MergeTokens:
		c.mergeTokens(op)
	default:
		return c.chooseGradient(op)
	}
	return true
}

// kernel is the one that write writes, written once for each key.
func (k *Kernels) kernel(key any, write func() *ptx.Kernel) *ptx.Kernel {
	if k.written[key] == nil {
		k.written[key] = write()
	}
	return k.written[key]
}

// writer is a kernel's description, which may be a key.
type writer interface{ Kernel() *ptx.Kernel }

// launch adds one.
func (c *choice) launch(w writer, grid [3]int, shared int, arguments ...any) {
	c.put(c.kernel(w, w.Kernel), grid, shared, arguments...)
}

func (c *choice) put(k *ptx.Kernel, grid [3]int, shared int, arguments ...any) {
	c.work.Launches = append(c.work.Launches, Launch{Kernel: k, Grid: grid, Shared: shared, Arguments: arguments})
}

// scratch is so many bytes of it.
func (c *choice) scratch(bytes int) Scratch {
	at := c.work.Scratch
	c.work.Scratch += (bytes + 255) &^ 255
	return Scratch(at)
}

// operand is a value as elements of a type. One that is kept as another is converted first.
func (c *choice) operand(v compute.Value, t compute.DType) any {
	info := c.program.Values[v.Index()]
	if info.Kind == compute.ParamKind || info.DType == t {
		return Array{Value: v, Type: t}
	}
	converted := c.scratch(info.Shape.Elements() * t.Size())
	c.convert(converted, t, Array{Value: v, Type: info.DType}, info.DType, info.Shape.Elements())
	return converted
}

// result is the value as elements of a type. Where it is kept as another, finish converts it.
func (c *choice) result(v compute.Value, t compute.DType) (y any, finish func()) {
	kept := c.program.Type(v)
	if kept.DType == t {
		return Array{Value: v, Type: t}, func() {}
	}
	y = c.scratch(kept.Shape.Elements() * t.Size())
	return y, func() { c.convert(Array{Value: v, Type: kept.DType}, kept.DType, y, t, kept.Shape.Elements()) }
}

func (c *choice) convert(y any, to compute.DType, x any, from compute.DType, elements int) {
	c.launch(Activate{compute.Identity, from, to}, ElementGrid(elements), 0, y, x, elements)
}

// values are the operands that are there, float32 each.
func (c *choice) values(vs ...compute.Value) (arguments []any) {
	for _, v := range vs {
		if v.Valid() {
			arguments = append(arguments, c.operand(v, compute.F32))
		}
	}
	return arguments
}

// precision is what an op on activations computes from and to: halves, if a result or an operand that is an activation is kept so.
func (c *choice) precision(operands ...compute.Value) compute.DType {
	for _, v := range append(operands, c.out[0]) {
		if v.Valid() && c.program.Type(v).DType == compute.F16 {
			return compute.F16
		}
	}
	return compute.F32
}

func (c *choice) shape(v compute.Value) compute.Shape { return c.program.Shape(v) }
func (c *choice) kept(v compute.Value) compute.DType  { return c.program.Type(v).DType }
func (c *choice) elements(v compute.Value) int        { return c.shape(v).Elements() }
