package sd

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/unet"
)

// The bounds of a request.
const (
	MaxSide      = 4096 // pixels
	MaxBatchSize = 64
)

// NoiseSource names the generator of the initial noise and of the noise ancestral samplers add.
type NoiseSource string

// The noise sources. One seed gives different pictures with each of them.
const (
	NV  NoiseSource = "NV"  // the Philox generator of NVIDIA GPUs
	GPU NoiseSource = "GPU" // the web UI's default, the same on its users' cards: read as NV
	CPU NoiseSource = "CPU" // PyTorch's CPU generator: the web UI's "CPU" setting, and diffusers with a CPU generator
)

// Request describes pictures to generate. The zero value of every field is a sensible default, so
// Request{Prompt: "a lighthouse"} is complete and reproducible. It can be written as JSON and read again. A field that holds
// what it cannot is reported as an *invalid.FieldError, such as of "Request.Width", all of them joined.
type Request struct {
	Prompt         string    `json:"prompt,omitzero"`          // of any length; read in chunks of 75 tokens; <lora:NAME:0.8> applies a LoRA
	NegativePrompt string    `json:"negative_prompt,omitzero"` // what guidance moves away from
	Adapters       []Adapter `json:"adapters,omitempty"`       // LoRAs to apply besides those the prompt names

	PromptOptions prompt.Options `json:"prompt_options,omitzero"` // how the prompts are read
	Width         int            `json:"width,omitzero"`          // pixels, a multiple of 8 up to MaxSide; 0 is the model's own, 512 for SD 1.5, and with it the shape of Image
	Height        int            `json:"height,omitzero"`         // as Width

	Steps    int             `json:"steps,omitzero"`        // 1 to sampler.MaxSteps; 0 is 20
	Sampler  sampler.Sampler `json:"sampler,omitzero"`      // "" is DPM++ 2M
	Spacing  sampler.Spacing `json:"spacing,omitzero"`      // noise schedule, "Schedule type" in the web UI; "" is the sampler's own
	Eta      *float64        `json:"eta,omitzero"`          // stochasticity of ancestral samplers and DDIM; nil is the sampler's own
	Guidance *float64        `json:"guidance,omitzero"`     // classifier-free guidance, "CFG scale"; nil is 7.5, 1 ignores the negative prompt, 0 the prompt
	PadConds bool            `json:"pad_conds,omitzero"`    // fill the shorter of prompt and negative prompt up with the empty prompt: the web UI's setting
	PadOld   bool            `json:"pad_conds_v0,omitzero"` // give the negative prompt the prompt's length instead, by its last vector again or by cutting it: as DDIM and PLMS did before release 1.6 of the web UI
	ClipSkip int             `json:"clip_skip,omitzero"`    // as in the web UI: 0 and 1 use the text encoder's last layer, 2 the one before it

	Seed      int64       `json:"seed,omitzero"`       // of the first picture, picture i uses Seed+i; negative draws one at random
	BatchSize int         `json:"batch_size,omitzero"` // pictures made at once; 0 is 1
	Noise     NoiseSource `json:"noise,omitzero"`      // "" is NV

	Variation      Variation      `json:"variation,omitzero"`        // of the noise that Seed makes
	ResizeFrom     Size           `json:"seed_resize_from,omitzero"` // of pictures whose composition by the same Seed is to stay; zero is this size
	SamplerOptions SamplerOptions `json:"sampler_options,omitzero"`

	GuidanceRescale float64    `json:"guidance_rescale,omitzero"` // 0 to 1: brings what guidance makes so far towards the contrast of the prompt's own prediction
	FreeU           unet.FreeU `json:"freeu,omitzero"`            // weighs the network's backbone and skip connections; the zero value changes nothing

	Speed Speed `json:"speed,omitzero"` // what saves time and changes the picture

	Image           []byte     `json:"init_image,omitempty"`              // a file with a picture to begin with: JPEG, PNG, WebP, BMP, TIFF or GIF; none begins with noise alone
	Strength        *float64   `json:"denoising_strength,omitzero"`       // how much of Image is drawn anew, 0 to 1, "Denoising strength"; nil is 0.75. Without meaning where there is none
	ResizeMode      ResizeMode `json:"resize_mode,omitzero"`              // how Image is brought to the size; "" is JustResize
	NoiseMultiplier *float64   `json:"initial_noise_multiplier,omitzero"` // factor on the noise over Image; nil is 1
	Inpaint         *Inpaint   `json:"inpaint,omitzero"`                  // draws only a part of Image; nil, or one without a mask, is all of it
	ColorCorrection bool       `json:"img2img_color_correction,omitzero"` // the finished picture gets the colours of Image, and each face of Faces those of what was there
	ExtraNoise      float64    `json:"img2img_extra_noise,omitzero"`      // so much more of it, beyond what the sampler expects; also in the hires pass

	Hires   *Hires    `json:"hires,omitzero"`   // a second pass that enlarges the picture; nil is none
	Refiner *Refiner  `json:"refiner,omitzero"` // another checkpoint that takes over on the way; nil is none
	Faces   *FacePass `json:"faces,omitzero"`   // passes that draw its faces anew, without the refiner; nil is none

	VAE      string      `json:"vae,omitzero"`         // a file in Options.VAEDirs or beside the checkpoint, by its name; "" and "Automatic" are the one that is called like the checkpoint, "None" is the checkpoint's own
	Encoder  Autoencoder `json:"vae_encoder,omitzero"` // what makes latents of pictures: FullVAE or TAESD; "" is FullVAE
	Decoder  Autoencoder `json:"vae_decoder,omitzero"` // what makes pictures of latents, likewise
	TiledVAE bool        `json:"tiled_vae,omitzero"`   // decode in overlapping tiles: less memory; always on above 1024×1024 pixels
}

