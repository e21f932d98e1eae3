package sampler

// MaxSlots bounds [Plan.Slots], so that a device can lay out its state once for every sampler.
const MaxSlots = 6

// Plan is a sampling run written out as data; the package comment shows how to run it. Slot 0 is always the latent:
// after an evaluation it is what diffusers calls latents after a scheduler step and what the samplers of k-diffusion
// call x; after the last one it is the result, in the scaled latent space the VAE decoder expects.
type Plan struct {
	Slots int    // state tensors of one latent's shape that the run keeps, 1 to MaxSlots
	Start Start  // how slot 0 begins; all other slots begin at zero
	Steps int    // sampling steps that are executed; img2img and some schedules run fewer or more than were asked for
	Evals []Eval // network evaluations in order, at least one per step

	// BrownianMin and BrownianMax are the ends of the Brownian path that all [Brownian] noise of the run is cut from:
	// the smallest non-zero and the largest sigma of the whole schedule, also when img2img runs only its tail.
	BrownianMin, BrownianMax float64
}

// Start is the first content of slot 0: Noise × unit normal noise + Latent × the clean scaled latent of an input
// picture. Latent is 0 for text to image.
type Start struct{ Noise, Latent float64 }

// Eval is one network evaluation with the arithmetic around it.
type Eval struct {
	Step     int     // the step it belongs to, 0 to Plan.Steps-1
	Last     bool    // it completes that step
	Timestep float64 // given to the network's time embedding, 0 to 999 for SD 1.5; may be fractional
	Sigma    float64 // noise level of the state it sees, in sigma space (x = x₀ + σ·n)
	Noise    Noise   // the normal tensor that Input, Update and Denoised call noise
	Input    Mix     // what the network sees; its Model is 0
	Update   []Mix   // [Slots] the new slots, all computed from the old ones
	Denoised Mix     // the estimate of x₀ made by this evaluation, from the slots before Update; for previews
}

// Mix is a linear combination of the state slots, the guided network output and the noise of an evaluation.
type Mix struct {
	Slot         [MaxSlots]float64
	Model, Noise float64
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
	m.Noise += c * n.Noise
	return m
}

// NoiseKind says where the noise of an evaluation comes from.
type NoiseKind int

const (
	NoNoise  NoiseKind = iota // the evaluation uses none, and none may be drawn
	Draw                      // the next tensor of the run's generator, after the initial noise
	Brownian                  // the normalised increment of the run's Brownian path between two sigmas
)

// Noise tells the host which standard normal tensor an evaluation needs. For [Brownian] noise it is
// −(W(From) − W(To))/√(From − To) of one path W on [Plan.BrownianMin, Plan.BrownianMax]; then the same seed gives the
// same picture in the limit of many steps. From > To also describes the interval of a [Draw].
type Noise struct {
	Kind     NoiseKind
	From, To float64
}
