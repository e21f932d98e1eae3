package sdapi

import "encoding/json"

// object is JSON that is kept as it came.
type object map[string]json.RawMessage

// generation is what both ways to draw are asked with. The names and defaults are the web UI's.
type generation struct {
	Prompt            string            `json:"prompt" default:"" doc:"what to draw; <lora:NAME:0.8> applies a LoRA"`
	NegativePrompt    string            `json:"negative_prompt" default:"" doc:"what to stay away from"`
	Styles            []string          `json:"styles" max:"100" doc:"names of styles that are added to both prompts"`
	Seed              int64             `json:"seed" default:"-1" doc:"of the first picture; negative draws one at random"`
	Subseed           int64             `json:"subseed" default:"-1" doc:"variation seed"`
	SubseedStrength   float64           `json:"subseed_strength" default:"0" doc:"variation strength, 0 to 1"`
	SeedResizeFromH   int               `json:"seed_resize_from_h" default:"-1" doc:"height in pixels of pictures whose composition is to stay; 0 or less is none"`
	SeedResizeFromW   int               `json:"seed_resize_from_w" default:"-1" doc:"width likewise"`
	SamplerName       *string           `json:"sampler_name" doc:"one of /sdapi/v1/samplers, by its name or an alias, in any case"`
	Scheduler         *string           `json:"scheduler" doc:"one of /sdapi/v1/schedulers, by name or label"`
	BatchSize         int               `json:"batch_size" default:"1" min:"1" max:"64" doc:"pictures made at once"`
	Iterations        int               `json:"n_iter" default:"1" min:"1" max:"1000" doc:"batches made one after the other"`
	Steps             int               `json:"steps" default:"50" min:"1" doc:"sampling steps"`
	Guidance          float64           `json:"cfg_scale" default:"7" doc:"how closely to follow the prompt"`
	Width             int               `json:"width" default:"512" doc:"pixels, a multiple of 8"`
	Height            int               `json:"height" default:"512" doc:"pixels, a multiple of 8"`
	RestoreFaces      *bool             `json:"restore_faces" doc:"there is no CodeFormer or GFPGAN here: it is left, and said in info; ADetailer in alwayson_scripts draws faces anew"`
	Tiling            *bool             `json:"tiling" doc:"not possible here: true is refused"`
	DoNotSaveSamples  bool              `json:"do_not_save_samples" default:"false" doc:"save_images alone decides, as in the web UI"`
	DoNotSaveGrid     bool              `json:"do_not_save_grid" default:"false" doc:"likewise"`
	Eta               *float64          `json:"eta" doc:"stochasticity of the sampler; null is that of the settings"`
	Strength          *float64          `json:"denoising_strength" doc:"how much is drawn anew, 0 to 1: of the picture that img2img begins with (0.75), of the first pass with enable_hr (0.7)"`
	SMinUncond        *float64          `json:"s_min_uncond" doc:"noise level below which every second step does without the negative prompt"`
	SChurn            *float64          `json:"s_churn"`
	STmax             *float64          `json:"s_tmax"`
	STmin             *float64          `json:"s_tmin"`
	SNoise            *float64          `json:"s_noise"`
	OverrideSettings  object            `json:"override_settings" doc:"settings for this request alone, as of /sdapi/v1/options"`
	RestoreAfterwards bool              `json:"override_settings_restore_afterwards" default:"true" doc:"false keeps override_settings as settings"`
	RefinerCheckpoint *string           `json:"refiner_checkpoint" doc:"another checkpoint that takes over on the way"`
	RefinerSwitchAt   *float64          `json:"refiner_switch_at" doc:"part of the way, 0 to 1, at which it does"`
	DisableNetworks   bool              `json:"disable_extra_networks" default:"false" doc:"tags of LoRAs in the prompt do nothing"`
	FirstPassImage    *string           `json:"firstpass_image" doc:"not possible here: refused"`
	Comments          object            `json:"comments" doc:"left"`
	ClipSkip          *int              `json:"clip_skip" min:"0" max:"12" doc:"as the setting CLIP_stop_at_last_layers, which the web UI wants in override_settings"`
	SamplerIndex      string            `json:"sampler_index" default:"Euler" doc:"the sampler if sampler_name is empty"`
	ScriptName        *string           `json:"script_name" doc:"X/Y/Z plot compares settings; any other is refused"`
	ScriptArgs        []json.RawMessage `json:"script_args" default:"[]" doc:"what the script takes, in the order of /sdapi/v1/script-info"`
	SendImages        bool              `json:"send_images" default:"true" doc:"whether the answer has the pictures"`
	SaveImages        bool              `json:"save_images" default:"false" doc:"whether pictures are saved in the folder of outputs; of several there is a grid then, the first of images"`
	AlwaysOnScripts   object            `json:"alwayson_scripts" default:"{}" doc:"what extensions take, by their names: {\"NAME\": {\"args\": [...]}}; ADetailer, Soft inpainting, Refiner and Seed are known, and of others info says that they are left"`
	ForceTaskID       *string           `json:"force_task_id" doc:"the name by which /internal/progress tells of this request"`
	Infotext          *string           `json:"infotext" doc:"a text such as pictures have; it fills the fields that are not sent"`
}

