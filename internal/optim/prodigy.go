package optim

import "math"

// Prodigy is Adam that finds its learning rate by itself: d estimates how far the parameters are from where they should
// be, by how well gradients g point along the way from p₀, where parameters began, and only grows. With δ = d·lr, for all
// parameters together:
//
//	N ← β3·N + Σ (d/d₀)·δ·⟨g, p₀ - p⟩
//	m ← β1·m + (1-β1)·d·g
//	v ← β2·v + (1-β2)·d²·g²
//	s ← β3·s + (d/d₀)·δ·g                  with SafeguardWarmup d·g in place of δ·g
//	d ← the largest DCoef·N/Σ‖s‖₁ so far, at most GrowthRate·d
//	p ← p - δ·decay·p - δ·m/(√v + d·ε)     with the d before in δ
//
// There is one d, so all learning rates must be equal; 1 is usual, and a parameter of rate 0 is left out. Without Decouple
// the decay is part of the gradient. BiasCorrection multiplies δ with Adam's. A Beta3 of 0 is √β2.
// Mishchenko & Defazio (arXiv:2306.06101), algorithm 4, as prodigyopt 1.1 has it.
type Prodigy struct {
	Beta1, Beta2, Beta3, Eps, WeightDecay     float64
	Decouple, BiasCorrection, SafeguardWarmup bool
	D0, DCoef, GrowthRate                     float64

	distance
}

// distance is what optimizers keep that estimate the distance to go.
type distance struct{ d, largest, numerator, k float64 }

// Numbers lists the distance d, 0 until the first step, and what else it is estimated from.
func (s *distance) Numbers() map[string]*float64 {
	return map[string]*float64{"d": &s.d, "d_max": &s.largest, "d_numerator": &s.numerator, "k": &s.k}
}

// D is the distance, what rates are multiplied with: 0 until the first step.
func (s *distance) D() float64 { return s.d }

// Arrays implements Optimizer.
func (o *Prodigy) Arrays(shape []int) []Array {
	return []Array{{"m", shape}, {"v", shape}, {"s", shape}, {"p0", shape}}
}

// Step implements Optimizer.
func (o *Prodigy) Step(_ int, tensors []Tensor) {
	rate := commonRate(tensors)
	if rate == 0 {
		return
	}
	if o.k == 0 {
		o.d, o.largest = o.D0, o.D0
		for _, t := range tensors {
			copy(t.State[3], t.Parameter)
		}
	}
	beta3, delta := o.Beta3, o.d*rate
	if beta3 == 0 {
		beta3 = math.Sqrt(o.Beta2)
	}
	if o.BiasCorrection {
		delta *= math.Sqrt(1-math.Pow(o.Beta2, o.k+1)) / (1 - math.Pow(o.Beta1, o.k+1))
	}
	weight := o.d / o.D0 * delta // what gradients count in s
	if o.SafeguardWarmup {
		weight = o.d / o.D0 * o.d
	}
	along, size := 0.0, 0.0
	for _, t := range tensors {
		if t.Rate == 0 {
			continue
		}
		m, v, s, start := t.State[0], t.State[1], t.State[2], t.State[3]
		for i, p := range t.Parameter {
			g := float64(t.Gradient[i])
			if !o.Decouple {
				g += o.WeightDecay * float64(p)
			}
			along += g * (float64(start[i]) - float64(p))
			m[i] = float32(o.Beta1*float64(m[i]) + (1-o.Beta1)*o.d*g)
			v[i] = float32(o.Beta2*float64(v[i]) + (1-o.Beta2)*o.d*o.d*g*g)
			s[i] = float32(beta3*float64(s[i]) + weight*g)
			size += math.Abs(float64(s[i]))
		}
	}
	if size == 0 {
		return
	}
	o.numerator = beta3*o.numerator + o.d/o.D0*delta*along
	estimate := o.DCoef * o.numerator / size
	if o.d == o.D0 {
		o.d = max(o.d, estimate)
	}
	o.largest = max(o.largest, estimate)
	o.d = min(o.largest, o.d*o.GrowthRate)
	o.k++
	decay := 0.0
	if o.Decouple {
		decay = delta * o.WeightDecay
	}
	descend(tensors, decay, delta, o.d*o.Eps)
}

// descend is the step along the moments m and v, the first two arrays: p ← p·(1-decay) - rate·m/(√v + ε).
func descend(tensors []Tensor, decay, rate, eps float64) {
	for _, t := range tensors {
		if t.Rate == 0 {
			continue
		}
		m, v := t.State[0], t.State[1]
		for i, p := range t.Parameter {
			t.Parameter[i] = float32(float64(p)*(1-decay) - rate*float64(m[i])/(math.Sqrt(float64(v[i]))+eps))
		}
	}
}

// commonRate is the learning rate that all tensors have that are trained.
func commonRate(tensors []Tensor) (rate float64) {
	for _, t := range tensors {
		rate = max(rate, t.Rate)
	}
	return rate
}
