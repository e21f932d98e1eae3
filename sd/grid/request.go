package grid

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/sd/prompt"
)

// Picture is what the picture of a cell is drawn with.
type Picture struct {
	Request    sd.Request
	Checkpoint string // as an axis names it; "" is that of all
	VAE        string // likewise; sd.Request.VAE of the request is still that of all
}

// Picture is what a cell is drawn with: the request of all with what the axes say, which shares nothing with it but the picture to begin with.
// Styles are those that an axis may name. What an axis says that cannot be is an *invalid.FieldError.
func (g Grid) Picture(c Cell, all sd.Request, styles prompt.Styles) (p Picture, err error) {
	if p.Request, err = clone(all); err != nil {
		return p, err
	}
	job := &Job{Prompt: all.Prompt, Negative: all.NegativePrompt, Settings: map[string]any{"steps": all.Steps}}
	if err := g.Apply(c, job); err != nil {
		return p, err
	}
	for _, name := range job.Styles {
		if _, ok := styles.Find(name); !ok {
			return p, invalid.Field("Axis.Styles", name, "the name of a style that there is")
		}
	}
	p.Request.Prompt, p.Request.NegativePrompt = styles.Apply(job.Prompt, job.Negative, job.Styles...)
	for _, settings := range []map[string]any{job.Settings, job.Overrides} {
		for _, key := range slices.Sorted(maps.Keys(settings)) {
			if err := p.set(key, settings[key]); err != nil {
				return p, err
			}
		}
	}
	if model, ok := job.Settings["ad_model"].(string); ok { // None goes before what other axes say of faces
		if err := p.detect(model); err != nil {
			return p, err
		}
	}
	for _, a := range g.axes() {
		if err := p.check(a); err != nil {
			return p, err
		}
	}
	return p, nil
}

// Label says which values a cell has.
func (g Grid) Label(c Cell) string {
	var labels []string
	for i, a := range []*Axis{g.X, g.Y, g.Z} {
		if a != nil {
			labels = append(labels, a.Labels()[[]int{c.X, c.Y, c.Z}[i]])
		}
	}
	return strings.Join(labels, ", ")
}

// fields are what settings of the web UI's API are among the fields of a request, by their names in JSON.
var fields = map[string]string{
	"seed": "seed", "subseed": "variation.seed", "subseed_strength": "variation.strength", "steps": "steps", "cfg_scale": "guidance", "eta": "eta",
	"width": "width", "height": "height", "CLIP_stop_at_last_layers": "clip_skip", "randn_source": "noise", "s_min_uncond": "speed.ngms",
	"s_churn": "sampler_options.sigma_churn", "s_tmin": "sampler_options.sigma_tmin", "s_tmax": "sampler_options.sigma_tmax", "s_noise": "sampler_options.sigma_noise",
	"sigma_min": "sampler_options.schedule_min_sigma", "sigma_max": "sampler_options.schedule_max_sigma", "rho": "sampler_options.schedule_rho",
	"beta_dist_alpha": "sampler_options.beta_schedule_alpha", "beta_dist_beta": "sampler_options.beta_schedule_beta", "uni_pc_order": "sampler_options.order",
	"always_discard_next_to_last_sigma": "sampler_options.discard_penultimate_sigma", "sgm_noise_multiplier": "sampler_options.sgm_noise_multiplier",
	"hr_second_pass_steps": "hires.steps", "hr_upscaler": "hires.upscaler", "initial_noise_multiplier": "initial_noise_multiplier", "img2img_extra_noise": "img2img_extra_noise",
	"inpainting_mask_weight": "inpaint.conditional_mask_weight", "token_merging_ratio": "speed.token_merging_ratio", "token_merging_ratio_hr": "speed.token_merging_ratio_hr",
	"refiner_checkpoint": "refiner.checkpoint", "refiner_switch_at": "refiner.switch_at",
	"mask_blur": "inpaint.mask_blur", "inpaint_full_res_padding": "inpaint.inpaint_full_res_padding",
	"ad_prompt": "faces.prompt", "ad_negative_prompt": "faces.negative_prompt", "ad_dilate_erode": "faces.dilate_erode",
	"ad_denoising_strength": "faces.denoising_strength", "ad_inpaint_only_masked_padding": "faces.inpaint_padding",
}

// without are settings that have no effect with these values alone, and why they can have no others.
var without = map[string]struct {
	axis   string
	values []any
	why    string
}{
	"image_cfg_scale":        {"ImageCFGScale", nil, "checkpoints of InstructPix2Pix, which alone have it, are not read"},
	"restore_faces":          {"Facerestore", []any{false}, "there is no GFPGAN and no CodeFormer"},
	"face_restoration_model": {"Facerestore", nil, "there is no GFPGAN and no CodeFormer"},
	"fp8_storage":            {"FP8mode", []any{"Disable"}, "weights are kept in their own type"},
}

