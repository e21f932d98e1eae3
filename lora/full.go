package lora

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// Difference is a change given element by element.
type Difference struct{ Factor }

// Algorithm implements Delta: "full difference".
func (d Difference) Algorithm() string { return "full difference" }

// Rank implements Delta: 0.
func (d Difference) Rank() int { return 0 }

// Add implements Delta.
func (d Difference) Add(out []float32, _ Factor, strength float64, _ int) {
	axpy(out, float32(strength), d.Data)
}

func (d Difference) fits(shape compute.Shape) bool { return holds(d.Factor, shape) }

func (d Difference) isZero() bool { return zeros(d.Data) }

func (d Difference) shapes() string { return fmt.Sprintf("difference is %v", d.Shape) }

// Replacement is a parameter that was trained whole: what it is at strength 1.
type Replacement struct{ Factor }

// Algorithm implements Delta: "whole parameter".
func (r Replacement) Algorithm() string { return "whole parameter" }

// Rank implements Delta: 0.
func (r Replacement) Rank() int { return 0 }

// Add implements Delta.
func (r Replacement) Add(out []float32, w Factor, strength float64, _ int) {
	for i, v := range r.Data {
		out[i] += float32(strength) * (v - w.Data[i])
	}
}

func (r Replacement) fits(shape compute.Shape) bool { return holds(r.Factor, shape) }

func (r Replacement) isZero() bool { return false }

func (r Replacement) shapes() string { return fmt.Sprintf("replacement is %v", r.Shape) }

// holds reports whether a factor has the numbers of a parameter; a 1×1 convolution and a linear layer are the same.
func holds(f Factor, shape compute.Shape) bool {
	if len(f.Data) != shape.Elements() || f.Shape.Elements() != len(f.Data) {
		return false
	}
	return len(shape) == 1 || len(f.Shape) >= 2 && f.Shape[0] == shape[0] && f.Shape[1] == shape[1]
}
