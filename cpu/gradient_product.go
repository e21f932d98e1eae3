package cpu

import (
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/conv"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

func (c *compiler) matMul(op compute.MatMul, out compute.Value) (lowered, error) {
	a, y := c.program.Shape(op.A), c.program.Shape(out)
	cfg := gemm.MatMulConfig{
		M: y.Rows(), N: y.Last(), K: a.Last(), TransposeA: op.TransposeA, TransposeB: op.TransposeB,
		Scale: float32(op.Scale), Workers: len(c.device.scratch),
	}
	if op.TransposeA {
		cfg.K = a.Rows()
	}
	if op.Scale == 0 {
		cfg.Scale = 1
	}
	plan, err := gemm.NewMatMul(c.kernel, cfg)
	if err != nil {
		return lowered{}, err
	}
	return ofValues(plan, op.A, compute.Value{}, op.B, op.Add, out), nil
}

// ofValues runs a plan whose operands are all values: X, X2, W, Residual and Y of its arguments.
func ofValues(plan product, x, x2, w, residual, out compute.Value) lowered {
	return lowered{need: plan.Need(), bind: func(b *binding) (step, error) {
		x, x2, w, residual, y, workspace := b.place(x), b.optional(x2), b.place(w), b.optional(residual), b.place(out), b.workspace
		args := new(gemm.Args)
		prepare := func() {
			*args = gemm.Args{X: x.f32(), X2: x2.f32(), W: w.f32(), Residual: residual.f32(), Y: y.f32(), Workspace: workspace.f32()}
		}
		return step{prepare, phases(plan, func(phase, task, worker int) {
			plan.Do(phase, task, b.device.scratch[worker], args)
		})}, nil
	}}
}

func (c *compiler) linearInputGradient(op compute.LinearInputGradient, out compute.Value) (lowered, error) {
	w := c.program.Shape(op.Weight)
	cfg := gemm.Config{M: c.program.Shape(out).Rows(), Workers: len(c.device.scratch)}
	return c.lowerWeighted(weighted{
		x: op.DY, weight: op.Weight, out: out, epilogue: compute.Epilogue{Residual: op.Add},
		adjoint: channels{op.First, op.Channels},
		matrix: func(data []byte, t compute.DType) gemm.Matrix {
			m := gemm.Linear(data, t, w[0], w[1])
			m.Pairs = c.pairs(op.Weight)
			return m
		},
		plan: func(w *gemm.Weights) (product, error) { return gemm.NewPlan(w, cfg) },
	})
}

// conv2DInputGradient hands the forward convolution to the plan of its adjoint. A sum over the pixels that a resize
// copied follows in the plan.
func (c *compiler) conv2DInputGradient(op compute.Conv2DInputGradient, out compute.Value) (lowered, error) {
	y, w := c.program.Shape(out), c.program.Shape(op.Weight)
	forward := c.convolution(compute.Shape{y[0], op.Height, op.Width, w[1]}, w, op.Stride, op.Pad, op.Resize)
	return c.lowerWeighted(weighted{
		x: op.DY, weight: op.Weight, out: out, epilogue: compute.Epilogue{Residual: op.Add},
		adjoint: channels{op.First, op.Channels},
		matrix: func(data []byte, t compute.DType) gemm.Matrix {
			return conv.Weights(data, t, w[0], w[1], w[2], w[3])
		},
		plan: func(w *gemm.Weights) (product, error) { return conv.NewAdjoint(w, forward) },
	})
}

func (c *compiler) conv2DWeightGradient(op compute.Conv2DWeightGradient, out compute.Value) (lowered, error) {
	x := c.program.Shape(op.X)
	cfg := c.convolution(x, c.program.Shape(out), op.Stride, op.Pad, op.Resize)
	plan, err := conv.NewWeightGradient(c.kernel, cfg)
	if err != nil {
		return lowered{}, err
	}
	return ofValues(plan, op.X, op.X2, op.DY, op.Add, out), nil
}