// plan is Request.resolve with what depends on the model, and the plan of its sampling.
func (p *Pipeline) plan(r Request) (Request, *sampler.Plan, error) {
	r, err := r.resolve(p.Side())
	p.tag(&r)
	c := r.config(p.networks.Schedule, p.networks.Prediction)
	if len(r.Image) > 0 {
		c.Denoise = r.Strength
	}
	if !r.refines(false) {
		c.SwitchAt = nil
	}
	plan, planErr := sampler.New(c)
	if err := errors.Join(err, inRequest(planErr)); err != nil {
		return r, nil, fmt.Errorf("sd: %w", err)
	}
	var errs []error
	f := p.networks.VAE.Config().ScaleFactor()
	type side struct {
		field  string
		pixels int
	}
	sides := []side{{"Request.Width", r.Width}, {"Request.Height", r.Height}}
	if r.Faces != nil {
		sides = append(sides, side{"Request.Faces.Width", r.Faces.Width}, side{"Request.Faces.Height", r.Faces.Height})
	}
	for _, side := range sides {
		if side.pixels%f != 0 {
			errs = append(errs, invalid.Field(side.field, side.pixels, "a multiple of %d, as this model makes pictures", f))
		}
	}
	if cache, layers := r.Speed.DeepCache, p.networks.UNet.Layers(); cache.Branch >= layers {
		errs = append(errs, invalid.Field("Request.Speed.DeepCache.Branch", cache.Branch, "0 to %d, of this model's layers", layers-1))
	}
	layers := p.networks.Text.Config().NumHiddenLayers
	if r.ClipSkip > layers {
		errs = append(errs, invalid.Field("Request.ClipSkip", r.ClipSkip, "1 to %d, the text encoder's layers", layers))
	}
	if r.Faces != nil && r.Faces.ClipSkip > layers && r.Faces.ClipSkip != r.ClipSkip {
		errs = append(errs, invalid.Field("Request.Faces.ClipSkip", r.Faces.ClipSkip, "1 to %d, the text encoder's layers", layers))
	}
	if err := errors.Join(errs...); err != nil {
		return r, nil, fmt.Errorf("sd: %w", err)
	}
	return r, plan, nil
}

