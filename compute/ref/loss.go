package ref

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// losses are the operands of Loss and LossGradient.
type losses[T number] struct {
	prediction, target, weights, mask, c []T
	samples, elements, channels          int // elements of one sample
	function                             compute.LossFunction
}

func (f *frame[T]) losses(op compute.Loss) losses[T] {
	shape := f.shape(op.Prediction)
	return losses[T]{
		f.value(op.Prediction), f.value(op.Target), f.optional(op.Weights), f.optional(op.Mask), f.optional(op.C),
		shape[0], shape.Elements() / shape[0], shape.Last(), op.Function,
	}
}

// at is the loss of element i, its derivative by the prediction, and what both are multiplied by.
func (l losses[T]) at(i int) (loss, slope, weight float64) {
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
		c := float64(l.c[n])
		root, factor := math.Sqrt(d*d+c*c), 2.0
		if l.function == compute.Huber {
			factor *= c
		}
		if root != 0 {
			slope = factor * d / root
		}
		return factor * (root - c), slope, weight
	}
	return d * d, 2 * d, weight
}

func (f *frame[T]) loss(op compute.Loss, y compute.Value) {
	l := f.losses(op)
	var sum float64
	for i := range l.prediction {
		loss, _, weight := l.at(i)
		sum += weight * loss
	}
	f.value(y)[0] = T(sum)
}

func (f *frame[T]) lossGradient(op compute.LossGradient, y compute.Value) {
	l := f.losses(compute.Loss{Prediction: op.Prediction, Target: op.Target, Weights: op.Weights, Mask: op.Mask, C: op.C, Function: op.Function})
	out, dy := f.value(y), float64(f.value(op.DY)[0])
	for i := range out {
		_, slope, weight := l.at(i)
		out[i] = T(dy * weight * slope)
	}
}
