package sdapi

import (
	"fmt"
	"strings"

	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/prompt"
)

// setting is what one of the web UI's settings does to an order.
type setting struct {
	name, field string // its own, and the field of sd.Request that complaints are of
	set         func(o *order, value any) bool
}

// The kinds of settings. Each reports whether a value is one that the setting can have.
func text[S ~string](of func(o *order) *S) func(*order, any) bool {
	return func(o *order, value any) bool {
		v, ok := value.(string)
		*of(o) = S(v)
		return ok
	}
}

func number(set func(o *order, v float64)) func(*order, any) bool {
	return func(o *order, value any) bool {
		v, ok := toFloat(value)
		if ok {
			set(o, v)
		}
		return ok
	}
}

func whole(set func(o *order, v int64)) func(*order, any) bool {
	return func(o *order, value any) bool {
		v, ok := toInt(value)
		if ok {
			set(o, v)
		}
		return ok
	}
}

func truth(set func(o *order, v bool)) func(*order, any) bool {
	return func(o *order, value any) bool {
		v, ok := toBool(value)
		if ok {
			set(o, v)
		}
		return ok
	}
}

// lacking is a setting for something that is not possible here, but for the values given: it is left, and said.
func lacking(why string, fine ...any) func(*order, any) bool {
	return func(o *order, value any) bool {
		for _, v := range fine {
			if fmt.Sprint(v) == fmt.Sprint(value) {
				return true
			}
		}
		o.note("%s", why)
		return true
	}
}

