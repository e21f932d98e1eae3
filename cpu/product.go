package cpu

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/attn"
	"github.com/atelier-go/atelier/cpu/internal/kernel/conv"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// product is a plan of package gemm or conv, which run alike.
type product interface {
	Need() gemm.Need
	Phases() int
	Tasks(phase int) int
	Do(phase, task int, s *gemm.Scratch, a *gemm.Args)
	Check(a *gemm.Args) error
}

// weighted is what Linear and Conv2D have in common.
type weighted struct {
	x, x2, weight, bias, out compute.Value
	epilogue                 compute.Epilogue
	matrix                   func(data []byte, t compute.DType) gemm.Matrix
	plan                     func(w *gemm.Weights) (product, error)
	spread                   int // times the one row of PerChannel must be repeated before the kernel reads it
}

// lowerWeighted packs the weights of op and lowers its plan.
func (c *compiler) lowerWeighted(op weighted) (lowered, error) {
	info := c.info(op.weight)
	if info.Kind != compute.ParamKind {
		return lowered{}, fmt.Errorf("a weight that is not a parameter: %w", compute.ErrUnsupported)
	}
	t, err := paramType(c.source, info)
	if err != nil {
		return lowered{}, err
	}
	m := op.matrix(nil, t.DType)
	form := "panels"
	if m.Pairs {
		form = "bfloat16 pairs"
	}
	weights := packing{
		key:  packKey{info.Name, form},
		size: c.kernel.PackedSize(m),
		fill: func(p *packed, data []byte, t compute.Type) error {
			w, err := c.kernel.Pack(p.bytes, op.matrix(data, t.DType))
			p.weights = w
			return err
		},
	}
	bias, err := c.vector(op.bias)
	if err != nil {
		return lowered{}, err
	}
	// Planning reads the shape of the weights only, so what the op needs is known before they are packed.
	shape := &gemm.Weights{N: m.N, K: m.K(), DType: t.DType, Pairs: m.Pairs, Kern: c.kernel}
	if m.Pairs {
		shape.DType = compute.BF16
	}
	planned, err := op.plan(shape)
	if err != nil {
		return lowered{}, err
	}
	l := lowered{packs: []packing{weights}, need: planned.Need()}
	if bias.size > 0 {
		l.packs = append(l.packs, bias)
	}
	rows := 0
	if op.spread > 1 {
		rows = op.spread * m.N
		l.need.Workspace += rows
	}
	l.bind = func(b *binding) (step, error) {
		plan, err := op.plan(b.packed(weights).weights)
		if err != nil {
			return step{}, err
		}
		spread, workspace := b.workspace.head(rows), b.workspace.tail(rows)
		x, x2, y := b.place(op.x), b.optional(op.x2), b.place(op.out)
		perChannel, residual := b.optional(op.epilogue.PerChannel), b.optional(op.epilogue.Residual)
		args := &gemm.Args{Bias: b.vectorOf(bias)}
		prepare := func() {
			args.X, args.X2, args.Y = x.f32(), x2.f32(), y.f32()
			args.PerChannel, args.Residual, args.Workspace = perChannel.f32(), residual.f32(), workspace.f32()
			if rows > 0 {
				one := args.PerChannel
				args.PerChannel = spread.f32()
				for i := 0; i < rows; i += len(one) {
					copy(args.PerChannel[i:], one)
				}
			}
		}
		return step{prepare, phases(plan, func(phase, task, worker int) {
			plan.Do(phase, task, b.device.scratch[worker], args)
		})}, nil
	}
	return l, nil
}

// phases turns a plan's phases into those of a step.
func phases(plan interface {
	Phases() int
	Tasks(phase int) int
}, do func(phase, task, worker int)) []phase {
	all := make([]phase, plan.Phases())
	for i := range all {
		all[i] = phase{plan.Tasks(i), func(task, worker int) { do(i, task, worker) }}
	}
	return all
}

