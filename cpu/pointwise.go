package cpu

import (
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// grain is how many elements of a memory-bound op make a task: enough to hide the cost of taking it.
const grain = 16384

// each cuts n elements into tasks of the given size; only the last may be smaller.
func each(n, size int, do func(from, to int)) []phase {
	return []phase{{(n + size - 1) / size, func(task, _ int) { do(task*size, min((task+1)*size, n)) }}}
}

func (c *compiler) activate(op compute.Activate, out compute.Value) (lowered, error) {
	act := c.elem.Activation(op.Activation)
	return lowered{bind: func(b *binding) (step, error) {
		xs, ys := b.place(op.X), b.place(out)
		var x, y []float32
		prepare := func() { x, y = xs.f32(), ys.f32() }
		return step{prepare, each(ys.n, grain, func(from, to int) {
			if copy(y[from:to], x[from:to]); act != nil {
				act(y[from:to])
			}
		})}, nil
	}}, nil
}

func (c *compiler) geglu(op compute.GEGLU, out compute.Value) (lowered, error) {
	d := c.program.Shape(out).Last()
	return lowered{need: gemm.Need{Scratch: d}, bind: func(b *binding) (step, error) {
		xs, ys := b.place(op.X), b.place(out)
		var x, y []float32
		prepare := func() { x, y = xs.f32(), ys.f32() }
		all, some := ys.n/d, max(grain/d, 1)
		return step{prepare, []phase{{(all + some - 1) / some, func(task, worker int) {
			from := task * some
			rows := min(some, all-from)
			if !c.narrow[out.Index()] {
				c.elem.GEGLU(y[from*d:], x[from*2*d:], rows, d)
				return
			}
			row := b.device.scratch[worker].Floats[:d]
			for m := from; m < from+rows; m++ {
				c.elem.GEGLU(row, x[m*2*d:], 1, d)
				c.kernel.Narrow(y, m, row)
			}
		}}}}, nil
	}}, nil
}

func (c *compiler) add(op compute.Add, out compute.Value) (lowered, error) {
	return lowered{bind: func(b *binding) (step, error) {
		as, bs, ys := b.place(op.A), b.place(op.B), b.place(out)
		var p, q, y []float32
		prepare := func() { p, q, y = as.f32(), bs.f32(), ys.f32() }
		return step{prepare, each(ys.n, grain, func(from, to int) {
			c.elem.Add(y[from:to], p[from:to], q[from:to])
		})}, nil
	}}, nil
}

func (c *compiler) guidanceCombine(op compute.GuidanceCombine, out compute.Value) (lowered, error) {
	samples := c.program.Shape(out)[0]
	return lowered{bind: func(b *binding) (step, error) {
		xs, ws, likes, ys := b.place(op.X), b.place(op.Weights), b.optional(op.Like), b.place(out)
		var x, w, like, y []float32
		prepare := func() { x, w, like, y = xs.f32(), ws.f32(), likes.f32(), ys.f32() }
		phases := each(ys.n, grain, func(from, to int) {
			part := y[from:to]
			clear(part)
			for k, weight := range w {
				c.elem.AddScaled(part, x[k*len(y)+from:][:len(part)], weight)
			}
		})
		if op.Rescale > 0 {
			size := ys.n / samples
			phases = append(phases, phase{samples, func(n, _ int) { rescale(y[n*size:][:size], like[n*size:][:size], op.Rescale) }})
		}
		return step{prepare, phases}, nil
	}}, nil
}

// rescale multiplies y so that its deviation goes part of the way to that of like.
func rescale(y, like []float32, part float64) {
	have := deviation(y)
	if have == 0 {
		return
	}
	factor := float32(1 - part + part*deviation(like)/have)
	for i := range y {
		y[i] *= factor
	}
}

// deviation is the standard deviation.
func deviation(x []float32) float64 {
	mean, squares := 0.0, 0.0
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		squares += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(squares / float64(len(x)))
}

func (c *compiler) linearCombination(op compute.LinearCombination, out compute.Value) (lowered, error) {
	return lowered{bind: func(b *binding) (step, error) {
		ys, coefficients := b.place(out), b.place(op.Coefficients)
		places := make([]span, len(op.Terms))
		for i, v := range op.Terms {
			places[i] = b.place(v)
		}
		terms := make([][]float32, len(places))
		var y, row []float32
		prepare := func() {
			for i, p := range places {
				terms[i] = p.f32()
			}
			y, row = ys.f32(), coefficients.f32()[op.Row*len(terms):][:len(terms)]
		}
		return step{prepare, each(ys.n, grain, func(from, to int) {
			part := y[from:to]
			clear(part)
			for i, coefficient := range row {
				if coefficient != 0 { // such a term has no say, even where it is not finite
					c.elem.AddScaled(part, terms[i][from:to], coefficient)
				}
			}
		})}, nil
	}}, nil
}
