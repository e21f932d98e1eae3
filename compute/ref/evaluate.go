package ref

import (
	"context"
	"fmt"
	"slices"

	"github.com/atelier-go/atelier/compute"
)

// Evaluate runs a program once with every value kept in float64 and returns its outputs. It is how derivatives are
// checked: differences of a function that is rounded to float32 drown in the rounding.
//
// Inputs come in the order of the program's, []float64 for float types and []int32 for I32, row-major; outputs likewise.
// Parameters are what src stores. Errors are those of compiling and running on a [Device].
func Evaluate(p *compute.Program, src compute.ParamSource, inputs ...any) ([]any, error) {
	kernels, err := kernels[float64](p)
	if err != nil {
		return nil, err
	}
	f := &frame[float64]{program: p, layout: compute.Plan(p, nil), weights: make(map[int][]float64)}
	f.arena, f.words = make([]float64, f.layout.Size/4), make([]int32, f.layout.Size/4)
	f.poison()
	params := &params{source: src, widened: make(map[string][]float32)}
	for _, v := range p.Params {
		stored, err := params.get(p.Values[v.Index()])
		if err != nil {
			return nil, err
		}
		w := make([]float64, len(stored))
		for i, x := range stored {
			w[i] = float64(x)
		}
		f.weights[v.Index()] = w
	}

	if len(inputs) != len(p.Inputs) {
		return nil, fmt.Errorf("ref: evaluate: have %d inputs, the program wants %d", len(inputs), len(p.Inputs))
	}
	for i, v := range p.Inputs {
		n := p.Shape(v).Elements()
		switch in := inputs[i].(type) {
		case []float64:
			if !f.isIDs(v) && len(in) == n {
				copy(f.value(v), in)
				continue
			}
		case []int32:
			if f.isIDs(v) && len(in) == n {
				copy(f.ids(v), in)
				continue
			}
		}
		return nil, fmt.Errorf("ref: evaluate: input %d is %T, the program wants the elements of %v", i, inputs[i], p.Type(v))
	}
	if err := f.run(context.Background(), kernels); err != nil {
		return nil, err
	}
	outputs := make([]any, len(p.Outputs))
	for i, v := range p.Outputs {
		if f.isIDs(v) {
			outputs[i] = slices.Clone(f.ids(v))
		} else {
			outputs[i] = slices.Clone(f.value(v))
		}
	}
	return outputs, nil
}
