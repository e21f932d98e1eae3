package sdapi

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/studio/library"
)

// order is what a request to draw comes to.
type order struct {
	r          sd.Request
	checkpoint string // "" is the first that there is
	batches    int
	images     [][]byte // files of pictures to begin with; one is for all
	kind       string   // of outputs: library.Txt2Img or library.Img2Img

	save    bool   // pictures are saved among the outputs
	format  string // in which they are answered, by the web UI's name
	quality int    // of JPEG
	plain   bool   // pictures do not say how they were made
	grid    struct {
		answer, save, single, whole bool
		rows                        int
	}
	plot       *plot // compares settings, if it is not nil
	tiling     bool
	styles     []string
	lora       string // that every prompt has, "None" being none, with its weight
	loraWeight float64
	background string // the colour under transparent pictures to begin with

	answerMask, answerCutOut bool         // the mask, and what was drawn under it, follow each picture
	mask                     *image.NRGBA // is white where pictures were drawn; nil if it is not wanted
	maskFile                 []byte       // it as PNG, if it is answered itself
	notes                    []string     // of what was left
}

// maxNotes bounds what is said of a request.
const maxNotes = 30

// note says that something was left.
func (o *order) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); len(o.notes) < maxNotes && !slices.Contains(o.notes, text) {
		o.notes = append(o.notes, text)
	}
}

// given is what a field holds if it is sent, else the zero value.
func given[T any](v *T) (value T) {
	if v != nil {
		value = *v
	}
	return value
}

// order is what a request comes to, before what only one of both ways to draw has.
func (s *Server) order(g *generation, images [][]byte, kind string) (*order, error) {
	o := &order{batches: g.Iterations, save: g.SaveImages, styles: g.Styles, images: images, kind: kind}
	if err := g.impossible(); err != nil {
		return nil, err
	}
	o.r = sd.Request{
		Prompt: g.Prompt, NegativePrompt: g.NegativePrompt, Width: g.Width, Height: g.Height, Steps: g.Steps, Eta: g.Eta, Guidance: new(g.Guidance),
		Seed: g.Seed, BatchSize: g.BatchSize, Variation: sd.Variation{Seed: g.Subseed, Strength: g.SubseedStrength},
		SamplerOptions: sd.SamplerOptions{SChurn: given(g.SChurn), STmin: given(g.STmin), STmax: given(g.STmax), SNoise: g.SNoise},
	}
	o.resizeFrom(g.SeedResizeFromW, g.SeedResizeFromH)
	name := g.SamplerIndex
	if given(g.SamplerName) != "" {
		name = *g.SamplerName
	}
	var err error
	if o.r.Sampler, o.r.Spacing, err = sampler.Parse(name, given(g.Scheduler)); err != nil {
		return nil, refuse(http.StatusBadRequest, "Sampler not found: %v", err)
	}
	if c := given(g.RefinerCheckpoint); c != "" {
		o.r.Refiner = &sd.Refiner{Checkpoint: c, SwitchAt: g.RefinerSwitchAt}
	}
	if given(g.RestoreFaces) {
		o.note("%s", noRestorer)
	}
	o.tiling = given(g.Tiling)
	return o, nil
}

// impossible refuses what is not possible and would change the picture.
func (g *generation) impossible() error {
	if name := given(g.ScriptName); name != "" && !strings.EqualFold(name, "none") && !strings.EqualFold(name, plotTitle) {
		return refuse(http.StatusUnprocessableEntity, "Script %.100q not found: X/Y/Z plot alone can be selected here", name)
	}
	if given(g.FirstPassImage) != "" {
		return faulty([]Fault{fault("firstpass_image", "value_error", "a first pass cannot be replaced by a picture; send it to img2img, or to extra-single-image")})
	}
	return nil
}

// resizeFrom keeps the composition of pictures of a size, if one is said.
func (o *order) resizeFrom(width, height int) {
	if width > 0 && height > 0 {
		o.r.ResizeFrom = sd.Size{Width: width, Height: height}
	}
}

