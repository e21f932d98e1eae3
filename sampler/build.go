package sampler

import (
	"math"
	"slices"
)

// builder is what a sampler's formula is written against: the grid it runs on, its parameters, and the plan that grows.
// All formulas work in sigma space, x = x₀ + σ·n; a variance-preserving program's latent y = x/√(1+σ²) differs only in
// how slot 0 is stored.
type builder struct {
	sigma []float64 // noise levels, one per step and the end
	time  []float64 // network time at sigma[i]; where it ends, timeOf is asked
	to    []float64 // [steps] where step i arrives; nil means sigma[i+1]
	vp    bool      // slot 0 holds y instead of x

	timeOf     func(sigma float64) float64
	sigmaOf    func(timestep float64) float64
	prediction Prediction
	noise      NoiseKind // source for stochastic steps

	eta, sNoise          float64
	sChurn, sTmin, sTmax float64
	order                int
	orders               []int // DPM fast: of each step
	heun                 bool  // DPM++ 2M (SDE): heun instead of midpoint
	lowerOrderFinal      bool  // multistep: end with lower order
	variant              UniPCVariant
	cfgpp                bool    // renoise with the unconditional estimate
	lcm                  lcmRule // LCM: boundary condition

	minUncond    float64 // noise level below which evaluations do without the negative prompt
	minUncondAll bool    // every one instead of every second
	early        float64 // number of the last evaluation from the start that does

	late     func(calls int, e *Eval) bool // whether another network is to take over; nil is never
	switched bool                          // it has

	pending       Noise
	evals         []Eval
	calls         int
	slots         int
	unconditional bool
}

// steps is the number of steps on the grid.
func (b *builder) steps() int { return len(b.sigma) - 1 }

// target is the noise level step i arrives at.
func (b *builder) target(i int) float64 {
	if b.to != nil {
		return b.to[i]
	}
	return b.sigma[i+1]
}

// state is slot 0 as x at noise level sigma.
func (b *builder) state(sigma float64) Mix {
	if b.vp {
		return slot(0).times(math.Sqrt(1 + sigma*sigma))
	}
	return slot(0)
}

// draw requests the noise of the current evaluation.
func (b *builder) draw(from, to float64) Mix {
	b.pending = Noise{b.noise, from, to}
	return Mix{Noise: 1}
}

// churned is the state of step i after the noise of Karras et al. 2022, algorithm 2, with the noise level that results.
// Outside the range where churn applies its noise is drawn too, as k-diffusion does, so that later draws are the same.
func (b *builder) churned(i int) (x Mix, sigma float64) {
	sigma = b.sigma[i]
	x = b.state(sigma)
	if b.sChurn == 0 {
		return x, sigma
	}
	hat := sigma
	if sigma >= b.sTmin && sigma <= b.sTmax {
		hat *= 1 + min(b.sChurn/float64(b.steps()), math.Sqrt2-1)
	}
	return x.plus(b.sNoise*math.Sqrt(hat*hat-sigma*sigma), b.draw(hat, sigma)), hat
}

// ancestral splits a step into a deterministic part that ends at down and fresh noise of level up.
func (b *builder) ancestral(from, to float64) (down, up float64) {
	up = min(to, b.eta*to*math.Sqrt(max(from*from-to*to, 0))/from)
	return math.Sqrt(to*to - up*up), up
}

// eval records a network evaluation of x at noise level sigma in step i and returns the estimate of x₀.
func (b *builder) eval(i int, x Mix, sigma float64) Mix {
	time := b.timeOf(sigma)
	for j := i; j <= i+1 && j < len(b.time); j++ {
		if sigma == b.sigma[j] {
			time = b.time[j]
		}
	}
	skip, out := b.prediction.scalings(sigma)
	denoised := x.times(skip).plus(out, Mix{Model: 1})
	b.evals = slices.Grow(b.evals, 1)[:len(b.evals)+1]
	e := &b.evals[len(b.evals)-1]
	*e = Eval{
		Step: i, Timestep: time, Sigma: sigma,
		Input:    x.times(1 / math.Sqrt(1+sigma*sigma)),
		Denoised: denoised,
		Known:    known(skip, out, sigma),
		Unguided: b.unguided(sigma),
		Update:   e.Update[:0], // of an earlier attempt, which needs its memory no more
	}
	b.switched = b.switched || b.late != nil && b.late(b.calls, e)
	e.Switched = b.switched
	b.calls++
	return denoised
}

