package cpu

import "github.com/atelier-go/atelier/compute"

func (c *compiler) activateGradient(op compute.ActivateGradient, out compute.Value) (lowered, error) {
	gradient := c.elem.Gradient(op.Activation)
	return lowered{bind: func(b *binding) (step, error) {
		xs, dys, ys := b.place(op.X), b.place(op.DY), b.place(out)
		var x, dy, y []float32
		prepare := func() { x, dy, y = xs.f32(), dys.f32(), ys.f32() }
		return step{prepare, each(ys.n, grain, func(from, to int) {
			if gradient == nil {
				copy(y[from:to], dy[from:to])
				return
			}
			gradient(y[from:to], x[from:to], dy[from:to])
		})}, nil
	}}, nil
}

func (c *compiler) gegluGradient(op compute.GEGLUGradient, out compute.Value) (lowered, error) {
	return lowered{bind: func(b *binding) (step, error) {
		xs, dys, ys, d := b.place(op.X), b.place(op.DY), b.place(out), c.program.Shape(op.DY).Last()
		var x, dy, y []float32
		prepare := func() { x, dy, y = xs.f32(), dys.f32(), ys.f32() }
		return step{prepare, each(dys.n/d, max(grain/d, 1), func(from, to int) {
			c.elem.GEGLUGradient(y[from*2*d:to*2*d], x[from*2*d:to*2*d], dy[from*d:to*d], to-from, d)
		})}, nil
	}}, nil
}

// sumColumns is how many columns one task adds up: a cache line of each row and more.
const sumColumns = 64

func (c *compiler) sumPositions(op compute.SumPositions, out compute.Value) (lowered, error) {
	y, rows := c.program.Shape(out), c.program.Shape(op.X).Rows()
	samples, channels := y[0], y[1]
	rows /= samples
	blocks := (channels + sumColumns - 1) / sumColumns
	return lowered{bind: func(b *binding) (step, error) {
		xs, ys := b.place(op.X), b.place(out)
		var x, y []float32
		prepare := func() { x, y = xs.f32(), ys.f32() }
		return step{prepare, []phase{{samples * blocks, func(task, _ int) {
			n, from := task/blocks, task%blocks*sumColumns
			var sums [sumColumns]float64
			sum := sums[:min(sumColumns, channels-from)]
			for r := range rows {
				for i, v := range x[(n*rows+r)*channels+from:][:len(sum)] {
					sum[i] += float64(v)
				}
			}
			for i, v := range sum {
				y[n*channels+from+i] = float32(v)
			}
		}}}}, nil
	}}, nil
}
