package sd

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"unicode/utf8"

	"github.com/atelier-go/atelier/sampler"
)

// The bounds of a request.
const (
	MaxSide      = 4096 // pixels
	MaxBatchSize = 64
	maxChunks    = 64 // of 75 tokens each: more is no prompt but a mistake
)

// NoiseSource names the generator of the initial noise and of the noise ancestral samplers add.
type NoiseSource string

// The noise sources. One seed gives different pictures with each of them.
const (
	NV  NoiseSource = "NV"  // the Philox generator of NVIDIA GPUs: the web UI's default ("GPU") and its "NV" setting
	CPU NoiseSource = "CPU" // PyTorch's CPU generator: the web UI's "CPU" setting, and diffusers with a CPU generator
)

// Request describes pictures to generate. The zero value of every field is a sensible default, so
// Request{Prompt: "a lighthouse"} is complete and reproducible.
type Request struct {
	Prompt         string    // of any length; read in chunks of 75 tokens; <lora:NAME:0.8> applies a LoRA
	NegativePrompt string    // what guidance moves away from
	Adapters       []Adapter // LoRAs to apply besides those the prompt names

	Width, Height int // pixels, multiples of 8 up to MaxSide; 0 is the model's own size, 512 for SD 1.5

	Steps    int             // 1 to sampler.MaxSteps; 0 is 20
	Sampler  sampler.Sampler // "" is DPM++ 2M
	Spacing  sampler.Spacing // noise schedule, "Schedule type" in the web UI; "" is the sampler's own
	Eta      *float64        // stochasticity of ancestral samplers and DDIM; nil is the sampler's own
	Guidance float64         // classifier-free guidance, "CFG scale"; 0 is 7.5, 1 ignores the negative prompt
	ClipSkip int             // as in the web UI: 0 and 1 use the text encoder's last layer, 2 the one before it

	Seed      int64       // of the first picture, picture i uses Seed+i; negative draws one at random
	BatchSize int         // pictures made at once; 0 is 1
	Noise     NoiseSource // "" is NV

	TiledVAE bool // decode in overlapping tiles: less memory; always on above 1024×1024 pixels
}

// plan is Request.resolve with what depends on the model, and the plan of its sampling.
func (p *Pipeline) plan(r Request) (Request, *sampler.Plan, error) {
	r, err := r.resolve(p.Side())
	plan, planErr := sampler.New(sampler.Config{
		Sampler: r.Sampler, Spacing: r.Spacing, Steps: max(r.Steps, 1), Eta: r.Eta,
		Schedule: p.schedule, Prediction: p.prediction,
	})
	if err := errors.Join(err, planErr); err != nil {
		return r, nil, err
	}
	if f := p.vae.Config().ScaleFactor(); r.Width%f != 0 || r.Height%f != 0 {
		return r, nil, fmt.Errorf("sd: a picture of %d×%d pixels; this model makes multiples of %d", r.Width, r.Height, f)
	}
	if layers := p.text.Config().NumHiddenLayers; r.ClipSkip > layers {
		return r, nil, fmt.Errorf("sd: Request.ClipSkip is %d, want 1 to %d, the text encoder's layers", r.ClipSkip, layers)
	}
	return r, plan, nil
}

// resolve fills in defaults and checks every field; the error joins all complaints.
func (r Request) resolve(modelSide int) (Request, error) {
	setDefault(&r.Width, modelSide)
	setDefault(&r.Height, modelSide)
	setDefault(&r.Steps, 20)
	setDefault(&r.Guidance, 7.5)
	setDefault(&r.ClipSkip, 1)
	setDefault(&r.BatchSize, 1)
	setDefault(&r.Noise, NV)
	setDefault(&r.Sampler, sampler.DPMPP2M)
	if r.Seed < 0 {
		r.Seed = int64(rand.Uint32())
	}

	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("sd: Request."+format, args...)) }
	text := func(name, s string) {
		if !utf8.ValidString(s) {
			bad("%s is not valid UTF-8, beginning with %.20q; convert the text first", name, s)
		}
	}
	text("Prompt", r.Prompt)
	text("NegativePrompt", r.NegativePrompt)
	for i, a := range r.Adapters {
		if a.Path == "" && a.LoRA == nil {
			bad("Adapters[%d].Path is empty, want the name of a .safetensors file", i)
		}
		if a.LoRA != nil && len(a.LoRA.Hash) < shortHash {
			bad("Adapters[%d].LoRA has no Hash; make it with lora.Open or lora.NewAdapter", i)
		}
	}
	side := func(name string, n int) {
		if n < 8 || n > MaxSide || n%8 != 0 {
			bad("%s is %d, want a multiple of 8 from 8 to %d pixels", name, n, MaxSide)
		}
	}
	side("Width", r.Width)
	side("Height", r.Height)
	if r.Steps < 1 || r.Steps > sampler.MaxSteps {
		bad("Steps is %d, want 1 to %d", r.Steps, sampler.MaxSteps)
	}
	if !(math.Abs(r.Guidance) <= 1000) {
		bad("Guidance is %v, want a number from -1000 to 1000", r.Guidance)
	}
	if r.BatchSize < 1 || r.BatchSize > MaxBatchSize {
		bad("BatchSize is %d, want 1 to %d", r.BatchSize, MaxBatchSize)
	}
	if r.Noise != NV && r.Noise != CPU {
		bad("Noise is %.20q, want %q or %q", string(r.Noise), NV, CPU)
	}
	if r.ClipSkip < 1 {
		bad("ClipSkip is %d, want 1 or more", r.ClipSkip)
	}
	return r, errors.Join(errs...)
}

// setDefault gives a field its default if it is zero.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
