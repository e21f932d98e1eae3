package train

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// identityKeys are the options that tell trainings apart, as states on people's disks have them.
const (
	identityKeys = `
	adaptive_noise_scale block_alphas block_dims block_lr_weight clip_skip conv_alpha conv_block_alphas
	conv_block_dims conv_dim debiased_estimation dim_from_weights gradient_accumulation_steps huber_c huber_scale
	huber_schedule ip_noise_gamma ip_noise_gamma_random_strength learning_rate loraplus_lr_ratio
	loraplus_text_encoder_lr_ratio loraplus_unet_lr_ratio loss_type lr_decay_steps lr_scheduler lr_scheduler_args
	lr_scheduler_min_lr_ratio lr_scheduler_num_cycles lr_scheduler_power lr_scheduler_timescale lr_warmup_steps
	max_grad_norm max_timestep max_token_length max_train_epochs max_train_steps min_snr_gamma min_timestep
	mixed_precision module_dropout multires_noise_discount multires_noise_iterations network_alpha network_dim
	network_dropout network_train_text_encoder_only network_train_unet_only noise_offset
	noise_offset_random_strength optimizer_args optimizer_type prior_loss_weight rank_dropout scale_v_pred_loss
	scale_weight_norms seed text_encoder_lr unet_lr v_parameterization v_pred_like_loss zero_terminal_snr`
	identitySetKeys = `
	batch_size bucket_no_upscale bucket_reso_steps enable_bucket max_bucket_reso min_bucket_reso resolution
	validation_seed validation_split`
	identityFolderKeys = `
	alpha_mask alpha_over_white caption_dropout_every_n_epochs caption_dropout_rate caption_extension
	caption_prefix caption_separator caption_suffix caption_tag_dropout_rate class_tokens color_aug
	enable_wildcard exif_orientation face_crop_aug_range flip_aug is_reg keep_tokens keep_tokens_separator
	num_repeats random_crop resize_interpolation secondary_separator shuffle_caption token_warmup_min
	token_warmup_step`
)

// TestIdentityKeys: states that were saved before are still those of the same training.
func TestIdentityKeys(t *testing.T) {
	var c Config
	fill(reflect.ValueOf(&c).Elem())
	settings := make(map[string]string)
	collectSettings("", reflect.ValueOf(c), settings)
	want := strings.Fields(identityKeys)
	for prefix, keys := range map[string]string{"datasets[0].": identitySetKeys, "datasets[0].folder.": identityFolderKeys, "datasets[0].subsets[0].": identityFolderKeys} {
		for key := range strings.FieldsSeq(keys) {
			want = append(want, prefix+key)
		}
	}
	slices.Sort(want)
	if have := slices.Sorted(maps.Keys(settings)); !slices.Equal(have, want) {
		t.Errorf("the keys are\n%s", strings.Join(have, " "))
	}
}

// fill sets every field to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for f, value := range v.Fields() {
			if f.IsExported() {
				fill(value)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		fill(v.Index(0))
	case reflect.Pointer:
		if v.Type().Elem().Kind() != reflect.Struct {
			v.Set(reflect.New(v.Type().Elem()))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1)
	default:
		if v.CanInt() {
			v.SetInt(1)
		} else if v.CanUint() {
			v.SetUint(1)
		}
	}
}