// settle applies settings, styles and scripts, and checks what came of it.
func (s *Server) settle(ctx context.Context, o *order, g *generation) error {
	overrides := make(map[string]any)
	for name, raw := range g.OverrideSettings {
		overrides[name] = plainJSON(raw)
	}
	settings, err := s.options.Library.Settings().With(overrides)
	if err != nil {
		return unfit(err, "override_settings")
	}
	faults := o.apply(settings.Get)
	if g.SMinUncond != nil {
		o.r.Speed.MinUncond = *g.SMinUncond
	}
	if g.ClipSkip != nil {
		o.r.ClipSkip = *g.ClipSkip
	}
	o.restyle(s.options.Library.Styles(), g.DisableNetworks)
	if !g.DisableNetworks {
		s.addLoRA(o)
	}
	faults = append(faults, o.run(g.AlwaysOnScripts)...)
	if strings.EqualFold(given(g.ScriptName), plotTitle) {
		faults = append(faults, o.compare(g.ScriptArgs)...)
	}
	o.drawSeeds()
	if o.tiling {
		faults = append(faults, fault("tiling", "value_error", "pictures that tile cannot be drawn here"))
	}
	faults = append(faults, faultsOf(o.r.Check())...)
	if err := faulty(faults); err != nil {
		return err
	}
	if err := o.bound(); err != nil {
		return err
	}
	if err := s.known(o); err != nil {
		return err
	}
	if o.plot != nil {
		if err := s.cells(o); err != nil {
			return err
		}
	}
	if err := errors.Join(o.flatten(ctx), o.masks(ctx)); err != nil {
		return err
	}
	if !g.RestoreAfterwards && len(overrides) > 0 {
		if err := s.options.Library.Settings().Set(overrides); err != nil {
			return unfit(err, "override_settings")
		}
	}
	return nil
}

// unfit is the answer to settings that have values they cannot have.
func unfit(err error, under ...any) error {
	var faults []Fault
	for _, e := range invalid.Fields(err) {
		name := strings.TrimPrefix(e.Field, "Settings.")
		faults = append(faults, Fault{append(append([]any{"body"}, under...), name), e.Say(name), "value_error"})
	}
	if faults == nil {
		return err
	}
	return faulty(faults)
}

// restyle adds styles to the prompts, and takes tags out if they are to do nothing.
func (o *order) restyle(all prompt.Styles, untagged bool) {
	for _, name := range o.styles {
		if _, ok := all.Find(name); !ok && name != "" && name != "None" {
			o.note("style %.100q is not known and was left", name)
		}
	}
	apply := func(positive, negative *string) {
		*positive, *negative = all.Apply(*positive, *negative, o.styles...)
		if untagged {
			*positive, _ = prompt.Cut(*positive)
		}
	}
	if len(o.styles) > 0 || untagged {
		apply(&o.r.Prompt, &o.r.NegativePrompt)
		if h := o.r.Hires; h != nil && (h.Prompt != "" || h.NegativePrompt != "") {
			apply(&h.Prompt, &h.NegativePrompt)
		}
	}
}

// addLoRA adds the LoRA of the settings to prompts that do not name it.
func (s *Server) addLoRA(o *order) {
	if o.lora == "" || o.lora == "None" {
		return
	}
	if !slices.ContainsFunc(s.options.Library.LoRAs(), func(a library.LoRA) bool { return a.Name == o.lora }) {
		o.note("sd_lora is left: there is no LoRA %.100q", o.lora)
		return
	}
	tag := prompt.Tag{Kind: "lora", Items: []string{o.lora, strconv.FormatFloat(o.loraWeight, 'g', -1, 64)}}
	add := func(text *string) {
		_, tags := prompt.Cut(*text)
		if !slices.ContainsFunc(tags, func(t prompt.Tag) bool { return t.Kind == "lora" && len(t.Items) > 0 && t.Items[0] == o.lora }) {
			*text += tag.String()
		}
	}
	add(&o.r.Prompt)
	if h := o.r.Hires; h != nil && h.Prompt != "" {
		add(&h.Prompt)
	}
}

// drawSeeds draws the seeds that are to be drawn, so that all jobs of the request have them.
func (o *order) drawSeeds() {
	for _, seed := range []*int64{&o.r.Seed, &o.r.Variation.Seed} {
		if *seed < 0 {
			*seed = rand.Int64N(1<<32 - 2)
		}
	}
}

// bound refuses what would be too much for a machine.
func (o *order) bound() error {
	pictures := int64(o.batches) * int64(o.r.BatchSize)
	if pictures > maxPictures {
		return faulty([]Fault{fault("n_iter", "value_error", "%d pictures are too many for one request, which may ask for %d", pictures, maxPictures)})
	}
	if width, height := largest(&o.r); float64(pictures)*width*height > maxPixels {
		return faulty([]Fault{fault("n_iter", "value_error", "%d pictures of %.0f×%.0f are too many for one request, which may have %d million pixels", pictures, width, height, maxPixels>>20)})
	}
	return nil
}

