package sdapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/sdapi"
	"github.com/atelier-go/atelier/studio/work"
)

// fast is a server whose pictures cost nothing; what jobs are asked for comes through seen.
func fast(t testing.TB) (s *studio, seen chan work.Draw) {
	seen = make(chan work.Draw, 100)
	return newStudio(t, sdapi.Options{}, painter{seen: seen}.handlers()), seen
}

// TestDefaults holds what an empty request asks for to the web UI's defaults, which are not those of its page.
func TestDefaults(t *testing.T) {
	s, seen := fast(t)
	d := s.draw("/sdapi/v1/txt2img", body{})
	got := <-seen
	r := got.Request
	if r.Steps != 50 || r.Sampler != "Euler" || *r.Guidance != 7 || r.Width != 512 || r.Height != 512 || r.BatchSize != 1 || got.Count != 1 || got.Save != "" || r.Hires != nil || r.Seed < 0 {
		t.Errorf("an empty request asks for %+v", got)
	}
	for name, want := range map[string]any{"steps": 50.0, "sampler_index": "Euler", "sampler_name": nil, "cfg_scale": 7.0, "send_images": true, "save_images": false, "hr_scale": 2.0} {
		if have, ok := d.Parameters[name]; !ok || have != want {
			t.Errorf("parameters have %s %v, want %v", name, have, want)
		}
	}
	s.draw("/sdapi/v1/img2img", body{"init_images": []string{sample(8, 8)}, "mask": sample(8, 8)})
	got = <-seen
	in := got.Request.Inpaint
	if in == nil || in.Content != sd.FillContent || !in.Only || *in.Padding != 0 || *in.BlurX != 4 || *got.Request.Strength != 0.75 || got.Request.ResizeMode != sd.JustResize || got.Mask == "" || got.Image == "" {
		t.Errorf("img2img asks for %+v, %+v", got, in)
	}
}

