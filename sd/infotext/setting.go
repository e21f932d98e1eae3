package infotext

import (
	"fmt"
	"strconv"
	"strings"
)

// Setting is one of the web UI's settings that infotexts have.
type Setting struct {
	Key    string // in an infotext
	Name   string // of the setting
	Value  any    // a string, bool, int or float64
	Preset any    // what it is in a fresh installation
}

// settings are all of them, with their presets.
var settings = []Setting{
	{Key: "VAE", Name: "sd_vae", Preset: "Automatic"},
	{Key: "Clip skip", Name: "CLIP_stop_at_last_layers", Preset: 1},
	{Key: "Emphasis", Name: "emphasis", Preset: "Original"},
	{Key: "ENSD", Name: "eta_noise_seed_delta", Preset: 0},
	{Key: "RNG", Name: "randn_source", Preset: "GPU"},
	{Key: "Tiling", Name: "tiling", Preset: false},
	{Key: "Face restoration", Name: "face_restoration", Preset: false},
	{Key: "Hires refiner", Name: "hires_fix_refiner_pass", Preset: "second pass"},
	{Key: "VAE Encoder", Name: "sd_vae_encode_method", Preset: "Full"},
	{Key: "VAE Decoder", Name: "sd_vae_decode_method", Preset: "Full"},
	{Key: "Conditional mask weight", Name: "inpainting_mask_weight", Preset: 1.0},
	{Key: "Noise multiplier", Name: "initial_noise_multiplier", Preset: 1.0},
	{Key: "Extra noise", Name: "img2img_extra_noise", Preset: 0.0},
	{Key: "NGMS", Name: "s_min_uncond", Preset: 0.0},
	{Key: "NGMS all steps", Name: "s_min_uncond_all", Preset: false},
	{Key: "Token merging ratio", Name: "token_merging_ratio", Preset: 0.0},
	{Key: "Token merging ratio img2img", Name: "token_merging_ratio_img2img", Preset: 0.0},
	{Key: "Token merging ratio hr", Name: "token_merging_ratio_hr", Preset: 0.0},
	{Key: "Pad conds", Name: "pad_cond_uncond", Preset: false},
	{Key: "Pad conds v0", Name: "pad_cond_uncond_v0", Preset: false},
	{Key: "Downcast alphas_cumprod", Name: "use_downcasted_alpha_bar", Preset: false},
	{Key: "Refiner switch by sampling steps", Name: "refiner_switch_by_sample_steps", Preset: false},
	{Key: "Old prompt editing timelines", Name: "use_old_scheduling", Preset: false},
	{Key: "Eta DDIM", Name: "eta_ddim", Preset: 0.0},
	{Key: "Eta", Name: "eta_ancestral", Preset: 1.0},
	{Key: "Sigma churn", Name: "s_churn", Preset: 0.0},
	{Key: "Sigma tmin", Name: "s_tmin", Preset: 0.0},
	{Key: "Sigma tmax", Name: "s_tmax", Preset: 0.0},
	{Key: "Sigma noise", Name: "s_noise", Preset: 1.0},
	{Key: "Schedule min sigma", Name: "sigma_min", Preset: 0.0},
	{Key: "Schedule max sigma", Name: "sigma_max", Preset: 0.0},
	{Key: "Schedule rho", Name: "rho", Preset: 0.0},
	{Key: "Discard penultimate sigma", Name: "always_discard_next_to_last_sigma", Preset: false},
	{Key: "SGM noise multiplier", Name: "sgm_noise_multiplier", Preset: false},
	{Key: "UniPC variant", Name: "uni_pc_variant", Preset: "bh1"},
	{Key: "UniPC skip type", Name: "uni_pc_skip_type", Preset: "time_uniform"},
	{Key: "UniPC order", Name: "uni_pc_order", Preset: 3},
	{Key: "UniPC lower order final", Name: "uni_pc_lower_order_final", Preset: true},
	{Key: "Noise Schedule", Name: "sd_noise_schedule", Preset: "Default"},
	{Key: "Skip Early CFG", Name: "skip_early_cond", Preset: 0.0},
	{Key: "Beta scheduler alpha", Name: "beta_dist_alpha", Preset: 0.6},
	{Key: "Beta scheduler beta", Name: "beta_dist_beta", Preset: 0.6},
}

// Settings are the web UI's settings that the parameters speak of, those in their preset included. A value that a setting cannot
// have is an error that names its key.
func (p Parameters) Settings() ([]Setting, error) {
	var all []Setting
	for _, s := range settings {
		value, ok := p[s.Key]
		if !ok {
			continue
		}
		var err error
		if s.Value, err = s.read(value); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Overrides are the settings that are not in their preset.
func (p Parameters) Overrides() ([]Setting, error) {
	all, err := p.Settings()
	var changed []Setting
	for _, s := range all {
		if s.Value != s.Preset {
			changed = append(changed, s)
		}
	}
	return changed, err
}

// read converts a value to the type of the setting's preset, as Python does: any text but "false" is true.
func (s Setting) read(value any) (any, error) {
	if number, ok := value.(int); ok {
		value = strconv.Itoa(number)
	}
	text, ok := value.(string)
	if !ok {
		return value, nil
	}
	var read any
	var err error
	switch s.Preset.(type) {
	case bool:
		return text != "" && !strings.EqualFold(text, "false"), nil
	case int:
		read, err = strconv.Atoi(trim(text))
	case float64:
		read, err = strconv.ParseFloat(trim(text), 64)
	default:
		return text, nil
	}
	if err != nil {
		return nil, fmt.Errorf("infotext: %s is %.60q, want a number", s.Key, text)
	}
	return read, nil
}
