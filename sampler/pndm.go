package sampler

// adamsBashforth are the weights of the constant-step Adams–Bashforth methods of order 1 to 4, newest slope first.
var adamsBashforth = [4][]float64{
	{1},
	{3. / 2, -1. / 2},
	{23. / 12, -16. / 12, 5. / 12},
	{55. / 24, -59. / 24, 37. / 24, -9. / 24},
}

// plms is the pseudo linear multistep method (Liu et al. 2022): constant Adams–Bashforth weights on the noise
// estimate, started by one step with the mean of the slopes at both ends; the slope at its far end does not enter the
// history. Slots: the latent, up to three older slopes.
func plms(b *builder) {
	for i := range b.steps() {
		sigma, next := b.sigma[i], b.target(i)
		x := b.state(sigma)
		slopes := history(slope(x, b.eval(i, x, sigma), sigma), min(i, 3))
		for j, w := range adamsBashforth[len(slopes)-1] {
			x = x.plus(w*(next-sigma), slopes[j])
		}
		b.put(next, x, slopes[:min(len(slopes), 3)]...)
		if i > 0 || next == 0 || len(b.time) == 1 {
			continue // diffusers' run of one timestep has no second one to average with
		}
		x = b.state(next)
		d := slope(x, b.eval(i, x, next), next)
		b.put(next, x.plus((next-sigma)/2, d).plus(-(next-sigma)/2, slot(1)), slot(1))
	}
}