// TestFields follows fields, settings and scripts into what the job is asked for.
func TestFields(t *testing.T) {
	s, seen := fast(t)
	s.write("models/VAE/soft.safetensors", "")
	s.write("models/ESRGAN/4x-sharp.pth", "")
	s.library.Refresh()
	for name, one := range map[string]struct {
		send body
		want func(d work.Draw) bool
	}{
		"sampler alias":  {body{"sampler_name": "k_dpmpp_2m", "scheduler": "karras"}, func(d work.Draw) bool { return d.Request.Sampler == "DPM++ 2M" && d.Request.Spacing == "Karras" }},
		"sampler suffix": {body{"sampler_name": "DPM++ SDE Karras"}, func(d work.Draw) bool { return d.Request.Spacing == "Karras" }},
		"sampler index":  {body{"sampler_name": "", "sampler_index": "Euler a"}, func(d work.Draw) bool { return d.Request.Sampler == "Euler a" }},
		"numbers as text": {body{"steps": "7", "width": 128.0, "cfg_scale": "4.5", "enable_hr": "false"}, func(d work.Draw) bool {
			return d.Request.Steps == 7 && d.Request.Width == 128 && *d.Request.Guidance == 4.5
		}},
		"null":        {body{"steps": nil, "seed": nil}, func(d work.Draw) bool { return d.Request.Steps == 50 }},
		"variation":   {body{"seed": 1, "subseed": 2, "subseed_strength": 0.5}, func(d work.Draw) bool { return d.Request.Variation == sd.Variation{Seed: 2, Strength: 0.5} }},
		"seed resize": {body{"seed_resize_from_w": 256, "seed_resize_from_h": 128}, func(d work.Draw) bool { return d.Request.ResizeFrom == sd.Size{Width: 256, Height: 128} }},
		"eta":         {body{"eta": 0.3}, func(d work.Draw) bool { return *d.Request.Eta == 0.3 }},
		"churn": {body{"s_churn": 5, "s_tmin": 0.1, "s_tmax": 9, "s_noise": 1.1}, func(d work.Draw) bool {
			o := d.Request.SamplerOptions
			return o.SChurn == 5 && o.STmin == 0.1 && o.STmax == 9 && *o.SNoise == 1.1
		}},
		"churn by option": {body{"s_churn": 5, "override_settings": body{"s_churn": 2}}, func(d work.Draw) bool { return d.Request.SamplerOptions.SChurn == 2 }},
		"s_min_uncond":    {body{"s_min_uncond": 2.5}, func(d work.Draw) bool { return d.Request.Speed.MinUncond == 2.5 }},
		"refiner":         {body{"refiner_checkpoint": "tiny", "refiner_switch_at": 0.6}, func(d work.Draw) bool { return *d.Request.Refiner.SwitchAt == 0.6 }},
		"no tags":         {body{"prompt": "a <lora:x:1>", "disable_extra_networks": true}, func(d work.Draw) bool { return d.Request.Prompt == "a " }},
		"styles": {body{"prompt": "a cat", "negative_prompt": "b", "styles": []string{"oil"}}, func(d work.Draw) bool {
			return d.Request.Prompt == "oil painting of a cat" && d.Request.NegativePrompt == "b, photo"
		}},
		"batches":   {body{"n_iter": 3, "batch_size": 2, "save_images": true}, func(d work.Draw) bool { return d.Count == 3 && d.Request.BatchSize == 2 && d.Save == "txt2img" }},
		"clip_skip": {body{"clip_skip": 2}, func(d work.Draw) bool { return d.Request.ClipSkip == 2 }},
		"first pass": {body{"enable_hr": true, "width": 768, "height": 512, "firstphase_width": 384, "firstphase_height": 256}, func(d work.Draw) bool {
			return d.Request.Width == 384 && d.Request.Hires.Width == 768 && d.Request.Hires.Height == 512
		}},
		"hires": {body{"enable_hr": true, "hr_upscaler": "4x-sharp", "hr_scale": 1.5, "hr_second_pass_steps": 9, "hr_sampler_name": "Use same sampler", "hr_scheduler": "karras", "hr_prompt": "b", "hr_checkpoint_name": "tiny", "denoising_strength": 0.4, "width": 64, "height": 64},
			func(d work.Draw) bool {
				h := d.Request.Hires
				return h.Upscaler == "4x-sharp" && h.Scale == 1.5 && h.Steps == 9 && h.Sampler == "Euler" && h.Spacing == "Karras" && h.Prompt == "b" && h.Checkpoint == "tiny" && *h.Strength == 0.4
			}},
		"settings": {body{"sampler_name": "DDIM", "override_settings": body{
			"sd_vae": "soft.safetensors", "CLIP_stop_at_last_layers": 2, "randn_source": "CPU", "eta_noise_seed_delta": 31337, "emphasis": "No norm", "eta_ddim": 0.5, "eta_ancestral": 0.9,
			"comma_padding_backtrack": 10, "use_old_scheduling": true, "pad_cond_uncond": true, "sd_vae_decode_method": "TAESD", "sigma_min": 0.1, "img2img_color_correction": true}},
			func(d work.Draw) bool {
				r := d.Request
				return r.VAE == "soft.safetensors" && r.ClipSkip == 2 && r.Noise == sd.CPU && r.SamplerOptions.ENSD == 31337 && r.PromptOptions.Emphasis == "No norm" && *r.Eta == 0.5 &&
					*r.PromptOptions.Backtrack == 10 && r.PromptOptions.OldTimelines && r.PadConds && r.Decoder == sd.TAESD && r.SamplerOptions.SigmaMin == 0.1 && !r.ColorCorrection
			}},
		"refiner script": {body{"alwayson_scripts": body{"Refiner": body{"args": []any{true, "tiny", 0.7}}}}, func(d work.Draw) bool { return *d.Request.Refiner.SwitchAt == 0.7 }},
		"seed script":    {body{"seed": 4, "alwayson_scripts": body{"seed": body{"args": []any{9, true, 3, 0.2, 0, 0}}}}, func(d work.Draw) bool { return d.Request.Seed == 9 && d.Request.Variation.Strength == 0.2 }},
		"ADetailer": {body{"width": 256, "height": 128, "alwayson_scripts": body{"ADetailer": body{"args": []any{true, false, body{
			"ad_model": "face_yolov8n.pt", "ad_prompt": "smiling", "ad_confidence": 0.5, "ad_dilate_erode": 8, "ad_mask_blur": 6, "ad_denoising_strength": 0.3, "ad_inpaint_only_masked_padding": 16,
			"ad_use_steps": true, "ad_steps": 12, "ad_use_cfg_scale": true, "ad_cfg_scale": 5, "ad_use_sampler": true, "ad_sampler": "Euler a", "ad_mask_k_largest": 2, "ad_mask_min_ratio": 0.01,
			"ad_x_offset": 3, "ad_y_offset": -4, "ad_mask_merge_invert": "Merge", "ad_use_clip_skip": true, "ad_clip_skip": 2, "ad_use_noise_multiplier": true, "ad_noise_multiplier": 0.9}}}}},
			func(d work.Draw) bool {
				f := d.Request.Faces
				return f.Prompt == "smiling" && *f.Confidence == 0.5 && *f.Dilate == 8 && *f.Blur == 6 && *f.Strength == 0.3 && *f.Padding == 16 && f.Steps == 12 && *f.Guidance == 5 &&
					f.Sampler == "Euler a" && f.Largest == 2 && f.MinRatio == 0.01 && f.Width == 256 && f.Height == 128 &&
					f.OffsetX == 3 && f.OffsetY == -4 && f.Merge == sd.MergeFaces && f.ClipSkip == 2 && *f.NoiseMultiplier == 0.9
			}},
		"ADetailer, a size of its own": {body{"alwayson_scripts": body{"adetailer": body{"args": []any{body{"ad_model": "face_yolov8n.pt", "ad_use_inpaint_width_height": true, "ad_inpaint_width": 384, "ad_inpaint_height": 448}}}}},
			func(d work.Draw) bool { return d.Request.Faces.Width == 384 && d.Request.Faces.Height == 448 }},
		"infotext": {body{"steps": 9, "infotext": "a fox\nNegative prompt: dog\nSteps: 33, Sampler: Euler a, Schedule type: Karras, CFG scale: 3.5, Seed: 77, Size: 128x64, Clip skip: 2, Denoising strength: 0.6, Hires upscale: 2, Hires upscaler: Latent, ENSD: 5"},
			func(d work.Draw) bool {
				r := d.Request
				return r.Prompt == "a fox" && r.NegativePrompt == "dog" && r.Steps == 9 && r.Sampler == "Euler a" && r.Spacing == "Karras" && *r.Guidance == 3.5 && r.Seed == 77 && r.Width == 128 && r.Height == 64 &&
					r.ClipSkip == 2 && r.SamplerOptions.ENSD == 5 && r.Hires != nil && *r.Hires.Strength == 0.6
			}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &studio{TB: t, server: s.server}
			s.draw("/sdapi/v1/txt2img", one.send)
			if d := <-seen; !one.want(d) {
				text, _ := json.Marshal(d)
				t.Errorf("the job is asked for %s", text)
			}
		})
	}
}

// plotted is a request of the script with one axis, by its name.
func plotted(axis, values string) body {
	return body{"script_name": "X/Y/Z plot", "script_args": []any{axis, values, []string{}, 0, "", []string{}, 0, "", []string{}, true, false, false, false, false, false, false, 0, true}}
}

