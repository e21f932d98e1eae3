package sampler

// euler follows the slope at the start of each step (Karras et al. 2022, algorithm 2 without its correction).
func euler(b *builder) {
	for i := range b.steps() {
		x, sigma := b.churned(i)
		next := b.target(i)
		denoised := b.eval(i, x, sigma)
		b.put(next, x.times(next/sigma).plus(1-next/sigma, denoised))
	}
}

// eulerAncestral steps below the target and fills up with fresh noise. On a variance-preserving grid it is DDIM
// (Song et al. 2020) with the same η, and with η = 1 the ancestral step of DDPM. Its CFG++ form (Chung et al. 2024) adds
// the noise of the unconditional estimate back to the guided one.
func eulerAncestral(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		denoised := b.eval(i, x, sigma)
		from := denoised
		if b.cfgpp {
			from = b.withoutPrompt(x, sigma)
		}
		down, up := b.ancestral(sigma, next)
		b.put(next, b.renoise(denoised.plus(down, slope(x, from, sigma)), sigma, next, up))
	}
}

// renoise adds fresh noise of level up, if that is any.
func (b *builder) renoise(x Mix, from, to, up float64) Mix {
	if up == 0 {
		return x
	}
	return x.plus(b.sNoise*up, b.draw(from, to))
}
