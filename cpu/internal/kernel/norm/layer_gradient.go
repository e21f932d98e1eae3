package norm

import (
	"fmt"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// LayerGradientArgs are the operands of one run. DX may be Add.
type LayerGradientArgs struct {
	X, DY, DX []float32 // [Rows,C]
	Add       []float32 // [Rows,C], added to DX, or nil
	Weight    []float32 // [C]
}

// LayerGradient is the derivative of a [Layer] by its input. With x̂ = (x-μ)/s and d = DY·Weight,
//
//	dx = (d - mean(d) - x̂·mean(d·x̂))/s
//
// with means over a row, in float64: dx may be far smaller than its terms. It is run like a Layer.
type LayerGradient struct {
	cfg  LayerConfig
	kern *kernels
	rows int // rows in a task
}

// NewLayerGradient checks cfg and lays out the work for a kernel set.
func NewLayerGradient(set isa.Set, cfg LayerConfig) (*LayerGradient, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &LayerGradient{cfg, kernelsFor(set), max(1, chunkElems/cfg.C)}, nil
}

// Tasks is the number of independent tasks.
func (l *LayerGradient) Tasks() int { return (l.cfg.Rows + l.rows - 1) / l.rows }

// Check reports operands too short for the plan. Do relies on a caller that has checked.
func (l *LayerGradient) Check(a *LayerGradientArgs) error {
	n := l.cfg.Rows * l.cfg.C
	for _, o := range []struct {
		name       string
		have, want int
	}{{"X", len(a.X), n}, {"DY", len(a.DY), n}, {"DX", len(a.DX), n}, {"Weight", len(a.Weight), l.cfg.C}} {
		if o.have < o.want {
			return fmt.Errorf("norm: %s has %d elements: want %d", o.name, o.have, o.want)
		}
	}
	if a.Add != nil && len(a.Add) < n {
		return fmt.Errorf("norm: Add has %d elements: want %d", len(a.Add), n)
	}
	return nil
}

// Do runs one task. The args must pass Check.
func (l *LayerGradient) Do(task int, a *LayerGradientArgs) {
	c := l.cfg.C
	for r := task * l.rows; r < min((task+1)*l.rows, l.cfg.Rows); r++ {
		var add []float32
		if a.Add != nil {
			add = a.Add[r*c:][:c]
		}
		l.kern.layerGradient(a.DX[r*c:][:c], a.X[r*c:][:c], a.DY[r*c:][:c], add, a.Weight[:c], l.cfg.Eps)
	}
}
