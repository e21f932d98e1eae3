package sdapi

import (
	"maps"
	"net/http"
)

// noFlags are the web UI's flags as it has them where none is given, for programs that look for them: what of theirs there is not here is off.
var noFlags = map[string]any{
	"f": false, "data_dir": nil, "models_dir": nil, "config": nil, "ckpt": nil, "ckpt_dir": nil, "vae_dir": nil, "vae_path": nil, "lora_dir": nil, "embeddings_dir": nil, "hypernetwork_dir": nil,
	"esrgan_models_path": nil, "realesrgan_models_path": nil, "gfpgan_dir": nil, "gfpgan_model": nil, "codeformer_models_path": nil, "styles_file": nil, "localizations_dir": nil,
	"no_half": false, "no_half_vae": false, "precision": "autocast", "upcast_sampling": false, "medvram": false, "medvram_sdxl": false, "lowvram": false, "lowram": false,
	"xformers": false, "opt_sdp_attention": false, "opt_sdp_no_mem_attention": false, "opt_split_attention": false, "disable_nan_check": false, "use_cpu": []string{}, "use_ipex": false,
	"device_id": nil, "always_batch_cond_uncond": false, "listen": false, "port": nil, "server_name": nil, "share": false, "ngrok": nil, "theme": nil, "tls_keyfile": nil, "tls_certfile": nil,
	"gradio_queue": true, "no_gradio_queue": false, "subpath": nil, "api": true, "api_log": false, "api_server_stop": false, "nowebui": false, "ui_debug_mode": false, "cors_allow_origins": nil,
	"cors_allow_origins_regex": nil, "hide_ui_dir_config": false, "freeze_settings": false, "enable_insecure_extension_access": false, "disable_safe_unpickle": false, "no_hashing": false,
	"no_download_sd_model": true, "skip_version_check": true, "timeout_keep_alive": 30, "administrator": false, "deepdanbooru": false, "enable_console_prompts": false,
}

// flags answers with all flags: the web UI's, the folders that the library searches first, and the program's own.
func (s *Server) flags(*http.Request) (map[string]any, error) {
	all := maps.Clone(noFlags)
	places := s.options.Library.Places()
	for name, place := range map[string]string{
		"data_dir": "data", "ckpt_dir": "checkpoints", "vae_dir": "vaes", "lora_dir": "loras", "embeddings_dir": "embeddings", "esrgan_models_path": "upscalers", "styles_file": "styles",
	} {
		if path := places[place]; path != "" {
			all[name] = path
		}
	}
	maps.Copy(all, s.options.Flags)
	all["api"] = true
	return all, nil
}
