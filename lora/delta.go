package lora

import (
	"slices"

	"github.com/atelier-go/atelier/compute"
)

// Factor is one of the small tensors of a module.
type Factor struct {
	Shape compute.Shape
	Data  []float32 // row-major
}

// Module is what an adapter changes of one parameter.
type Module struct {
	Target
	Delta
}

// Complete reports whether the delta has as many numbers as its shapes say, and fits the parameter.
func (m *Module) Complete() bool { return m.Delta != nil && m.fits(m.Shape) }

// Delta is the change that an adapter makes of one parameter. [LowRank] is the usual one. All implementations are this
// package's.
type Delta interface {
	// Algorithm names the kind as its authors do: "LoRA", "LoHa", …
	Algorithm() string
	// Rank is the number of rows of the factors, 0 for kinds that have none.
	Rank() int
	// Add adds the change, strength times, to out. w is the parameter as it stands, row-major like out, with the changes of
	// the adapters before; some kinds depend on it. Kinds whose ranks are a sum apply only the first ranks of them; 0 is all.
	Add(out []float32, w Factor, strength float64, ranks int)

	fits(shape compute.Shape) bool // the delta has all its numbers, and those of a parameter of this shape
	isZero() bool                  // nothing can come of it, whatever the parameter
	shapes() string                // says what it is made of, for errors
}

// zeros reports whether all numbers are 0.
func zeros(values []float32) bool {
	return !slices.ContainsFunc(values, func(v float32) bool { return v != 0 })
}