// clone is a request that shares no field with another, but for its picture: values are read into what pointers point to.
func clone(r sd.Request) (own sd.Request, err error) {
	picture := r.Image
	r.Image = nil
	text, err := json.Marshal(r)
	if err != nil {
		return own, err
	}
	err = json.Unmarshal(text, &own)
	own.Image = picture
	return own, err
}

// check complains about an axis that has no effect on the picture.
func (p *Picture) check(a *Axis) error {
	r, want := p.Request, ""
	switch a.Name {
	case "Refiner switch at":
		if r.Refiner.Checkpoint == "" {
			want = "another checkpoint that takes over: an axis Refiner checkpoint, or a refiner of all"
		}
	case "Cond. Image Mask Weight", "Mask blur", "Masked content", "Only masked padding":
		if r.Inpaint == nil || len(r.Inpaint.Mask) == 0 {
			want = "a picture to begin with, and a mask"
		} else if a.Name == "Only masked padding" && !r.Inpaint.Only {
			want = "a picture of which only the masked part is drawn"
		}
	case "Initial noise multiplier", "Resize mode":
		if len(r.Image) == 0 {
			want = "a picture to begin with"
		}
	}
	if want == "" {
		return nil
	}
	return a.invalid(a.Values[0], "%s", want)
}

// set does what a setting of the web UI's API does.
func (p *Picture) set(key string, value any) (err error) {
	r := &p.Request
	if no, ok := without[key]; ok {
		if slices.Contains(no.values, value) {
			return nil
		}
		return invalid.Field("Axis."+no.axis, value, "another axis: %s", no.why)
	}
	if number, ok := value.(float64); ok && (math.IsNaN(number) || math.IsInf(number, 0)) {
		return invalid.Field("Axis."+key, number, "a finite number")
	}
	switch key {
	case "denoising_strength":
		strength := value.(float64)
		if len(r.Image) > 0 {
			r.Strength = &strength
			return nil
		}
		p.hires().Strength = &strength
		return nil
	case "hr_sampler_name":
		p.hires().Sampler, _, err = sampler.Parse(value.(string), "")
		return err
	case "sampler_name":
		r.Sampler, _, err = sampler.Parse(value.(string), "")
		return err
	case "ad_sampler":
		p.faces().Sampler, p.faces().Spacing, err = sampler.Parse(value.(string), "")
		return err
	case "ad_model":
		return nil
	case "resize_mode":
		r.ResizeMode = sd.ResizeModes[value.(int)]
		return nil
	case "inpainting_fill":
		if r.Inpaint == nil {
			r.Inpaint = new(sd.Inpaint)
		}
		r.Inpaint.Content = sd.MaskedContents[value.(int)]
		return nil
	case "scheduler":
		_, r.Spacing, err = sampler.Parse("", value.(string))
		return err
	case "sd_model_checkpoint":
		p.Checkpoint = value.(string)
		return nil
	case "sd_vae":
		p.VAE = value.(string)
		return nil
	}
	name, ok := fields[key]
	if !ok {
		return fmt.Errorf("grid: an axis sets %q, which no request has", key)
	}
	text, err := json.Marshal(value)
	for _, part := range slices.Backward(strings.Split(name, ".")) {
		text = fmt.Appendf(nil, "{%q:%s}", part, text)
	}
	return errors.Join(err, json.Unmarshal(text, r))
}

// hires is the second pass, which there is from then on.
func (p *Picture) hires() *sd.Hires {
	if p.Request.Hires == nil {
		p.Request.Hires = new(sd.Hires)
	}
	return p.Request.Hires
}

// faces is the pass that draws faces anew, which there is from then on.
func (p *Picture) faces() *sd.FacePass {
	if p.Request.Faces == nil {
		p.Request.Faces = new(sd.FacePass)
	}
	return p.Request.Faces
}

// detect has faces drawn anew, or not, by what finds them in the web UI.
func (p *Picture) detect(model string) error {
	switch {
	case strings.EqualFold(model, "None"):
		p.Request.Faces = nil
	case strings.Contains(strings.ToLower(model), "face"):
		p.faces()
	default:
		return invalid.Field("Axis.[ADetailer]ADetailermodel1st", model, "None, or what finds faces, such as face_yolov8n.pt: they alone can be drawn anew")
	}
	return nil
}

// Text is the text of a sheet, of that of its first picture: with the axes.
func (g Grid) Text(first infotext.Text) infotext.Text {
	first.Fields = slices.Clone(first.Fields)
	first.Add("Script", "X/Y/Z plot")
	for i, a := range g.axes() {
		if a.Name != Nothing {
			letter := "XYZ"[i : i+1]
			first.Add(letter+" Type", a.Name)
			first.Add(letter+" Values", a.text())
		}
	}
	first.Sort()
	return first
}

// text are the values as they can be written for the axis again.
func (a *Axis) text() string {
	var all []string
	for _, value := range a.Values {
		text := fmt.Sprint(value)
		if list, ok := value.([]string); ok { // the first order is that of the texts
			return strings.Join(list, ", ")
		}
		if strings.ContainsAny(text, ",\"\n") {
			text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}
