package sd

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
)

// FromInfotext is the request that makes the picture of an infotext again, be it the web UI's or ours, with the checkpoint that it names.
// Texts of old releases of the web UI are read as these meant them. What the text has and a request has no field for is left;
// what a field cannot hold is reported as Generate does.
func FromInfotext(t infotext.Text) (r Request, left []infotext.Field, err error) {
	r = Request{Prompt: t.Prompt, NegativePrompt: t.Negative}
	p := t.Parameters(nil, infotext.IgnoreStyles)
	var errs []error
	if r.Sampler, r.Spacing, err = sampler.Parse(p.Text("Sampler"), p.Text("Schedule type")); err != nil {
		errs = append(errs, &invalid.FieldError{Field: "Request.Sampler", Err: err})
	}
	if slices.ContainsFunc(t.Fields, func(f infotext.Field) bool {
		return f.Key == "Hires upscale" || f.Key == "Hires resize" || f.Key == "Hires upscaler"
	}) {
		r.Hires = new(Hires)
		if err := r.Hires.paste(p); err != nil {
			errs = append(errs, &invalid.FieldError{Field: "Request.Hires.Sampler", Err: err})
		}
	}
	if facesIn(t) {
		r.Faces = new(FacePass)
		if err := r.Faces.paste(t, r); err != nil {
			errs = append(errs, &invalid.FieldError{Field: "Request.Faces.Sampler", Err: err})
		}
	}
	for _, f := range t.Fields {
		read, ok := pasted[f.Key]
		if !ok || r.Hires == nil && strings.HasPrefix(read.field, "Request.Hires.") || r.Faces == nil && strings.HasPrefix(read.field, "Request.Faces.") {
			left = append(left, f)
			continue
		}
		if read.set == nil {
			continue
		}
		if err := read.set(&r, f.Value); err != nil {
			errs = append(errs, invalid.Field(read.field, f.Value, "%s, as %q of an infotext", err, f.Key))
		}
	}
	if r.Hires != nil && r.Hires.Strength == nil {
		r.Hires.Strength, r.Strength = r.Strength, nil
	}
	if r.Refiner != nil {
		r.Refiner.ByCalls = p.Text("Refiner switch by sampling steps") == "True"
	}
	if f := r.Faces; f != nil && f.Width == 0 {
		f.Width, f.Height = r.Width, r.Height
	}
	r.PromptOptions.OldTimelines, r.PadOld = p.Text("Old prompt editing timelines") == "True", p.Text("Pad conds v0") == "True"
	r.SamplerOptions.DowncastAlphas = p.Text("Downcast alphas_cumprod") == "True"
	return r, left, invalid.Join(errs...)
}

// paste sets what the second pass has of its own: a sampler with its schedule, and prompts.
func (h *Hires) paste(p infotext.Parameters) (err error) {
	own, schedule := p.Text("Hires sampler"), p.Text("Hires schedule type")
	if schedule == "Use same scheduler" {
		schedule = ""
	}
	if own == "Use same sampler" {
		own = ""
	}
	if own != "" || schedule != "" {
		if h.Sampler, h.Spacing, err = sampler.Parse(cmp.Or(own, p.Text("Sampler")), schedule); own == "" {
			h.Sampler = ""
		}
	}
	h.Prompt, h.NegativePrompt = p.Text("Hires prompt"), p.Text("Hires negative prompt")
	return err
}

// facesIn reports whether a text has a pass of ADetailer's that we can make: of faces, each cut out. What its other passes draw anew
// is left.
func facesIn(t infotext.Text) bool {
	model, _ := t.Get("ADetailer model")
	cut, ok := t.Get("ADetailer inpaint only masked")
	return strings.Contains(strings.ToLower(model), "face") && (!ok || strings.EqualFold(cut, "true"))
}

