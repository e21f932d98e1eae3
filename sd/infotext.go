package sd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/weights"
)

// version stands in infotexts. It must not parse as a bare version number: the web UI would take that for one of its
// own and switch to the behaviour of that release.
const version = "atelier-v0.1"

// How many digits of hashes infotexts have.
const (
	modelHash = 10
	shortHash = 12 // of an adapter
)

// model is what infotexts say of files.
type model struct {
	name, vae  string // of the checkpoint, and of the VAE if it is another's
	hashes     hashes
	embeddings string // that the prompts have, with their hashes
	refiner    string // that takes over, if there is one
	hires      string // with which the second pass is drawn, if it is another
}

// hashes are those of files, as infotexts have them; "" are of what has none.
type hashes struct{ model, vae, refiner, hires string }

// startHashes starts to compute the hashes of the checkpoint, of a VAE's file, if its path is not "", and of a refiner and of what has the
// hires pass, if they are not nil. That takes seconds for a file that has not been seen before, and happens beside what the caller does.
// The function it returns waits for the digits of infotexts; the work ends with the context.
func (p *Pipeline) startHashes(ctx context.Context, vae string, refiner, hires *Pipeline) func() hashes {
	var h hashes
	done := make(chan struct{})
	go func() {
		defer close(done)
		if h.model = p.modelHash(ctx); refiner != nil {
			h.refiner = refiner.modelHash(ctx)
		}
		if hires != nil {
			h.hires = hires.modelHash(ctx)
		}
		if vae != "" {
			h.vae = p.digits(ctx, vae, func(ctx context.Context) (string, error) { return weights.HashFile(ctx, vae) })
		}
	}()
	return func() hashes {
		<-done
		return h
	}
}

// modelHash is the checkpoint's, which is computed once.
func (p *Pipeline) modelHash(ctx context.Context) string {
	if known := p.hash.Load(); known != nil {
		return *known
	}
	digits := p.digits(ctx, p.checkpoint.Path(), p.checkpoint.Hash)
	if digits != "" {
		p.hash.Store(&digits)
	}
	return digits
}

// digits are those that infotexts have of a file's hash.
func (p *Pipeline) digits(ctx context.Context, path string, compute func(context.Context) (string, error)) string {
	hash, err := compute(ctx)
	if err != nil && ctx.Err() == nil {
		p.log.Warn("a file has no hash", "file", path, "error", err)
	}
	return hash[:min(modelHash, len(hash))]
}

// describe says how picture i of a resolved request is made. Adapters that the prompts do not name are added to them.
func describe(r Request, applied adapters, m model, i int) infotext.Text {
	tags := applied.tags()
	t := infotext.Text{Prompt: r.Prompt + tags, Negative: r.NegativePrompt}
	add := func(key, value string) {
		if value != "" {
			t.Add(key, value)
		}
	}
	add("Steps", strconv.Itoa(r.Steps))
	add("Sampler", string(r.Sampler))
	spacing := r.Spacing
	if setDefault(&spacing, r.Sampler.Spacing()); spacing == sampler.Automatic {
		spacing = "Automatic"
	}
	add("Schedule type", string(spacing))
	add("CFG scale", number(*r.Guidance))
	seed, variation := r.seeds(i)
	add("Seed", strconv.FormatInt(seed, 10))
	add("Size", fmt.Sprintf("%dx%d", r.Width, r.Height))
	add("Model hash", m.hashes.model)
	add("Model", m.name)
	add("VAE hash", m.hashes.vae)
	add("VAE", m.vae)
	if r.Encoder == TAESD && (len(r.Image) > 0 || r.Hires != nil || r.Faces != nil) {
		add("VAE Encoder", string(r.Encoder))
	}
	if r.Decoder == TAESD {
		add("VAE Decoder", string(r.Decoder))
	}
	if r.Variation.Strength != 0 {
		add("Variation seed", strconv.FormatInt(variation, 10))
		add("Variation seed strength", number(r.Variation.Strength))
	}
	if from := r.ResizeFrom; from != (Size{}) {
		add("Seed resize from", fmt.Sprintf("%dx%d", from.Width, from.Height))
	}
	if len(r.Image) > 0 {
		add("Denoising strength", number(*r.Strength))
	}
	if r.ClipSkip > 1 {
		add("Clip skip", strconv.Itoa(r.ClipSkip))
	}
	if delta := r.SamplerOptions.ENSD; delta != 0 {
		add("ENSD", strconv.FormatInt(delta, 10))
	}
	add("RNG", string(r.Noise))
	add("Lora hashes", applied.hashes())
	add("TI hashes", m.embeddings)
	if e := r.PromptOptions.Emphasis; e != prompt.Original && strings.ContainsAny(r.Prompt+r.NegativePrompt, "([") {
		add("Emphasis", string(e))
	}
	if r.PadConds {
		add("Pad conds", "True")
	}
	if r.PadOld {
		add("Pad conds v0", "True")
	}
	if r.PromptOptions.OldTimelines && strings.Contains(r.Prompt+r.NegativePrompt, "[") {
		add("Old prompt editing timelines", "True")
	}
	if m := r.NoiseMultiplier; m != nil && *m != 1 && (len(r.Image) > 0 || r.Faces != nil) {
		add("Noise multiplier", number(*m))
	}
	if r.ExtraNoise != 0 {
		add("Extra noise", number(r.ExtraNoise))
	}
	if r.masked() {
		r.Inpaint.describe(add)
	}
	if r.ColorCorrection && (len(r.Image) > 0 || r.Faces != nil) {
		add("Color correction", "True")
	}
	if r.Faces != nil {
		r.describeFaces(add, tags)
	}
	if r.Hires != nil {
		add("Hires checkpoint", hashed(m.hires, m.hashes.hires))
		r.describeHires(add, tags)
	}
	if m.refiner != "" {
		r.Refiner.describe(add, m.refiner, m.hashes.refiner)
		if r.Hires != nil && r.Refiner.Passes != RefineSecond {
			add("Hires refiner", string(r.Refiner.Passes))
		}
	}
	for _, s := range r.config(sampler.Schedule{}, "").Settings() {
		if s.Key != "Schedule type" { // which has its place above
			add(s.Key, s.Value)
		}
	}
	for _, f := range r.speedFields() {
		add(f.Key, f.Value)
	}
	add("Version", version)
	t.Sort()
	return t
}

