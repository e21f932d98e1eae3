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

// tcd is trajectory consistency distillation (Zheng et al. 2024): along the slope to a timestep η of the way beyond the
// next one, and back to that with fresh noise. η = 0 is DDIM on its timesteps, η = 1 consistency sampling.
func tcd(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		denoised := b.eval(i, x, sigma)
		down, end := next, b.timeOf(next)
		if beyond := math.Floor((1-b.eta)*end + 1e-6); beyond+0.5 < end {
			down = b.sigmaOf(beyond)
		}
		x = denoised.plus(down, slope(x, denoised, sigma))
		b.put(next, b.renoise(x, sigma, next, math.Sqrt(next*next-down*down)))
	}
}

// tcdGrid is diffusers' run of TCD: some of the timesteps that latent consistency models were distilled on, down to the
// first training step.
func tcdGrid(t *Table, c Config) (*run, error) {
	steps, kept := c.scheduled()
	if steps > distilledSteps {
		return nil, bad("Config.Steps", c.Steps, "fewer: %s was distilled on %d timesteps and would take %d", c.Sampler, distilledSteps, steps)
	}
	g := &run{vp: true, start: Start{Noise: 1}, time: lcmTimesteps(len(t.Sigmas), distilledSteps, steps)}
	for _, ts := range g.time {
		g.sigma = append(g.sigma, t.Sigmas[int(ts)])
	}
	g.sigma = append(g.sigma, t.Sigmas[0])
	if c.Denoise != nil {
		g.cut(steps - kept - 1)
	}
	return g, nil
}