// optional is the place of a value that may be absent.
func (b *binding) optional(v compute.Value) span {
	if !v.Valid() {
		return span{}
	}
	return b.place(v)
}

func (c *compiler) linear(op compute.Linear, out compute.Value) (lowered, error) {
	y, channels := c.program.Shape(out), 0
	if op.X2.Valid() {
		channels = c.program.Shape(op.X2).Last()
	}
	cfg := gemm.Config{M: y.Rows(), K2: channels, Act: c.elem.Activation(op.Epilogue.Activation), Workers: len(c.device.scratch)}
	if p := op.Epilogue.PerChannel; p.Valid() && c.program.Shape(p)[0] > 1 {
		cfg.RowsPerItem = y.Rows() / c.program.Shape(p)[0]
	}
	return c.lowerWeighted(weighted{
		x: op.X, x2: op.X2, weight: op.Weight, bias: op.Bias, out: out, epilogue: op.Epilogue,
		matrix: func(data []byte, t compute.DType) gemm.Matrix {
			w := c.program.Shape(op.Weight)
			m := gemm.Linear(data, t, w[0], w[1], false)
			m.Pairs = c.device.precision == BF16
			return m
		},
		plan: func(w *gemm.Weights) (product, error) { return gemm.NewPlan(w, cfg) },
	})
}

func (c *compiler) conv2D(op compute.Conv2D, out compute.Value) (lowered, error) {
	x, w := c.program.Shape(op.X), c.program.Shape(op.Weight)
	cfg := conv.Config{
		N: x[0], H: x[1], W: x[2], C1: x[3], C2: w[1] - x[3], Cout: w[0], KH: w[2], KW: w[3], Stride: op.Stride,
		PadTop: op.Pad.Top, PadLeft: op.Pad.Left, PadBottom: op.Pad.Bottom, PadRight: op.Pad.Right,
		ResizeH: op.Resize[0], ResizeW: op.Resize[1],
		PerChannel: op.Epilogue.PerChannel.Valid(),
		Act:        c.elem.Activation(op.Epilogue.Activation), Workers: len(c.device.scratch),
	}
	spread := 0
	if p := op.Epilogue.PerChannel; p.Valid() && c.program.Shape(p)[0] < x[0] {
		spread = x[0]
	}
	return c.lowerWeighted(weighted{
		x: op.X, x2: op.X2, weight: op.Weight, bias: op.Bias, out: out, epilogue: op.Epilogue, spread: spread,
		matrix: func(data []byte, t compute.DType) gemm.Matrix {
			return conv.Weights(data, t, w[0], w[1], w[2], w[3])
		},
		plan: func(w *gemm.Weights) (product, error) { return conv.NewPlan(w, cfg) },
	})
}

func (c *compiler) attention(op compute.Attention, out compute.Value) (lowered, error) {
	q, k := c.program.Shape(op.Q), c.program.Shape(op.K)
	plan, err := attn.New(c.device.set, attn.Config{
		N: q[0], T: q[1], S: k[1], Heads: op.Heads, D: q[2] / op.Heads, Causal: op.Causal, BF16: c.device.precision == BF16,
	})
	if err != nil {
		return lowered{}, err
	}
	need := plan.Need()
	return lowered{
		need: gemm.Need{Workspace: need.Workspace, Scratch: need.Scratch},
		bind: func(b *binding) (step, error) {
			q, k, v, y, workspace := b.place(op.Q), b.place(op.K), b.place(op.V), b.place(out), b.workspace
			args := new(attn.Args)
			prepare := func() {
				*args = attn.Args{Q: q.f32(), K: k.f32(), V: v.f32(), Out: y.f32(), Workspace: workspace.f32()}
			}
			return step{prepare, phases(plan, func(phase, task, worker int) {
				plan.Do(phase, task, b.device.scratch[worker].Floats, args)
			})}, nil
		},
	}, nil
}
