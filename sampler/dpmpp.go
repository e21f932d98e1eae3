package sampler

import "math"

// dpmpp2M is DPM-Solver++(2M) (Lu et al. 2022) and, with η > 0, its stochastic form: second order in the data
// prediction, from the previous step's estimate. The heun form weights the difference of the two estimates by its exact
// exponential integral. Slots: the latent, the previous estimate of x₀.
func dpmpp2M(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		denoised := b.eval(i, x, sigma)
		if next == 0 {
			b.put(0, denoised)
			continue
		}
		h := math.Log(sigma / next)
		reach := (1 + b.eta) * h
		x = x.times(next/sigma*math.Exp(-b.eta*h)).plus(decay(reach), denoised)
		if i > 0 && !(b.lowerOrderFinal && i == b.steps()-1) {
			ratio := math.Log(b.sigma[i-1]/sigma) / h
			weight := decay(reach) / 2
			if b.heun {
				weight = 1 - decay(reach)/reach
			}
			x = x.plus(weight/ratio, denoised).plus(-weight/ratio, slot(1))
		}
		if b.eta > 0 {
			x = x.plus(next*math.Sqrt(decay(2*b.eta*h))*b.sNoise, b.draw(sigma, next))
		}
		b.put(next, x, denoised)
	}
}

// dpmppSDE is DPM-Solver++ for the reverse SDE with a midpoint halfway in log-SNR. Its two noises cover overlapping
// intervals; only a Brownian path gives them the right correlation. Slots: the latent, the state before the step.
func dpmppSDE(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		denoised := b.eval(i, x, sigma)
		if next == 0 {
			b.put(0, denoised)
			continue
		}
		mid := math.Sqrt(sigma * next)
		b.put(mid, b.sdeStep(x, denoised, sigma, mid), x)

		denoised = b.eval(i, b.state(mid), mid)
		b.put(next, b.sdeStep(slot(1), denoised, sigma, next))
	}
}

// sdeStep moves x from one noise level to another with the data estimate held constant.
func (b *builder) sdeStep(x, denoised Mix, from, to float64) Mix {
	down, up := b.ancestral(from, to)
	x = x.times(down/from).plus(1-down/from, denoised)
	if up > 0 {
		x = x.plus(b.sNoise*up, b.draw(from, to))
	}
	return x
}