// TestPlotFields follows the script's args into what the job is asked for, by the numbers that clients have for types.
func TestPlotFields(t *testing.T) {
	s, seen := fast(t)
	list := []string{}
	for name, one := range map[string]struct {
		path string
		send body
		want work.Grid
	}{
		"all": {"txt2img", body{"seed": 5, "script_args": []any{6, "4-8 (+2)", list, 9, "", []string{"Euler a", "DPM++ 2M"}, 1, "1,2", list, false, true, true, false, true, false, true, 8, false}},
			work.Grid{X: work.Axis{Name: "CFG Scale", Values: "4-8 (+2)"}, Y: work.Axis{Name: "Sampler", Choices: []string{"Euler a", "DPM++ 2M"}}, Z: work.Axis{Name: "Seed", Values: "1,2"}, VaryX: true, VaryZ: true, Apart: true, Bare: true, Margin: 8}},
		"of a release before 1.6": {"txt2img", body{"seed": 5, "script_args": []any{4, "2,3", "", 9, "Euler a, DPM++ 2M", "", 0, "", "", "True", "False", "False", "False", 4}},
			work.Grid{X: work.Axis{Name: "Steps", Values: "2,3"}, Y: work.Axis{Name: "Sampler", Values: "Euler a, DPM++ 2M"}, Z: work.Axis{Name: "Nothing"}, Margin: 4}},
		"written":       {"txt2img", plotted("sampler", "Euler a"), work.Grid{X: work.Axis{Name: "Sampler", Values: "Euler a"}, Y: work.Axis{Name: "Nothing"}, Z: work.Axis{Name: "Nothing"}}},
		"seeds of each": {"txt2img", body{"script_args": []any{4, "2,3", list, nil, nil, nil, nil, nil, nil, true, false, false, true}}, work.Grid{X: work.Axis{Name: "Steps", Values: "2,3"}, VaryX: true, VaryY: true, VaryZ: true}},
		"img2img": {"img2img", body{"init_images": []string{sample(8, 8)}, "script_args": []any{6, "1", list, 5, "4", list, 9, "", []string{"Euler"}}},
			work.Grid{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &studio{TB: t, server: s.server}
			one.send["script_name"] = "x/y/z plot"
			if name == "img2img" { // its sixth type is Image CFG Scale, which is refused for want of such a checkpoint
				status, answer := s.ask("POST", "/sdapi/v1/img2img", one.send)
				if status != 422 || !strings.Contains(string(answer), "InstructPix2Pix") {
					t.Errorf("%d %s", status, answer)
				}
				one.send["script_args"].([]any)[0] = nil
				one.want = work.Grid{Y: work.Axis{Name: "CFG Scale", Values: "4"}, Z: work.Axis{Name: "Sampler", Choices: []string{"Euler"}}}
			}
			s.draw("/sdapi/v1/"+one.path, one.send)
			if d := <-seen; d.Grid == nil || !reflect.DeepEqual(*d.Grid, one.want) {
				t.Errorf("the job is asked for %+v, want %+v", d.Grid, one.want)
			}
		})
	}
}

// TestPlot draws by the script: sheets come first, then the cells in the order of the axes, whatever costs least to draw.
func TestPlot(t *testing.T) {
	drawing(t)
	s := newStudio(t, sdapi.Options{}, nil)
	send := body{"prompt": "portrait of a woman, red hair", "seed": 7, "steps": 2, "width": 64, "height": 64, "sampler_name": "Euler a", "batch_size": 3, "script_name": "X/Y/Z Plot", "save_images": true}
	args := []any{7, "red, brown", []string{}, 4, "1, 2", []string{}, 1, "8, 9", []string{}, false, true, true, false, false, false, false, 0, false}
	send["script_args"] = args
	check := func(d drawn, sizes []image.Point, seeds []any) {
		t.Helper()
		if got := s.sizes(d); !slices.Equal(got, sizes) {
			t.Errorf("the pictures have %v, want %v", got, sizes)
		}
		if got, _ := d.info["all_seeds"].([]any); !slices.Equal(got, seeds) {
			t.Errorf("their seeds are %v, want %v", got, seeds)
		}
	}
	whole, part, one := image.Pt(128, 256), image.Pt(128, 128), image.Pt(64, 64)
	d := s.draw("/sdapi/v1/txt2img", send)
	check(d, []image.Point{whole, part, part, one, one, one, one, one, one, one, one}, []any{8.0, 8.0, 8.0, 8.0, 9.0, 9.0, 9.0, 9.0})
	if prompts, _ := d.info["all_prompts"].([]any); d.info["index_of_first_image"] != 3.0 || len(prompts) != 8 || prompts[5] != "portrait of a woman, brown hair" {
		t.Errorf("info says %v of %q", d.info["index_of_first_image"], prompts)
	}
	texts, _ := d.info["infotexts"].([]any)
	if len(texts) != 11 || !strings.Contains(fmt.Sprint(texts[0]), `X Type: Prompt S/R, X Values: "red, brown"`) || !strings.Contains(fmt.Sprint(texts[4]), "Steps: 1,") {
		t.Errorf("the texts are %q", texts)
	}
	if notes := d.noted(); len(notes) != 1 || !strings.Contains(notes[0], "batch_size") {
		t.Errorf("it says %q", notes)
	}
	alone := maps.Clone(send)
	for _, name := range []string{"script_name", "script_args", "batch_size", "save_images"} {
		delete(alone, name)
	}
	alone["prompt"], alone["seed"] = "portrait of a woman, brown hair", 9
	if same := s.draw("/sdapi/v1/txt2img", alone); same.Images[0] != d.Images[10] {
		t.Error("the last cell is another picture than its settings alone give")
	}

	args[10], args[6] = false, 0 // sheets alone, and Z of nothing: its only sheet is the whole
	check(s.draw("/sdapi/v1/txt2img", send), []image.Point{part, part}, []any{7.0, 7.0, 7.0, 7.0})
	args[0], args[1], args[11], send["init_images"] = "Denoising", "0.3, 0.9", false, []string{d.Images[3]}
	delete(send, "batch_size")
	check(s.draw("/sdapi/v1/img2img", send), []image.Point{part}, []any{7.0, 7.0, 7.0, 7.0})
}

