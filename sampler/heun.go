package sampler

import "math"

// heun predicts with Euler and repeats the step with the mean of the slopes at both ends (Karras et al. 2022,
// algorithm 2); the step to 0 stays Euler. Slots: the latent, the first slope.
func heun(b *builder) {
	for i := range b.steps() {
		x, sigma := b.churned(i)
		b.heunStep(i, x, sigma)
	}
}

// heunStep is step i of heun from x at noise level sigma.
func (b *builder) heunStep(i int, x Mix, sigma float64) {
	next := b.target(i)
	d := slope(x, b.eval(i, x, sigma), sigma)
	b.put(next, x.plus(next-sigma, d), d)
	if next == 0 {
		return
	}
	x, d = b.state(next), slot(1)
	d2 := slope(x, b.eval(i, x, next), next)
	b.put(next, x.plus((next-sigma)/2, d2).plus(-(next-sigma)/2, d))
}

// restart is heun with jumps back to higher noise levels, where fresh noise undoes the error that came together below
// (Xu et al. 2023).
func restart(b *builder) {
	for i := range b.steps() {
		sigma := b.sigma[i]
		x := b.state(sigma)
		if i > 0 && sigma > b.target(i-1) {
			low := b.target(i - 1)
			x = x.plus(math.Sqrt(sigma*sigma-low*low), b.draw(sigma, low))
		}
		b.heunStep(i, x, sigma)
	}
}

// restartSpan lays out the web UI's Restart: Karras levels with a detour, once from 20 steps on, twice from 36, through
// the levels between about 2 and about 0.1.
func restartSpan(_ *Table, _ Config, g *run) error {
	const top, bottom, rho = 2, 0.1, 7
	n := len(g.sigma) - 1
	detour, times := 9, 1
	switch {
	case n < 20:
		return nil
	case n >= 36:
		detour, times = n/4, 2
	}
	main := append(karras(g.sigma[0], g.sigma[n-1], n-detour*times, rho), 0)
	high, low := nearest(main, top), nearest(main, bottom)
	back := karras(main[high], main[low], detour+1, rho)
	g.sigma = nil
	path := func(levels []float64) {
		g.sigma = append(g.sigma, levels[:len(levels)-1]...)
		g.to = append(g.to, levels[1:]...)
	}
	path(main[:low+1])
	for range times {
		path(back)
	}
	path(main[low:])
	g.sigma = append(g.sigma, 0)
	return nil
}

// nearest is the index of the level that is nearest to another.
func nearest(levels []float64, to float64) int {
	best := 0
	for i, s := range levels {
		if math.Abs(s-to) < math.Abs(levels[best]-to) {
			best = i
		}
	}
	return best
}
