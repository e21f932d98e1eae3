package kohya

import (
	"maps"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora/dataset"
)

// option is a row of the table.
type option struct {
	name  string
	unset string // what sd-scripts takes if nobody names it; "" is nothing, which leaves the place as it is
	place place
	help  string
}

// group is a part of the table, as help shows it.
type group struct {
	title   string
	options []option
}

// recipe is what people set who train a person or a style on Stable Diffusion 1.5; where it is silent sd-scripts' defaults
// suit them.
var recipe = map[string]string{
	"resolution": "512", "enable_bucket": "true", "cache_latents": "true", "caption_extension": "", "exif_orientation": "true",
	"train_batch_size": "2", "max_train_epochs": "12",
	"learning_rate": "1e-4", "unet_lr": "1e-4", "text_encoder_lr": "5e-5", "network_dim": "16", "network_alpha": "16",
	"save_precision": "fp16", "output_name": "last",
}

// Recipe is a copy of the defaults of an [Options] that reads no file, as far as they are not those of sd-scripts.
func Recipe() map[string]string { return maps.Clone(recipe) }

// yields are options whose default does not hold where one of others is named, as it would decide in its stead.
var yields = map[string][]string{
	"max_train_epochs": {"max_train_steps"},
	"unet_lr":          {"learning_rate"},
	"text_encoder_lr":  {"learning_rate"},
	"cache_latents":    {"color_aug", "random_crop", "face_crop_aug_range"},
}

// aliases are other names of options.
var aliases = map[string]string{"caption_extention": "caption_extension"}