// TestPlotInterrupted answers with the cells that there are.
func TestPlotInterrupted(t *testing.T) {
	s := newStudio(t, sdapi.Options{}, painter{most: 2}.handlers())
	d := s.draw("/sdapi/v1/txt2img", plotted("Seed", "1-3"))
	if len(d.Images) != 2 || d.info["index_of_first_image"] != 0.0 || len(d.noted()) != 1 {
		t.Errorf("%d pictures and %q", len(d.Images), d.noted())
	}
}

// TestSeveralPictures begins with several: each has a job of its own, and the seeds that a batch would have.
func TestSeveralPictures(t *testing.T) {
	s, seen := fast(t)
	d := s.draw("/sdapi/v1/img2img", body{"init_images": []string{sample(8, 8), sample(16, 8)}, "batch_size": 3, "n_iter": 2, "seed": 10, "include_init_images": true})
	var seeds []int64
	var images []string
	for range 4 {
		one := <-seen
		seeds, images = append(seeds, one.Request.Seed), append(images, one.Image)
	}
	if len(d.Images) != 4 || !slices.Equal(seeds, []int64{10, 11, 12, 13}) || images[0] != images[2] || images[0] == images[1] {
		t.Errorf("%d pictures of seeds %v over %q", len(d.Images), seeds, images)
	}
	if sent, _ := d.Parameters["init_images"].([]any); len(sent) != 2 {
		t.Error("the pictures that were sent are not repeated")
	}
	for _, name := range images {
		if _, err := s.queue.Get(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s stays in the queue's store: %v", name, err)
		}
	}
}

