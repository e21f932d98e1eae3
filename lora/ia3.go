package lora

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// IA3 multiplies the outputs of a layer, or its inputs, by 1 + Factors. See Liu et al., "Few-Shot Parameter-Efficient
// Fine-Tuning" (arXiv:2205.05638).
type IA3 struct {
	Factors []float32 // one for each output, or input
	Inputs  bool      // Factors are of the inputs
}

// Algorithm implements Delta: "IA3".
func (a IA3) Algorithm() string { return "IA3" }

// Rank implements Delta: 0.
func (a IA3) Rank() int { return 0 }

// Add implements Delta.
func (a IA3) Add(out []float32, w Factor, strength float64, _ int) {
	step := w.Shape[1:].Elements()
	if a.Inputs {
		step = w.Shape[2:].Elements()
	}
	for i, v := range w.Data {
		out[i] += float32(strength) * a.Factors[i/step%len(a.Factors)] * v
	}
}

func (a IA3) fits(shape compute.Shape) bool {
	if a.Inputs {
		return len(shape) >= 2 && len(a.Factors) == shape[1]
	}
	return len(shape) >= 1 && len(a.Factors) == shape[0]
}

func (a IA3) isZero() bool { return zeros(a.Factors) }

func (a IA3) shapes() string { return fmt.Sprintf("factors are %d", len(a.Factors)) }

// readIA3 makes the change of LyCORIS' tensors.
func readIA3(_ Target, x *tensors) (Delta, error) {
	on := x.at[partOnInput]
	if len(on.Data) != 1 {
		return nil, x.notOne(partOnInput)
	}
	return IA3{x.at[partWeight].Data, on.Data[0] != 0}, nil
}

// readPEFTIA3 makes the change of PEFT's tensor, which is what is multiplied with: [out,1], [1,in] for inputs, or [1,n,1,1] of
// a convolution, for which the configuration tells.
func readPEFTIA3(t Target, x *tensors) (Delta, error) {
	l := x.at[partPeftIA3]
	a := IA3{Factors: make([]float32, len(l.Data))}
	for i, v := range l.Data {
		a.Factors[i] = v - 1
	}
	switch len(l.Shape) {
	case 2:
		a.Inputs = l.Shape[1] == t.Shape[1] && l.Shape[1] != 1
	case 4:
		a.Inputs = l.Shape[1] != t.Shape[0] || l.Shape[1] == t.Shape[1] && x.settings.isFeedForward(x.module)
	}
	return a, nil
}