// applied are the settings that change what is drawn, in the order in which they are applied.
var applied = []setting{
	{"sd_model_checkpoint", "", text(func(o *order) *string { return &o.checkpoint })},
	{"sd_vae", "Request.VAE", text(func(o *order) *string { return &o.r.VAE })},
	{"CLIP_stop_at_last_layers", "Request.ClipSkip", whole(func(o *order, v int64) { o.r.ClipSkip = int(min(max(v, 0), 1000)) })},
	{"randn_source", "Request.Noise", text(func(o *order) *sd.NoiseSource { return &o.r.Noise })},
	{"eta_noise_seed_delta", "Request.SamplerOptions.ENSD", whole(func(o *order, v int64) { o.r.SamplerOptions.ENSD = v })},
	{"emphasis", "Request.PromptOptions.Emphasis", text(func(o *order) *prompt.Emphasis { return &o.r.PromptOptions.Emphasis })},
	{"comma_padding_backtrack", "Request.PromptOptions.Backtrack", whole(func(o *order, v int64) { o.r.PromptOptions.Backtrack = new(int(min(max(v, -1), 1000))) })},
	{"use_old_scheduling", "", truth(func(o *order, v bool) { o.r.PromptOptions.OldTimelines = v })},
	{"enable_prompt_comments", "", truth(func(o *order, v bool) { o.r.PromptOptions.KeepComments = !v })},
	{"pad_cond_uncond", "", truth(func(o *order, v bool) { o.r.PadConds = v })},
	{"pad_cond_uncond_v0", "", truth(func(o *order, v bool) { o.r.PadOld = v })},
	{"sd_vae_encode_method", "Request.Encoder", text(func(o *order) *sd.Autoencoder { return &o.r.Encoder })},
	{"sd_vae_decode_method", "Request.Decoder", text(func(o *order) *sd.Autoencoder { return &o.r.Decoder })},

	{"eta_ancestral", "Request.Eta", number(func(o *order, v float64) {
		if v != 1 && !o.timesteps() {
			o.r.Eta = orElse(o.r.Eta, v)
		}
	})},
	{"eta_ddim", "Request.Eta", number(func(o *order, v float64) {
		if v != 0 && o.timesteps() {
			o.r.Eta = orElse(o.r.Eta, v)
		}
	})},
	// Those of the sampler win over the request's, where they are not in their preset.
	{"s_churn", "Request.SamplerOptions.SChurn", number(func(o *order, v float64) { ifSet(&o.r.SamplerOptions.SChurn, v) })},
	{"s_tmin", "Request.SamplerOptions.STmin", number(func(o *order, v float64) { ifSet(&o.r.SamplerOptions.STmin, v) })},
	{"s_tmax", "Request.SamplerOptions.STmax", number(func(o *order, v float64) { ifSet(&o.r.SamplerOptions.STmax, v) })},
	{"s_noise", "Request.SamplerOptions.SNoise", number(func(o *order, v float64) {
		if v != 1 {
			o.r.SamplerOptions.SNoise = &v
		}
	})},
	{"sigma_min", "Request.SamplerOptions.SigmaMin", number(func(o *order, v float64) { o.r.SamplerOptions.SigmaMin = v })},
	{"sigma_max", "Request.SamplerOptions.SigmaMax", number(func(o *order, v float64) { o.r.SamplerOptions.SigmaMax = v })},
	{"rho", "Request.SamplerOptions.Rho", number(func(o *order, v float64) { o.r.SamplerOptions.Rho = v })},
	{"beta_dist_alpha", "Request.SamplerOptions.BetaAlpha", number(func(o *order, v float64) { o.r.SamplerOptions.BetaAlpha = v })},
	{"beta_dist_beta", "Request.SamplerOptions.BetaBeta", number(func(o *order, v float64) { o.r.SamplerOptions.BetaBeta = v })},
	{"always_discard_next_to_last_sigma", "", truth(func(o *order, v bool) { o.r.SamplerOptions.DiscardPenultimate = v })},
	{"sgm_noise_multiplier", "", truth(func(o *order, v bool) { o.r.SamplerOptions.SGMNoise = v })},
	{"use_downcasted_alpha_bar", "", truth(func(o *order, v bool) { o.r.SamplerOptions.DowncastAlphas = v })},
	{"uni_pc_variant", "Request.SamplerOptions.Variant", text(func(o *order) *sampler.UniPCVariant { return &o.r.SamplerOptions.Variant })},
	{"uni_pc_skip_type", "Request.SamplerOptions.Skip", text(func(o *order) *sampler.UniPCSkip { return &o.r.SamplerOptions.Skip })},
	{"uni_pc_order", "Request.SamplerOptions.Order", whole(func(o *order, v int64) {
		if o.r.Sampler == sampler.UniPC {
			o.r.SamplerOptions.Order = int(min(max(v, -1), 1000))
		}
	})},
	{"uni_pc_lower_order_final", "", truth(func(o *order, v bool) { o.r.SamplerOptions.KeepOrderFinal = !v && o.r.Sampler == sampler.UniPC })},

	{"s_min_uncond", "Request.Speed.MinUncond", number(func(o *order, v float64) { o.r.Speed.MinUncond = v })},
	{"s_min_uncond_all", "", truth(func(o *order, v bool) { o.r.Speed.MinUncondAll = v })},
	{"skip_early_cond", "Request.Speed.SkipEarly", number(func(o *order, v float64) { o.r.Speed.SkipEarly = v })},
	{"token_merging_ratio", "Request.Speed.TokenMerging", number(func(o *order, v float64) { o.r.Speed.TokenMerging = v })},
	{"token_merging_ratio_img2img", "Request.Speed.TokenMerging", number(func(o *order, v float64) {
		if v != 0 && len(o.images) > 0 {
			o.r.Speed.TokenMerging = v
		}
	})},
	{"token_merging_ratio_hr", "Request.Speed.TokenMergingHires", number(func(o *order, v float64) { o.r.Speed.TokenMergingHires = v })},

	{"img2img_color_correction", "", truth(func(o *order, v bool) { o.r.ColorCorrection = v && len(o.images) > 0 })},
	{"img2img_extra_noise", "Request.ExtraNoise", number(func(o *order, v float64) { o.r.ExtraNoise = v })},
	{"initial_noise_multiplier", "Request.NoiseMultiplier", number(func(o *order, v float64) {
		if v != 1 && len(o.images) > 0 {
			o.r.NoiseMultiplier = orElse(o.r.NoiseMultiplier, v)
		}
	})},
	{"inpainting_mask_weight", "Request.Inpaint.Weight", number(func(o *order, v float64) {
		if o.r.Inpaint != nil && v != 1 {
			o.r.Inpaint.Weight = &v
		}
	})},
	{"hires_fix_refiner_pass", "Request.Refiner.Passes", func(o *order, value any) bool {
		v, ok := value.(string)
		if o.r.Refiner != nil {
			o.r.Refiner.Passes = sd.RefinedPasses(v)
		}
		return ok
	}},
	{"refiner_switch_by_sample_steps", "", truth(func(o *order, v bool) {
		if o.r.Refiner != nil {
			o.r.Refiner.ByCalls = v
		}
	})},

	{"sd_lora", "", text(func(o *order) *string { return &o.lora })},
	{"extra_networks_default_multiplier", "", number(func(o *order, v float64) { o.loraWeight = v })},
	{"img2img_background_color", "", text(func(o *order) *string { return &o.background })},
	{"overlay_inpaint", "", truth(func(o *order, v bool) {
		if o.r.Inpaint != nil {
			o.r.Inpaint.Bare = !v
		}
	})},
	{"return_mask", "", truth(func(o *order, v bool) { o.answerMask = v })},
	{"return_mask_composite", "", truth(func(o *order, v bool) { o.answerCutOut = v })},

	{"samples_format", "", text(func(o *order) *string { return &o.format })},
	{"jpeg_quality", "", whole(func(o *order, v int64) { o.quality = int(min(max(v, 1), 100)) })},
	{"enable_pnginfo", "", truth(func(o *order, v bool) { o.plain = !v })},
	{"samples_save", "", truth(func(o *order, v bool) { o.save = o.save && v })},
	{"grid_save", "", truth(func(o *order, v bool) { o.grid.save = v })},
	{"return_grid", "", truth(func(o *order, v bool) { o.grid.answer = v })},
	{"grid_only_if_multiple", "", truth(func(o *order, v bool) { o.grid.single = !v })},
	{"n_rows", "", whole(func(o *order, v int64) { o.grid.rows = int(min(max(v, -1), 1000)) })},
	{"grid_prevent_empty_spots", "", truth(func(o *order, v bool) { o.grid.whole = v })},

	{"tiling", "", func(o *order, value any) bool {
		v, ok := toBool(value)
		o.tiling = o.tiling || v
		return ok
	}},
	{"face_restoration", "", lacking(noRestorer, false)},
	{"img2img_fix_steps", "", lacking("img2img_fix_steps is left: the steps of img2img are those times its denoising strength", false)},
	{"sd_noise_schedule", "", lacking("sd_noise_schedule is left: the noise schedule is the checkpoint's", "Default")},
	{"upscaler_for_img2img", "", lacking("upscaler_for_img2img is left: pictures are scaled by Lanczos' filter", nil, "", "None")},
}

// noRestorer is said to who wants faces restored.
const noRestorer = "faces are not restored: there is no CodeFormer or GFPGAN here; ADetailer in alwayson_scripts draws them anew"

// orElse is a value, or another if there is none.
func orElse(v *float64, other float64) *float64 {
	if v != nil {
		return v
	}
	return &other
}

// ifSet gives a number a value that is not zero.
func ifSet(number *float64, v float64) {
	if v != 0 {
		*number = v
	}
}

// timesteps reports whether the sampler takes its η from eta_ddim.
func (o *order) timesteps() bool { return strings.HasPrefix(string(o.r.Sampler), "DDIM") }

// apply applies settings.
func (o *order) apply(value func(name string) any) (faults []Fault) {
	for _, one := range applied {
		v := value(one.name)
		if v == nil {
			continue
		}
		if !one.set(o, v) {
			faults = append(faults, Fault{[]any{"body", "override_settings", one.name}, fmt.Sprintf("%.60q is not what this setting can have", fmt.Sprint(v)), "value_error"})
		}
	}
	return faults
}
