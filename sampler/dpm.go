package sampler

import (
	"fmt"
	"iter"
	"math"
)

// dpm2 follows the slope at the geometric mean of both ends (Karras et al. 2022's algorithm with DPM-Solver's midpoint);
// the step to 0 is Euler. Slots: the latent, the state before the step.
func dpm2(b *builder) {
	for i := range b.steps() {
		x, sigma := b.churned(i)
		b.midpoint(i, x, sigma, b.target(i), 0)
	}
}

// dpm2Ancestral is dpm2 to a level below the target, with fresh noise that fills up the rest.
func dpm2Ancestral(b *builder) {
	for i := range b.steps() {
		sigma := b.sigma[i]
		down, up := b.ancestral(sigma, b.target(i))
		b.midpoint(i, b.state(sigma), sigma, down, up)
	}
}

// midpoint is step i of dpm2 from x at noise level sigma down to a lower one, with fresh noise at the end.
func (b *builder) midpoint(i int, x Mix, sigma, down, up float64) {
	denoised := b.eval(i, x, sigma)
	if down == 0 {
		b.put(0, denoised)
		return
	}
	mid := math.Sqrt(sigma * down)
	b.put(mid, x.plus(mid-sigma, slope(x, denoised, sigma)), x)
	d := slope(b.state(mid), b.eval(i, b.state(mid), mid), mid)
	b.put(b.target(i), b.renoise(slot(1).plus(down-sigma, d), sigma, b.target(i), up))
}

// dpmStep records a step of DPM-Solver (Lu et al. 2022) of order 1, 2 or 3 in the noise prediction, but for the put that
// ends its last evaluation, and returns its result. Slots 1 and 2 hold the state before the step and the slope there.
// The slots after these are kept's, which is told the result of the order below as soon as it is known.
func (b *builder) dpmStep(i, order int, x Mix, from, to float64, kept func(lower Mix) []Mix) Mix {
	h := math.Log(from / to)
	euler := func(x, d Mix, r float64) Mix { return x.plus(-from*math.Exp(-r*h)*math.Expm1(r*h), d) }
	d := slope(x, b.eval(i, x, from), from)
	if order == 1 {
		return euler(x, d, 1)
	}

	r := 1 / float64(order)
	mid := from * math.Exp(-r*h)
	slots := [4]Mix{x, d}
	b.put(mid, euler(x, d, r), slots[:2+copy(slots[2:], kept(euler(x, d, 1)))]...)
	x, d = slot(1), slot(2)
	bend := slope(slot(0), b.eval(i, slot(0), mid), mid).plus(-1, d)
	second := euler(x, d, 1).plus(-to*math.Expm1(h)/(2*r), bend)
	if order == 2 {
		return second
	}

	const r2 = 2.0 / 3
	mid = from * math.Exp(-r2*h)
	slots = [4]Mix{x, d}
	b.put(mid, euler(x, d, r2).plus(-mid*r2/r*(math.Expm1(r2*h)/(r2*h)-1), bend), slots[:2+copy(slots[2:], kept(second))]...)
	bend = slope(slot(0), b.eval(i, slot(0), mid), mid).plus(-1, d)
	return euler(x, d, 1).plus(-to/r2*(math.Expm1(h)/h-1), bend)
}

// split divides a step like [builder.ancestral], without going below the noise level where the run ends.
func (b *builder) split(from, to float64) (down, up float64) {
	down, _ = b.ancestral(from, to)
	down = max(down, b.sigma[len(b.sigma)-1])
	return down, math.Sqrt(max(to*to-down*down, 0))
}

// dpmFast is k-diffusion's DPM fast: as many steps of order 3 as the evaluations allow, and the rest in a lower order at
// the end. Slots: the latent, those of the step.
func dpmFast(b *builder) {
	nothing := func(Mix) []Mix { return nil }
	for i := range b.steps() {
		from, to := b.sigma[i], b.target(i)
		down, up := b.split(from, to)
		x := b.dpmStep(i, b.orders[i], b.state(from), from, down, nothing)
		b.put(to, b.renoise(x, from, to, up))
	}
}

// ends puts the noise levels that a run goes from and to: those of the network, or of the part that image to image runs.
func ends(t *Table, c Config, g *run) (high, low float64, err error) {
	if c.Denoise == nil {
		return t.Sigmas[len(t.Sigmas)-1], t.Sigmas[0], nil
	}
	if high, low = g.sigma[0], g.sigma[len(g.sigma)-2]; !(low < high) {
		return 0, 0, c.errNoStep()
	}
	return high, low, nil
}

// fastSpan lays out the steps of DPM fast, evenly spaced in ln σ, for one evaluation for each step that was asked for.
func fastSpan(t *Table, c Config, g *run) error {
	high, low, err := ends(t, c, g)
	if err != nil {
		return err
	}
	n := c.Steps
	if c.Denoise != nil {
		n = len(g.sigma) - 1
	}
	for range n / 3 {
		g.orders = append(g.orders, 3)
	}
	if n%3 == 0 {
		g.orders = append(g.orders[:n/3-1], 2, 1)
	} else {
		g.orders = append(g.orders, n%3)
	}
	g.sigma = linspace(math.Log(high), math.Log(low), len(g.orders)+1)
	for i, s := range g.sigma {
		g.sigma[i] = math.Exp(s)
	}
	return nil
}