// TestRefused sends what cannot be, and wants to be told why: by a status below 500, with the field's name where one is at fault.
func TestRefused(t *testing.T) {
	s, _ := fast(t)
	large := strings.Repeat("x", 5000)
	for name, one := range map[string]struct {
		path   string
		send   any
		status int
		says   string
	}{
		"no JSON":              {"txt2img", "{", 422, "JSON"},
		"a list":               {"txt2img", "[]", 422, "valid dict"},
		"no body":              {"txt2img", "", 422, "field required"},
		"steps of words":       {"txt2img", body{"steps": "many"}, 422, `"body","steps"`},
		"half a step":          {"txt2img", body{"steps": 1.5}, 422, "valid integer"},
		"no steps":             {"txt2img", body{"steps": 0}, 422, "steps"},
		"steps without end":    {"txt2img", body{"steps": 1e6}, 422, `"steps"`},
		"width":                {"txt2img", body{"width": 513}, 422, `"width"`},
		"a large picture":      {"txt2img", body{"width": 8192, "height": 8192}, 422, `"width"`},
		"many pictures":        {"txt2img", body{"n_iter": 1000, "batch_size": 64}, 422, "too many"},
		"batch":                {"txt2img", body{"batch_size": 65}, 422, `"batch_size"`},
		"strength":             {"txt2img", body{"enable_hr": true, "denoising_strength": 2}, 422, `"denoising_strength"`},
		"sampler":              {"txt2img", body{"sampler_name": "Eel"}, 400, "Euler a"},
		"scheduler":            {"txt2img", body{"scheduler": "slow"}, 400, "Karras"},
		"hires sampler":        {"txt2img", body{"enable_hr": true, "hr_sampler_name": "Eel"}, 400, "Euler a"},
		"upscaler":             {"txt2img", body{"enable_hr": true, "hr_upscaler": "4x-sharp"}, 400, "Latent (bicubic)"},
		"hires checkpoint":     {"txt2img", body{"enable_hr": true, "hr_checkpoint_name": "nothing-like-it"}, 400, "tiny"},
		"checkpoint":           {"txt2img", body{"override_settings": body{"sd_model_checkpoint": "nothing-like-it"}}, 400, "tiny"},
		"refiner":              {"txt2img", body{"refiner_checkpoint": "nothing-like-it"}, 400, "tiny"},
		"VAE":                  {"txt2img", body{"override_settings": body{"sd_vae": "nothing-like-it"}}, 400, "VAE"},
		"setting":              {"txt2img", body{"override_settings": body{"CLIP_stop_at_last_layers": "two"}}, 422, `"override_settings","CLIP_stop_at_last_layers"`},
		"setting out of range": {"txt2img", body{"override_settings": body{"rho": -1}}, 422, `"override_settings","rho"`},
		"tiling":               {"txt2img", body{"tiling": true}, 422, `"tiling"`},
		"script":               {"txt2img", body{"script_name": "SD upscale"}, 422, "X/Y/Z plot"},
		"script without args":  {"txt2img", body{"script_name": "X/Y/Z plot"}, 422, `"script_args"`},
		"an axis":              {"txt2img", plotted("Magic", "1"), 422, "type of X"},
		"an axis of img2img":   {"txt2img", plotted("Image CFG Scale", "1"), 422, "CFG Scale"},
		"values":               {"txt2img", plotted("Steps", "many"), 422, "the axis X"},
		"values that cannot":   {"txt2img", plotted("Steps", "-3"), 422, "Steps: -3"},
		"values not there":     {"txt2img", plotted("Checkpoint name", "nothing-like-it"), 400, "tiny"},
		"a text not there":     {"txt2img", plotted("Prompt S/R", "cat, dog"), 422, "cat"},
		"many cells":           {"txt2img", plotted("Seed", "1-2000"), 422, "1000"},
		"large cells":          {"txt2img", plotted("Size", "64x64"+strings.Repeat(",2048x2048", 40)), 422, "million pixels"},
		"styles":               {"txt2img", body{"styles": "oil"}, 422, `"styles"`},
		"scripts":              {"txt2img", body{"alwayson_scripts": []int{1}}, 422, `"alwayson_scripts"`},
		"ADetailer":            {"txt2img", body{"alwayson_scripts": body{"ADetailer": body{"args": []any{body{"ad_model": "face", "ad_confidence": 7}}}}}, 422, `"alwayson_scripts"`},
		"prompt":               {"txt2img", body{"prompt": strings.Repeat(large, 200)}, 422, "bytes"},
		"infotext":             {"txt2img", body{"infotext": "a\nSteps: many, Seed: x, Size: 1x1"}, 422, `"infotext"`},
		"no picture":           {"img2img", body{}, 404, "Init image not found"},
		"a URL":                {"img2img", body{"init_images": []string{"http://127.0.0.1/x.png"}}, 422, "not fetched"},
		"no base64":            {"img2img", body{"init_images": []string{"%%%"}}, 422, "Invalid encoded image"},
		"no picture's file":    {"img2img", body{"init_images": []string{"AAAA"}}, 422, "Invalid encoded image"},
		"pictures":             {"img2img", body{"init_images": []string{sample(8, 8), sample(8, 8)}}, 422, "batch"},
		"resize mode":          {"img2img", body{"init_images": []string{sample(8, 8)}, "resize_mode": 4}, 422, `"resize_mode"`},
		"mask":                 {"img2img", body{"init_images": []string{sample(8, 8)}, "mask": "AAAA"}, 422, `"mask"`},
		"blur":                 {"img2img", body{"init_images": []string{sample(8, 8)}, "mask": sample(8, 8), "mask_blur": 100}, 422, `"mask_blur"`},
		"latent mask":          {"img2img", body{"init_images": []string{sample(8, 8)}, "latent_mask": sample(8, 8)}, 422, `"latent_mask"`},
		"no file to enlarge":   {"extra-single-image", body{}, 422, `"image"`},
		"a factor":             {"extra-single-image", body{"image": sample(8, 8), "upscaling_resize": 100}, 422, `"upscaling_resize"`},
		"GFPGAN":               {"extra-single-image", body{"image": sample(8, 8), "gfpgan_visibility": 1}, 422, "GFPGAN"},
		"an upscaler":          {"extra-single-image", body{"image": sample(8, 8), "upscaler_1": "R-ESRGAN 4x+"}, 400, "Lanczos"},
		"in a list":            {"extra-batch-images", body{"imageList": []any{body{"data": sample(8, 8)}, body{"data": 7}, body{}}}, 422, `"imageList",2,"data"`},
		"png-info of nothing":  {"png-info", body{"image": "AAAA"}, 422, "Invalid encoded image"},
		"unknown checkpoint":   {"options", body{"sd_model_checkpoint": "nothing-like-it"}, 400, "tiny"},
		"an option's type":     {"options", body{"samples_save": "yes"}, 422, `"samples_save"`},
		"an option's choice":   {"options", body{"samples_format": "webp"}, 422, "png"},
		"training":             {"train/embedding", body{}, 501, "not done here"},
		"an end":               {"server-kill", nil, 404, "Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &studio{TB: t, server: s.server}
			status, answer := s.ask("POST", "/sdapi/v1/"+one.path, one.send)
			if status != one.status || !strings.Contains(string(answer), one.says) || !json.Valid(answer) || len(answer) > 10000 {
				t.Errorf("%d %.500s, want %d and %q", status, answer, one.status, one.says)
			}
			var e struct {
				Error  string
				Detail any
				Body   *string
				Errors *string
			}
			if err := json.Unmarshal(answer, &e); err != nil || e.Error == "" || e.Detail == nil || e.Body == nil || e.Errors == nil {
				t.Errorf("%s is not of the web UI's form: %v", answer, err)
			}
		})
	}
}

