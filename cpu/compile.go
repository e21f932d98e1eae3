package cpu

import (
	"errors"
	"fmt"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/elem"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// lowered is an op for which kernels have been chosen. Everything it needs is known before a parameter is read.
type lowered struct {
	packs []packing // parameters, in the forms the op reads them in
	need  gemm.Need // workspace in the arena and scratch of each worker

	// bind makes the op runnable once its parameters are packed and its operands have a place.
	bind func(b *binding) (step, error)
}

// binding is where an op finds its operands.
type binding struct {
	device    *Device
	place     func(v compute.Value) span
	workspace span
	// statistics are those of the attention that made v, empty if no gradient reads them.
	statistics func(v compute.Value) span
	packed     func(p packing) *packed
	fault      func(error) // reports a bad value met while running
}

// compiler lowers the ops of one program.
type compiler struct {
	device  *Device
	kernel  *gemm.Kernel
	elem    *elem.Kernels
	program *compute.Program
	source  compute.ParamSource

	statistics statistics
	narrow     []bool // by value
}

// lower chooses kernels for every op.
func (c *compiler) lower() ([]lowered, error) {
	c.findStatistics()
	c.findNarrow()
	all := make([]lowered, len(c.program.Nodes))
	for _, v := range c.program.Inputs {
		if t := c.program.Type(v); t.DType != compute.F32 && t.DType != compute.I32 {
			return nil, fmt.Errorf("cpu: input %q is %v: %w", c.program.Values[v.Index()].Name, t, compute.ErrUnsupported)
		}
	}
	for i, n := range c.program.Nodes {
		var err error
		if all[i], err = c.op(n); err != nil {
			return nil, fmt.Errorf("cpu: %s: %s: %w", n.Path, compute.OpName(n.Op), err)
		}
	}
	return all, nil
}

// op lowers one op.
func (c *compiler) op(n compute.Node) (lowered, error) {
	switch op := n.Op.(type) {
	case compute.Linear:
		return c.linear(op, n.Out[0])
	case compute.Conv2D:
		return c.conv2D(op, n.Out[0])
	case compute.GroupNorm:
		return c.groupNorm(op, n.Out[0])
	case compute.LayerNorm:
		return c.layerNorm(op, n.Out[0])
	case compute.Attention:
		return c.attention(op, n.Out[0])
	case compute.Embed:
		return c.embed(op, n.Out[0])
	case compute.TimestepEmbedding:
		return c.timestepEmbedding(op, n.Out[0])
	case compute.Activate:
		return c.activate(op, n.Out[0])
	case compute.GEGLU:
		return c.geglu(op, n.Out[0])
	case compute.Add:
		return c.add(op, n.Out[0])
	case compute.GuidanceCombine:
		return c.guidanceCombine(op, n.Out[0])
	case compute.LinearCombination:
		return c.linearCombination(op, n.Out[0])
	case compute.Repeat:
		return c.repeat(op, n.Out[0])
	case compute.Concat:
		return c.concat(op, n.Out[0])
	case compute.MergeTokens:
		return c.mergeTokens(op, n.Out)
	case compute.MatMul:
		return c.matMul(op, n.Out[0])
	case compute.LinearInputGradient:
		return c.linearInputGradient(op, n.Out[0])
	case compute.Conv2DInputGradient:
		return c.conv2DInputGradient(op, n.Out[0])
	case compute.Conv2DWeightGradient:
		return c.conv2DWeightGradient(op, n.Out[0])
	case compute.ActivateGradient:
		return c.activateGradient(op, n.Out[0])
	case compute.GEGLUGradient:
		return c.gegluGradient(op, n.Out[0])
	case compute.SumPositions:
		return c.sumPositions(op, n.Out[0])
	case compute.Fill:
		return c.fill(op, n.Out[0])
	case compute.Slice:
		return c.slice(op, n.Out[0])
	case compute.Scale:
		return c.scale(op, n.Out[0])
	case compute.Multiply:
		return c.multiply(op, n.Out[0])
	case compute.Loss:
		return c.loss(op, n.Out[0])
	case compute.LossGradient:
		return c.lossGradient(op, n.Out[0])
	case compute.ClipNorm:
		return c.clipNorm(op, n.Out[0])
	case compute.AdamW:
		return c.adamW(op, n.Out)
	case compute.GroupNormGradient:
		return c.groupNormGradient(op, n.Out)
	case compute.LayerNormGradient:
		return c.layerNormGradient(op, n.Out[0])
	case compute.AttentionGradient:
		return c.attentionGradient(op, n.Out)
	case compute.Viewer:
		return lowered{bind: func(*binding) (step, error) { return step{}, nil }}, nil
	}
	return lowered{}, compute.ErrUnsupported
}

// plan lays out the arena and sums up what the program needs.
func (c *compiler) plan(ops []lowered) (*compute.Layout, compute.MemoryReport, gemm.Need) {
	layout := compute.Plan(c.program, func(i int) int { return 4 * ops[i].need.Workspace })
	var need gemm.Need
	for _, op := range ops {
		need = need.Max(op.need)
	}
	need.Workspace = 0 // it is in the arena
	return layout, compute.MemoryReport{
		Arena:  int64(layout.Size + c.statistics.size),
		Worker: int64(need.Bytes() * len(c.device.scratch)),
	}, need
}

// Compile implements compute.Device.
func (d *Device) Compile(program *compute.Program, loaded compute.Params) (compute.Executable, error) {
	if program == nil {
		return nil, errors.New("cpu: Compile of a nil program")
	}
	p, ok := loaded.(*params)
	if !ok {
		return nil, fmt.Errorf("cpu: parameters are a %T of another device", loaded)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errors.New("cpu: the device is closed")
	}
	c := &compiler{device: d, kernel: gemm.For(d.set), elem: elem.For(d.set), program: program, source: p.source}
	ops, err := c.lower()
	if err != nil {
		return nil, err
	}
	layout, memory, need := c.plan(ops)
	var requests []packing
	for _, op := range ops {
		requests = append(requests, op.packs...)
	}
	if err := p.pack(requests); err != nil {
		return nil, err
	}
	return c.bind(ops, layout, memory, need, p)
}

// bind makes the lowered ops an executable.
func (c *compiler) bind(ops []lowered, layout *compute.Layout, memory compute.MemoryReport, need gemm.Need, p *params) (*executable, error) {
	d := c.device
	e := &executable{device: d, program: c.program, memory: memory, need: need}
	place := func(v compute.Value) span {
		return span{&d.arena, layout.Offset(v), c.program.Shape(v).Elements()}
	}
	var phases []phase
	for i, op := range ops {
		first := len(phases)
		b := &binding{
			device: d,
			place:  place,
			statistics: func(v compute.Value) span {
				s := c.statistics.places[v]
				return span{&d.arena, layout.Size + s.offset, s.n}
			},
			packed: func(r packing) *packed { return p.loaded[r.key].packed },
			fault:  func(err error) { d.pool.fail(first, err) },
		}
		if op.need.Workspace > 0 {
			b.workspace = span{&d.arena, layout.Scratch(i), op.need.Workspace}
		}
		s, err := op.bind(b)
		if err != nil {
			n := c.program.Nodes[i]
			return nil, fmt.Errorf("cpu: %s: %s: %w", n.Path, compute.OpName(n.Op), err)
		}
		if len(s.phases) == 0 {
			continue
		}
		e.prepare = append(e.prepare, s.prepare)
		phases = append(phases, s.phases...)
		e.nodes = append(e.nodes, slices.Repeat([]int{i}, len(s.phases))...)
	}
	e.course = newCourse(phases)
	for _, v := range c.program.Inputs {
		e.in = append(e.in, place(v))
	}
	for _, v := range c.program.Outputs {
		e.out = append(e.out, place(v))
	}
	return e, nil
}

// Estimate implements compute.Estimator.
func (d *Device) Estimate(src compute.ParamSource, programs ...*compute.Program) (compute.MemoryReport, error) {
	var total compute.MemoryReport
	counted := make(map[packKey]bool)
	for _, program := range programs {
		c := &compiler{device: d, kernel: gemm.For(d.set), elem: elem.For(d.set), program: program, source: src}
		ops, err := c.lower()
		if err != nil {
			return total, err
		}
		for _, op := range ops {
			for _, p := range op.packs {
				if !counted[p.key] {
					counted[p.key] = true
					total.Params += int64(p.size)
				}
			}
		}
		_, memory, _ := c.plan(ops)
		total.Arena = max(total.Arena, memory.Arena)
		total.Worker = max(total.Worker, memory.Worker)
	}
	return total, nil
}

// info is what the program knows of v.
func (c *compiler) info(v compute.Value) compute.ValueInfo { return c.program.Values[v.Index()] }

// vector is the packing of an optional parameter as float32.
func (c *compiler) vector(v compute.Value) (packing, error) {
	if !v.Valid() {
		return packing{}, nil
	}
	if c.info(v).Kind != compute.ParamKind {
		return packing{}, fmt.Errorf("a bias or norm weight that is not a parameter: %w", compute.ErrUnsupported)
	}
	t, err := paramType(c.source, c.info(v))
	return c.asVector(c.info(v).Name, t), err
}

// vectorOf is the packed vector of a request, nil if nothing was requested.
func (b *binding) vectorOf(p packing) []float32 {
	if p.size == 0 {
		return nil
	}
	return b.packed(p).vector
}