// paste sets the sampler that faces have of their own, and its schedule: that of the request unless the text says another.
func (f *FacePass) paste(t infotext.Text, r Request) (err error) {
	own, ok := t.Get("ADetailer sampler")
	if !ok {
		return nil
	}
	schedule, _ := t.Get("ADetailer scheduler")
	if f.Sampler, f.Spacing, err = sampler.Parse(own, schedule); f.Spacing == "" && (schedule == "" || schedule == "Use same scheduler") {
		f.Spacing = r.Spacing
	}
	return err
}

// pasted are the keys of infotexts that requests know: the field of each, and how it is set. Those without say what the picture
// was made with, and set nothing.
var pasted = map[string]struct {
	field string
	set   func(r *Request, value string) error
}{
	"Sampler": {}, "Schedule type": {}, "Model": {}, "Model hash": {}, "Lora hashes": {}, "TI hashes": {}, "Version": {}, "User": {}, "VAE hash": {},
	"Old prompt editing timelines": {}, "Pad conds v0": {}, "Downcast alphas_cumprod": {}, "Refiner switch by sampling steps": {},
	"Hires sampler": {}, "Hires schedule type": {}, "Hires prompt": {}, "Hires negative prompt": {},

	"Steps":     {"Request.Steps", whole(func(r *Request) *int { return &r.Steps })},
	"CFG scale": {"Request.Guidance", optional(func(r *Request) **float64 { return &r.Guidance })},
	"Seed":      {"Request.Seed", seed(func(r *Request) *int64 { return &r.Seed })},
	"Size":      {"Request.Width", sides(func(r *Request) (w, h *int) { return &r.Width, &r.Height })},
	"Clip skip": {"Request.ClipSkip", whole(func(r *Request) *int { return &r.ClipSkip })},
	"RNG":       {"Request.Noise", words(func(r *Request) *NoiseSource { return &r.Noise })},
	"Eta":       {"Request.Eta", optional(func(r *Request) **float64 { return &r.Eta })},
	"Eta DDIM":  {"Request.Eta", optional(func(r *Request) **float64 { return &r.Eta })},
	"Emphasis":  {"Request.PromptOptions.Emphasis", words(func(r *Request) *prompt.Emphasis { return &r.PromptOptions.Emphasis })},
	"Pad conds": {"Request.PadConds", truth(func(r *Request) *bool { return &r.PadConds })},
	"VAE":       {"Request.VAE", words(func(r *Request) *string { return &r.VAE })},

	"VAE Encoder": {"Request.Encoder", words(func(r *Request) *Autoencoder { return &r.Encoder })},
	"VAE Decoder": {"Request.Decoder", words(func(r *Request) *Autoencoder { return &r.Decoder })},

	"Denoising strength": {"Request.Strength", optional(func(r *Request) **float64 { return &r.Strength })},
	"Noise multiplier":   {"Request.NoiseMultiplier", optional(func(r *Request) **float64 { return &r.NoiseMultiplier })},
	"Extra noise":        {"Request.ExtraNoise", fraction(func(r *Request) *float64 { return &r.ExtraNoise })},

	"Color correction":                          {"Request.ColorCorrection", truth(func(r *Request) *bool { return &r.ColorCorrection })},
	"Mask mode":                                 {"Request.Inpaint.Invert", means("Inpaint not masked", func(r *Request) *bool { return &r.inpaint().Invert })},
	"Mask blur":                                 {"Request.Inpaint.Blur", optional(func(r *Request) **float64 { return &r.inpaint().Blur })},
	"Mask blur x":                               {"Request.Inpaint.BlurX", optional(func(r *Request) **float64 { return &r.inpaint().BlurX })},
	"Mask blur y":                               {"Request.Inpaint.BlurY", optional(func(r *Request) **float64 { return &r.inpaint().BlurY })},
	"Masked content":                            {"Request.Inpaint.Content", words(func(r *Request) *MaskedContent { return &r.inpaint().Content })},
	"Inpaint area":                              {"Request.Inpaint.Only", means("Only masked", func(r *Request) *bool { return &r.inpaint().Only })},
	"Conditional mask weight":                   {"Request.Inpaint.Weight", optional(func(r *Request) **float64 { return &r.inpaint().Weight })},
	"Masked area padding":                       {"Request.Inpaint.Padding", optionalWhole(func(r *Request) **int { return &r.inpaint().Padding })},
	"Soft inpainting enabled":                   {"Request.Inpaint.Soft", func(r *Request, _ string) error { r.soft(); return nil }},
	"Soft inpainting schedule bias":             {"Request.Inpaint.Soft.ScheduleBias", optional(func(r *Request) **float64 { return &r.soft().ScheduleBias })},
	"Soft inpainting preservation strength":     {"Request.Inpaint.Soft.Preservation", optional(func(r *Request) **float64 { return &r.soft().Preservation })},
	"Soft inpainting transition contrast boost": {"Request.Inpaint.Soft.Contrast", fraction(func(r *Request) *float64 { return &r.soft().Contrast })},
	"Soft inpainting mask influence":            {"Request.Inpaint.Soft.MaskInfluence", fraction(func(r *Request) *float64 { return &r.soft().MaskInfluence })},
	"Soft inpainting difference threshold":      {"Request.Inpaint.Soft.DifferenceThreshold", optional(func(r *Request) **float64 { return &r.soft().DifferenceThreshold })},
	"Soft inpainting difference contrast":       {"Request.Inpaint.Soft.DifferenceContrast", optional(func(r *Request) **float64 { return &r.soft().DifferenceContrast })},

	"Hires upscale":            {"Request.Hires.Scale", fraction(func(r *Request) *float64 { return &r.Hires.Scale })},
	"Hires resize":             {"Request.Hires.Width", sides(func(r *Request) (w, h *int) { return &r.Hires.Width, &r.Hires.Height })},
	"Hires steps":              {"Request.Hires.Steps", whole(func(r *Request) *int { return &r.Hires.Steps })},
	"Hires upscaler":           {"Request.Hires.Upscaler", words(func(r *Request) *string { return &r.Hires.Upscaler })},
	"Hires CFG Scale":          {"Request.Hires.Guidance", optional(func(r *Request) **float64 { return &r.Hires.Guidance })},
	"Hires checkpoint":         {"Request.Hires.Checkpoint", words(func(r *Request) *string { return &r.Hires.Checkpoint })},
	"Hires denoising strength": {"Request.Hires.Strength", optional(func(r *Request) **float64 { return &r.Hires.Strength })},

	"Refiner":           {"Request.Refiner.Checkpoint", words(func(r *Request) *string { return &r.takeover().Checkpoint })},
	"Refiner switch at": {"Request.Refiner.SwitchAt", optional(func(r *Request) **float64 { return &r.takeover().SwitchAt })},
	"Hires refiner":     {"Request.Refiner.Passes", words(func(r *Request) *RefinedPasses { return &r.takeover().Passes })},
	"ADetailer model":   {"Request.Faces.Boxes", nil}, "ADetailer version": {"Request.Faces.Boxes", nil}, "ADetailer inpaint only masked": {"Request.Faces.Padding", nil},
	"ADetailer use inpaint width height": {"Request.Faces.Width", nil}, "ADetailer use separate steps": {"Request.Faces.Steps", nil},
	"ADetailer use separate CFG scale": {"Request.Faces.Guidance", nil}, "ADetailer use separate sampler": {"Request.Faces.Sampler", nil},
	"ADetailer sampler": {"Request.Faces.Sampler", nil}, "ADetailer scheduler": {"Request.Faces.Spacing", nil},
	"ADetailer use separate noise multiplier": {"Request.Faces.NoiseMultiplier", nil}, "ADetailer use separate CLIP skip": {"Request.Faces.ClipSkip", nil},

	"ADetailer prompt":                       {"Request.Faces.Prompt", words(func(r *Request) *string { return &r.Faces.Prompt })},
	"ADetailer negative prompt":              {"Request.Faces.NegativePrompt", words(func(r *Request) *string { return &r.Faces.NegativePrompt })},
	"ADetailer confidence":                   {"Request.Faces.Confidence", optional(func(r *Request) **float64 { return &r.Faces.Confidence })},
	"ADetailer mask only top k largest":      {"Request.Faces.Largest", whole(func(r *Request) *int { return &r.Faces.Largest })},
	"ADetailer mask only top k":              {"Request.Faces.Largest", whole(func(r *Request) *int { return &r.Faces.Largest })},
	"ADetailer x offset":                     {"Request.Faces.OffsetX", whole(func(r *Request) *int { return &r.Faces.OffsetX })},
	"ADetailer y offset":                     {"Request.Faces.OffsetY", whole(func(r *Request) *int { return &r.Faces.OffsetY })},
	"ADetailer mask merge invert":            {"Request.Faces.Merge", words(func(r *Request) *FaceMerge { return &r.Faces.Merge })},
	"ADetailer noise multiplier":             {"Request.Faces.NoiseMultiplier", optional(func(r *Request) **float64 { return &r.Faces.NoiseMultiplier })},
	"ADetailer CLIP skip":                    {"Request.Faces.ClipSkip", whole(func(r *Request) *int { return &r.Faces.ClipSkip })},
	"ADetailer mask min ratio":               {"Request.Faces.MinRatio", fraction(func(r *Request) *float64 { return &r.Faces.MinRatio })},
	"ADetailer mask max ratio":               {"Request.Faces.MaxRatio", fraction(func(r *Request) *float64 { return &r.Faces.MaxRatio })},
	"ADetailer dilate erode":                 {"Request.Faces.Dilate", optionalWhole(func(r *Request) **int { return &r.Faces.Dilate })},
	"ADetailer mask blur":                    {"Request.Faces.Blur", optional(func(r *Request) **float64 { return &r.Faces.Blur })},
	"ADetailer denoising strength":           {"Request.Faces.Strength", optional(func(r *Request) **float64 { return &r.Faces.Strength })},
	"ADetailer inpaint padding":              {"Request.Faces.Padding", optionalWhole(func(r *Request) **int { return &r.Faces.Padding })},
	"ADetailer inpaint width":                {"Request.Faces.Width", whole(func(r *Request) *int { return &r.Faces.Width })},
	"ADetailer inpaint height":               {"Request.Faces.Height", whole(func(r *Request) *int { return &r.Faces.Height })},
	"ADetailer steps":                        {"Request.Faces.Steps", whole(func(r *Request) *int { return &r.Faces.Steps })},
	"ADetailer CFG scale":                    {"Request.Faces.Guidance", optional(func(r *Request) **float64 { return &r.Faces.Guidance })},
	"ADetailer method to decide top k masks": {"Request.Faces.Surest", means(byConfidence, func(r *Request) *bool { return &r.Faces.Surest })},

	"ADetailer boxes":   {"Request.Faces.Boxes", pasteBoxes},
	"ADetailer sort by": {"Request.Faces.Order", words(func(r *Request) *FaceOrder { return &r.Faces.Order })},

	"Variation seed":          {"Request.Variation.Seed", seed(func(r *Request) *int64 { return &r.Variation.Seed })},
	"Variation seed strength": {"Request.Variation.Strength", fraction(func(r *Request) *float64 { return &r.Variation.Strength })},
	"Seed resize from":        {"Request.ResizeFrom", sides(func(r *Request) (w, h *int) { return &r.ResizeFrom.Width, &r.ResizeFrom.Height })},
	"ENSD":                    {"Request.SamplerOptions.ENSD", seed(func(r *Request) *int64 { return &r.SamplerOptions.ENSD })},

	"NGMS":                          {"Request.Speed.MinUncond", fraction(func(r *Request) *float64 { return &r.Speed.MinUncond })},
	"NGMS all steps":                {"Request.Speed.MinUncondAll", truth(func(r *Request) *bool { return &r.Speed.MinUncondAll })},
	"Token merging ratio":           {"Request.Speed.TokenMerging", fraction(func(r *Request) *float64 { return &r.Speed.TokenMerging })},
	"Token merging ratio hr":        {"Request.Speed.TokenMergingHires", fraction(func(r *Request) *float64 { return &r.Speed.TokenMergingHires })},
	"Hypertile U-Net":               {"Request.Speed.HyperTile", pasteHyperTile},
	"Hypertile U-Net max depth":     {"Request.Speed.HyperTile.Depth", whole(func(r *Request) *int { return &r.Speed.HyperTile.Depth })},
	"Hypertile U-Net max tile size": {"Request.Speed.HyperTile.Tile", whole(func(r *Request) *int { return &r.Speed.HyperTile.Tile })},
	"Hypertile U-Net swap size":     {},
	"DeepCache interval":            {"Request.Speed.DeepCache.Interval", whole(func(r *Request) *int { return &r.Speed.DeepCache.Interval })},
	"DeepCache branch":              {"Request.Speed.DeepCache.Branch", whole(func(r *Request) *int { return &r.Speed.DeepCache.Branch })},
	"CFG rescale":                   {"Request.GuidanceRescale", fraction(func(r *Request) *float64 { return &r.GuidanceRescale })},
	"FreeU b1":                      {"Request.FreeU.B1", fraction(func(r *Request) *float64 { return &r.FreeU.B1 })},
	"FreeU b2":                      {"Request.FreeU.B2", fraction(func(r *Request) *float64 { return &r.FreeU.B2 })},
	"FreeU s1":                      {"Request.FreeU.S1", fraction(func(r *Request) *float64 { return &r.FreeU.S1 })},
	"FreeU s2":                      {"Request.FreeU.S2", fraction(func(r *Request) *float64 { return &r.FreeU.S2 })},

	"Skip Early CFG": {"Request.Speed.SkipEarly", fraction(func(r *Request) *float64 { return &r.Speed.SkipEarly })},

	"Sigma churn":               {"Request.SamplerOptions.SChurn", fraction(func(r *Request) *float64 { return &r.SamplerOptions.SChurn })},
	"Sigma tmin":                {"Request.SamplerOptions.STmin", fraction(func(r *Request) *float64 { return &r.SamplerOptions.STmin })},
	"Sigma tmax":                {"Request.SamplerOptions.STmax", fraction(func(r *Request) *float64 { return &r.SamplerOptions.STmax })},
	"Sigma noise":               {"Request.SamplerOptions.SNoise", optional(func(r *Request) **float64 { return &r.SamplerOptions.SNoise })},
	"Schedule min sigma":        {"Request.SamplerOptions.SigmaMin", fraction(func(r *Request) *float64 { return &r.SamplerOptions.SigmaMin })},
	"Schedule max sigma":        {"Request.SamplerOptions.SigmaMax", fraction(func(r *Request) *float64 { return &r.SamplerOptions.SigmaMax })},
	"Schedule rho":              {"Request.SamplerOptions.Rho", fraction(func(r *Request) *float64 { return &r.SamplerOptions.Rho })},
	"Beta schedule alpha":       {"Request.SamplerOptions.BetaAlpha", fraction(func(r *Request) *float64 { return &r.SamplerOptions.BetaAlpha })},
	"Beta schedule beta":        {"Request.SamplerOptions.BetaBeta", fraction(func(r *Request) *float64 { return &r.SamplerOptions.BetaBeta })},
	"Discard penultimate sigma": {"Request.SamplerOptions.DiscardPenultimate", truth(func(r *Request) *bool { return &r.SamplerOptions.DiscardPenultimate })},
	"SGM noise multiplier":      {"Request.SamplerOptions.SGMNoise", truth(func(r *Request) *bool { return &r.SamplerOptions.SGMNoise })},
	"UniPC order":               {"Request.SamplerOptions.Order", whole(func(r *Request) *int { return &r.SamplerOptions.Order })},
	"UniPC variant":             {"Request.SamplerOptions.Variant", words(func(r *Request) *sampler.UniPCVariant { return &r.SamplerOptions.Variant })},
	"UniPC skip type":           {"Request.SamplerOptions.Skip", words(func(r *Request) *sampler.UniPCSkip { return &r.SamplerOptions.Skip })},
	"UniPC lower order final": {"Request.SamplerOptions.KeepOrderFinal", func(r *Request, value string) error {
		r.SamplerOptions.KeepOrderFinal = strings.EqualFold(value, "false")
		return nil
	}},
}

