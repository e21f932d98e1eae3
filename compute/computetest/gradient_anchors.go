package computetest

import (
	"math"

	"github.com/atelier-go/atelier/compute"
)

// gradientAnchors are anchors of the ops that only training records. That derivatives are derivatives is tested by
// differences; these hold what no difference shows.
func gradientAnchors() []anchor {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	norm := func(name string, unscale, limit float32, want ...float32) anchor {
		return anchor{"ClipNorm/" + name, func(o *Operands) compute.Op {
			return compute.ClipNorm{
				Gradients: []compute.Value{o.Values([]float32{3, 0}, 2), o.Values([]float32{-4}, 1, 1)}, Limits: o.Values([]float32{unscale, limit}, 1, 2),
			}
		}, want, 1e-6, "one quotient and 10⁻⁶ in it"}
	}
	skipped := func(name string, gradient float32, norm float32) anchor {
		return anchor{"ClipNorm/" + name, func(o *Operands) compute.Op {
			return compute.ClipNorm{Gradients: []compute.Value{o.Values([]float32{1, gradient, 2}, 3)}, Limits: o.Values([]float32{1, 1}, 1, 2)}
		}, []float32{0, norm}, 0, "the step is skipped"}
	}
	adam := func(name string, clip []float32, want ...float32) anchor {
		return anchor{"AdamW/" + name, func(o *Operands) compute.Op {
			op := compute.AdamW{
				Parameter: o.Values([]float32{1, -2, 0.5}, 3), Gradient: o.Values([]float32{4, -0.5, 0}, 3),
				M: o.Values([]float32{0, 0, 0}, 3), V: o.Values([]float32{0, 0, 0}, 3),
				Hyper: o.Values([]float32{0.25, 0.5, 0.25, 0, 0.5, 0.5, 0.25}, 1, 7), // lr, 1-β1, 1-β2, ε, decay, 1-β1ᵏ, 1-β2ᵏ
			}
			if want[len(want)-1] == 0 { // 0/0 without an ε
				op.Hyper = o.Values([]float32{0.25, 0.5, 0.25, 0x1p-30, 0.5, 0.5, 0.25}, 1, 7)
			}
			if clip != nil {
				op.Clip = o.Values(clip, 1, 2)
			}
			return op
		}, want, 1e-6, "a few roundings"}
	}
	return []anchor{
		norm("3-4-5", 1, 0, 1, 5),
		norm("clipped", 1, 1, 0.2, 5),
		norm("within the limit", 1, 6, 1, 5),
		norm("unscaled before it is clipped", 0.125, 0.5, 0.1, 0.625),
		skipped("infinite", inf, inf),
		skipped("NaN", nan, nan),
		// The first step of Adam moves by lr·sign(g) whatever the size of g; decay takes lr·decay of the parameter.
		adam("first step", nil, 1*0.875-0.25, -2*0.875+0.25, 0.5*0.875, 2, -0.25, 0, 4, 0.0625, 0),
		adam("clipped", []float32{0.5, 9}, 1*0.875-0.25, -2*0.875+0.25, 0.5*0.875, 1, -0.125, 0, 1, 0.015625, 0),
		adam("skipped", []float32{0, nan}, 1, -2, 0.5, 0, 0, 0, 0, 0, 0),
		{"Fill", func(o *Operands) compute.Op { return compute.Fill{Shape: compute.Shape{2, 2}, Value: -0.5} }, []float32{-0.5, -0.5, -0.5, -0.5}, 0, small},
		{"Slice", func(o *Operands) compute.Op {
			return compute.Slice{X: o.Values([]float32{1, 2, 3, 4, 5, 6}, 2, 3), Axis: 1, Start: 1, Length: 2}
		}, []float32{2, 3, 5, 6}, 0, small},
		{"Scale", func(o *Operands) compute.Op {
			return compute.Scale{X: o.Values([]float32{1, inf, 3, 4}, 2, 2), Factors: o.Values([]float32{9, 0, 9, -2}, 2, 2), Column: 1}
		}, []float32{0, 0, -6, -8}, 0, small},
		{"MatMul/rows of tokens", func(o *Operands) compute.Op {
			return compute.MatMul{
				A: o.Values([]float32{1, 2, 3, 4}, 2, 1, 2), B: o.Values([]float32{1, 10, 100, 1000}, 2, 2), TransposeB: true, Scale: 2,
				Add: o.Values([]float32{5, 6, 7, 8}, 2, 1, 2),
			}
		}, []float32{2*21 + 5, 2*2100 + 6, 2*43 + 7, 2*4300 + 8}, 0, small},
		{"Loss/mean of a sample times its weight", func(o *Operands) compute.Op {
			return compute.Loss{ // errors 1, 3 and 2, 4: squares 1, 9 and 4, 16
				Prediction: o.Values([]float32{1, 3, 3, 5}, 2, 2), Target: o.Values([]float32{0, 0, 1, 1}, 2, 2), Weights: o.Values([]float32{1, 3}, 2),
			}
		}, []float32{17.5}, 0, small},
		{"Loss/a masked mean divides by the full area", func(o *Operands) compute.Op {
			return compute.Loss{
				Prediction: o.Values([]float32{1, 3, 3, 5}, 1, 2, 2), Target: o.Values([]float32{0, 0, 1, 1}, 1, 2, 2), Mask: o.Values([]float32{1, 0}, 1, 2, 1),
			}
		}, []float32{2.5}, 0, small},
		{"Loss/Huber", func(o *Operands) compute.Op { // √(δ²+c²) of 3, 4 and of 12, 5
			return compute.Loss{Prediction: o.Values([]float32{3, 12}, 2, 1), Target: o.Values([]float32{0, 0}, 2, 1), C: o.Values([]float32{4, 5}, 2), Function: compute.Huber}
		}, []float32{(8 + 80) / 2}, 0, small},
		{"Loss/SmoothL1", func(o *Operands) compute.Op {
			return compute.Loss{Prediction: o.Values([]float32{3, 12}, 2, 1), Target: o.Values([]float32{0, 0}, 2, 1), C: o.Values([]float32{4, 5}, 2), Function: compute.SmoothL1}
		}, []float32{(2 + 16) / 2}, 0, small},
		{"Loss/L1", func(o *Operands) compute.Op {
			return compute.Loss{Prediction: o.Values([]float32{3, -12}, 2, 1), Target: o.Values([]float32{1, 0}, 2, 1), Function: compute.L1}
		}, []float32{7}, 0, small},
	}
}