// table has every option there is.
var table = []group{
	{"Model and pictures", []option{
		{"pretrained_model_name_or_path", "", pathOf(func(s *settings) *string { return &s.model }), "checkpoint to train on: a .safetensors file or a diffusers folder"},
		{"train_data_dir", "", pathOf(func(s *settings) *string { return &s.set.TrainDataDir }), "folder that holds the REPEATS_NAME folders of photos and captions, as 12_personname man"},
		{"reg_data_dir", "", pathOf(func(s *settings) *string { return &s.set.RegDataDir }), "the same for regularisation pictures"},
		{"resolution", "", size(func(s *settings) *dataset.Size { return &s.set.Resolution }), "size whose area pictures are trained at: 512, or width and height as 512,768"},
		{"caption_extension", ".caption", text(func(s *settings) *string { return &s.set.Folder.CaptionExtension }), "of caption files; empty means .txt, and .caption where there is none"},
		{"dataset_config", "", pathOf(func(s *settings) *string { return &s.datasetConfig }), "TOML or JSON file of datasets, instead of train_data_dir and reg_data_dir"},
		{"config_file", "", pathOf(func(s *settings) *string { return &s.configFile }), "TOML file of options, or the JSON that kohya's GUI saves; the command line comes first"},
		{"defaults", "", oneOf(func(s *settings) *string { return &s.defaults }, "recipe", "sd-scripts"), "of options that nobody names (default: sd-scripts with a config_file, else recipe)"},
		{"vae", "", pathOf(func(s *settings) *string { return &s.vae }), "take the VAE from this file or folder"},
	}},
	{"Length and speed of learning", []option{
		{"train_batch_size", "1", count(1, func(s *settings) *int { return &s.set.BatchSize }), "pictures in a batch"},
		{"max_train_epochs", "", count(0, func(s *settings) *int { return &s.Dataset.MaxTrainEpochs }), "times through all repeats; overrides max_train_steps, 0 does not"},
		{"max_train_steps", "1600", count(1, func(s *settings) *int { return &s.Dataset.MaxTrainSteps }), "optimizer steps, if max_train_epochs does not say"},
		{"gradient_accumulation_steps", "1", count(1, func(s *settings) *int { return &s.Dataset.GradientAccumulationSteps }), "batches that make a step"},
		{"learning_rate", "2e-6", number(func(s *settings) *float64 { return &s.LearningRate }), "of both networks, where they have none of their own"},
		{"unet_lr", "", number(func(s *settings) *float64 { return &s.UNetLR }), "learning rate of the UNet; 0 does not train it"},
		{"text_encoder_lr", "", firstNumber(func(s *settings) *float64 { return &s.TextEncoderLR }), "learning rate of the text encoder; 0 does not train it; the first of several counts"},
		{"lr_scheduler", "constant", text(func(s *settings) *string { return &s.LRScheduler }), "how learning rates change: constant, constant_with_warmup, linear, cosine, cosine_with_restarts, polynomial, inverse_sqrt, cosine_with_min_lr, warmup_stable_decay, piecewise_constant"},
		{"lr_warmup_steps", "", text(func(s *settings) *string { return &s.LRWarmupSteps }), "steps to the full learning rate, or a part of all as 0.1 or 10%"},
		{"lr_decay_steps", "", text(func(s *settings) *string { return &s.LRDecaySteps }), "steps of warmup_stable_decay's end, or a part of all"},
		{"lr_scheduler_num_cycles", "1", count(1, func(s *settings) *int { return &s.LRSchedulerNumCycles }), "of cosine_with_restarts"},
		{"lr_scheduler_power", "1", positive(func(s *settings) *float64 { return &s.LRSchedulerPower }), "of polynomial"},
		{"lr_scheduler_timescale", "", count(1, func(s *settings) *int { return &s.LRSchedulerTimescale }), "of inverse_sqrt (default: the warm-up)"},
		{"lr_scheduler_min_lr_ratio", "", number(func(s *settings) *float64 { return &s.LRSchedulerMinLRRatio }), "least part of the learning rate, of cosine_with_min_lr and warmup_stable_decay"},
		{"lr_scheduler_args", "", list(func(s *settings) *[]string { return &s.LRSchedulerArgs }), "of piecewise_constant, as step_rules=1:10,0.1:20,0.01"},
		{"optimizer_type", "AdamW", text(func(s *settings) *string { return &s.Trainer.OptimizerType }), "AdamW, Lion, SGDNesterov, Adafactor, Prodigy or DAdaptAdam; AdamW8bit and the like run as these, without the saving"},
		{"optimizer_args", "", list(func(s *settings) *[]string { return &s.Trainer.OptimizerArgs }), "its constants, as weight_decay=0.1 betas=(0.9,0.99)"},
		{"use_8bit_adam", "", on(func(s *settings) *bool { return &s.use8bitAdam }), "the same as optimizer_type AdamW8bit"},
		{"use_lion_optimizer", "", on(func(s *settings) *bool { return &s.useLion }), "the same as optimizer_type Lion"},
		{"max_grad_norm", "1.0", number(func(s *settings) *float64 { return &s.Trainer.MaxGradNorm }), "bound of the norm of all gradients; 0 is none"},
		{"scale_weight_norms", "", number(func(s *settings) *float64 { return &s.Trainer.ScaleWeightNorms }), "bound of the norm of each module's change; 1 is usual"},
		{"seed", "0", seed(func(s *settings) *uint64 { return &s.Dataset.Seed }), "of everything random"},
	}},
	{"Network", []option{
		{"network_dim", "4", count(1, func(s *settings) *int { return &s.Network.Dim }), "rank"},
		{"network_alpha", "1", number(func(s *settings) *float64 { return &s.Network.Alpha }), "changes are scaled by alpha/rank; 0 means the rank"},
		{"network_args", "", list(func(s *settings) *[]string { return &s.networkArgs }), "NAME=VALUE: " + argumentNames()},
		{"network_train_unet_only", "", on(func(s *settings) *bool { return &s.Network.UNetOnly }), "leave the text encoder alone"},
		{"network_train_text_encoder_only", "", on(func(s *settings) *bool { return &s.Network.TextEncoderOnly }), "leave the UNet alone"},
		{"network_dropout", "", number(func(s *settings) *float64 { return &s.Network.Dropout }), "part of what the down factors give that is left out"},
		{"network_weights", "", pathOf(func(s *settings) *string { return &s.NetworkWeights }), "LoRA to continue from"},
		{"dim_from_weights", "", on(func(s *settings) *bool { return &s.DimFromWeights }), "train exactly the modules of network_weights, with their ranks"},
		{"network_module", "", oneOf(func(s *settings) *string { return &s.networkModule }, "networks.lora"), "kind of network"},
		{"clip_skip", "", count(0, func(s *settings) *int { return &s.Trainer.ClipSkip }), "text encoder's layer that counts, from the end: 1 is all layers, 2 usual for anime"},
	}},
	{"Files", []option{
		{"output_dir", ".", pathOf(func(s *settings) *string { return &s.OutputDir }), "folder for what is written"},
		{"output_name", "", text(func(s *settings) *string { return &s.OutputName }), "of the LoRA, without extension"},
		{"save_precision", "float", precision(func(s *settings) *compute.DType { return &s.SavePrecision }), "of files"},
		{"save_every_n_epochs", "", count(0, func(s *settings) *int { return &s.SaveEveryNEpochs }), "also save every so many epochs"},
		{"save_n_epoch_ratio", "", count(0, func(s *settings) *int { return &s.SaveNEpochRatio }), "instead, save so many times"},
		{"save_every_n_steps", "", count(0, func(s *settings) *int { return &s.SaveEveryNSteps }), "also save every so many steps"},
		{"save_last_n_epochs", "", count(0, func(s *settings) *int { return &s.SaveLastNEpochs }), "of those, keep so many"},
		{"save_last_n_steps", "", count(0, func(s *settings) *int { return &s.SaveLastNSteps }), "of those, keep the ones of the last so many steps"},
		{"save_state", "", on(func(s *settings) *bool { return &s.SaveState }), "with each of these files save the state that resume goes on from"},
		{"save_state_on_train_end", "", on(func(s *settings) *bool { return &s.SaveStateOnTrainEnd }), "save it at the end"},
		{"save_last_n_epochs_state", "", count(0, func(s *settings) *int { return &s.SaveLastNEpochsState }), "of states, keep so many (default: as of the files)"},
		{"save_last_n_steps_state", "", count(0, func(s *settings) *int { return &s.SaveLastNStepsState }), "of states, keep the ones of the last so many steps (default: as of the files)"},
		{"resume", "", pathOf(func(s *settings) *string { return &s.Resume }), "folder of a state to go on from"},
		{"logging_dir", "", pathOf(func(s *settings) *string { return &s.Logging.Dir }), "folder for the numbers of each step"},
		{"log_with", "", text(func(s *settings) *string { return &s.Logging.With }), "tensorboard for its event files, json for lines of JSON, all for both (default all)"},
		{"log_prefix", "", text(func(s *settings) *string { return &s.Logging.Prefix }), "before the time in the name of the folder of a training"},
		{"log_tracker_name", "", text(func(s *settings) *string { return &s.Logging.TrackerName }), "name of the folder in that (default network_train)"},
		{"save_model_as", "safetensors", oneOf(func(s *settings) *string { return &s.modelFormat }, "safetensors"), "format of files; ckpt and pt can run code when they are opened"},
		{"training_comment", "", text(func(s *settings) *string { return &s.TrainingComment }), "kept in the file"},
	}},
	{"Buckets and latents", []option{
		{"enable_bucket", "", on(func(s *settings) *bool { return &s.set.Enable }), "train pictures of several shapes at about equal areas"},
		{"min_bucket_reso", "256", count(1, func(s *settings) *int { return &s.set.MinReso }), "shortest side of a bucket"},
		{"max_bucket_reso", "1024", count(1, func(s *settings) *int { return &s.set.MaxReso }), "longest side of a bucket"},
		{"bucket_reso_steps", "64", count(1, func(s *settings) *int { return &s.set.ResoSteps }), "what sides of buckets are multiples of"},
		{"bucket_no_upscale", "", on(func(s *settings) *bool { return &s.set.NoUpscale }), "never enlarge a picture"},
		{"resize_interpolation", "", interpolation(func(s *settings) *dataset.Interpolation { return &s.set.Folder.ResizeInterpolation }), "filter (default: area where pictures shrink, else lanczos)"},
		{"cache_latents", "", on(func(s *settings) *bool { return &s.Dataset.CacheLatents }), "encode every picture once"},
		{"cache_latents_to_disk", "", on(func(s *settings) *bool { return &s.Dataset.CacheLatentsToDisk }), "and keep that beside the picture"},
		{"skip_cache_check", "", on(func(s *settings) *bool { return &s.Dataset.SkipCacheCheck }), "trust what is kept"},
		{"exif_orientation", "", on(func(s *settings) *bool { return &s.set.Folder.EXIFOrientation }), "turn photos the way the camera was held (not in sd-scripts)"},
		{"alpha_over_white", "", on(func(s *settings) *bool { return &s.set.Folder.AlphaOverWhite }), "lay transparent pictures on white (not in sd-scripts)"},
	}},
	{"Captions and augmentation", []option{
		{"shuffle_caption", "", on(func(s *settings) *bool { return &s.set.Folder.Shuffle }), "shuffle the pieces between separators"},
		{"keep_tokens", "0", count(0, func(s *settings) *int { return &s.set.Folder.KeepTokens }), "first pieces that stay"},
		{"keep_tokens_separator", "", text(func(s *settings) *string { return &s.set.Folder.KeepTokensSeparator }), "what ends the pieces that stay, instead"},
		{"caption_separator", ",", text(func(s *settings) *string { return &s.set.Folder.Separator }), "between pieces"},
		{"secondary_separator", "", text(func(s *settings) *string { return &s.set.Folder.SecondarySeparator }), "between pieces that stay together"},
		{"caption_prefix", "", text(func(s *settings) *string { return &s.set.Folder.Prefix }), "before every caption"},
		{"caption_suffix", "", text(func(s *settings) *string { return &s.set.Folder.Suffix }), "after every caption"},
		{"enable_wildcard", "", on(func(s *settings) *bool { return &s.set.Folder.Wildcard }), "choose one of {a|b|c} and one line of several"},
		{"max_token_length", "", named(func(s *settings) *int { return &s.MaxTokenLength }, []string{"75", "150", "225"}, 75, 150, 225), "of captions (default 75)"},
		{"caption_dropout_rate", "0", number(func(s *settings) *float64 { return &s.set.Folder.DropoutRate }), "part of uses without a caption"},
		{"caption_dropout_every_n_epochs", "0", count(0, func(s *settings) *int { return &s.set.Folder.DropoutEveryNEpochs }), "epochs without captions"},
		{"caption_tag_dropout_rate", "0", number(func(s *settings) *float64 { return &s.set.Folder.TagDropoutRate }), "part of pieces left out"},
		{"token_warmup_min", "1", count(1, func(s *settings) *int { return &s.set.Folder.TokenWarmupMin }), "pieces used at first"},
		{"token_warmup_step", "0", number(func(s *settings) *float64 { return &s.set.Folder.TokenWarmupStep }), "step, or part of all below 1, from which on all pieces are used"},
		{"flip_aug", "", on(func(s *settings) *bool { return &s.set.Folder.FlipAug }), "mirror half of the uses"},
		{"color_aug", "", on(func(s *settings) *bool { return &s.set.Folder.ColorAug }), "change hue or gamma in a third of the uses"},
		{"random_crop", "", on(func(s *settings) *bool { return &s.set.Folder.RandomCrop }), "cut out anywhere instead of from the middle"},
		{"face_crop_aug_range", "", zoom(func(s *settings) *[2]float64 { return &s.set.Folder.FaceCropAugRange }), "picture's side over that of the face, least and most, as 2.0,4.0"},
	}},
	{"Loss and noise", []option{
		{"noise_offset", "", number(func(s *settings) *float64 { return &s.Noise.NoiseOffset }), "teaches brightness; 0.05 to 0.1 is usual"},
		{"noise_offset_random_strength", "", on(func(s *settings) *bool { return &s.Noise.NoiseOffsetRandomStrength }), "draw it for each batch"},
		{"adaptive_noise_scale", "", number(func(s *settings) *float64 { return &s.Noise.AdaptiveNoiseScale }), "part of a channel's mean that is added to noise_offset"},
		{"multires_noise_iterations", "", count(0, func(s *settings) *int { return &s.Noise.MultiresNoiseIterations }), "layers of coarser noise; 6 to 10 is usual"},
		{"multires_noise_discount", "0.3", positive(func(s *settings) *float64 { return &s.Noise.MultiresNoiseDiscount }), "how much weaker each is"},
		{"ip_noise_gamma", "", number(func(s *settings) *float64 { return &s.Noise.IPNoiseGamma }), "further noise that is not to be predicted"},
		{"ip_noise_gamma_random_strength", "", on(func(s *settings) *bool { return &s.Noise.IPNoiseGammaRandomStrength }), "draw it for each batch"},
		{"min_timestep", "", count(0, func(s *settings) *int { return &s.Noise.MinTimestep }), "least noise trained on"},
		{"max_timestep", "", count(1, func(s *settings) *int { return &s.Noise.MaxTimestep }), "most noise trained on, up to 1000"},
		{"min_snr_gamma", "", number(func(s *settings) *float64 { return &s.Trainer.MinSNRGamma }), "weigh samples by min(SNR,γ)/SNR; 5 is usual"},
		{"debiased_estimation_loss", "", on(func(s *settings) *bool { return &s.Trainer.DebiasedEstimation }), "weigh samples by 1/√SNR"},
		{"loss_type", "l2", loss(func(s *settings) *compute.LossFunction { return &s.Trainer.Loss }), "what is made small"},
		{"huber_schedule", "snr", oneOf(func(s *settings) *string { return &s.Trainer.HuberSchedule }, "snr", "exponential", "constant"), "of huber and smooth_l1"},
		{"huber_c", "0.1", positive(func(s *settings) *float64 { return &s.Trainer.HuberC }), "their constant"},
		{"huber_scale", "1.0", positive(func(s *settings) *float64 { return &s.Trainer.HuberScale }), "what it is multiplied with"},
		{"prior_loss_weight", "1.0", notNegative(func(s *settings) *float64 {
			s.Dataset.PriorLossWeight = new(float64)
			return s.Dataset.PriorLossWeight
		}), "of regularisation pictures"},
		{"alpha_mask", "", on(func(s *settings) *bool { return &s.set.Folder.AlphaMask }), "count only what is opaque"},
		{"conditioning_data_dir", "", pathOf(func(s *settings) *string { return &s.set.Folder.ConditioningDataDir }), "folder of masks of the loss"},
		{"v_parameterization", "", on(func(s *settings) *bool { return &s.Trainer.VParameterization }), "for checkpoints that predict v"},
		{"scale_v_pred_loss_like_noise_pred", "", on(func(s *settings) *bool { return &s.Trainer.ScaleVPredLoss }), "weigh them as if they predicted noise"},
		{"v_pred_like_loss", "", number(func(s *settings) *float64 { return &s.Trainer.VPredLikeLoss }), "the reverse, for others"},
		{"zero_terminal_snr", "", on(func(s *settings) *bool { return &s.Trainer.ZeroTerminalSNR }), "make the last timestep pure noise"},
	}},
	{"Sample pictures and validation", []option{
		{"sample_prompts", "", pathOf(func(s *settings) *string { return &s.SamplePrompts }), "file of prompts to draw while training (.txt, .toml or .json); read anew each time"},
		{"sample_every_n_epochs", "", count(0, func(s *settings) *int { return &s.SampleEveryNEpochs }), "draw them every so many epochs"},
		{"sample_every_n_steps", "", count(0, func(s *settings) *int { return &s.SampleEveryNSteps }), "or steps"},
		{"sample_at_first", "", on(func(s *settings) *bool { return &s.SampleAtFirst }), "and before the first step"},
		{"sample_sampler", "ddim", text(func(s *settings) *string { return &s.SampleSampler }), "for prompts that name none: ddim, pndm, lms, euler, euler_a, heun, dpmsolver++ or any of txt2img's"},
		{"validation_split", "0", number(func(s *settings) *float64 { return &s.set.ValidationSplit }), "part of each folder that is not trained on"},
		{"validation_seed", "", seed(func(s *settings) *uint64 {
			s.set.ValidationSeed = new(uint64)
			return s.set.ValidationSeed
		}), "chooses that part"},
		{"validate_every_n_epochs", "", count(0, func(s *settings) *int { return &s.ValidateEveryNEpochs }), "compute the loss on it every so many epochs (default: every one)"},
		{"validate_every_n_steps", "", count(0, func(s *settings) *int { return &s.ValidateEveryNSteps }), "or steps"},
		{"max_validation_steps", "", count(0, func(s *settings) *int { return &s.MaxValidationSteps }), "on so many batches (default: all)"},
	}},
	{"Precision and memory", []option{
		{"mixed_precision", "no", oneOf(func(s *settings) *string { return &s.MixedPrecision }, "no", "fp16", "bf16"), "what the device computes in; what is trained stays in float32"},
		{"gradient_checkpointing", "", on(func(s *settings) *bool { return &s.Trainer.Checkpointing }), "compute a third more, in much less memory, with the same result"},
	}},
	{"Accepted without effect", []option{
		{"masked_loss", "", idleSwitch, "masks are used wherever they are named"},
		{"xformers", "", idleSwitch, "attention is exact and needs little memory as it is"},
		{"sdpa", "", idleSwitch, ""},
		{"mem_eff_attn", "", idleSwitch, ""},
		{"full_fp16", "", idleSwitch, "what is trained stays in float32"},
		{"full_bf16", "", idleSwitch, ""},
		{"fp8_base", "", idleSwitch, "weights stay as the checkpoint has them"},
		{"fp8_base_unet", "", idleSwitch, ""},
		{"no_half_vae", "", idleSwitch, "the VAE computes in the device's precision"},
		{"vae_batch_size", "", idleValue, "pictures are encoded one by one"},
		{"highvram", "", idleSwitch, ""},
		{"lowram", "", idleSwitch, ""},
		{"max_data_loader_n_workers", "", idleValue, "pictures are read by the trainer itself"},
		{"persistent_data_loader_workers", "", idleSwitch, ""},
		{"cache_info", "", idleSwitch, "folders are scanned each time"},
		{"skip_until_initial_step", "", idleSwitch, "what was trained on is always skipped"},
		{"disable_mmap_load_safetensors", "", idleSwitch, ""},
		{"cpu_offload_checkpointing", "", idleSwitch, ""},
		{"blocks_to_swap", "", idleValue, ""},
		{"text_encoder_batch_size", "", idleValue, ""},
		{"torch_compile", "", idleSwitch, ""},
		{"dynamo_backend", "", idleValue, ""},
		{"ddp_timeout", "", idleValue, "there is one process"},
		{"ddp_gradient_as_bucket_view", "", idleSwitch, ""},
		{"ddp_static_graph", "", idleSwitch, ""},
		{"tokenizer_cache_dir", "", idleValue, "the vocabulary is built in"},
		{"use_safetensors", "", idleSwitch, "nothing else is written"},
		{"console_log_level", "", idleValue, ""},
		{"console_log_file", "", idleValue, ""},
		{"console_log_simple", "", idleSwitch, ""},
		{"log_config", "", idleSwitch, "options are in the LoRA's metadata"},
		{"log_tracker_config", "", idleValue, ""},
		{"wandb_run_name", "", idleValue, ""},
		{"wandb_api_key", "", idleValue, ""},
		{"huggingface_repo_id", "", idleValue, "nothing is uploaded"},
		{"huggingface_repo_type", "", idleValue, ""},
		{"huggingface_repo_visibility", "", idleValue, ""},
		{"huggingface_path_in_repo", "", idleValue, ""},
		{"huggingface_token", "", idleValue, ""},
		{"async_upload", "", idleSwitch, ""},
		{"save_state_to_huggingface", "", idleSwitch, ""},
		{"metadata_title", "", idleValue, "the title in the file is output_name"},
		{"metadata_author", "", idleValue, ""},
		{"metadata_description", "", idleValue, ""},
		{"metadata_license", "", idleValue, ""},
		{"metadata_tags", "", idleValue, ""},
		{"metadata_usage_hint", "", idleValue, ""},
		{"metadata_thumbnail", "", idleValue, ""},
		{"metadata_merged_from", "", idleValue, ""},
		{"metadata_trigger_phrase", "", idleValue, ""},
		{"metadata_preprocessor", "", idleValue, ""},
		{"metadata_is_negative_embedding", "", idleValue, ""},
	}},
	{"Refused", []option{
		{"v2", "", refused("only Stable Diffusion 1.x is trained"), ""},
		{"sdxl", "", refused("only Stable Diffusion 1.x is trained"), ""},
		{"weighted_captions", "", refused("brackets in captions are text; write captions without weights"), ""},
		{"train_inpainting", "", refused("inpainting models are not trained"), ""},
		{"cache_text_encoder_outputs", "", refused("the text encoder runs in every step; leave it out"), ""},
		{"cache_text_encoder_outputs_to_disk", "", refused("the text encoder runs in every step; leave it out"), ""},
		{"no_metadata", "", refused("metadata are always written"), ""},
		{"debug_dataset", "", refused("the dataset is reported before each training"), ""},
		{"output_config", "", refused("configurations are read, not written"), ""},
		{"deepspeed", "", refused("there is one process and one device"), ""},
		{"fused_backward_pass", "", refused("it is for full fine-tuning"), ""},
		{"resume_from_huggingface", "", refused("download the state and name its folder"), ""},
		{"in_json", "", refusedValue("metadata files are not read; put captions beside the pictures"), ""},
		{"dataset_class", "", refusedValue("datasets are folders of pictures"), ""},
		{"base_weights", "", refusedValue("merge those LoRAs into the checkpoint first"), ""},
		{"base_weights_multiplier", "", refusedValue("merge those LoRAs into the checkpoint first"), ""},
		{"lr_scheduler_type", "", refusedValue("schedulers are those of lr_scheduler"), ""},
		{"initial_epoch", "", refusedValue("a training goes on where its state was saved"), ""},
		{"initial_step", "", refusedValue("a training goes on where its state was saved"), ""},
	}},
}

// rows finds options by name.
var rows = index()

func index() map[string]*option {
	all := make(map[string]*option)
	for _, g := range table {
		for i := range g.options {
			all[g.options[i].name] = &g.options[i]
		}
	}
	return all
}