// txt2img is what POST /sdapi/v1/txt2img takes.
type txt2img struct {
	generation
	EnableHires     bool    `json:"enable_hr" default:"false" doc:"a second pass enlarges the picture"`
	FirstPassWidth  int     `json:"firstphase_width" default:"0" doc:"of the first pass, where width is that of the second; 0 is not said"`
	FirstPassHeight int     `json:"firstphase_height" default:"0"`
	HiresScale      float64 `json:"hr_scale" default:"2"`
	HiresUpscaler   *string `json:"hr_upscaler" doc:"one of /sdapi/v1/upscalers or /sdapi/v1/latent-upscale-modes; null is Latent"`
	HiresSteps      int     `json:"hr_second_pass_steps" default:"0" min:"0" doc:"0 is as many as steps"`
	HiresWidth      int     `json:"hr_resize_x" default:"0" min:"0" doc:"pixels, in place of hr_scale"`
	HiresHeight     int     `json:"hr_resize_y" default:"0" min:"0"`
	HiresCheckpoint *string `json:"hr_checkpoint_name" doc:"null, or Use same checkpoint, is that of the first pass"`
	HiresSampler    *string `json:"hr_sampler_name"`
	HiresScheduler  *string `json:"hr_scheduler"`
	HiresPrompt     string  `json:"hr_prompt" default:"" doc:"empty is that of the first pass"`
	HiresNegative   string  `json:"hr_negative_prompt" default:""`
}

// img2img is what POST /sdapi/v1/img2img takes.
type img2img struct {
	generation
	InitImages        []string `json:"init_images" max:"64" doc:"pictures to begin with, base64 with or without data:…, ; one is repeated for the batch"`
	ResizeMode        int      `json:"resize_mode" default:"0" min:"0" max:"3" doc:"0 just resize, 1 crop and resize, 2 resize and fill, 3 resize latents"`
	ImageGuidance     *float64 `json:"image_cfg_scale" doc:"of InstructPix2Pix checkpoints, which there are not here: left"`
	Mask              *string  `json:"mask" doc:"white is drawn anew"`
	MaskBlurX         float64  `json:"mask_blur_x" default:"4" doc:"pixels"`
	MaskBlurY         float64  `json:"mask_blur_y" default:"4" doc:"pixels"`
	MaskBlur          *float64 `json:"mask_blur" doc:"both of these"`
	MaskRound         bool     `json:"mask_round" default:"true" doc:"false is possible with Soft inpainting alone"`
	Fill              int      `json:"inpainting_fill" default:"0" min:"0" max:"3" doc:"0 fill, 1 original, 2 latent noise, 3 latent nothing"`
	OnlyMasked        bool     `json:"inpaint_full_res" default:"true" doc:"the masked part is cut out, drawn at width × height and put back"`
	Padding           int      `json:"inpaint_full_res_padding" default:"0" min:"0" max:"256" doc:"pixels around it that are cut out too"`
	InvertMask        int      `json:"inpainting_mask_invert" default:"0" min:"0" max:"1" doc:"1 draws what the mask does not cover"`
	NoiseMultiplier   *float64 `json:"initial_noise_multiplier"`
	LatentMask        *string  `json:"latent_mask" doc:"not possible here: refused"`
	IncludeInitImages bool     `json:"include_init_images" default:"false" doc:"whether the answer repeats the pictures that were sent"`
}

// generated is the answer to both.
type generated struct {
	Images     []string `json:"images" doc:"files in base64, without data:…,"`
	Parameters any      `json:"parameters" doc:"the request, with its defaults"`
	Info       string   `json:"info" doc:"JSON: seeds, infotexts and what else there is to say"`
}

// extras is how pictures are enlarged.
type extras struct {
	ResizeMode           int     `json:"resize_mode" default:"0" min:"0" max:"1" doc:"0 by a factor, 1 to a size"`
	ShowResults          bool    `json:"show_extras_results" default:"true" doc:"whether the answer has the picture"`
	GFPGANVisibility     float64 `json:"gfpgan_visibility" default:"0" min:"0" max:"1" doc:"there is no GFPGAN here: more than 0 is refused"`
	CodeFormerVisibility float64 `json:"codeformer_visibility" default:"0" min:"0" max:"1" doc:"likewise"`
	CodeFormerWeight     float64 `json:"codeformer_weight" default:"0" min:"0" max:"1"`
	Factor               float64 `json:"upscaling_resize" default:"2" doc:"how much longer both sides become, up to 8"`
	Width                int     `json:"upscaling_resize_w" default:"512" doc:"pixels"`
	Height               int     `json:"upscaling_resize_h" default:"512" doc:"pixels"`
	Crop                 bool    `json:"upscaling_crop" default:"true" doc:"what does not fit the size is cut off"`
	Upscaler1            string  `json:"upscaler_1" default:"None" doc:"one of /sdapi/v1/upscalers"`
	Upscaler2            string  `json:"upscaler_2" default:"None" doc:"a second one, laid over the first"`
	Visibility2          float64 `json:"extras_upscaler_2_visibility" default:"0" min:"0" max:"1" doc:"of the second one"`
	UpscaleFirst         bool    `json:"upscale_first" default:"false" doc:"without effect, as in the web UI"`
}

// extrasSingle is what POST /sdapi/v1/extra-single-image takes.
type extrasSingle struct {
	extras
	Image string `json:"image" default:"" doc:"base64, with or without data:…,"`
}

// extrasBatch is what POST /sdapi/v1/extra-batch-images takes.
type extrasBatch struct {
	extras
	Images []namedImage `json:"imageList" required:"yes" max:"64"`
}

// namedImage is a picture with its name.
type namedImage struct {
	Data string `json:"data" required:"yes" doc:"base64, with or without data:…,"`
	Name string `json:"name" default:""`
}

// enlargedOne and enlargedMany are the answers.
type enlargedOne struct {
	Info  string `json:"html_info"`
	Image string `json:"image" doc:"a file in base64"`
}

type enlargedMany struct {
	Info   string   `json:"html_info"`
	Images []string `json:"images"`
}