// Errors say what kind of text a field wants.
var (
	errWhole = errors.New("a whole number")
	errReal  = errors.New("a number")
	errBoxes = errors.New("corners of boxes such as 16 20 80 84; 96 20 160 84")
	errSides = errors.New("a size such as 512x768")
)

func whole(field func(r *Request) *int) func(r *Request, value string) error {
	return func(r *Request, value string) (err error) {
		if *field(r), err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
			return errWhole
		}
		return nil
	}
}

func seed(field func(r *Request) *int64) func(r *Request, value string) error {
	return func(r *Request, value string) (err error) {
		if *field(r), err = strconv.ParseInt(strings.TrimSpace(value), 10, 64); err != nil {
			return errWhole
		}
		return nil
	}
}

func fraction(field func(r *Request) *float64) func(r *Request, value string) error {
	return func(r *Request, value string) (err error) {
		if *field(r), err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil {
			return errReal
		}
		return nil
	}
}

func optional(field func(r *Request) **float64) func(r *Request, value string) error {
	return func(r *Request, value string) error {
		*field(r) = new(float64)
		return fraction(func(r *Request) *float64 { return *field(r) })(r, value)
	}
}

func optionalWhole(field func(r *Request) **int) func(r *Request, value string) error {
	return func(r *Request, value string) error {
		*field(r) = new(int)
		return whole(func(r *Request) *int { return *field(r) })(r, value)
	}
}

