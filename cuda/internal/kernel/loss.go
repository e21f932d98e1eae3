package kernel

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cuda/internal/ptx"
)

// Loss is compute.Loss, and its gradient by the prediction. All arrays are float32.
type Loss struct {
	Function      compute.LossFunction
	Weights, Mask bool
}

// lossTerms are the operands of a loss while its kernel is written.
type lossTerms struct {
	*ptx.Kernel
	Loss
	prediction, target, weights, mask, c array
	elements, sample, channels           ptx.Int
}

// declareTerms declares prediction, target, the number of elements, those of a sample, channels, then what the loss has of weights, mask and c.
func (l Loss) declareTerms(k *ptx.Kernel) lossTerms {
	e := lossTerms{Kernel: k, Loss: l, prediction: declare(k, "prediction", compute.F32), target: declare(k, "target", compute.F32)}
	e.elements, e.sample, e.channels = k.Uint("elements"), k.Uint("sample"), k.Uint("channels")
	if l.Weights {
		e.weights = declare(k, "weights", compute.F32)
	}
	if l.Mask {
		e.mask = declare(k, "mask", compute.F32)
	}
	if l.Function == compute.Huber || l.Function == compute.SmoothL1 {
		e.c = declare(k, "c", compute.F32)
	}
	return e
}

func (l Loss) name(what string) string {
	return fmt.Sprintf("%s_%v_%t_%t", what, l.Function, l.Weights, l.Mask)
}

// at is the loss of an element, its derivative, and what both are multiplied with.
func (e lossTerms) at(i ptx.Int) (loss, slope, weight ptx.Float) {
	n := i.Over(e.sample)
	weight = e.Float(1.0).Over(e.elements.Float())
	if e.Weights {
		weight = weight.Times(e.weights.load(n, 1)[0])
	}
	if e.Mask {
		weight = weight.Times(e.mask.load(i.Over(e.channels), 1)[0])
	}
	d := e.prediction.load(i, 1)[0].Minus(e.target.load(i, 1)[0])
	switch e.Function {
	case compute.L1:
		return d.Magnitude(), d.Equal(0.0).ChooseFloat(0.0, e.Float(1.0).Signed(d)), weight
	case compute.L2:
		return d.Times(d), d.Times(2.0), weight
	}
	c := e.c.load(n, 1)[0]
	root, factor := d.TimesPlus(d, c.Times(c)).Root(), e.Float(2.0)
	if e.Function == compute.Huber {
		factor = c.Times(2.0)
	}
	// √(d²+c²) - c without cancellation
	excess := d.Times(d).Over(root.Plus(c))
	none := root.Equal(0.0)
	return none.ChooseFloat(0.0, factor.Times(excess)), none.ChooseFloat(0.0, factor.Times(d).Over(root)), weight
}

// Kernel has the parameters loss, then prediction, target, the number of elements, those of a sample, channels, and what the loss has of
// weights, mask and c. It is launched with one block and LossShared bytes.
func (l Loss) Kernel() *ptx.Kernel {
	k := ptx.New(l.name("loss"), normThreads)
	y := k.Pointer("loss")
	e := l.declareTerms(k)
	sum := k.Float(0.0)
	k.For(k.Thread(), e.elements, normThreads, func(i ptx.Int) {
		loss, _, weight := e.at(i)
		sum.AddProduct(loss, weight)
	})
	total := blockSum(k, sum, 0)
	k.If(k.Thread().Equal(0), func() { k.StoreFloats(y, 0, total) })
	return k
}

// LossShared is the bytes of shared memory that the loss needs.
const LossShared = normThreads / 32 * 4

// Gradient has the parameters y, the loss's gradient, and those of the loss from prediction on. Its grid is [OneGrid].
func (l Loss) Gradient() *ptx.Kernel {
	k := ptx.New(l.name("loss_gradient"), elementThreads)
	y, dy := declare(k, "y", compute.F32), k.Pointer("dy")
	e := l.declareTerms(k)
	one(k, e.elements, func(at ptx.Int) {
		_, slope, weight := e.at(at)
		y.store(at, []ptx.Float{k.LoadFloats(dy, 0, 1)[0].Times(weight).Times(slope)})
	})
	return k
}