// TestForm asks by other methods, other paths and other types of body.
func TestForm(t *testing.T) {
	s, _ := fast(t)
	if status, _ := s.ask("GET", "/sdapi/v1/txt2img", nil); status != 405 {
		t.Errorf("GET of what wants POST: %d", status)
	}
	if status, answer := s.ask("GET", "/sdapi/v1/nothing", nil); status != 404 || !json.Valid(answer) {
		t.Errorf("an unknown path: %d %s", status, answer)
	}
	r, err := http.Post(s.server.URL+"/sdapi/v1/txt2img", "text/plain", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 422 {
		t.Errorf("a body of a form: %d", r.StatusCode)
	}
	long, err := http.Get(s.server.URL + "/openapi.json") // the client takes gzip, and unpacks it
	if err != nil {
		t.Fatal(err)
	}
	defer long.Body.Close()
	if text, err := io.ReadAll(long.Body); err != nil || !json.Valid(text) || !long.Uncompressed || long.Header.Get("X-Process-Time") == "" {
		t.Errorf("compressed %v, %v, %v", long.Uncompressed, long.Header, err)
	}
}

// TestRefusedByJob has the handler complain about a field: the request was at fault, not the server.
func TestRefusedByJob(t *testing.T) {
	s := newStudio(t, sdapi.Options{}, map[string]jobs.Handler{work.DrawKind: func(context.Context, *jobs.Task) error { return sd.Request{Width: 7}.Check() }})
	if status, answer := s.ask("POST", "/sdapi/v1/txt2img", body{}); status != 422 || !strings.Contains(string(answer), "Request.Width") {
		t.Errorf("%d %s", status, answer)
	}
	s = newStudio(t, sdapi.Options{}, map[string]jobs.Handler{work.DrawKind: func(context.Context, *jobs.Task) error { return io.ErrUnexpectedEOF }})
	if status, answer := s.ask("POST", "/sdapi/v1/txt2img", body{}); status != 500 || !strings.Contains(string(answer), "unexpected EOF") {
		t.Errorf("%d %s", status, answer)
	}
}

// TestOptions sends all options back as they came, sets one, and leaves one that nobody knows.
func TestOptions(t *testing.T) {
	s, seen := fast(t)
	var all, again body
	s.get("/sdapi/v1/options", &all)
	s.post("/sdapi/v1/options", all, nil)
	s.post("/sdapi/v1/options", body{"CLIP_stop_at_last_layers": 2, "my_extension_key": body{"a": []int{1}}}, nil)
	s.get("/sdapi/v1/options", &again)
	all["CLIP_stop_at_last_layers"], all["my_extension_key"] = 2.0, map[string]any{"a": []any{1.0}}
	if !reflect.DeepEqual(all, again) {
		t.Errorf("options\n%v\nwant\n%v", again, all)
	}
	s.draw("/sdapi/v1/txt2img", body{})
	if d := <-seen; d.Request.ClipSkip != 2 {
		t.Errorf("clip skip %d, want that of the settings", d.Request.ClipSkip)
	}
	s.draw("/sdapi/v1/txt2img", body{"override_settings": body{"CLIP_stop_at_last_layers": 1}})
	s.draw("/sdapi/v1/txt2img", body{"override_settings": body{"randn_source": "CPU"}, "override_settings_restore_afterwards": false})
	s.draw("/sdapi/v1/txt2img", body{})
	<-seen
	<-seen
	if d := <-seen; d.Request.ClipSkip != 2 || d.Request.Noise != sd.CPU {
		t.Errorf("clip skip %d, noise %s: one was for one request alone, the other was to stay", d.Request.ClipSkip, d.Request.Noise)
	}
}

// TestSaved saves pictures: of several there is a grid, which comes first.
func TestSaved(t *testing.T) {
	s, _ := fast(t)
	d := s.draw("/sdapi/v1/txt2img", body{"n_iter": 4, "save_images": true, "seed": 3, "width": 64, "height": 64})
	if got := fmt.Sprint(s.sizes(d)); got != "[(16,16) (8,8) (8,8) (8,8) (8,8)]" || d.info["index_of_first_image"] != 1.0 || fmt.Sprint(d.info["all_seeds"]) != "[3 4 5 6]" {
		t.Errorf("pictures of %s, info %v", got, d.info)
	}
	grids, _ := filepath.Glob(filepath.Join(s.dir, "outputs", "txt2img-grids", "*", "grid-0000*.png"))
	if len(grids) != 1 {
		t.Errorf("grids %q", grids)
	}
	d = s.draw("/sdapi/v1/txt2img", body{"n_iter": 2, "save_images": true, "send_images": false})
	if len(d.Images) != 0 {
		t.Errorf("%d pictures, want none", len(d.Images))
	}
	d = s.draw("/sdapi/v1/txt2img", body{"n_iter": 2, "save_images": true, "override_settings": body{"return_grid": false, "samples_format": "jpg"}})
	if len(d.Images) != 2 || !strings.HasPrefix(d.Images[0], "/9j/") {
		t.Errorf("%d pictures, the first %.10s", len(d.Images), d.Images[0])
	}
	var said struct{ Info string }
	s.post("/sdapi/v1/png-info", body{"image": d.Images[0]}, &said)
	if !strings.Contains(said.Info, "Steps: 50") {
		t.Errorf("the JPEG says %q", said.Info)
	}
}

// held is a server whose pictures wait.
func held(t *testing.T) (s *studio, go_ chan struct{}) {
	go_ = make(chan struct{})
	return newStudio(t, sdapi.Options{}, painter{held: go_}.handlers()), go_
}

// begin asks for pictures without waiting for them.
func (s *studio) begin(ctx context.Context, send body) (answered chan drawn) {
	answered = make(chan drawn, 1)
	text, _ := json.Marshal(send)
	r, err := http.NewRequestWithContext(ctx, "POST", s.server.URL+"/sdapi/v1/txt2img", strings.NewReader(string(text)))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	go func() {
		defer close(answered)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return
		}
		defer response.Body.Close()
		var d drawn
		if response.StatusCode == http.StatusOK && json.NewDecoder(response.Body).Decode(&d) == nil {
			answered <- d
		}
	}()
	return answered
}

// progress is the answer of the route of that name.
type progress struct {
	Progress float64
	Left     float64 `json:"eta_relative"`
	State    struct {
		Job         string
		Count       int  `json:"job_count"`
		Number      int  `json:"job_no"`
		Step        int  `json:"sampling_step"`
		Steps       int  `json:"sampling_steps"`
		Interrupted bool `json:"interrupted"`
	}
	Image *string `json:"current_image"`
}