// largest is the size of a picture after its last pass.
func largest(r *sd.Request) (width, height float64) {
	width, height = float64(r.Width), float64(r.Height)
	if h := r.Hires; h != nil {
		width, height = max(width*h.Scale, float64(h.Width)), max(height*h.Scale, float64(h.Height))
	}
	return width, height
}

// known checks that files which are named are there.
func (s *Server) known(o *order) error {
	lib := s.options.Library
	if o.checkpoint != "" {
		c, err := lib.Checkpoint(o.checkpoint)
		if err != nil {
			return missing(err)
		}
		o.checkpoint = c.Title
	}
	var others []string
	if f := o.r.Refiner; f != nil {
		others = append(others, f.Checkpoint)
	}
	if h := o.r.Hires; h != nil {
		others = append(others, h.Checkpoint)
	}
	for _, name := range others {
		if name == "" || strings.EqualFold(name, "none") {
			continue
		}
		if _, err := lib.Checkpoint(name); err != nil {
			return missing(err)
		}
	}
	if v := o.r.VAE; v != "" && v != "Automatic" && v != "None" {
		if err := among("VAE", v, lib.VAEs()); err != nil {
			return err
		}
	}
	if h := o.r.Hires; h != nil && !slices.Contains(builtIn(true), h.Upscaler) {
		return among("upscaler", h.Upscaler, lib.Upscalers(), builtIn(true)...)
	}
	return nil
}

// builtIn are the upscalers that need no file, with or without those of latents.
func builtIn(latent bool) (names []string) {
	if latent {
		names = slices.Clone(canvas.Upscalers)
	}
	return append(names, sd.NoUpscaler, sd.Lanczos, sd.Nearest)
}

// among checks that a file is called so.
func among(kind, name string, files []library.File, more ...string) error {
	e := &library.NotFoundError{Kind: kind, Name: name, Known: more}
	for _, f := range files {
		if base := f.Place[strings.LastIndex(f.Place, "/")+1:]; name == f.Name || name == base || name == f.Place {
			return nil
		}
		e.Known = append(e.Known, f.Name)
	}
	return missing(e)
}

// missing is the answer where something of a name is not there.
func missing(err error) error {
	if e, ok := errors.AsType[*library.NotFoundError](err); ok {
		return refuse(http.StatusBadRequest, "%s", e.Error())
	}
	return err
}

// fieldNames are the fields of requests by those of sd.Request, for complaints.
var fieldNames = map[string]string{
	"Request.Prompt": "prompt", "Request.NegativePrompt": "negative_prompt", "Request.Width": "width", "Request.Height": "height", "Request.Steps": "steps",
	"Request.Sampler": "sampler_name", "Request.Spacing": "scheduler", "Request.Eta": "eta", "Request.Guidance": "cfg_scale", "Request.ClipSkip": "clip_skip",
	"Request.Seed": "seed", "Request.BatchSize": "batch_size", "Request.Variation.Strength": "subseed_strength",
	"Request.ResizeFrom.Width": "seed_resize_from_w", "Request.ResizeFrom.Height": "seed_resize_from_h",
	"Request.SamplerOptions.SChurn": "s_churn", "Request.SamplerOptions.STmin": "s_tmin", "Request.SamplerOptions.STmax": "s_tmax", "Request.SamplerOptions.SNoise": "s_noise",
	"Request.Speed.MinUncond": "s_min_uncond", "Request.Strength": "denoising_strength", "Request.ResizeMode": "resize_mode", "Request.NoiseMultiplier": "initial_noise_multiplier",
	"Request.Image": "init_images", "Request.Inpaint.Mask": "mask", "Request.Inpaint.Blur": "mask_blur", "Request.Inpaint.BlurX": "mask_blur_x", "Request.Inpaint.BlurY": "mask_blur_y",
	"Request.Inpaint.Content": "inpainting_fill", "Request.Inpaint.Padding": "inpaint_full_res_padding",
	"Request.Hires.Scale": "hr_scale", "Request.Hires.Width": "hr_resize_x", "Request.Hires.Height": "hr_resize_y", "Request.Hires.Upscaler": "hr_upscaler",
	"Request.Hires.Strength": "denoising_strength", "Request.Hires.Steps": "hr_second_pass_steps", "Request.Hires.Sampler": "hr_sampler_name", "Request.Hires.Spacing": "hr_scheduler",
	"Request.Hires.Prompt": "hr_prompt", "Request.Hires.NegativePrompt": "hr_negative_prompt", "Request.Hires.Checkpoint": "hr_checkpoint_name",
	"Request.Refiner.SwitchAt": "refiner_switch_at", "Request.Refiner.Checkpoint": "refiner_checkpoint",
}

