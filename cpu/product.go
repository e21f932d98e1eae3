package cpu

import (
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

// weighted is what Linear, Conv2D and their gradients have in common.
type weighted struct {
	x, x2, weight, bias, out compute.Value
	epilogue                 compute.Epilogue
	adjoint                  channels // channels of the input, whose gradient is made by the same weights turned over; zero for the product itself
	matrix                   func(data []byte, t compute.DType) gemm.Matrix
	plan                     func(w *gemm.Weights) (product, error)
	spread                   int // times the one row of PerChannel must be repeated before the kernel reads it
}

// channels are count of an op's input channels, from first on.
type channels struct{ first, count int }

// weights are those of an op: a parameter to be packed, or a value.
type weights struct {
	packing packing
	value   compute.Value // where there is no packing
	adjoint channels      // that packed weights are turned over for; zero for the product itself
	shape   *gemm.Weights // all that planning reads: what an op needs is known before its weights are packed
}

// weightsOf chooses the form in which op reads its weights.
func (c *compiler) weightsOf(op weighted) (weights, error) {
	info := c.info(op.weight)
	if info.Kind != compute.ParamKind {
		m := op.matrix(nil, compute.F32)
		if op.adjoint.count > 0 {
			m = m.Adjoint(op.adjoint.first, op.adjoint.count)
		}
		return weights{value: op.weight, shape: c.kernel.Live(m.N, m.K(), m.Gather(c.kernel.NR, 1))}, nil
	}
	t, err := paramType(c.source, info)
	if err != nil {
		return weights{}, err
	}
	m := op.matrix(nil, t.DType)
	form := "panels"
	if m.Pairs {
		form = "bfloat16 pairs"
	}
	w := c.kernel.Weights(m)
	shape, err := op.adjoint.of(w)
	return weights{
		packing: packing{
			key:  packKey{info.Name, form},
			size: c.kernel.PackedSize(m),
			rows: c.kernel.NR,
			fill: func(dst, data []byte, spare []float32) error {
				rows := len(data) / (m.StrideN * t.DType.Size())
				return c.kernel.PackInto(dst, m.Rows(data, rows), spare)
			},
			view: func(bytes []byte) *packed { return &packed{weights: w.With(bytes)} },
		},
		adjoint: op.adjoint,
		shape:   shape,
	}, err
}

// of returns w, or its adjoint where there are channels.
func (c channels) of(w *gemm.Weights) (*gemm.Weights, error) {
	if c.count == 0 {
		return w, nil
	}
	return w.Adjoint(c.first, c.count)
}

// weightsOf is the packed form of w, or, where that is a value, its place.
func (b *binding) weightsOf(w weights) (*gemm.Weights, span, error) {
	if w.value.Valid() {
		return w.shape, b.place(w.value), nil
	}
	packed, err := w.adjoint.of(b.packed(w.packing).weights)
	return packed, span{}, err
}

// lowerWeighted packs the weights of op and lowers its plan.
func (c *compiler) lowerWeighted(op weighted) (lowered, error) {
	weights, err := c.weightsOf(op)
	if err != nil {
		return lowered{}, err
	}
	bias, err := c.vector(op.bias)
	if err != nil {
		return lowered{}, err
	}
	planned, err := op.plan(weights.shape)
	if err != nil {
		return lowered{}, err
	}
	l := lowered{need: planned.Need()}
	if weights.packing.size > 0 {
		l.packs = append(l.packs, weights.packing)
	}
	if bias.size > 0 {
		l.packs = append(l.packs, bias)
	}
	rows := 0
	if op.spread > 1 {
		rows = op.spread * weights.shape.N
		l.need.Workspace += rows
	}
	l.bind = func(b *binding) (step, error) {
		packed, values, err := b.weightsOf(weights)
		if err != nil {
			return step{}, err
		}
		plan, err := op.plan(packed)
		if err != nil {
			return step{}, err
		}
		spread, workspace := b.workspace.head(rows), b.workspace.tail(rows)
		x, x2, y := b.place(op.x), b.optional(op.x2), b.place(op.out)
		perChannel, residual := b.optional(op.epilogue.PerChannel), b.optional(op.epilogue.Residual)
		args := &gemm.Args{Bias: b.vectorOf(bias)}
		prepare := func() {
			args.X, args.X2, args.W, args.Y = x.f32(), x2.f32(), values.f32(), y.f32()
			args.PerChannel, args.Residual, args.Workspace = perChannel.f32(), residual.f32(), workspace.f32()
		}
		all := phases(plan, func(phase, task, worker int) {
			plan.Do(phase, task, b.device.scratch[worker], args)
		})
		if rows > 0 {
			all = append([]phase{{1, func(int, int) {
				one := args.PerChannel
				args.PerChannel = spread.f32()
				for i := 0; i < rows; i += len(one) {
					copy(args.PerChannel[i:], one)
				}
			}}}, all...)
		}
		return step{prepare, all}, nil
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
	cfg := gemm.Config{
		M: y.Rows(), K2: channels, Act: c.elem.Activation(op.Epilogue.Activation), Workers: len(c.device.scratch), Narrowed: c.narrow[op.X.Index()],
	}
	if p := op.Epilogue.PerChannel; p.Valid() && c.program.Shape(p)[0] > 1 {
		cfg.RowsPerItem = y.Rows() / c.program.Shape(p)[0]
	}
	return c.lowerWeighted(weighted{
		x: op.X, x2: op.X2, weight: op.Weight, bias: op.Bias, out: out, epilogue: op.Epilogue,
		matrix: func(data []byte, t compute.DType) gemm.Matrix {
			w := c.program.Shape(op.Weight)
			m := gemm.Linear(data, t, w[0], w[1])
			m.Pairs = c.pairs(op.Weight)
			return m
		},
		plan: func(w *gemm.Weights) (product, error) { return gemm.NewPlan(w, cfg) },
	})
}

// pairs reports whether the products of a linear layer with this weight are of bfloat16.
func (c *compiler) pairs(weight compute.Value) bool {
	return c.device.precision == compute.PrecisionBF16 && c.info(weight).Kind == compute.ParamKind
}

func (c *compiler) conv2D(op compute.Conv2D, out compute.Value) (lowered, error) {
	x, w := c.program.Shape(op.X), c.program.Shape(op.Weight)
	cfg := c.convolution(x, w, op.Stride, op.Pad, op.Resize)
	cfg.PerChannel, cfg.Act = op.Epilogue.PerChannel.Valid(), c.elem.Activation(op.Epilogue.Activation)
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

// convolution describes the convolution of x, or of x and a second input with the other channels of the weight w.
func (c *compiler) convolution(x, w compute.Shape, stride int, pad compute.Padding, resize [2]int) conv.Config {
	return conv.Config{
		N: x[0], H: x[1], W: x[2], C1: x[3], C2: w[1] - x[3], Cout: w[0], KH: w[2], KW: w[3], Stride: stride,
		PadTop: pad.Top, PadLeft: pad.Left, PadBottom: pad.Bottom, PadRight: pad.Right, ResizeH: resize[0], ResizeW: resize[1],
		Workers: len(c.device.scratch), Fixed: c.device.precision == compute.PrecisionBF16,
	}
}

func (c *compiler) attention(op compute.Attention, out compute.Value) (lowered, error) {
	q, k := c.program.Shape(op.Q), c.program.Shape(op.K)
	cfg := attn.Config{N: q[0], T: q[1], S: k[1], Heads: op.Heads, D: q[2] / op.Heads, Causal: op.Causal, BF16: c.roundsAttention()}
	if cfg.Narrow = c.narrow[out.Index()]; cfg.Narrow {
		cfg.StrideOut = gemm.NarrowStride(q[2])
	}
	plan, err := attn.New(c.device.set, cfg)
	if err != nil {
		return lowered{}, err
	}
	need := plan.Need()
	return lowered{
		need: gemm.Need{Workspace: need.Workspace, Scratch: need.Scratch},
		bind: func(b *binding) (step, error) {
			q, k, v, y, workspace := b.place(op.Q), b.place(op.K), b.place(op.V), b.place(out), b.workspace
			lse, args := b.statistics(out), new(attn.Args)
			prepare := func() {
				*args = attn.Args{Q: q.f32(), K: k.f32(), V: v.f32(), Out: y.f32(), LSE: lse.f32(), Workspace: workspace.f32()}
			}
			return step{prepare, phases(plan, func(phase, task, worker int) {
				plan.Do(phase, task, b.device.scratch[worker].Floats, args)
			})}, nil
		},
	}, nil
}
