package lora

import (
	"fmt"
	"math"

	"github.com/atelier-go/atelier/compute"
)

// DoRA changes the direction of a weight as another delta does, and sets the length of its rows, or of what each input is
// multiplied with, to Magnitude. See Liu et al., "DoRA" (arXiv:2402.09353).
type DoRA struct {
	Delta
	Magnitude []float32 // the lengths, one for each output, or input
	Inputs    bool      // one length for each input rather than for each output
}

// Algorithm implements Delta: "DoRA", with the other's name if that is not LoRA.
func (d DoRA) Algorithm() string {
	if other := d.Delta.Algorithm(); other != "LoRA" {
		return "DoRA of " + other
	}
	return "DoRA"
}

// Add implements Delta.
func (d DoRA) Add(out []float32, w Factor, strength float64, ranks int) {
	turned := append([]float32(nil), w.Data...)
	d.Delta.Add(turned, w, 1, ranks)
	index := d.index(w.Shape)
	squares := make([]float64, len(d.Magnitude))
	for i, v := range turned {
		squares[index(i)] += float64(v) * float64(v)
	}
	scales := make([]float32, len(d.Magnitude))
	for i, m := range d.Magnitude {
		if squares[i] > 0 { // a row of zeros has no direction
			scales[i] = m / float32(math.Sqrt(squares[i]))
		}
	}
	for i, v := range turned {
		out[i] += float32(strength) * (v*scales[index(i)] - w.Data[i])
	}
}

// index tells of an element's place in a weight the length it belongs to.
func (d DoRA) index(shape compute.Shape) func(at int) int {
	row := shape[1:].Elements()
	if !d.Inputs {
		return func(at int) int { return at / row }
	}
	area := shape[2:].Elements()
	return func(at int) int { return at % row / area }
}

func (d DoRA) fits(shape compute.Shape) bool {
	if len(shape) < 2 || !d.Delta.fits(shape) {
		return false
	}
	if d.Inputs {
		return len(d.Magnitude) == shape[1]
	}
	return len(d.Magnitude) == shape[0]
}

func (d DoRA) isZero() bool { return false }

func (d DoRA) shapes() string {
	return fmt.Sprintf("%s with %d magnitudes", d.Delta.shapes(), len(d.Magnitude))
}

// withMagnitude makes a DoRA of a module's delta if the module has magnitudes: [out,1,…] or [1,in,…] of LyCORIS, or PEFT's,
// which are always of outputs.
func withMagnitude(d Delta, x *tensors) Delta {
	if m, ok := x.at[partMagnitude]; ok {
		return DoRA{d, m.Data, len(m.Shape) >= 2 && m.Shape[0] == 1 && m.Shape[1] != 1}
	}
	if m, ok := x.at[partPeftNorm]; ok {
		return DoRA{d, m.Data, false}
	}
	return d
}