// faultsOf are complaints about a request in the words of who sent it.
func faultsOf(err error) (faults []Fault) {
	for _, e := range invalid.Fields(err) {
		name, ok := fieldNames[e.Field]
		loc := []any{"body", name}
		switch {
		case ok:
		case strings.HasPrefix(e.Field, "Request.Faces."), strings.HasPrefix(e.Field, "Request.Inpaint.Soft."):
			name, loc = strings.TrimPrefix(e.Field, "Request."), []any{"body", "alwayson_scripts"}
		default:
			name, loc = e.Field, []any{"body"}
			if at := slices.IndexFunc(applied, func(one setting) bool { return one.field == e.Field }); at >= 0 {
				name = applied[at].name
				loc = []any{"body", "override_settings", name}
			}
		}
		faults = append(faults, Fault{loc, e.Say(name), "value_error"})
	}
	if err != nil && faults == nil {
		faults = []Fault{{[]any{"body"}, err.Error(), "value_error"}}
	}
	return faults
}

// enlarge adds the second pass of a request to draw from nothing.
func (o *order) enlarge(b *txt2img) (err error) {
	if !b.EnableHires {
		return nil
	}
	h := &sd.Hires{
		Scale: b.HiresScale, Width: b.HiresWidth, Height: b.HiresHeight, Upscaler: given(b.HiresUpscaler), Strength: b.Strength, Steps: b.HiresSteps,
		Prompt: b.HiresPrompt, NegativePrompt: b.HiresNegative,
	}
	if h.Upscaler == "" {
		h.Upscaler = canvas.Upscalers[0]
	}
	if b.FirstPassWidth > 0 && b.FirstPassHeight > 0 {
		h.Width, h.Height, o.r.Width, o.r.Height = b.Width, b.Height, b.FirstPassWidth, b.FirstPassHeight
	}
	same := func(name string) bool { return name == "" || strings.HasPrefix(strings.ToLower(name), "use same") }
	if c := given(b.HiresCheckpoint); !same(c) {
		h.Checkpoint = c
	}
	name, schedule := given(b.HiresSampler), given(b.HiresScheduler)
	if same(name) && same(schedule) {
		o.r.Hires = h
		return nil
	}
	if same(schedule) {
		schedule = ""
	}
	if same(name) {
		name = string(o.r.Sampler)
	}
	if h.Sampler, h.Spacing, err = sampler.Parse(name, schedule); err != nil {
		return refuse(http.StatusBadRequest, "Sampler not found: hr_sampler_name, hr_scheduler: %v", err)
	}
	o.r.Hires = h
	return nil
}

// begin sets what a request to draw over pictures has.
func (o *order) begin(b *img2img, mask []byte) error {
	strength := 0.75
	if b.Strength != nil {
		strength = *b.Strength
	}
	o.r.Strength, o.r.ResizeMode, o.r.NoiseMultiplier = &strength, sd.ResizeModes[b.ResizeMode], b.NoiseMultiplier
	o.r.Image = o.images[0]
	if n := len(o.images); n > o.r.BatchSize {
		return faulty([]Fault{fault("init_images", "value_error", "%d pictures for a batch of %d; send as many as batch_size, or one for all", n, o.r.BatchSize)})
	} else if n > 1 {
		o.r.BatchSize = n
	}
	if given(b.LatentMask) != "" {
		return faulty([]Fault{fault("latent_mask", "value_error", "there is one mask for picture and latents: send it as mask")})
	}
	if mask == nil {
		return nil
	}
	blurX, blurY := b.MaskBlurX, b.MaskBlurY
	if b.MaskBlur != nil {
		blurX, blurY = *b.MaskBlur, *b.MaskBlur
	}
	o.r.Inpaint = &sd.Inpaint{
		Mask: mask, Invert: b.InvertMask == 1, Blur: &blurX, BlurX: &blurX, BlurY: &blurY, Content: sd.MaskedContents[b.Fill],
		Only: b.OnlyMasked, Padding: &b.Padding,
	}
	return nil
}

