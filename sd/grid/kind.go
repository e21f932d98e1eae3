// Package grid compares pictures: up to three axes of values, in the web UI's syntax, of which every combination is a cell.
//
//	x, err := grid.Parse("CFG Scale", "4-10 (+3)") // 4, 7, 10
//	y, err := grid.Parse("Prompt S/R", "red, brown, blond")
//	g := grid.Grid{X: x, Y: y}
//	for cell := range g.Cells() {
//		p, err := g.Picture(cell, sd.Request{Prompt: "portrait of a woman, red hair"}, nil) // "portrait of a woman, brown hair", guidance 7
//	}
//
// What makes pictures of it is no business of this package; Look.Sheet puts them together.
package grid

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
)

// Kind is what the values of an axis are.
type Kind struct {
	Name    string  // as the web UI has it: "CFG Scale"
	Cost    float64 // of going from one value to another, 0 to 1, besides the picture itself
	Choices bool    // values are names from a list, and need no quotes there

	values form
	label  func(name string, value any) string
	apply  func(a *Axis, value any, j *Job) error
}

// form is how values are written.
type form int

const (
	texts  form = iota // with commas between
	wholes             // and ranges of them
	reals              // likewise
	orders             // of texts: all there are
)

// kinds are all, in the web UI's order; after them those of its extension ADetailer, and those that it does not have.
var kinds = []Kind{
	{Name: Nothing, label: nothing, apply: func(*Axis, any, *Job) error { return nil }},
	setting("Seed", wholes, "seed"),
	setting("Var. seed", wholes, "subseed"),
	setting("Var. strength", reals, "subseed_strength"),
	setting("Steps", wholes, "steps"),
	setting("Hires steps", wholes, "hr_second_pass_steps"),
	setting("CFG Scale", reals, "cfg_scale"),
	setting("Image CFG Scale", reals, "image_cfg_scale"),
	{Name: "Prompt S/R", label: bare, apply: replace},
	{Name: "Prompt order", values: orders, label: bare, apply: reorder},
	choice(labelled(setting("Sampler", texts, "sampler_name"), bare)),
	choice(setting("Hires sampler", texts, "hr_sampler_name")),
	choice(costly(labelled(override("Checkpoint name", texts, "sd_model_checkpoint"), baseName), 1)),
	setting("Negative Guidance minimum sigma", reals, "s_min_uncond"),
	setting("Sigma Churn", reals, "s_churn"),
	setting("Sigma min", reals, "s_tmin"),
	setting("Sigma max", reals, "s_tmax"),
	setting("Sigma noise", reals, "s_noise"),
	choice(setting("Schedule type", texts, "scheduler")),
	override("Schedule min sigma", reals, "sigma_min"),
	override("Schedule max sigma", reals, "sigma_max"),
	override("Schedule rho", reals, "rho"),
	override("Beta schedule alpha", reals, "beta_dist_alpha"),
	override("Beta schedule beta", reals, "beta_dist_beta"),
	setting("Eta", reals, "eta"),
	override("Clip skip", wholes, "CLIP_stop_at_last_layers"),
	setting("Denoising", reals, "denoising_strength"),
	setting("Initial noise multiplier", reals, "initial_noise_multiplier"),
	override("Extra noise", reals, "img2img_extra_noise"),
	choice(setting("Hires upscaler", texts, "hr_upscaler")),
	setting("Cond. Image Mask Weight", reals, "inpainting_mask_weight"),
	choice(costly(Kind{Name: "VAE", apply: applyVAE}, 0.7)),
	choice(Kind{Name: "Styles", apply: applyStyles}),
	costly(Kind{Name: "UniPC Order", values: wholes, apply: applyOrder}, 0.5),
	{Name: "Face restore", label: bare, apply: applyFaces},
	override("Token merging ratio", reals, "token_merging_ratio"),
	override("Token merging ratio high-res", reals, "token_merging_ratio_hr"),
	choice(truth("Always discard next-to-last sigma", "always_discard_next_to_last_sigma")),
	choice(truth("SGM noise multiplier", "sgm_noise_multiplier")),
	choice(costly(labelled(setting("Refiner checkpoint", texts, "refiner_checkpoint"), baseName), 1)),
	setting("Refiner switch at", reals, "refiner_switch_at"),
	choice(override("RNG source", texts, "randn_source")),
	choice(costly(override("FP8 mode", texts, "fp8_storage"), 0.9)),
	{Name: "Size", apply: applySize},

	choice(setting("[ADetailer] ADetailer model 1st", texts, "ad_model")),
	setting("[ADetailer] ADetailer prompt 1st", texts, "ad_prompt"),
	setting("[ADetailer] ADetailer negative prompt 1st", texts, "ad_negative_prompt"),
	setting("[ADetailer] Mask erosion / dilation 1st", wholes, "ad_dilate_erode"),
	setting("[ADetailer] Inpaint denoising strength 1st", reals, "ad_denoising_strength"),
	setting("[ADetailer] Inpaint only masked padding 1st", wholes, "ad_inpaint_only_masked_padding"),
	choice(setting("[ADetailer] ADetailer sampler 1st", texts, "ad_sampler")),

	numbered("Resize mode", "resize_mode", sd.ResizeModes),
	setting("Mask blur", reals, "mask_blur"),
	numbered("Masked content", "inpainting_fill", sd.MaskedContents),
	setting("Only masked padding", wholes, "inpaint_full_res_padding"),
	costly(Kind{Name: "LoRA", label: bare, apply: applyLoRA}, 0.6),
	costly(Kind{Name: "LoRA epoch", values: wholes, apply: applyEpoch}, 0.6),
	costly(Kind{Name: "LoRA weight", values: reals, apply: applyWeight}, 0.6),
}