// adaptiveSpan leaves the ends alone: where DPM adaptive goes in between, it decides as it goes.
func adaptiveSpan(t *Table, c Config, g *run) error {
	high, low, err := ends(t, c, g)
	g.sigma = []float64{high, low}
	return err
}

// The slots of an attempt at a step of DPM adaptive: the latent after it, the one before it, the slope there and at the end
// the latent without fresh noise, the result of the order below, and that of the last accepted step.
const (
	before = 1 + iota
	result
	lower
	previous
	adaptiveSlots
)

// The tolerances and the step size control of k-diffusion's DPM adaptive.
const (
	absoluteTolerance = 0.0078
	relativeTolerance = 0.05
	firstStep         = 0.05 // in −ln σ
	acceptance        = 0.81 // the lowest factor to the step size at which an attempt is accepted
	maxAttempts       = 10000
)

// adaptive is k-diffusion's DPM adaptive: DPM-Solver-12 or -23, whose step size follows from how far its two orders are
// apart, until the lower of two noise levels is reached.
type adaptive struct{ builder }

// adaptiveRun is where a run of it stands.
type adaptiveRun struct {
	builder
	step          int
	at, end, size float64 // in −ln σ
	rejected      bool    // the last attempt was
	kept          [2]Mix
	distance      Distance
	drawn         bool // noise was drawn for it, which then serves the next one: each accepted step takes one tensor
}

func (a *adaptive) run(evaluate func(*Eval) (float64, error)) iter.Seq2[Progress, error] {
	return func(yield func(Progress, error) bool) {
		start := -math.Log(a.sigma[0])
		r := &adaptiveRun{builder: a.builder, at: start, end: -math.Log(a.sigma[1]), size: firstStep}
		r.distance = Distance{A: lower, B: result, Reference: previous, Absolute: absoluteTolerance, Relative: relativeTolerance}
		for range maxAttempts {
			to, off, err := r.attempt(evaluate)
			if err != nil {
				yield(Progress{}, err)
				return
			}
			if !r.settle(to, off) {
				continue
			}
			done := Progress{r.step - 1, r.step}
			if r.end-r.at > 1e-5 {
				done.Total = max(r.step+1, int(math.Ceil(float64(r.step)*(r.end-start)/(r.at-start))))
			}
			if !yield(done, nil) || done.Last() {
				return
			}
		}
		yield(Progress{}, fmt.Errorf("sampler: %s: the error stays above the tolerance after %d attempts; take another sampler", DPMAdaptive, maxAttempts))
	}
}

// attempt tries a step and returns where it ends and how far its two orders are apart there.
func (r *adaptiveRun) attempt(evaluate func(*Eval) (float64, error)) (to, off float64, err error) {
	to = min(r.end, r.at+r.size)
	r.record(math.Exp(-r.at), math.Exp(-to))
	for i := range r.evals {
		if off, err = evaluate(&r.evals[i]); err != nil {
			return to, 0, err
		}
	}
	if math.IsNaN(off) || math.IsInf(off, 0) {
		return to, 0, fmt.Errorf("sampler: %s: the latents are not finite", DPMAdaptive)
	}
	return to, off, nil
}

// record writes out the evaluations of an attempt.
func (r *adaptiveRun) record(from, to float64) {
	r.evals = r.evals[:0]
	x, reference := slot(0), slot(lower)
	switch {
	case r.rejected:
		x, reference = slot(before), slot(previous)
	case r.step == 0:
		reference = x
	}
	down, up := r.split(from, to)
	high := r.dpmStep(r.step, r.order, x, from, down, func(low Mix) []Mix {
		r.kept = [2]Mix{low, reference}
		reference = slot(previous)
		return r.kept[:]
	})
	next := high
	if up > 0 {
		r.noise = Draw
		if r.drawn {
			r.noise = Kept
		}
		next, r.drawn = high.plus(r.sNoise*up, r.draw(from, to)), true
	}
	r.put(to, next, slot(before), high, slot(lower), slot(previous))
	last := &r.evals[len(r.evals)-1]
	last.Last = true
	last.Measure = &r.distance
}

// settle accepts or rejects an attempt and chooses the size of the next: an integral controller on the error, softly limited.
func (r *adaptiveRun) settle(to, off float64) (accepted bool) {
	order := float64(r.order)
	if r.eta > 0 {
		order = 1.5
	}
	factor := 1 + math.Atan(math.Pow(1/(off+1e-8), 1/order)-1)
	r.size *= factor
	if r.rejected = factor < acceptance; !r.rejected {
		r.at, r.drawn, r.step = to, false, r.step+1
	}
	return !r.rejected
}