// resolve fills in defaults and checks every field but those that the sampler checks; the error joins all complaints.
func (r Request) resolve(modelSide int) (Request, error) {
	setDefault(&r.Width, modelSide)
	setDefault(&r.Height, modelSide)
	setDefault(&r.Steps, 20)
	setDefault(&r.ClipSkip, 1)
	setDefault(&r.BatchSize, 1)
	setDefault(&r.Sampler, sampler.DPMPP2M)
	if r.Guidance == nil {
		r.Guidance = new(7.5)
	}
	if len(r.Image) > 0 {
		setDefault(&r.ResizeMode, JustResize)
		if r.Strength == nil {
			r.Strength = new(0.75)
		}
	}
	if r.Hires != nil {
		r.Hires = new(r.Hires.resolve(r))
	}
	if r.Inpaint != nil {
		r.Inpaint = new(r.Inpaint.resolve())
	}
	r.Refiner = r.Refiner.resolve()
	if r.Faces != nil {
		r.Faces = new(r.Faces.resolve(r, modelSide))
	}
	setDefault(&r.PromptOptions.Emphasis, prompt.Original)
	if !r.PromptOptions.KeepComments {
		for _, text := range r.texts() {
			*text.words = prompt.StripComments(*text.words)
		}
	}
	var errs []error
	check := func(ok bool, field string, value any, want string, args ...any) {
		if !ok {
			errs = append(errs, invalid.Field("Request."+field, value, want, args...))
		}
	}
	for _, text := range r.texts() {
		check(utf8.ValidString(*text.words), text.field, *text.words, "valid UTF-8; convert the text first")
	}
	if len(r.Image) > 0 {
		check(slices.Contains(ResizeModes, r.ResizeMode), "ResizeMode", string(r.ResizeMode), "one of %q", ResizeModes)
	}
	if r.masked() {
		errs = append(errs, r.Inpaint.check(r))
	}
	if r.Faces != nil {
		errs = append(errs, r.Faces.check())
	}
	if m := r.NoiseMultiplier; m != nil {
		check(*m >= 0 && *m <= 10, "NoiseMultiplier", *m, "a factor from 0 to 10")
	}
	check(slices.Contains(prompt.Emphases, r.PromptOptions.Emphasis), "PromptOptions.Emphasis", string(r.PromptOptions.Emphasis), "one of %q", prompt.Emphases)
	if b := r.PromptOptions.Backtrack; b != nil {
		check(*b >= 0, "PromptOptions.Backtrack", *b, "0 or more")
	}
	for i, a := range r.Adapters {
		check(a.Path != "" || a.Name != "", fmt.Sprintf("Adapters[%d].Path", i), a.Path, "the name of a .safetensors file, or a Name beside it")
		check(a.Path == "" || a.Name == "", fmt.Sprintf("Adapters[%d].Name", i), a.Name, "none where a Path is given")
	}
	check(goodSide(r.Width), "Width", r.Width, "a multiple of 8 from 8 to %d pixels", MaxSide)
	check(goodSide(r.Height), "Height", r.Height, "a multiple of 8 from 8 to %d pixels", MaxSide)
	check(math.Abs(*r.Guidance) <= 1000, "Guidance", *r.Guidance, "a number from -1000 to 1000")
	check(r.BatchSize >= 1 && r.BatchSize <= MaxBatchSize, "BatchSize", r.BatchSize, "1 to %d", MaxBatchSize)
	if f := r.Refiner; f != nil {
		check(slices.Contains(refined, f.Passes), "Refiner.Passes", string(f.Passes), "one of %q", refined)
	}
	errs = append(errs, r.resolveNoise())
	errs = append(errs, r.resolveSpeed()...)
	check(slices.Contains([]Autoencoder{"", FullVAE, TAESD}, r.Encoder), "Encoder", string(r.Encoder), "%q or %q", FullVAE, TAESD)
	check(slices.Contains([]Autoencoder{"", FullVAE, TAESD}, r.Decoder), "Decoder", string(r.Decoder), "%q or %q", FullVAE, TAESD)
	check(r.ClipSkip >= 1, "ClipSkip", r.ClipSkip, "1 or more")
	return r, errors.Join(errs...)
}

// texts are the prompts of a request, by their fields.
func (r *Request) texts() []struct {
	field string
	words *string
} {
	type text = struct {
		field string
		words *string
	}
	all := []text{{"Prompt", &r.Prompt}, {"NegativePrompt", &r.NegativePrompt}}
	if r.Hires != nil {
		all = append(all, text{"Hires.Prompt", &r.Hires.Prompt}, text{"Hires.NegativePrompt", &r.Hires.NegativePrompt})
	}
	if r.Faces != nil {
		all = append(all, text{"Faces.Prompt", &r.Faces.Prompt}, text{"Faces.NegativePrompt", &r.Faces.NegativePrompt})
	}
	return all
}

func goodSide(pixels int) bool { return pixels >= 8 && pixels <= MaxSide && pixels%8 == 0 }

// setDefault gives a field its default if it is zero.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Check complains about what no model can do: fields out of their range, and samplers that cannot be had as they are asked for. What
// depends on a checkpoint and on files is checked when the request runs.
func (r Request) Check() error {
	r, err := r.resolve(512)
	if err != nil {
		return fmt.Errorf("sd: %w", err)
	}
	check := func(c sampler.Config, part string, of any) error {
		_, err := sampler.New(c)
		if part == "" {
			return inRequest(err)
		}
		return inPart(part, of, err)
	}
	c := r.config(sampler.Schedule{}, "")
	if len(r.Image) > 0 {
		c.Denoise = r.Strength
	}
	errs := []error{check(c, "", nil)}
	if h := r.Hires; h != nil {
		errs = append(errs, h.check(), check(r.hiresConfig(sampler.Schedule{}, ""), "Hires", Hires{}))
	}
	if f := r.Faces; f != nil {
		c := r.ofFace("", "").config(sampler.Schedule{}, "")
		c.Denoise = f.Strength
		errs = append(errs, check(c, "Faces", FacePass{}))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sd: %w", err)
	}
	return nil
}