// describe says what is drawn anew, as the web UI where that differs from its defaults.
func (in Inpaint) describe(add func(key, value string)) {
	if in.Invert {
		add("Mask mode", "Inpaint not masked")
	}
	switch x, y := *in.BlurX, *in.BlurY; { // the web UI says nothing of two that differ
	case x != y:
		add("Mask blur x", number(x))
		add("Mask blur y", number(y))
	case x > 0:
		add("Mask blur", number(x))
	}
	if in.Only {
		add("Inpaint area", "Only masked")
		add("Masked area padding", strconv.Itoa(*in.Padding))
	}
	if in.Content != OriginalContent {
		add("Masked content", string(in.Content))
	}
	if *in.Weight != 1 {
		add("Conditional mask weight", number(*in.Weight))
	}
	if s := in.Soft; s != nil {
		add("Soft inpainting enabled", "True")
		add("Soft inpainting schedule bias", number(*s.ScheduleBias))
		add("Soft inpainting preservation strength", number(*s.Preservation))
		add("Soft inpainting transition contrast boost", number(s.Contrast))
		add("Soft inpainting mask influence", number(s.MaskInfluence))
		add("Soft inpainting difference threshold", number(*s.DifferenceThreshold))
		add("Soft inpainting difference contrast", number(*s.DifferenceContrast))
	}
}

// hashed is what infotexts call another checkpoint: its name, with the hash if it has one.
func hashed(name, hash string) string {
	if hash != "" {
		name += " [" + hash + "]"
	}
	return name
}

// describe says which checkpoint takes over, and when.
func (f *Refiner) describe(add func(key, value string), name, hash string) {
	add("Refiner", hashed(name, hash))
	add("Refiner switch at", number(*f.SwitchAt))
	if f.ByCalls {
		add("Refiner switch by sampling steps", "True")
	}
}

// faceModel is what ADetailer finds faces with, which goes by this name in the web UI so that it takes the text for a job.
const faceModel = "face_yolov8n.pt"

