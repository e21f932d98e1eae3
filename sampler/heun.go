package sampler

// heun predicts with Euler and repeats the step with the mean of the slopes at both ends (Karras et al. 2022,
// algorithm 2); the step to 0 stays Euler. Slots: the latent, the first slope.
func heun(b *builder) {
	for i := range b.steps() {
		x, sigma := b.churned(i)
		next := b.target(i)
		d := slope(x, b.eval(i, x, sigma), sigma)
		b.put(next, x.plus(next-sigma, d), d)
		if next == 0 {
			continue
		}
		x, d = b.state(next), slot(1)
		d2 := slope(x, b.eval(i, x, next), next)
		b.put(next, x.plus((next-sigma)/2, d2).plus(-(next-sigma)/2, d))
	}
}
