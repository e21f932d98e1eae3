package sdapi_test

import (
	"encoding/json"
	"fmt"
	"image"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/studio/sdapi"
)

type body = map[string]any

// TestClients sends what programs for the web UI send and looks for what they look for in the answers: with the tiny model, at its sizes.
func TestClients(t *testing.T) {
	drawing(t)
	s := newStudio(t, sdapi.Options{}, nil)
	for name, talk := range map[string]func(*studio){
		"Open WebUI": openWebUI, "SillyTavern": sillyTavern, "LibreChat": libreChat, "text-generation-webui": textGeneration, "cyanic-sd-krita": cyanic,
		"stable-gimpfusion": gimpfusion, "Auto-Photoshop": photoshop, "aiyabot": aiyabot, "sdwebuiapi": wrapper, "KoboldCpp's clients": kobold, "the README's curl": curl,
	} {
		t.Run(name, func(t *testing.T) {
			talk(&studio{TB: t, queue: s.queue, library: s.library, server: s.server, dir: s.dir})
		})
	}
}

// small is a body at the tiny model's size.
func small(more body) body {
	b := body{"prompt": "portrait of a woman", "width": 64, "height": 64, "steps": 2}
	maps.Copy(b, more)
	return b
}

// one wants one picture of the size of small.
func (s *studio) one(d drawn) {
	s.Helper()
	if got := s.sizes(d); !slices.Equal(got, []image.Point{{64, 64}}) {
		s.Errorf("pictures of %v, want one of 64×64", got)
	}
}

func (s *studio) titles() (all []string) {
	s.Helper()
	var models []struct{ Title, ModelName string }
	s.get("/sdapi/v1/sd-models", &models)
	for _, m := range models {
		all = append(all, m.Title)
	}
	return all
}

// openWebUI switches models by sending all options back.
func openWebUI(s *studio) {
	var options body
	s.get("/sdapi/v1/options", &options)
	titles := s.titles()
	if options["sd_model_checkpoint"] != titles[0] {
		s.Errorf("options name %v, models %q", options["sd_model_checkpoint"], titles)
	}
	options["sd_model_checkpoint"] = titles[0]
	s.post("/sdapi/v1/options", options, nil)
	d := s.draw("/sdapi/v1/txt2img", small(body{"batch_size": 1, "negative_prompt": "", "cfg_scale": 7, "sampler_name": "Euler a", "scheduler": "Automatic"}))
	s.one(d)
	if strings.Contains(d.Images[0], ",") {
		s.Error("the picture has a prefix")
	}
}

// sillyTavern names schedules by their names and polls until nothing is at work.
func sillyTavern(s *studio) {
	for _, list := range []string{"upscalers", "latent-upscale-modes", "sd-vae", "samplers", "schedulers", "sd-models"} {
		var all []body
		s.get("/sdapi/v1/"+list, &all)
	}
	var p struct {
		Progress float64
		State    struct {
			Jobs *int `json:"job_count"`
		}
	}
	s.get("/sdapi/v1/progress", &p)
	if p.Progress != 0 || p.State.Jobs == nil || *p.State.Jobs != 0 {
		s.Errorf("idle progress is %+v", p)
	}
	d := s.draw("/sdapi/v1/txt2img", small(body{
		"negative_prompt": "lowres", "sampler_name": "DPM++ 2M", "scheduler": "karras", "cfg_scale": 7, "seed": 5, "restore_faces": true, "enable_hr": false,
		"hr_upscaler": "Latent", "hr_scale": 1, "hr_additional_modules": []any{}, "denoising_strength": 0.7, "hr_second_pass_steps": 0, "clip_skip": 2,
		"override_settings": body{"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"}, "override_settings_restore_afterwards": true,
		"save_images": true, "send_images": true, "do_not_save_grid": false, "do_not_save_samples": false,
	}))
	s.one(d)
	texts := fmt.Sprint(d.info["infotexts"])
	for _, want := range []string{"Schedule type: Karras", "Clip skip: 2", "Seed: 5"} {
		if !strings.Contains(texts, want) {
			s.Errorf("no %q in %s", want, texts)
		}
	}
	if notes := d.noted(); len(notes) != 1 || !strings.Contains(notes[0], "faces are not restored") {
		s.Errorf("notes %q", notes)
	}
	s.post("/sdapi/v1/interrupt", "{}", nil)
	if status, _ := s.ask("GET", "/sdapi/v1/sd-modules", nil); status != 404 {
		s.Errorf("Forge's sd-modules: %d", status)
	}
}

