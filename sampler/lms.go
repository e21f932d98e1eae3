package sampler

import "math"

// lms is the linear multistep method: it integrates the polynomial through the last slopes over the step, which is
// variable-step Adams–Bashforth. Slots: the latent, up to order−1 older slopes.
func lms(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		slopes := history(slope(x, b.eval(i, x, sigma), sigma), min(i, b.order-1))
		for j, d := range slopes {
			x = x.plus(lmsWeight(b.sigma[i+1-len(slopes):i+2], j), d)
		}
		b.put(next, x, slopes[:min(len(slopes), b.order-1)]...)
	}
}

// lmsWeight is ∫ from σ_i to σ_{i+1} of the Lagrange polynomial that is 1 at σ_{i−j} and 0 at the other nodes. nodes are
// … σ_{i−1}, σ_i, σ_{i+1}. The two-point Gauss–Legendre rule is exact for the cubic of up to four nodes.
func lmsWeight(nodes []float64, j int) float64 {
	n := len(nodes) - 2
	from, to := nodes[n], nodes[n+1]
	integral := 0.0
	for _, g := range [2]float64{-1 / math.Sqrt(3), 1 / math.Sqrt(3)} {
		s := (from+to)/2 + (to-from)/2*g
		product := 1.0
		for k := range n + 1 {
			if k != j {
				product *= (s - nodes[n-k]) / (nodes[n-j] - nodes[n-k])
			}
		}
		integral += product * (to - from) / 2
	}
	return integral
}

// history is the newest value followed by the first n kept ones, which live in slots 1 … n.
func history(newest Mix, n int) []Mix {
	list := []Mix{newest}
	for k := 1; k <= n; k++ {
		list = append(list, slot(k))
	}
	return list
}
