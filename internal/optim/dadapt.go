package optim

import "math"

// DAdaptAdam is Adam that finds its learning rate by itself, the older relative of [Prodigy]. With δ = d·lr and q = √β2,
// for all parameters together:
//
//	A ← q·A + (1-q)·Σ δ·⟨g, s/(√v + ε)⟩
//	m ← β1·m + (1-β1)·δ·g
//	v ← β2·v + (1-β2)·g²
//	s ← q·s + (1-q)·δ·g
//	d ← the largest A/((1-q)·Σ‖s‖₁) so far, at most GrowthRate·d
//	p ← p - δ·decay·p - m/(√v + ε)         with the d before in δ
//
// Without Decouple the decay is part of the gradient. Defazio & Mishchenko, "Learning-Rate-Free Learning by
// D-Adaptation" (arXiv:2301.07733), algorithm 5, as dadaptation 3.2 has it.
type DAdaptAdam struct {
	Beta1, Beta2, Eps, WeightDecay float64
	Decouple                       bool
	D0, GrowthRate                 float64

	distance
}

// Arrays implements Optimizer.
func (o *DAdaptAdam) Arrays(shape []int) []Array {
	return []Array{{"m", shape}, {"v", shape}, {"s", shape}}
}

// Step implements Optimizer.
func (o *DAdaptAdam) Step(_ int, tensors []Tensor) {
	rate := commonRate(tensors)
	if rate == 0 {
		return
	}
	if o.k == 0 {
		o.d = o.D0
	}
	delta, q := o.d*rate, math.Sqrt(o.Beta2)
	along, size := 0.0, 0.0
	for _, t := range tensors {
		if t.Rate == 0 {
			continue
		}
		m, v, s := t.State[0], t.State[1], t.State[2]
		for i, p := range t.Parameter {
			g := float64(t.Gradient[i])
			if !o.Decouple {
				g += o.WeightDecay * float64(p)
			}
			along += g * float64(s[i]) / (math.Sqrt(float64(v[i])) + o.Eps)
			m[i] = float32(o.Beta1*float64(m[i]) + (1-o.Beta1)*delta*g)
			v[i] = float32(o.Beta2*float64(v[i]) + (1-o.Beta2)*g*g)
			s[i] = float32(q*float64(s[i]) + (1-q)*delta*g)
			size += math.Abs(float64(s[i]))
		}
	}
	if size == 0 {
		return
	}
	o.numerator = q*o.numerator + (1-q)*delta*along
	estimate := o.numerator / ((1 - q) * size)
	o.d = max(o.d, min(estimate, o.d*o.GrowthRate))
	o.k++
	decay := 0.0
	if o.Decouple {
		decay = delta * o.WeightDecay
	}
	descend(tensors, decay, 1, o.Eps) // the moments have the rate in them
}