// describeFaces says how faces are drawn anew, in ADetailer's words and order, and behind them what it has no words for.
func (r Request) describeFaces(add func(key, value string), tags string) {
	f := *r.Faces
	whole := func(key string, n, preset int) {
		if n != preset {
			add(key, strconv.Itoa(n))
		}
	}
	add("ADetailer model", faceModel)
	add("ADetailer prompt", taggedFacePrompt(f.Prompt, tags))
	add("ADetailer negative prompt", f.NegativePrompt)
	add("ADetailer confidence", number(*f.Confidence))
	if f.Surest {
		add("ADetailer method to decide top k masks", byConfidence)
		whole("ADetailer mask only top k", f.Largest, 0)
	} else {
		whole("ADetailer mask only top k largest", f.Largest, 0)
	}
	if f.MinRatio != 0 {
		add("ADetailer mask min ratio", number(f.MinRatio))
	}
	if f.MaxRatio != 1 {
		add("ADetailer mask max ratio", number(f.MaxRatio))
	}
	whole("ADetailer x offset", f.OffsetX, 0)
	whole("ADetailer y offset", f.OffsetY, 0)
	add("ADetailer dilate erode", strconv.Itoa(*f.Dilate))
	if f.Merge != SeparateFaces {
		add("ADetailer mask merge invert", string(f.Merge))
	}
	add("ADetailer mask blur", number(*f.Blur))
	add("ADetailer denoising strength", number(*f.Strength))
	add("ADetailer inpaint only masked", "True")
	add("ADetailer inpaint padding", strconv.Itoa(*f.Padding))
	if f.Width != r.Width || f.Height != r.Height {
		add("ADetailer use inpaint width height", "True")
		add("ADetailer inpaint width", strconv.Itoa(f.Width))
		add("ADetailer inpaint height", strconv.Itoa(f.Height))
	}
	if f.Steps != r.Steps {
		add("ADetailer use separate steps", "True")
		add("ADetailer steps", strconv.Itoa(f.Steps))
	}
	if *f.Guidance != *r.Guidance {
		add("ADetailer use separate CFG scale", "True")
		add("ADetailer CFG scale", number(*f.Guidance))
	}
	if f.Sampler != r.Sampler || f.Spacing != r.Spacing {
		add("ADetailer use separate sampler", "True")
		add("ADetailer sampler", string(f.Sampler))
		add("ADetailer scheduler", cmp.Or(string(f.Spacing), "Automatic"))
	}
	if m := f.NoiseMultiplier; m != nil && (r.NoiseMultiplier == nil || *m != *r.NoiseMultiplier) {
		add("ADetailer use separate noise multiplier", "True")
		add("ADetailer noise multiplier", number(*m))
	}
	if f.ClipSkip != r.ClipSkip {
		add("ADetailer use separate CLIP skip", "True")
		add("ADetailer CLIP skip", strconv.Itoa(f.ClipSkip))
	}
	var boxes []string
	for _, box := range f.Boxes {
		boxes = append(boxes, fmt.Sprint(box.Min.X, box.Min.Y, box.Max.X, box.Max.Y))
	}
	add("ADetailer boxes", strings.Join(boxes, "; "))
	if f.Order != AsFound {
		add("ADetailer sort by", string(f.Order))
	}
}

// taggedFacePrompt has tags behind the prompts of faces that are not made of the whole picture's.
func taggedFacePrompt(text, tags string) string {
	if text == "" || tags == "" {
		return text
	}
	all := between.Split(text, -1)
	for i, one := range all {
		if one = strings.TrimSpace(one); one != "" && one != skipFace && !strings.Contains(one, wholePrompt) {
			all[i] += tags
		}
	}
	return strings.Join(all, " [SEP] ")
}

// describeHires says how the second pass is made where it differs from the first.
func (r Request) describeHires(add func(key, value string), tags string) {
	h := *r.Hires
	if len(r.Image) > 0 {
		add("Hires denoising strength", number(*h.Strength))
	} else {
		add("Denoising strength", number(*h.Strength))
	}
	if h.Width == 0 && h.Height == 0 {
		add("Hires upscale", number(h.Scale))
	} else {
		add("Hires resize", fmt.Sprintf("%dx%d", h.Width, h.Height))
	}
	if h.Steps != r.Steps {
		add("Hires steps", strconv.Itoa(h.Steps))
	}
	add("Hires upscaler", h.Upscaler)
	if h.Sampler != r.Sampler {
		add("Hires sampler", string(h.Sampler))
	}
	if h.Spacing != r.Spacing {
		add("Hires schedule type", string(h.Spacing))
	}
	if *h.Guidance != *r.Guidance {
		add("Hires CFG Scale", number(*h.Guidance))
	}
	if h.Prompt != r.Prompt {
		add("Hires prompt", h.Prompt+tags)
	}
	if h.NegativePrompt != r.NegativePrompt {
		add("Hires negative prompt", h.NegativePrompt)
	}
}

// tag is what applies the adapter when it stands in a prompt.
func (a *adapter) tag() string {
	s := "<lora:" + a.name + ":" + number(a.TextEncoder)
	if a.UNet != a.TextEncoder || a.Rank > 0 {
		s += ":" + number(a.UNet)
	}
	if a.Rank > 0 {
		s += ":" + strconv.Itoa(a.Rank)
	}
	return s + ">"
}

// tags apply the adapters that no prompt names.
func (all adapters) tags() (text string) {
	for _, a := range all {
		if !a.tagged {
			text += " " + a.tag()
		}
	}
	return text
}

// hashes lists the adapters by name and the first digits of their hash.
func (all adapters) hashes() string {
	var list []string
	for _, a := range all {
		one := strings.NewReplacer(":", "", ",", "").Replace(a.name) + ": " + a.Hash[:shortHash]
		if !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return strings.Join(list, ", ")
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