// Nothing is the axis of one value that changes nothing.
const Nothing = "Nothing"

// Names are those of all kinds.
func Names() (names []string) {
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	return names
}

// FindKind is the kind of a name, in any case. An unknown one is an *invalid.FieldError that lists all.
func FindKind(name string) (*Kind, error) {
	at := slices.IndexFunc(kinds, func(k Kind) bool { return strings.EqualFold(k.Name, strings.TrimSpace(name)) })
	if at < 0 {
		return nil, invalid.Field("Axis.Name", name, "one of %q", Names())
	}
	return &kinds[at], nil
}

func setting(name string, values form, key string) Kind {
	return Kind{Name: name, values: values, apply: func(_ *Axis, value any, j *Job) error { return set(&j.Settings, key, value) }}
}

func override(name string, values form, key string) Kind {
	return Kind{Name: name, values: values, apply: func(_ *Axis, value any, j *Job) error { return set(&j.Overrides, key, value) }}
}

// truth is true for that word, in any case, alone.
func truth(name, key string) Kind {
	return Kind{Name: name, apply: func(_ *Axis, value any, j *Job) error {
		return set(&j.Overrides, key, strings.EqualFold(value.(string), "true"))
	}}
}

// numbered has one of some names, for which the key has their number.
func numbered[T ~string](name, key string, names []T) Kind {
	return choice(Kind{Name: name, apply: func(a *Axis, value any, j *Job) error {
		at := slices.IndexFunc(names, func(one T) bool { return strings.EqualFold(string(one), value.(string)) })
		if at < 0 {
			return a.invalid(value, "one of %q", names)
		}
		return set(&j.Settings, key, at)
	}})
}

func choice(k Kind) Kind { k.Choices = true; return k }

func costly(k Kind, cost float64) Kind { k.Cost = cost; return k }

func labelled(k Kind, label func(name string, value any) string) Kind { k.label = label; return k }

func nothing(string, any) string { return "" }

func bare(_ string, value any) string { return write(value) }

func baseName(_ string, value any) string { return path.Base("/" + write(value)) }

func named(name string, value any) string { return fmt.Sprintf("%s: %s", name, write(value)) }
