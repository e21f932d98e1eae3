package optim

// SGDNesterov is gradient descent with momentum that looks ahead, as PyTorch has it:
//
//	g ← g + decay·p
//	m ← momentum·m + g
//	p ← p - lr·(g + momentum·m)
//
// Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).
type SGDNesterov struct{ Momentum, WeightDecay float64 }

// Arrays implements Optimizer.
func (o *SGDNesterov) Arrays(shape []int) []Array { return []Array{{"momentum", shape}} }

// Numbers implements Optimizer.
func (o *SGDNesterov) Numbers() map[string]*float64 { return nil }

// Step implements Optimizer.
func (o *SGDNesterov) Step(_ int, tensors []Tensor) {
	for _, t := range tensors {
		m := t.State[0]
		for i, g := range t.Gradient {
			p := float64(t.Parameter[i])
			g := float64(g) + o.WeightDecay*p
			momentum := o.Momentum*float64(m[i]) + g
			m[i] = float32(momentum)
			t.Parameter[i] = float32(p - t.Rate*(g+o.Momentum*momentum))
		}
	}
}
