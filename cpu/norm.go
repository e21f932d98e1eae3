package cpu

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
	"github.com/atelier-go/atelier/cpu/internal/kernel/norm"
)

func (c *compiler) groupNorm(op compute.GroupNorm, out compute.Value) (lowered, error) {
	y, x := c.program.Shape(out), c.program.Shape(op.X)
	group, err := norm.NewGroup(c.device.set, norm.GroupConfig{
		N: y[0], Rows: y.Rows() / y[0], C1: x.Last(), C2: y.Last() - x.Last(),
		Groups: op.Groups, Eps: op.Eps, Act: c.elem.Activation(op.Activation),
	})
	if err != nil {
		return lowered{}, err
	}
	weight, bias, err := c.affine(op.Weight, op.Bias)
	if err != nil {
		return lowered{}, err
	}
	return lowered{
		packs: []packing{weight, bias},
		need:  gemm.Need{Workspace: group.Workspace()},
		bind: func(b *binding) (step, error) {
			x, x2, y, workspace := b.place(op.X), b.optional(op.X2), b.place(out), b.workspace
			args := &norm.GroupArgs{Weight: b.vectorOf(weight), Bias: b.vectorOf(bias)}
			prepare := func() {
				args.X1, args.X2, args.Out, args.Workspace = x.f32(), x2.f32(), y.f32(), workspace.f32()
			}
			return step{prepare, phases(group, func(phase, task, _ int) { group.Do(phase, task, args) })}, nil
		},
	}, nil
}

func (c *compiler) layerNorm(op compute.LayerNorm, out compute.Value) (lowered, error) {
	y := c.program.Shape(out)
	layer, err := norm.NewLayer(c.device.set, norm.LayerConfig{Rows: y.Rows(), C: y.Last(), Eps: op.Eps})
	if err != nil {
		return lowered{}, err
	}
	weight, bias, err := c.affine(op.Weight, op.Bias)
	if err != nil {
		return lowered{}, err
	}
	return lowered{packs: []packing{weight, bias}, need: gemm.Need{Scratch: y.Last()}, bind: func(b *binding) (step, error) {
		x, place := b.place(op.X), b.place(out)
		args := &norm.LayerArgs{Weight: b.vectorOf(weight), Bias: b.vectorOf(bias)}
		prepare := func() { args.X, args.Out = x.f32(), place.f32() }
		do := func(task, _ int) { layer.Do(task, args) }
		if c.narrow[out.Index()] {
			do = func(task, worker int) {
				row := b.device.scratch[worker].Floats[:y.Last()]
				first, rows := layer.Rows(task)
				for m := first; m < first+rows; m++ {
					layer.Into(row, m, 1, args)
					c.kernel.Narrow(args.Out, m, row)
				}
			}
		}
		return step{prepare, []phase{{layer.Tasks(), do}}}, nil
	}}, nil
}

// affine is the packing of a norm's scale and shift.
func (c *compiler) affine(weight, bias compute.Value) (w, b packing, err error) {
	if w, err = c.vector(weight); err != nil {
		return w, b, err
	}
	b, err = c.vector(bias)
	return w, b, err
}
