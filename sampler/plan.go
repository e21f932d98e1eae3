package sampler

import (
	"iter"
	"math"
)

// MaxSlots bounds [Plan.Slots], so that a device can lay out its state once for every sampler.
const MaxSlots = 6

// Plan is a sampling run in numbers; [Plan.Run] carries it out. Slot 0 is always the latent: after a step it is what
// diffusers calls latents after a scheduler step and what the samplers of k-diffusion call x; after the last one it is
// the result, in the scaled latent space the VAE decoder expects.
type Plan struct {
	Slots int   // state tensors of one latent's shape that the run keeps, 1 to MaxSlots
	Start Start // how slot 0 begins; all other slots begin at zero

	// Evals are the network evaluations in order, at least one per step, and Steps is how many steps they make; img2img
	// and some schedules run fewer or more than were asked for. A plan that decides while it runs has none of either.
	Steps int
	Evals []Eval

	Noise         NoiseKind // where the noise of its evaluations comes from
	Unconditional bool      // its evaluations use the unconditional output, which must be computed at any guidance
	Unguided      bool      // some of its evaluations are Unguided, or may be
	Switched      bool      // likewise, Switched

	// MasksInput says how inpainting with a mask m (1 = repaint) and the clean latent o enters, as in the web UI. Usually
	// every evaluation's network output F becomes m·F + (1−m)·Known, so that the estimate of x₀ is o outside the mask. With
	// MasksInput only what the network sees becomes m·input + (1−m)·o. Either way the web UI then mixes o into the result.
	MasksInput bool

	// BrownianMin and BrownianMax are the ends of the Brownian path that all [Brownian] noise of the run is cut from:
	// the smallest non-zero and the largest sigma of the whole schedule, also when img2img runs only its tail.
	BrownianMin, BrownianMax float64

	guidance float64   // what guidance is multiplied with
	adaptive *adaptive // decides instead of Evals
}

// Guidance is the weight of the conditional output that stands for a guidance scale of the user's: the scale itself, but
// a small part of it for DDIM CFG++, whose guided output interpolates where others extrapolate.
func (p *Plan) Guidance(scale float64) float64 {
	if p.guidance == 0 {
		return scale
	}
	return scale * p.guidance
}

// Progress tells where a run stands after a step.
type Progress struct {
	Step  int // counted from 0
	Total int // steps of the whole run; an estimate, above Step+1, until the last step of a run that decides as it goes
}

// Last reports whether the run is complete.
func (p Progress) Last() bool { return p.Step == p.Total-1 }

// Run carries the plan out. It calls evaluate for one evaluation after the other, which runs it and returns the
// measurement that it asks for in Eval.Measure, 0 if it asks for none, and yields after every step. It ends with the first
// error. The Eval belongs to the plan and is not to be kept. A plan can be run any number of times, also at once.
func (p *Plan) Run(evaluate func(*Eval) (measured float64, err error)) iter.Seq2[Progress, error] {
	if p.adaptive != nil {
		return p.adaptive.run(evaluate)
	}
	return func(yield func(Progress, error) bool) {
		for i := range p.Evals {
			e := &p.Evals[i]
			if _, err := evaluate(e); err != nil {
				yield(Progress{}, err)
				return
			}
			if e.Last && !yield(Progress{e.Step, p.Steps}, nil) {
				return
			}
		}
	}
}

// Start is the first content of slot 0: Noise × unit normal noise + Latent × the clean scaled latent of an input
// picture. Latent is 0 for text to image.
type Start struct{ Noise, Latent float64 }

// Eval is one network evaluation with the arithmetic around it.
type Eval struct {
	Step     int       // the step it belongs to, 0 to Plan.Steps-1
	Last     bool      // it completes that step
	Timestep float64   // given to the network's time embedding, 0 to 999 for SD 1.5; may be fractional
	Sigma    float64   // noise level of the state it sees, in sigma space (x = x₀ + σ·n)
	Noise    Noise     // the normal tensor that Input, Update and Denoised call noise
	Input    Mix       // what the network sees; its Model is 0
	Update   []Mix     // [Slots] the new slots, all computed from the old ones
	Denoised Mix       // the estimate of x₀ made by this evaluation, from the slots before Update; for previews
	Known    Known     // the network's output that would make Denoised a given latent; for inpainting
	Unguided bool      // only the prompt counts: guidance is 1, and its first part stands for the unconditional output
	Switched bool      // another network has taken over, if there is one
	Measure  *Distance // what the run must know of the new slots before it goes on, if anything
}

// Known is what the network would answer to an input if it saw a clean latent o in it: Input·input + Latent·o.
type Known struct{ Input, Latent float64 }

// Mix is a linear combination of the state slots, the network's output and the noise of an evaluation.
type Mix struct {
	Slot          [MaxSlots]float64
	Model         float64 // times the guided output
	Unconditional float64 // times the output without the prompt; 0 unless the plan says that it uses it
	Noise         float64
}

// slot is the combination that is just slot k.
func slot(k int) (m Mix) { m.Slot[k] = 1; return }

// times returns c·m.
func (m Mix) times(c float64) Mix { return Mix{}.plus(c, m) }

// plus returns m + c·n.
func (m Mix) plus(c float64, n Mix) Mix {
	for k := range m.Slot {
		m.Slot[k] += c * n.Slot[k]
	}
	m.Model += c * n.Model
	m.Unconditional += c * n.Unconditional
	m.Noise += c * n.Noise
	return m
}

// NoiseKind says where the noise of an evaluation comes from.
type NoiseKind int

const (
	NoNoise  NoiseKind = iota // the evaluation uses none, and none may be drawn
	Draw                      // the next tensor of the run's generator, after the initial noise; its factor may be 0
	Brownian                  // the normalised increment of the run's Brownian path between two sigmas
	Kept                      // the tensor of the evaluation that drew last, once more
)

// Noise tells the host which standard normal tensor an evaluation needs. For [Brownian] noise it is
// −(W(From) − W(To))/√(From − To) of one path W on [Plan.BrownianMin, Plan.BrownianMax]; then the same seed gives the
// same picture in the limit of many steps. From > To also describes the interval of a [Draw].
type Noise struct {
	Kind     NoiseKind
	From, To float64
}

// Distance is how far two slots are apart in the tolerance of an adaptive method:
//
//	√ mean ((A − B) / max(Absolute, Relative·max(|A|, |Reference|)))²
//
// over all elements of all pictures that are sampled together.
type Distance struct {
	A, B, Reference    int // slots
	Absolute, Relative float64
}

// Between measures it on the contents of the slots A, B and Reference.
func (d *Distance) Between(a, b, reference []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += d.square(float64(a[i]), float64(b[i]), float64(reference[i]))
	}
	return math.Sqrt(sum / float64(len(a)))
}

// square is the square of one element's distance.
func (d *Distance) square(a, b, reference float64) float64 {
	off := (a - b) / max(d.Absolute, d.Relative*max(math.Abs(a), math.Abs(reference)))
	return off * off
}
