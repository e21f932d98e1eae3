package cpu

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
	"github.com/atelier-go/atelier/cpu/internal/kernel/norm"
)

func (c *compiler) groupNormGradient(op compute.GroupNormGradient, out []compute.Value) (lowered, error) {
	y, x := c.program.Shape(op.DY), c.program.Shape(op.X)
	group, err := norm.NewGroupGradient(c.device.set, norm.GroupConfig{
		N: y[0], Rows: y.Rows() / y[0], C1: x.Last(), C2: y.Last() - x.Last(), Groups: op.Groups, Eps: op.Eps,
	}, c.elem.Gradient(op.Activation))
	if err != nil {
		return lowered{}, err
	}
	weight, bias, err := c.affine(op.Weight, op.Bias)
	if err != nil {
		return lowered{}, err
	}
	return lowered{
		packs: []packing{weight, bias},
		need:  gemm.Need{Workspace: group.Workspace(), Scratch: group.Scratch()},
		bind: func(b *binding) (step, error) {
			x, x2, dy, add, workspace := b.place(op.X), b.optional(op.X2), b.place(op.DY), b.optional(op.Add), b.workspace
			dx, dx2 := b.place(out[0]), span{}
			if len(out) > 1 {
				dx2 = b.place(out[1])
			}
			args := new(norm.GroupGradientArgs)
			args.Weight, args.Bias = b.vectorOf(weight), b.vectorOf(bias)
			prepare := func() {
				args.X1, args.X2, args.DY, args.Add = x.f32(), x2.f32(), dy.f32(), add.f32()
				args.DX1, args.DX2, args.Workspace = dx.f32(), dx2.f32(), workspace.f32()
			}
			return step{prepare, phases(group, func(phase, task, worker int) {
				group.Do(phase, task, b.device.scratch[worker].Floats, args)
			})}, nil
		},
	}, nil
}

func (c *compiler) layerNormGradient(op compute.LayerNormGradient, out compute.Value) (lowered, error) {
	y := c.program.Shape(out)
	layer, err := norm.NewLayerGradient(c.device.set, norm.LayerConfig{Rows: y.Rows(), C: y.Last(), Eps: op.Eps})
	if err != nil {
		return lowered{}, err
	}
	weight, err := c.vector(op.Weight)
	if err != nil {
		return lowered{}, err
	}
	return lowered{packs: []packing{weight}, bind: func(b *binding) (step, error) {
		x, dy, add, dx := b.place(op.X), b.place(op.DY), b.optional(op.Add), b.place(out)
		args := &norm.LayerGradientArgs{Weight: b.vectorOf(weight)}
		prepare := func() { args.X, args.DY, args.Add, args.DX = x.f32(), dy.f32(), add.f32(), dx.f32() }
		return step{prepare, []phase{{layer.Tasks(), func(task, _ int) { layer.Do(task, args) }}}}, nil
	}}, nil
}