// paste fills the fields that were not sent with what an infotext says.
func (g *generation) paste(sent map[string]bool) (*sd.Request, error) {
	text := given(g.Infotext)
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	t := infotext.Parse(text)
	r, _, err := sd.FromInfotext(t)
	if err != nil {
		return nil, faulty([]Fault{fault("infotext", "value_error", "%v", err)})
	}
	fill := func(field string, ok bool, set func()) {
		if ok && !sent[field] {
			set()
		}
	}
	fill("prompt", true, func() { g.Prompt = r.Prompt })
	fill("negative_prompt", true, func() { g.NegativePrompt = r.NegativePrompt })
	fill("steps", r.Steps != 0, func() { g.Steps = r.Steps })
	fill("cfg_scale", r.Guidance != nil, func() { g.Guidance = *r.Guidance })
	fill("width", r.Width != 0, func() { g.Width = r.Width })
	fill("height", r.Height != 0, func() { g.Height = r.Height })
	fill("denoising_strength", r.Strength != nil, func() { g.Strength = r.Strength })
	_, seeded := t.Get("Seed")
	fill("seed", seeded, func() { g.Seed = r.Seed })
	fill("subseed", r.Variation.Strength != 0, func() { g.Subseed = r.Variation.Seed })
	fill("subseed_strength", r.Variation.Strength != 0, func() { g.SubseedStrength = r.Variation.Strength })
	fill("seed_resize_from_w", r.ResizeFrom != sd.Size{}, func() { g.SeedResizeFromW = r.ResizeFrom.Width })
	fill("seed_resize_from_h", r.ResizeFrom != sd.Size{}, func() { g.SeedResizeFromH = r.ResizeFrom.Height })
	if _, ok := t.Get("Sampler"); ok && !sent["sampler_index"] {
		fill("sampler_name", true, func() { g.SamplerName = new(string(r.Sampler)) })
		fill("scheduler", true, func() { g.Scheduler = new(string(r.Spacing)) })
	}
	if r.Refiner != nil {
		fill("refiner_checkpoint", true, func() { g.RefinerCheckpoint = &r.Refiner.Checkpoint })
		fill("refiner_switch_at", true, func() { g.RefinerSwitchAt = r.Refiner.SwitchAt })
	}
	return &r, g.pasteSettings(t)
}

// pasteSettings takes the settings of an infotext, where the request has none of its own.
func (g *generation) pasteSettings(t infotext.Text) error {
	overrides, err := t.Parameters(nil, infotext.IgnoreStyles).Overrides()
	if err != nil {
		return faulty([]Fault{fault("infotext", "value_error", "%v", err)})
	}
	own := g.OverrideSettings
	g.OverrideSettings = maps.Clone(own)
	if g.OverrideSettings == nil {
		g.OverrideSettings = make(object)
	}
	for _, one := range overrides {
		if _, ok := own[one.Name]; !ok {
			g.OverrideSettings[one.Name] = rawJSON(one.Value)
		}
	}
	return nil
}

// pasteHires fills the fields of the second pass likewise.
func (b *txt2img) pasteHires(h *sd.Hires, sent map[string]bool) {
	if h == nil || sent["enable_hr"] && !b.EnableHires {
		return
	}
	fill := func(field string, ok bool, set func()) {
		if ok && !sent[field] {
			set()
		}
	}
	b.EnableHires = true
	fill("hr_scale", h.Scale != 0, func() { b.HiresScale = h.Scale })
	fill("hr_resize_x", h.Width != 0, func() { b.HiresWidth = h.Width })
	fill("hr_resize_y", h.Height != 0, func() { b.HiresHeight = h.Height })
	fill("hr_upscaler", h.Upscaler != "", func() { b.HiresUpscaler = &h.Upscaler })
	fill("hr_second_pass_steps", h.Steps != 0, func() { b.HiresSteps = h.Steps })
	fill("hr_checkpoint_name", h.Checkpoint != "", func() { b.HiresCheckpoint = &h.Checkpoint })
	fill("hr_sampler_name", h.Sampler != "", func() { b.HiresSampler = new(string(h.Sampler)) })
	fill("hr_scheduler", h.Spacing != "", func() { b.HiresScheduler = new(string(h.Spacing)) })
	fill("hr_prompt", h.Prompt != "", func() { b.HiresPrompt = h.Prompt })
	fill("hr_negative_prompt", h.NegativePrompt != "", func() { b.HiresNegative = h.NegativePrompt })
	fill("denoising_strength", h.Strength != nil, func() { b.Strength = h.Strength })
}