// until polls the progress until it is as wanted.
func (s *studio) until(as func(progress) bool) (p progress) {
	s.Helper()
	for range 3000 {
		p = progress{}
		if s.get("/sdapi/v1/progress", &p); as(p) {
			return p
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Fatalf("the progress stays %+v", p)
	return p
}

// TestProgress looks at a request while it is drawn, by both routes, and at what waits behind it.
func TestProgress(t *testing.T) {
	s, release := held(t)
	first := s.begin(t.Context(), body{"n_iter": 2, "steps": 10, "force_task_id": "task(one)"})
	p := s.until(func(p progress) bool { return p.Progress > 0.5 && p.Image != nil })
	if p.State.Count != 2 || p.State.Number != 1 || p.State.Step != 5 || p.State.Steps != 10 || p.Left != 2 || p.Progress != 0.76 {
		t.Errorf("progress %+v", p)
	}
	if file, _ := base64.StdEncoding.DecodeString(*p.Image); !strings.HasSuffix(string(file), "preview") {
		t.Errorf("preview %q", file)
	}
	var without progress
	if s.get("/sdapi/v1/progress?skip_current_image=true", &without); without.Image != nil {
		t.Error("a picture that was not wanted")
	}
	second := s.begin(t.Context(), body{"force_task_id": "task(two)"})
	type taskState struct {
		Active, Queued, Completed bool
		Preview                   *string `json:"live_preview"`
		ID                        int64   `json:"id_live_preview"`
	}
	task := func(name string, seen int64) (one taskState) {
		s.post("/internal/progress", body{"id_task": name, "id_live_preview": seen}, &one)
		return one
	}
	var waiting struct {
		Size  int
		Tasks []string
	}
	for range 3000 {
		if s.get("/internal/pending-tasks", &waiting); waiting.Size > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !slices.Equal(waiting.Tasks, []string{"task(two)"}) {
		t.Errorf("waiting %+v", waiting)
	}
	one := task("task(one)", -1)
	if !one.Active || one.Queued || one.Preview == nil || !strings.HasPrefix(*one.Preview, "data:image/png;base64,") {
		t.Errorf("the first is %+v", one)
	}
	if again := task("task(one)", one.ID); again.Preview != nil {
		t.Error("a preview that was seen is sent again")
	}
	if two := task("task(two)", -1); two.Active || !two.Queued {
		t.Errorf("the second is %+v", two)
	}
	close(release)
	if len((<-first).Images) != 2 || len((<-second).Images) != 1 {
		t.Error("pictures are missing")
	}
	if one := task("task(one)", -1); !one.Completed || one.Active {
		t.Errorf("at the end the first is %+v", one)
	}
	if none := task("task(none)", -1); none.Completed || none.Active || none.Queued {
		t.Errorf("what never was is %+v", none)
	}
	s.until(func(p progress) bool { return p.Progress == 0 && p.State.Count == 0 })
	if left := s.queue.Jobs(); len(left) != 0 {
		t.Errorf("%d jobs stay in the queue after they were answered", len(left))
	}
}

// TestInterrupt ends what is at work: the answer has what there is.
func TestInterrupt(t *testing.T) {
	s, _ := held(t)
	first := s.begin(t.Context(), body{})
	s.until(func(p progress) bool { return p.State.Job != "" })
	second := s.begin(t.Context(), body{})
	for len(s.queue.Jobs()) < 2 {
		time.Sleep(time.Millisecond)
	}
	s.post("/sdapi/v1/interrupt", nil, nil)
	if d, ok := <-first; !ok || len(d.Images) != 1 {
		t.Errorf("interrupted: %v, %d pictures", ok, len(d.Images))
	}
	s.until(func(p progress) bool { return p.State.Job != "" })
	s.post("/sdapi/v1/interrupt", nil, nil)
	if d, ok := <-second; !ok || len(d.Images) != 1 {
		t.Errorf("interrupted too: %v, %d pictures", ok, len(d.Images))
	}
	s.post("/sdapi/v1/interrupt", nil, nil) // of nothing
	s.post("/sdapi/v1/skip", nil, nil)
}

// TestInterruptWaiting ends a request before anybody works on it: there is no picture, and no error.
func TestInterruptWaiting(t *testing.T) {
	s := newStudio(t, sdapi.Options{}, map[string]jobs.Handler{work.TrainKind: nil})
	waiting := s.begin(t.Context(), body{})
	s.until(func(p progress) bool { return p.State.Count == 1 && len(s.queue.Jobs()) == 1 })
	s.post("/sdapi/v1/interrupt", nil, nil)
	if d, ok := <-waiting; !ok || len(d.Images) != 0 {
		t.Errorf("answered %v, %d pictures", ok, len(d.Images))
	}
}

// TestGone leaves before there is an answer: what is not saved is not drawn either, what is saved is.
func TestGone(t *testing.T) {
	s, release := held(t)
	for _, save := range []bool{false, true} {
		ctx, leave := context.WithCancel(t.Context())
		answered := s.begin(ctx, body{"save_images": save})
		s.until(func(p progress) bool { return p.State.Job != "" })
		id := s.queue.Jobs()[0].ID
		leave()
		<-answered
		if save {
			close(release)
		}
		want := map[bool]jobs.State{false: jobs.Cancelled, true: jobs.Done}[save]
		for range 3000 {
			if j, _ := s.queue.Job(id); j.State == want {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if j, _ := s.queue.Job(id); j.State != want {
			t.Errorf("saved %v: the job is %s, want %s", save, j.State, want)
		}
		if err := s.queue.Remove(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}

func TestAuth(t *testing.T) {
	s := newStudio(t, sdapi.Options{Auth: []string{"ann:secret", "bob:pass:word"}}, painter{}.handlers())
	for _, one := range []struct {
		user, password string
		want           int
	}{{"", "", 401}, {"ann", "secret", 200}, {"bob", "pass:word", 200}, {"ann", "pass:word", 401}, {"bob", "pass", 401}} {
		r, _ := http.NewRequest("GET", s.server.URL+"/sdapi/v1/samplers", nil)
		r.SetBasicAuth(one.user, one.password)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != one.want || one.want == 401 && response.Header.Get("WWW-Authenticate") != "Basic" {
			t.Errorf("%s: %d, want %d", one.user, response.StatusCode, one.want)
		}
	}
	if _, err := sdapi.New(sdapi.Options{Queue: s.queue, Library: s.library, Auth: []string{"no-colon"}}); err == nil || strings.Contains(err.Error(), "no-colon") {
		t.Errorf("a pair that is none: %v", err)
	}
	open, _ := fast(t)
	r, _ := http.NewRequest("GET", open.server.URL+"/sdapi/v1/samplers", nil)
	r.Header.Set("Authorization", "Basic ") // SillyTavern's, of no one
	if response, err := http.DefaultClient.Do(r); err != nil || response.StatusCode != 200 {
		t.Errorf("an empty Authorization where none is asked for: %v, %v", response, err)
	}
}

// TestThumb asks for previews: that of a LoRA is there, any other file is not.
func TestThumb(t *testing.T) {
	s, _ := fast(t)
	file, _ := base64.StdEncoding.DecodeString(sample(8, 8))
	s.write("models/Lora/fox.safetensors", "")
	s.write("models/Lora/fox.preview.png", string(file))
	s.write("models/Lora/bad.safetensors", "")
	s.write("models/Lora/bad.png", "<script>")
	s.write("secret.png", string(file))
	s.library.Refresh()
	dir := filepath.Join(s.dir, "models", "Lora")
	for path, want := range map[string]int{
		filepath.Join(dir, "fox.preview.png"): 200, filepath.Join(dir, "bad.png"): 404, filepath.Join(s.dir, "secret.png"): 404,
		filepath.Join(dir, "..", "Lora", "x", "fox.preview.png"): 404, "": 404, "/etc/passwd": 404, os.DevNull: 404,
	} {
		if status, _ := s.ask("GET", "/sd_extra_networks/thumb?filename="+escape(path), nil); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	var card struct{ HTML string }
	s.get("/sd_extra_networks/get-single-card?page=lora&tabname=txt2img&name=fox", &card)
	if !strings.Contains(card.HTML, "fox") {
		t.Errorf("card %q", card.HTML)
	}
	var said struct{ Metadata string }
	s.get("/sd_extra_networks/metadata?page=lora&item=fox", &said)
	if !json.Valid([]byte(said.Metadata)) {
		t.Errorf("metadata %q", said.Metadata)
	}
}

// TestDocument holds the OpenAPI document to the routes, and the page to the document.
func TestDocument(t *testing.T) {
	s, _ := fast(t)
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct {
					Schema struct {
						Properties map[string]struct {
							Default any
							Type    any
						}
					}
				}
			}
		}
	}
	s.get("/openapi.json", &document)
	if document.OpenAPI != "3.1.0" || len(document.Paths) < 49 {
		t.Fatalf("version %s, %d paths", document.OpenAPI, len(document.Paths))
	}
	draw := document.Paths["/sdapi/v1/txt2img"]["post"].RequestBody.Content["application/json"].Schema.Properties
	if draw["steps"].Default != 50.0 || draw["sampler_index"].Default != "Euler" || fmt.Sprint(draw["eta"].Type) != "[number null]" {
		t.Errorf("%v", draw)
	}
	status, page := s.ask("GET", "/docs", nil)
	for path, methods := range document.Paths {
		for method := range methods {
			if !strings.Contains(string(page), strings.ToUpper(method)+" "+path) {
				t.Errorf("the page lacks %s %s", method, path)
			}
		}
		if _, reads := methods["get"]; reads && !strings.HasPrefix(path, "/sd_extra_networks/") {
			s.get(path, nil)
		}
	}
	if status != 200 || strings.Contains(string(page), "<script") || strings.Contains(string(page), "http") {
		t.Errorf("the page %d loads something", status)
	}
}

// TestMachine has the tiny model interrupted, skipped and asked for what is not there.
func TestMachine(t *testing.T) {
	drawing(t)
	s := newStudio(t, sdapi.Options{}, nil)
	long := body{"prompt": "a man", "width": 64, "height": 64, "steps": 5000, "n_iter": 2, "seed": 3}
	stepping := func(p progress) bool { return p.State.Step > 0 && p.Image != nil }
	answered := s.begin(t.Context(), long)
	s.until(stepping)
	s.post("/sdapi/v1/interrupt", nil, nil)
	d, ok := <-answered
	if got := s.sizes(d); !ok || len(got) != 1 || got[0].X != 64 {
		t.Errorf("interrupted: %v, pictures of %v", ok, got)
	}
	answered = s.begin(t.Context(), long)
	s.until(stepping)
	s.post("/sdapi/v1/skip", nil, nil)
	s.until(func(p progress) bool { return p.State.Number == 1 })
	s.post("/sdapi/v1/interrupt", nil, nil)
	d, ok = <-answered
	var info struct {
		Seeds []int64 `json:"all_seeds"`
	}
	if err := json.Unmarshal([]byte(d.Info), &info); !ok || err != nil || !slices.Equal(info.Seeds, []int64{4}) {
		t.Errorf("skipped, then interrupted: %v, seeds %v, %v; want the second alone", ok, info.Seeds, err)
	}
	if status, answer := s.ask("POST", "/sdapi/v1/txt2img", small(body{"prompt": "<lora:nothing:1>"})); status != 422 || !strings.Contains(string(answer), "nothing") {
		t.Errorf("a LoRA that is not there: %d %s", status, answer)
	}
	s.post("/sdapi/v1/unload-checkpoint", nil, nil)
	if one := s.draw("/sdapi/v1/txt2img", small(body{"seed": 1, "override_settings": body{"samples_format": "jpg", "enable_pnginfo": false}})); !strings.HasPrefix(one.Images[0], "/9j/") {
		t.Errorf("a JPEG is %.20s", one.Images[0])
	}
}