// libreChat names no sampler and reads info.
func libreChat(s *studio) {
	d := s.draw("/sdapi/v1/txt2img", small(body{"negative_prompt": "nude", "cfg_scale": 4.5}))
	s.one(d)
	texts, _ := d.info["infotexts"].([]any)
	if len(texts) != 1 || d.info["width"] != 64.0 || d.info["height"] != 64.0 || d.info["seed"] == nil || d.info["sampler_name"] != "Euler" {
		s.Errorf("info %v", d.info)
	}
}

func textGeneration(s *studio) {
	s.post("/sdapi/v1/options", body{"sd_model_checkpoint": s.titles()[0]}, nil)
	s.post("/sdapi/v1/unload-checkpoint", nil, nil)
	s.post("/sdapi/v1/reload-checkpoint", nil, nil)
	s.one(s.draw("/sdapi/v1/txt2img", small(body{
		"seed": -1, "sampler_name": "DPM++ 2M Karras", "enable_hr": false, "hr_scale": 2, "hr_upscaler": "ESRGAN_4x", "denoising_strength": 0.5, "restore_faces": false, "cfg_scale": 7,
	})))
}

// cyanic asks for Gradio's queue first, and leaves what it overrides as it is.
func cyanic(s *studio) {
	s.get("/queue/status", new(body))
	for _, list := range []string{"upscalers", "sd-vae", "face-restorers", "prompt-styles", "loras", "hypernetworks"} {
		var all []body
		s.get("/sdapi/v1/"+list, &all)
	}
	var lists map[string][]string
	s.get("/sdapi/v1/scripts", &lists)
	if !slices.Contains(lists["txt2img"], "adetailer") || !slices.Contains(lists["img2img"], "soft inpainting") {
		s.Errorf("scripts %v", lists)
	}
	d := s.draw("/sdapi/v1/img2img", small(body{
		"init_images": []string{"data:image/png;base64," + sample(64, 64)}, "mask": sample(64, 64), "inpainting_fill": 1, "inpaint_full_res": false, "mask_blur": 4,
		"denoising_strength": 0.6, "styles": []string{"oil"}, "tiling": false, "restore_faces": false,
		"override_settings": body{"sd_model_checkpoint": s.titles()[0]}, "override_settings_restore_afterwards": false,
	}))
	s.one(d)
	if got := d.info["prompt"]; got != "oil painting of portrait of a woman" {
		s.Errorf("the style makes %v", got)
	}
	if d.Parameters["init_images"] != nil || d.Parameters["mask"] != nil {
		s.Error("the answer repeats the pictures that were sent")
	}
	var enlarged struct{ Image string }
	s.post("/sdapi/v1/extra-single-image", body{"image": sample(8, 8), "upscaling_resize": 2, "upscaler_1": "Lanczos"}, &enlarged)
	if got := s.picture(enlarged.Image).Bounds().Size(); got != image.Pt(16, 16) {
		s.Errorf("enlarged to %v", got)
	}
}

func gimpfusion(s *studio) {
	s.get("/sdapi/v1/options", new(body))
	d := s.draw("/sdapi/v1/img2img", small(body{
		"init_images": []string{sample(64, 64)}, "denoising_strength": 0.4, "resize_mode": 0, "sampler_index": "Euler a", "seed": "-1", "cfg_scale": "7.5",
		"alwayson_scripts": body{"controlnet": body{"args": []any{body{"enabled": false}}}},
	}))
	s.one(d)
	if notes := d.noted(); notes != nil {
		s.Errorf("a ControlNet that is off is noted: %q", notes)
	}
}

