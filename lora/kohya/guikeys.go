package kohya

import (
	"slices"
	"strings"
)

// launcherKeys are keys of the GUI's config_file that train_network.py does not know and that change nothing.
var launcherKeys = words(`epoch noise_offset_type stop_text_encoder_training`)

// guiOnlyKeys are keys of the GUI's form that concern the GUI, the launcher, other kinds of network, or uploads.
var guiOnlyKeys = words(`
	save_as save_as_bool file_path model_list use_wandb use_wandb_checkbox wandb_api_key_textbox stop_text_encoder_training_pct block_lr num_cpu_threads_per_process num_processes num_machines multi_gpu
	gpu_ids main_process_port dynamo_mode dynamo_use_fullgraph dynamo_use_dynamic extra_accelerate_launch_args lowvram
	no_token_padding factor bypass_mode dora_wd use_cp use_tucker use_scalar rank_dropout_scale constrain rescaled train_norm
	decompose_both train_on_input unit LyCORIS_preset train_lora_ggpo ggpo_sigma ggpo_beta t5xxl_lr
	model_type ae clip_l t5xxl discrete_flow_shift model_prediction_type timestep_sampling split_mode train_blocks
	t5xxl_max_token_length enable_all_linear guidance_scale mem_eff_save apply_t5_attn_mask split_qkv train_t5xxl
	single_blocks_to_swap double_blocks_to_swap show_timesteps show_timesteps_resolution img_attn_dim img_mlp_dim img_mod_dim
	single_dim txt_attn_dim txt_mlp_dim txt_mod_dim single_mod_dim in_dims train_double_block_indices train_single_block_indices
	clip_g clip_g_dropout_rate logit_mean logit_std mode_scale pos_emb_random_crop_rate save_clip save_t5xxl t5xxl_device
	t5xxl_dtype weighting_scheme`)

// guiOnly reports whether a key of the form has no bearing on a training here: those that begin so are of other models.
func guiOnly(key string) bool {
	return guiOnlyKeys[key] || slices.ContainsFunc([]string{"sdxl_", "flux1_", "sd3_", "hunyuan_", "anima_", "lumina_"}, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}
