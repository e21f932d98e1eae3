package sampler

import "math"

// lcmRule says how the boundary condition of a consistency model enters its estimate of x₀.
type lcmRule struct {
	scaling   float64 // τ = scaling·timestep; 0 leaves the estimate alone
	sigmaData float64
	vp        bool // the skip path carries y instead of x
}

// lcm is multistep consistency sampling (Luo et al. 2023): jump to the estimate of x₀, add fresh noise of the next
// level.
func lcm(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		denoised := b.eval(i, x, sigma)
		if b.lcm.scaling > 0 {
			tau := b.lcm.scaling * b.evals[i].Timestep
			data := b.lcm.sigmaData
			skip, out := data*data/(tau*tau+data*data), tau/math.Hypot(tau, data)
			if b.lcm.vp {
				skip /= math.Sqrt(1 + sigma*sigma)
			}
			denoised = denoised.times(out).plus(skip, x)
			b.evals[i].Denoised = denoised
			plain, network := b.prediction.scalings(sigma)
			b.evals[i].Known = known(out*plain+skip, out*network, sigma)
		}
		b.put(next, b.renoise(denoised, sigma, next, next))
	}
}