func photoshop(s *studio) {
	s.get("/sdapi/v1/progress?skip_current_image=true", new(body))
	s.get("/sdapi/v1/embeddings", new(body))
	d := s.draw("/sdapi/v1/txt2img", small(body{
		"enable_hr": true, "hr_scale": 1.5, "hr_upscaler": "Latent (nearest-exact)", "denoising_strength": 0.7, "firstphase_width": 0, "hr_resize_x": 0, "hr_resize_y": 0,
		"subseed": -1, "subseed_strength": 0, "mask_expansion": 20, "backend_type": "Auto1111",
		"alwayson_scripts": body{"controlnet": body{"args": []any{body{"enabled": true, "module": "canny", "model": "x"}}}},
	}))
	if got := s.sizes(d); !slices.Equal(got, []image.Point{{96, 96}}) {
		s.Errorf("pictures of %v, want one of 96×96", got)
	}
	if notes := d.noted(); len(notes) != 1 || !strings.Contains(notes[0], "controlnet") {
		s.Errorf("notes %q", notes)
	}
	var said struct {
		Info       string
		Parameters body
	}
	s.post("/sdapi/v1/png-info", body{"image": "data:image/png;base64," + d.Images[0]}, &said)
	if said.Parameters["Hires upscale"] != "1.5" || !strings.HasPrefix(said.Info, "portrait of a woman\n") {
		s.Errorf("png-info %+v", said)
	}
	if status, answer := s.ask("POST", "/sdapi/v1/interrogate", body{"image": sample(8, 8), "model": "clip"}); status != 501 || !json.Valid(answer) {
		s.Errorf("interrogate: %d %s", status, answer)
	}
}

func aiyabot(s *studio) {
	s.get("/sdapi/v1/cmd-flags", new(body))
	for _, list := range []string{"samplers", "sd-models", "prompt-styles", "face-restorers", "upscalers", "hypernetworks", "loras"} {
		var all []body
		s.get("/sdapi/v1/"+list, &all)
	}
	s.post("/sdapi/v1/skip", nil, nil)
	d := s.draw("/sdapi/v1/txt2img", small(body{
		"seed": 11, "seed_resize_from_h": 0, "seed_resize_from_w": 0, "denoising_strength": nil, "tiling": false, "n_iter": 1, "styles": []string{"None", ""}, "sampler_index": "Euler a",
		"batch_size": 2, "override_settings": body{"sd_model_checkpoint": s.titles()[0], "CLIP_stop_at_last_layers": 1}, "override_settings_restore_afterwards": true,
	}))
	if got := fmt.Sprint(d.info["all_seeds"]); len(d.Images) != 2 || got != "[11 12]" {
		s.Errorf("%d pictures of seeds %s", len(d.Images), got)
	}
}

// wrapper always sends both names of the sampler, an η and what ADetailer wants.
func wrapper(s *studio) {
	d := s.draw("/sdapi/v1/txt2img", small(body{
		"enable_hr": false, "hr_scale": 2, "hr_upscaler": "Latent", "hr_checkpoint_name": nil, "denoising_strength": 0.7, "styles": []any{}, "seed": -1, "subseed": -1,
		"seed_resize_from_h": 0, "seed_resize_from_w": 0, "sampler_name": "Euler a", "sampler_index": "Euler a", "scheduler": "automatic", "eta": 1.0, "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1,
		"override_settings": body{}, "script_args": []any{}, "script_name": nil, "send_images": true, "save_images": false,
		"alwayson_scripts": body{"ADetailer": body{"args": []any{false}}},
	}))
	s.one(d)
}

func kobold(s *studio) {
	var options struct {
		Format string `json:"samples_format"`
		Model  string `json:"sd_model_checkpoint"`
	}
	s.get("/sdapi/v1/options", &options)
	if options.Format != "png" || options.Model == "" {
		s.Errorf("options %+v", options)
	}
	s.one(s.draw("/sdapi/v1/img2img", small(body{"init_images": []string{sample(32, 48)}, "cfg_scale": 5})))
}

// curl sends what the API's own page of the web UI suggests, with what is optional left out.
func curl(s *studio) {
	s.one(s.draw("/sdapi/v1/txt2img", `{"prompt": "maltese puppy", "steps": 2, "width": 64, "height": 64}`))
}
