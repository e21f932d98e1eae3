package cpu

import "github.com/atelier-go/atelier/compute"

func (c *compiler) fill(op compute.Fill, out compute.Value) (lowered, error) {
	return lowered{bind: func(b *binding) (step, error) {
		ys, value := b.place(out), float32(op.Value)
		var y []float32
		prepare := func() { y = ys.f32() }
		return step{prepare, each(ys.n, grain, func(from, to int) {
			if op.Values != nil {
				copy(y[from:to], op.Values[from:to])
				return
			}
			for i := range y[from:to] {
				y[from+i] = value
			}
		})}, nil
	}}, nil
}

func (c *compiler) slice(op compute.Slice, out compute.Value) (lowered, error) {
	shape := c.program.Shape(op.X)
	inner := shape[op.Axis+1:].Elements()
	first, length, all := op.Start*inner, op.Length*inner, shape[op.Axis]*inner
	return lowered{bind: func(b *binding) (step, error) {
		xs, ys := b.place(op.X), b.place(out)
		var x, y []float32 // ids too: they are only copied
		prepare := func() { x, y = xs.f32(), ys.f32() }
		return step{prepare, each(ys.n/length, max(grain/length, 1), func(from, to int) {
			for i := from; i < to; i++ {
				copy(y[i*length:][:length], x[i*all+first:])
			}
		})}, nil
	}}, nil
}

// scale multiplies samples, in stretches that never cross two of them.
func (c *compiler) scale(op compute.Scale, out compute.Value) (lowered, error) {
	factors := c.program.Shape(op.Factors)
	return lowered{bind: func(b *binding) (step, error) {
		xs, fs, ys := b.place(op.X), b.place(op.Factors), b.place(out)
		sample := ys.n / c.program.Shape(out)[0]
		parts := (sample + grain - 1) / grain
		var x, f, y []float32
		prepare := func() { x, f, y = xs.f32(), fs.f32(), ys.f32() }
		return step{prepare, []phase{{ys.n / sample * parts, func(task, _ int) {
			n, from := task/parts, task%parts*grain
			at, size := n*sample+from, min(grain, sample-from)
			scaled(y[at:][:size], x[at:], f[n%factors[0]*factors[1]+op.Column])
		}}}}, nil
	}}, nil
}

// scaled is y = factor·x over len(y) elements, 0 where the factor is.
func scaled(y, x []float32, factor float32) {
	if factor == 0 {
		clear(y)
		return
	}
	for i, v := range x[:len(y)] {
		y[i] = factor * v
	}
}

func (c *compiler) multiply(op compute.Multiply, out compute.Value) (lowered, error) {
	channels := c.program.Shape(out).Last()
	return lowered{bind: func(b *binding) (step, error) {
		xs, fs, ys := b.place(op.X), b.place(op.Factors), b.place(out)
		repeats := ys.n / fs.n // rows that share a row of factors
		var x, f, y []float32
		prepare := func() { x, f, y = xs.f32(), fs.f32(), ys.f32() }
		return step{prepare, each(ys.n/channels, max(grain/channels, 1), func(from, to int) {
			for r := from; r < to; r++ {
				row := y[r*channels:][:channels]
				for i, factor := range f[r/repeats*channels:][:channels] {
					v := factor * x[r*channels+i]
					if factor == 0 {
						v = 0
					}
					row[i] = v
				}
			}
		})}, nil
	}}, nil
}