// known is the network's output that would make the estimate skip·x + out·F a given one.
func known(skip, out, sigma float64) Known {
	return Known{Input: -skip / out * math.Sqrt(1+sigma*sigma), Latent: 1 / out}
}

// unguided tells whether the next evaluation does without the negative prompt.
func (b *builder) unguided(sigma float64) bool {
	return float64(b.calls) <= b.early || sigma < b.minUncond && (b.minUncondAll || b.calls%2 == 1)
}

// withoutPrompt is the estimate of x₀ without the prompt, at the evaluation of x at noise level sigma.
func (b *builder) withoutPrompt(x Mix, sigma float64) Mix {
	b.unconditional = true
	skip, out := b.prediction.scalings(sigma)
	return x.times(skip).plus(out, Mix{Unconditional: 1})
}

// put ends the evaluation: slot 0 becomes x at noise level sigma, the following slots become rest, all others zero.
func (b *builder) put(sigma float64, x Mix, rest ...Mix) {
	if b.vp {
		x = x.times(1 / math.Sqrt(1+sigma*sigma))
	}
	e := &b.evals[len(b.evals)-1]
	e.Update = append(append(e.Update, x), rest...)
	e.Noise, b.pending = b.pending, Noise{}
	b.slots = max(b.slots, len(e.Update))
}

// plan closes the list.
func (b *builder) plan(start Start) *Plan {
	p := &Plan{
		Slots: b.slots, Start: start, Steps: b.steps(), Evals: b.evals,
		Unconditional: b.unconditional,
	}
	for i := range b.evals {
		e := &b.evals[i]
		e.Last = i+1 == len(b.evals) || b.evals[i+1].Step != e.Step
		for len(e.Update) < b.slots {
			e.Update = append(e.Update, Mix{})
		}
		p.Noise = max(p.Noise, e.Noise.Kind)
		p.Unguided = p.Unguided || e.Unguided
		p.Switched = p.Switched || e.Switched
	}
	return p
}

// slope is d = (x − D)/σ, the noise estimate and the direction dx/dσ of the probability flow.
func slope(x, denoised Mix, sigma float64) Mix { return x.plus(-1, denoised).times(1 / sigma) }

// Prediction says what the network was trained to output, in diffusers' words. "" is Epsilon.
type Prediction string

const (
	Epsilon     Prediction = "epsilon"      // the noise; SD 1.5
	VPrediction Prediction = "v_prediction" // v = √ᾱ·n − √(1−ᾱ)·x₀ (Salimans and Ho 2022)
	Sample      Prediction = "sample"       // the clean latent
)

// valid tells whether the prediction is a known one.
func (p Prediction) valid() bool {
	return p == "" || p == Epsilon || p == VPrediction || p == Sample
}

// scalings gives x₀ = skip·x + out·F for network output F.
func (p Prediction) scalings(sigma float64) (skip, out float64) {
	switch p {
	case VPrediction:
		return 1 / (sigma*sigma + 1), -sigma / math.Sqrt(sigma*sigma+1)
	case Sample:
		return 0, 1
	default:
		return 1, -sigma
	}
}

// Target is what training asks of the network for a picture's latent z with noise n, mixed as √ᾱ·z + √(1−ᾱ)·n: the
// coefficients of z and of n, from ᾱ in [0,1].
func (p Prediction) Target(alpha float64) (latent, noise float64) {
	switch p {
	case VPrediction:
		return -math.Sqrt(1 - alpha), math.Sqrt(alpha)
	case Sample:
		return 1, 0
	default:
		return 0, 1
	}
}

// decay is 1 − e^{−a}, the weight that data gains over a log-SNR distance a.
func decay(a float64) float64 { return -math.Expm1(-a) }
