package cpu

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// losses are the operands that Loss and LossGradient share, and where they lie.
type losses struct {
	places                               [5]span
	prediction, target, weights, mask, c []float32
	samples, elements, channels          int // elements of one sample
	function                             compute.LossFunction
}

func (c *compiler) losses(b *binding, op compute.Loss) *losses {
	shape := c.program.Shape(op.Prediction)
	return &losses{
		places: [5]span{
			b.place(op.Prediction), b.place(op.Target), b.optional(op.Weights), b.optional(op.Mask), b.optional(op.C),
		},
		samples: shape[0], elements: shape.Elements() / shape[0], channels: shape.Last(), function: op.Function,
	}
}

// find looks the operands up.
func (l *losses) find() {
	p := &l.places
	l.prediction, l.target, l.weights, l.mask, l.c = p[0].f32(), p[1].f32(), p[2].f32(), p[3].f32(), p[4].f32()
}

// at is the loss of element i, its derivative by the prediction, and what both are multiplied by.
func (l *losses) at(i int) (loss, slope, weight float64) {
	n := i / l.elements
	weight = 1 / float64(l.samples*l.elements)
	if l.weights != nil {
		weight *= float64(l.weights[n])
	}
	if l.mask != nil {
		weight *= float64(l.mask[i/l.channels])
	}
	d := float64(l.prediction[i]) - float64(l.target[i])
	switch l.function {
	case compute.L1:
		if d != 0 {
			slope = math.Copysign(1, d)
		}
		return math.Abs(d), slope, weight
	case compute.Huber, compute.SmoothL1:
		c, factor := float64(l.c[n]), 2.0
		if l.function == compute.Huber {
			factor *= c
		}
		root := math.Hypot(d, c)
		if root != 0 {
			slope = factor * d / root
		}
		return factor * (root - c), slope, weight
	}
	return d * d, 2 * d, weight
}

// loss is a sum over a few thousand latents, one task in float64.
func (c *compiler) loss(op compute.Loss, out compute.Value) (lowered, error) {
	return lowered{bind: func(b *binding) (step, error) {
		l, ys := c.losses(b, op), b.place(out)
		return step{l.find, []phase{{1, func(int, int) {
			var sum float64
			for i := range l.prediction {
				loss, _, weight := l.at(i)
				sum += weight * loss
			}
			ys.f32()[0] = float32(sum)
		}}}}, nil
	}}, nil
}

func (c *compiler) lossGradient(op compute.LossGradient, out compute.Value) (lowered, error) {
	loss := compute.Loss{Prediction: op.Prediction, Target: op.Target, Weights: op.Weights, Mask: op.Mask, C: op.C, Function: op.Function}
	return lowered{bind: func(b *binding) (step, error) {
		l, dys, ys := c.losses(b, loss), b.place(op.DY), b.place(out)
		return step{l.find, each(ys.n, grain, func(from, to int) {
			y, dy := ys.f32(), float64(dys.f32()[0])
			for i := from; i < to; i++ {
				_, slope, weight := l.at(i)
				y[i] = float32(dy * weight * slope)
			}
		})}, nil
	}}, nil
}
