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
		b.put(next, b.renoise(x, sigma, next, next*math.Sqrt(decay(2*b.eta*h))), denoised)
	}
}

// dpmpp3MSDE is the third order of DPM-Solver++ for the reverse SDE, from the estimates of two previous steps. It is
// k-diffusion's form, whose last term has half the weight that third order would need. Slots: the latent, the previous
// estimates of x₀.
func dpmpp3MSDE(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		data := history(b.eval(i, x, sigma), min(i, 2))
		if next == 0 {
			b.put(0, data[0])
			continue
		}
		h := math.Log(sigma / next)
		reach := (1 + b.eta) * h
		phi2 := 1 - decay(reach)/reach
		phi3 := phi2/reach - 0.5
		x = x.times(math.Exp(-reach)).plus(decay(reach), data[0])
		if i > 0 {
			r0 := math.Log(b.sigma[i-1]/sigma) / h
			first, second := data[0].plus(-1, data[1]).times(1/r0), Mix{}
			if i > 1 {
				r1 := math.Log(b.sigma[i-2]/b.sigma[i-1]) / h
				older := data[1].plus(-1, data[2]).times(1 / r1)
				second = first.plus(-1, older).times(1 / (r0 + r1))
				first = first.plus(r0, second)
			}
			x = x.plus(phi2, first).plus(-phi3, second)
		}
		b.put(next, b.renoise(x, sigma, next, next*math.Sqrt(decay(2*b.eta*h))), data[:min(len(data), 2)]...)
	}
}

// dpmpp2SAncestral is DPM-Solver++(2S) with a midpoint halfway in log-SNR, on the way to a level below the target that
// fresh noise fills up. Slots: the latent, the state before the step.
func dpmpp2SAncestral(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		denoised := b.eval(i, x, sigma)
		down, up := b.ancestral(sigma, next)
		if down == 0 {
			b.put(next, b.renoise(denoised, sigma, next, up))
			continue
		}
		mid := math.Sqrt(sigma * down)
		b.put(mid, x.times(mid/sigma).plus(1-mid/sigma, denoised), x)

		denoised = b.eval(i, b.state(mid), mid)
		x = slot(1).times(down/sigma).plus(1-down/sigma, denoised)
		b.put(next, b.renoise(x, sigma, next, up))
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
	return b.renoise(x.times(down/from).plus(1-down/from, denoised), from, to, up)
}

// dpmpp2MCFGPP is dpmpp2M in the form of CFG++: what is left of the old state, and the difference that gives it second
// order, are those of the estimate without the prompt. Slots: the latent, that estimate of the previous step.
func dpmpp2MCFGPP(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		guided := b.eval(i, x, sigma)
		plain := b.withoutPrompt(x, sigma)
		result := guided.plus(next/sigma, x.plus(-1, plain))
		if i > 0 && next > 0 {
			h := math.Log(sigma / next)
			ratio := math.Log(b.sigma[i-1]/sigma) / h
			result = result.plus(decay(h)/(2*ratio), guided.plus(-1, slot(1)))
		}
		b.put(next, result, plain)
	}
}

// dpmpp2SAncestralCFGPP is dpmpp2SAncestral in ComfyUI's form of CFG++: a step without the prompt, whose guidance is added
// at the end. Slots: the latent, the state before the step, what guidance changed of the estimate there.
func dpmpp2SAncestralCFGPP(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		guided := b.eval(i, x, sigma)
		plain := b.withoutPrompt(x, sigma)
		down, up := b.ancestral(sigma, next)
		if down == 0 {
			b.put(next, b.renoise(guided, sigma, next, up))
			continue
		}
		mid := math.Sqrt(sigma * down)
		b.put(mid, x.times(mid/sigma).plus(1-mid/sigma, plain), x, guided.plus(-1, plain))

		x = b.state(mid)
		b.eval(i, x, mid)
		x = slot(1).times(down/sigma).plus(1-down/sigma, b.withoutPrompt(x, mid)).plus(1, slot(2))
		b.put(next, b.renoise(x, sigma, next, up))
	}
}
