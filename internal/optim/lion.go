package optim

// Lion moves every number of a parameter by the learning rate, up or down:
//
//	p ← p·(1 - lr·decay) - lr·sign(β1·m + (1-β1)·g)
//	m ← β2·m + (1-β2)·g
//
// Chen et al., "Symbolic Discovery of Optimization Algorithms" (arXiv:2302.06675), algorithm 2.
type Lion struct{ Beta1, Beta2, WeightDecay float64 }

// Arrays implements Optimizer.
func (o *Lion) Arrays(shape []int) []Array { return []Array{{"m", shape}} }

// Numbers implements Optimizer.
func (o *Lion) Numbers() map[string]*float64 { return nil }

// Step implements Optimizer.
func (o *Lion) Step(_ int, tensors []Tensor) {
	for _, t := range tensors {
		m := t.State[0]
		for i, g := range t.Gradient {
			p, g, mean := float64(t.Parameter[i]), float64(g), float64(m[i])
			t.Parameter[i] = float32(p*(1-t.Rate*o.WeightDecay) - t.Rate*sign(o.Beta1*mean+(1-o.Beta1)*g))
			m[i] = float32(o.Beta2*mean + (1-o.Beta2)*g)
		}
	}
}

// sign is -1, 0 or 1.
func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}