// pasteBoxes reads the corners of boxes.
func pasteBoxes(r *Request, value string) error {
	for one := range strings.SplitSeq(value, ";") {
		var box image.Rectangle
		if n, err := fmt.Sscan(one, &box.Min.X, &box.Min.Y, &box.Max.X, &box.Max.Y); n < 4 || err != nil {
			return errBoxes
		}
		if r.Faces.Boxes = append(r.Faces.Boxes, box); len(r.Faces.Boxes) > MaxFaces {
			return nil // too many, as the request's check says
		}
	}
	return nil
}

func truth(field func(r *Request) *bool) func(r *Request, value string) error {
	return func(r *Request, value string) error {
		*field(r) = value != "" && !strings.EqualFold(value, "false")
		return nil
	}
}

// means sets a field if the text is the one that means it.
func means(meaning string, field func(r *Request) *bool) func(r *Request, value string) error {
	return func(r *Request, value string) error {
		*field(r) = value == meaning
		return nil
	}
}

// inpaint, soft and takeover are what a request has in structures of their own, which infotexts do not have.
func (r *Request) inpaint() *Inpaint {
	if r.Inpaint == nil {
		r.Inpaint = new(Inpaint)
	}
	return r.Inpaint
}

func (r *Request) takeover() *Refiner {
	if r.Refiner == nil {
		r.Refiner = new(Refiner)
	}
	return r.Refiner
}

func (r *Request) soft() *Soft {
	if r.inpaint().Soft == nil {
		r.Inpaint.Soft = new(Soft)
	}
	return r.Inpaint.Soft
}

func words[T ~string](field func(r *Request) *T) func(r *Request, value string) error {
	return func(r *Request, value string) error {
		*field(r) = T(value)
		return nil
	}
}

func sides(field func(r *Request) (width, height *int)) func(r *Request, value string) error {
	return func(r *Request, value string) error {
		width, height := field(r)
		if _, err := fmt.Sscanf(value, "%dx%d", width, height); err != nil {
			return errSides
		}
		return nil
	}
}
