package kohya

import (
	"maps"
	"strings"
)

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
		{"pretrained_model_name_or_path", "", "", path, "checkpoint to train on: a .safetensors file or a diffusers folder", model(1, "Pretrained model name or path")},
		{"train_data_dir", "Set.TrainDataDir", "", path, "folder that holds the REPEATS_NAME folders of photos and captions, as 12_personname man", model(2, "Image folder (containing training images subfolders)")},
		{"reg_data_dir", "Set.RegDataDir", "", path, "the same for regularisation pictures", folders(2, "Regularisation directory")},
		{"resolution", "Set.Resolution", "", size, "size whose area pictures are trained at: 512, or width and height as 512,768", basic(21, "Max resolution")},
		{"caption_extension", "Set.Folder.CaptionExtension", ".caption", extension, "of caption files; empty means .txt, and .caption where there is none", basic(8, "Caption file extension")},
		{"dataset_config", "DatasetConfig", "", path, "TOML or JSON file of datasets, instead of train_data_dir and reg_data_dir", model(3, "Dataset config file")},
		{"config_file", "", "", path, "TOML file of options, or the JSON that kohya's GUI saves; the command line comes first", elsewhere},
		{"defaults", "", "", oneOf("recipe", "sd-scripts"), "of options that nobody names (default: sd-scripts with a config_file, else recipe)", elsewhere},
		{"vae", "", "", path, "take the VAE from this file or folder", advanced(3, "VAE")},
	}},
	{"Length and speed of learning", []option{
		{"train_batch_size", "Set.BatchSize", "1", count(1), "pictures in a batch", basic(4, "Train batch size")},
		{"max_train_epochs", "Dataset.MaxTrainEpochs", "", count(0), "times through all repeats; overrides max_train_steps, 0 does not", basic(5, "Max train epoch")},
		{"max_train_steps", "Dataset.MaxTrainSteps", "1600", count(1), "optimizer steps, if max_train_epochs does not say", basic(6, "Max train steps")},
		{"gradient_accumulation_steps", "Dataset.GradientAccumulationSteps", "1", count(1), "batches that make a step", advanced(1, "Gradient accumulate steps")},
		{"learning_rate", "LearningRate", "2e-6", number, "of both networks, where they have none of their own", basic(17, "Learning rate")},
		{"unet_lr", "UNetLR", "", number, "learning rate of the UNet; 0 does not train it", basic(26, "Unet learning rate")},
		{"text_encoder_lr", "TextEncoderLR", "", firstNumber, "learning rate of the text encoder; 0 does not train it; the first of several counts", basic(25, "Text Encoder learning rate")},
		{"lr_scheduler", "LRScheduler", "constant", text, "how learning rates change: constant, constant_with_warmup, linear, cosine, cosine_with_restarts, polynomial, inverse_sqrt, cosine_with_min_lr, warmup_stable_decay, piecewise_constant", basic(12, "LR Scheduler")},
		{"lr_warmup_steps", "LRWarmupSteps", "", text, "steps to the full learning rate, or a part of all as 0.1 or 10%", basic(18, "LR warmup steps")},
		{"lr_decay_steps", "LRDecaySteps", "", text, "steps of warmup_stable_decay's end, or a part of all", elsewhere},
		{"lr_scheduler_num_cycles", "LRSchedulerNumCycles", "1", count(1), "of cosine_with_restarts", basic(19, "LR # cycles")},
		{"lr_scheduler_power", "LRSchedulerPower", "1", positive, "of polynomial", basic(20, "LR power")},
		{"lr_scheduler_timescale", "LRSchedulerTimescale", "", count(1), "of inverse_sqrt (default: the warm-up)", elsewhere},
		{"lr_scheduler_min_lr_ratio", "LRSchedulerMinLRRatio", "", number, "least part of the learning rate, of cosine_with_min_lr and warmup_stable_decay", elsewhere},
		{"lr_scheduler_args", "LRSchedulerArgs", "", arguments, "what the schedule takes besides: step_rules=1:10,0.1:20,0.01 of piecewise_constant, num_cycles of cosine, lr_end of polynomial, min_lr of cosine_with_min_lr, warmup_type and decay_type of warmup_stable_decay", basic(13, "LR scheduler extra arguments")},
		{"optimizer_type", "Trainer.OptimizerType", "AdamW", text, "AdamW, Lion, SGDNesterov, Adafactor, Prodigy or DAdaptAdam; AdamW8bit and the like run as these, without the saving", basic(14, "Optimizer")},
		{"optimizer_args", "Trainer.OptimizerArgs", "", arguments, "its constants, as weight_decay=0.1 betas=(0.9,0.99)", basic(16, "Optimizer extra arguments")},
		{"use_8bit_adam", "Use8bitAdam", "", onOff, "the same as optimizer_type AdamW8bit", elsewhere},
		{"use_lion_optimizer", "UseLion", "", onOff, "the same as optimizer_type Lion", elsewhere},
		{"max_grad_norm", "Trainer.MaxGradNorm", "1.0", number, "bound of the norm of all gradients; 0 is none", basic(15, "Max grad norm")},
		{"scale_weight_norms", "Trainer.ScaleWeightNorms", "", number, "bound of the norm of each module's change; 1 is usual", basic(34, "Scale weight norms")},
		{"seed", "Dataset.Seed", "0", seed, "of everything random", basic(9, "Seed")},
	}},
	{"Network", []option{
		{"network_dim", "Network.Dim", "4", count(1), "rank", basic(30, "Network Rank (Dimension)")},
		{"network_alpha", "Network.Alpha", "1", number, "changes are scaled by alpha/rank; 0 means the rank", basic(31, "Network Alpha")},
		{"network_args", "NetworkArgs", "", arguments, "NAME=VALUE: " + strings.Join(argumentNames(), ", "), elsewhere},
		{"network_train_unet_only", "Network.UNetOnly", "", onOff, "leave the text encoder alone", elsewhere},
		{"network_train_text_encoder_only", "Network.TextEncoderOnly", "", onOff, "leave the UNet alone", elsewhere},
		{"network_dropout", "Network.Dropout", "", number, "part of what the down factors give that is left out", basic(35, "Network dropout")},
		{"network_weights", "NetworkWeights", "", path, "LoRA to continue from", basic(2, "Network weights")},
		{"dim_from_weights", "DimFromWeights", "", onOff, "train exactly the modules of network_weights, with their ranks", basic(3, "DIM from weights")},
		{"network_module", "", "", oneOf("networks.lora"), "kind of network", basic(1, "LoRA type")},
		{"clip_skip", "Trainer.ClipSkip", "", count(0), "text encoder's layer that counts, from the end: 1 is all layers, 2 usual for anime", advanced(14, "Clip skip")},
	}},
	{"Files", []option{
		{"output_dir", "OutputDir", ".", path, "folder for what is written", folders(1, "Output directory for trained model")},
		{"output_name", "OutputName", "", text, "of the LoRA, without extension", model(4, "Trained Model output name")},
		{"save_precision", "SavePrecision", "float", precision, "of files", model(7, "Save precision")},
		{"save_every_n_epochs", "SaveEveryNEpochs", "", count(0), "also save every so many epochs", basic(7, "Save every N epochs")},
		{"save_n_epoch_ratio", "SaveNEpochRatio", "", count(0), "instead, save so many times", elsewhere},
		{"save_every_n_steps", "SaveEveryNSteps", "", count(0), "also save every so many steps", advanced(8, "Save every N steps")},
		{"save_last_n_epochs", "SaveLastNEpochs", "", count(0), "of those, keep so many", advanced(11, "Save last N epochs")},
		{"save_last_n_steps", "SaveLastNSteps", "", count(0), "of those, keep the ones of the last so many steps", advanced(9, "Save last N steps")},
		{"save_state", "SaveState", "", onOff, "with each of these files save the state that resume goes on from", advanced(40, "Save training state")},
		{"save_state_on_train_end", "SaveStateOnTrainEnd", "", onOff, "save it at the end", advanced(41, "Save training state at end of training")},
		{"save_last_n_epochs_state", "SaveLastNEpochsState", "", count(0), "of states, keep so many (default: as of the files)", advanced(12, "Save last N epochs state")},
		{"save_last_n_steps_state", "SaveLastNStepsState", "", count(0), "of states, keep the ones of the last so many steps (default: as of the files)", advanced(10, "Save last N steps state")},
		{"autosave_every_n_minutes", "AutosaveEvery", "", minutes, "keep a state of the last so many minutes, for power cuts; 0 never (default 10; not in sd-scripts)", elsewhere},
		{"resume", "Resume", "", path, "folder of a state to go on from", advanced(42, "Resume from saved training state")},
		{"logging_dir", "Logging.Dir", "", path, "folder for the numbers of each step", folders(3, "Logging directory")},
		{"log_with", "Logging.With", "", text, "tensorboard for its event files, json for lines of JSON, all for both (default all)", advanced(43, "Logging")},
		{"log_prefix", "Logging.Prefix", "", text, "before the time in the name of the folder of a training", elsewhere},
		{"log_tracker_name", "Logging.TrackerName", "", text, "name of the folder in that (default network_train)", advanced(44, "Log tracker name")},
		{"save_model_as", "", "safetensors", oneOf("safetensors"), "format of files; ckpt and pt can run code when they are opened", model(6, "Save trained model as")},
		{"training_comment", "TrainingComment", "", text, "kept in the file", model(5, "Training comment")},
	}},
	{"Buckets and latents", []option{
		{"enable_bucket", "Set.Enable", "", onOff, "train pictures of several shapes at about equal areas", basic(22, "Enable buckets")},
		{"min_bucket_reso", "Set.MinReso", "256", count(1), "shortest side of a bucket", basic(23, "Minimum bucket resolution")},
		{"max_bucket_reso", "Set.MaxReso", "1024", count(1), "longest side of a bucket", basic(24, "Maximum bucket resolution")},
		{"bucket_reso_steps", "Set.ResoSteps", "64", count(1), "what sides of buckets are multiples of", advanced(28, "Bucket resolution steps")},
		{"bucket_no_upscale", "Set.NoUpscale", "", onOff, "never enlarge a picture", advanced(27, "Don't upscale bucket resolution")},
		{"resize_interpolation", "Set.Folder.ResizeInterpolation", "", interpolation, "filter (default: area where pictures shrink, else lanczos)", elsewhere},
		{"cache_latents", "Dataset.CacheLatents", "", onOff, "encode every picture once", basic(10, "Cache latents")},
		{"cache_latents_to_disk", "Dataset.CacheLatentsToDisk", "", onOff, "and keep that beside the picture", basic(11, "Cache latents to disk")},
		{"skip_cache_check", "Dataset.SkipCacheCheck", "", onOff, "trust what is kept", advanced(16, "Skip cache check")},
		{"exif_orientation", "Set.Folder.EXIFOrientation", "", onOff, "turn photos the way the camera was held (not in sd-scripts)", elsewhere},
		{"alpha_over_white", "Set.Folder.AlphaOverWhite", "", onOff, "lay transparent pictures on white (not in sd-scripts)", elsewhere},
	}},
	{"Captions and augmentation", []option{
		{"shuffle_caption", "Set.Folder.Shuffle", "", onOff, "shuffle the pieces between separators", advanced(18, "Shuffle caption")},
		{"keep_tokens", "Set.Folder.KeepTokens", "0", count(0), "first pieces that stay", advanced(13, "Keep n tokens")},
		{"keep_tokens_separator", "Set.Folder.KeepTokensSeparator", "", text, "what ends the pieces that stay, instead", elsewhere},
		{"caption_separator", "Set.Folder.Separator", ",", text, "between pieces", elsewhere},
		{"secondary_separator", "Set.Folder.SecondarySeparator", "", text, "between pieces that stay together", elsewhere},
		{"caption_prefix", "Set.Folder.Prefix", "", text, "before every caption", elsewhere},
		{"caption_suffix", "Set.Folder.Suffix", "", text, "after every caption", elsewhere},
		{"enable_wildcard", "Set.Folder.Wildcard", "", onOff, "choose one of {a|b|c} and one line of several", elsewhere},
		{"max_token_length", "MaxTokenLength", "", named([]string{"75", "150", "225"}, 75, 150, 225), "of captions (default 75)", advanced(15, "Max Token Length")},
		{"caption_dropout_rate", "Set.Folder.DropoutRate", "0", number, "part of uses without a caption", advanced(39, "Rate of caption dropout")},
		{"caption_dropout_every_n_epochs", "Set.Folder.DropoutEveryNEpochs", "0", count(0), "epochs without captions", advanced(38, "Dropout caption every n epochs")},
		{"caption_tag_dropout_rate", "Set.Folder.TagDropoutRate", "0", number, "part of pieces left out", elsewhere},
		{"token_warmup_min", "Set.Folder.TokenWarmupMin", "1", count(0), "pieces used at first", elsewhere},
		{"token_warmup_step", "Set.Folder.TokenWarmupStep", "0", number, "step, or part of all below 1, from which on all pieces are used", elsewhere},
		{"flip_aug", "Set.Folder.FlipAug", "", onOff, "mirror half of the uses", advanced(20, "Flip augmentation")},
		{"color_aug", "Set.Folder.ColorAug", "", onOff, "change hue or gamma in a third of the uses", advanced(19, "Color augmentation")},
		{"random_crop", "Set.Folder.RandomCrop", "", onOff, "cut out anywhere instead of from the middle", advanced(21, "Random crop instead of center crop")},
		{"face_crop_aug_range", "Set.Folder.FaceCropAugRange", "", zoom, "picture's side over that of the face, least and most, as 2.0,4.0", elsewhere},
	}},
	{"Loss and noise", []option{
		{"noise_offset", "Noise.NoiseOffset", "", number, "teaches brightness; 0.05 to 0.1 is usual", advanced(31, "Noise offset")},
		{"noise_offset_random_strength", "Noise.NoiseOffsetRandomStrength", "", onOff, "draw it for each batch", advanced(32, "Noise offset random strength")},
		{"adaptive_noise_scale", "Noise.AdaptiveNoiseScale", "", number, "part of a channel's mean that is added to noise_offset", advanced(33, "Adaptive noise scale")},
		{"multires_noise_iterations", "Noise.MultiresNoiseIterations", "", count(0), "layers of coarser noise; 6 to 10 is usual", advanced(34, "Multires noise iterations")},
		{"multires_noise_discount", "Noise.MultiresNoiseDiscount", "0.3", positive, "how much weaker each is", advanced(35, "Multires noise discount")},
		{"ip_noise_gamma", "Noise.IPNoiseGamma", "", number, "further noise that is not to be predicted", advanced(36, "IP noise gamma")},
		{"ip_noise_gamma_random_strength", "Noise.IPNoiseGammaRandomStrength", "", onOff, "draw it for each batch", advanced(37, "IP noise gamma random strength")},
		{"min_timestep", "Noise.MinTimestep", "", count(0), "least noise trained on", advanced(29, "Min Timestep")},
		{"max_timestep", "Noise.MaxTimestep", "", count(1), "most noise trained on, up to 1000", advanced(30, "Max Timestep")},
		{"min_snr_gamma", "Trainer.MinSNRGamma", "", number, "weigh samples by min(SNR,γ)/SNR; 5 is usual", advanced(22, "Min SNR gamma")},
		{"debiased_estimation_loss", "Trainer.DebiasedEstimation", "", onOff, "weigh samples by 1/√SNR", advanced(23, "Debiased Estimation loss")},
		{"loss_type", "Trainer.Loss", "l2", loss, "what is made small", advanced(4, "Loss type")},
		{"huber_schedule", "Trainer.HuberSchedule", "snr", oneOf("snr", "exponential", "constant"), "of huber and smooth_l1", advanced(5, "Huber schedule")},
		{"huber_c", "Trainer.HuberC", "0.1", positive, "their constant", advanced(6, "Huber C")},
		{"huber_scale", "Trainer.HuberScale", "1.0", positive, "what it is multiplied with", advanced(7, "Huber scale")},
		{"prior_loss_weight", "Dataset.PriorLossWeight", "1.0", notNegative, "of regularisation pictures", advanced(2, "Prior loss weight")},
		{"alpha_mask", "Set.Folder.AlphaMask", "", onOff, "count only what is opaque", elsewhere},
		{"conditioning_data_dir", "Set.Folder.ConditioningDataDir", "", path, "folder of masks of the loss", elsewhere},
		{"v_parameterization", "Trainer.VParameterization", "", onOff, "for checkpoints that predict v", advanced(24, "V parameterization")},
		{"scale_v_pred_loss_like_noise_pred", "Trainer.ScaleVPredLoss", "", onOff, "weigh them as if they predicted noise", advanced(25, "Scale v prediction loss")},
		{"v_pred_like_loss", "Trainer.VPredLikeLoss", "", number, "the reverse, for others", advanced(26, "V Pred like loss")},
		{"zero_terminal_snr", "Trainer.ZeroTerminalSNR", "", onOff, "make the last timestep pure noise", elsewhere},
	}},
	{"Sample pictures and validation", []option{
		{"sample_prompts", "SamplePrompts", "", path, "file of prompts to draw while training (.txt, .toml or .json); read anew each time", sampling(4, "Sample prompts")},
		{"sample_every_n_epochs", "SampleEveryNEpochs", "", count(0), "draw them every so many epochs", sampling(2, "Sample every n epochs")},
		{"sample_every_n_steps", "SampleEveryNSteps", "", count(0), "or steps", sampling(1, "Sample every n steps")},
		{"sample_at_first", "SampleAtFirst", "", onOff, "and before the first step", elsewhere},
		{"sample_sampler", "SampleSampler", "ddim", text, "for prompts that name none: ddim, pndm, lms, euler, euler_a, heun, dpmsolver++ or any of txt2img's", sampling(3, "Sample sampler")},
		{"validation_split", "Set.ValidationSplit", "0", number, "part of each folder that is not trained on", elsewhere},
		{"validation_seed", "Set.ValidationSeed", "", seed, "chooses that part", elsewhere},
		{"validate_every_n_epochs", "ValidateEveryNEpochs", "", count(0), "compute the loss on it every so many epochs (default: every one)", elsewhere},
		{"validate_every_n_steps", "ValidateEveryNSteps", "", count(0), "or steps", elsewhere},
		{"max_validation_steps", "MaxValidationSteps", "", count(0), "on so many batches (default: all)", elsewhere},
	}},
	{"Precision and memory", []option{
		{"mixed_precision", "MixedPrecision", "no", oneOf("no", "fp16", "bf16"), "what the device computes in; what is trained stays in float32", launch(1, "Mixed precision")},
		{"gradient_checkpointing", "Trainer.Checkpointing", "", onOff, "compute a third more, in much less memory, with the same result", advanced(17, "Gradient checkpointing")},
	}},
	{"Accepted without effect", idle(
		// Memory and time of a GPU: attention needs little memory, what is trained is float32, pictures are encoded one by one.
		`masked_loss xformers sdpa mem_eff_attn full_fp16 full_bf16 fp8_base fp8_base_unet no_half_vae highvram lowram
		persistent_data_loader_workers cache_info skip_until_initial_step disable_mmap_load_safetensors cpu_offload_checkpointing torch_compile
		ddp_gradient_as_bucket_view ddp_static_graph use_safetensors console_log_simple log_config async_upload save_state_to_huggingface`,
		// Several processes, uploads and what is written about them; the title in the file is output_name.
		`vae_batch_size max_data_loader_n_workers blocks_to_swap text_encoder_batch_size dynamo_backend ddp_timeout tokenizer_cache_dir
		console_log_level console_log_file log_tracker_config wandb_run_name wandb_api_key huggingface_repo_id huggingface_repo_type
		huggingface_repo_visibility huggingface_path_in_repo huggingface_token metadata_title metadata_author metadata_description
		metadata_license metadata_tags metadata_usage_hint metadata_thumbnail metadata_merged_from metadata_trigger_phrase
		metadata_preprocessor metadata_is_negative_embedding`)},
	{"Refused", []option{
		{"v2", "", "", refused("only Stable Diffusion 1.x is trained"), "", elsewhere},
		{"sdxl", "", "", refused("only Stable Diffusion 1.x is trained"), "", elsewhere},
		{"weighted_captions", "", "", refused("brackets in captions are text; write captions without weights"), "", elsewhere},
		{"train_inpainting", "", "", refused("inpainting models are not trained"), "", elsewhere},
		{"cache_text_encoder_outputs", "", "", refused("the text encoder runs in every step; leave it out"), "", elsewhere},
		{"cache_text_encoder_outputs_to_disk", "", "", refused("the text encoder runs in every step; leave it out"), "", elsewhere},
		{"no_metadata", "", "", refused("metadata are always written"), "", elsewhere},
		{"debug_dataset", "", "", refused("the dataset is reported before each training"), "", elsewhere},
		{"output_config", "", "", refused("configurations are read, not written"), "", elsewhere},
		{"deepspeed", "", "", refused("there is one process and one device"), "", elsewhere},
		{"fused_backward_pass", "", "", refused("it is for full fine-tuning"), "", elsewhere},
		{"resume_from_huggingface", "", "", refused("download the state and name its folder"), "", elsewhere},
		{"in_json", "", "", refusedValue("metadata files are not read; put captions beside the pictures"), "", elsewhere},
		{"dataset_class", "", "", refusedValue("datasets are folders of pictures"), "", elsewhere},
		{"base_weights", "", "", refusedValue("merge those LoRAs into the checkpoint first"), "", elsewhere},
		{"base_weights_multiplier", "", "", refusedValue("merge those LoRAs into the checkpoint first"), "", elsewhere},
		{"lr_scheduler_type", "", "", refusedValue("schedulers are those of lr_scheduler"), "", elsewhere},
		{"initial_epoch", "", "", refusedValue("a training goes on where its state was saved"), "", elsewhere},
		{"initial_step", "", "", refusedValue("a training goes on where its state was saved"), "", elsewhere},
	}},
}

// idle are options that change no result here: switches, and those that stand with a value.
func idle(switches, values string) (options []option) {
	for name := range strings.FieldsSeq(switches) {
		options = append(options, option{name: name, kind: idleSwitch})
	}
	for name := range strings.FieldsSeq(values) {
		options = append(options, option{name: name, kind: idleValue})
	}
	return options
}
