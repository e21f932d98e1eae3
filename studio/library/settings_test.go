package library_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/studio/library"
)

// TestSettingsDefaults compares the table with the web UI's defaults that clients rely on.
func TestSettingsDefaults(t *testing.T) {
	l := open(t, library.Options{})
	for name, want := range map[string]any{
		"sd_model_checkpoint": nil, "sd_vae": "Automatic", "CLIP_stop_at_last_layers": 1, "samples_format": "png", "eta_noise_seed_delta": 0, "randn_source": "GPU",
		"emphasis": "Original", "img2img_color_correction": false, "img2img_fix_steps": false, "initial_noise_multiplier": 1.0, "img2img_extra_noise": 0.0,
		"inpainting_mask_weight": 1.0, "upscaler_for_img2img": nil, "face_restoration": false, "face_restoration_model": "CodeFormer", "code_former_weight": 0.5,
		"tiling": false, "show_progress_every_n_steps": 10, "show_progress_type": "Approx NN", "live_previews_enable": true, "s_min_uncond": 0.0, "token_merging_ratio": 0.0,
		"comma_padding_backtrack": 20, "pad_cond_uncond": false, "eta_ancestral": 1.0, "eta_ddim": 0.0, "sd_checkpoints_limit": 1, "sd_vae_encode_method": "Full",
		"sd_vae_decode_method": "Full", "return_grid": true, "grid_save": true, "samples_save": true, "enable_pnginfo": true, "save_images_before_highres_fix": false,
		"use_old_scheduling": false,
	} {
		all := l.Settings().All()
		if got, ok := all[name]; !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v (%T), want %v (%T)", name, got, got, want, want)
		}
	}
	seen := make(map[string]bool)
	for _, s := range library.KnownSettings() {
		if v, err := library.CheckSetting(s.Name, s.Default); seen[s.Name] || err != nil || !reflect.DeepEqual(v, s.Default) {
			t.Errorf("%s: twice %v, its default %v is kept as %v, %v", s.Name, seen[s.Name], s.Default, v, err)
		}
		seen[s.Name] = true
	}
}

// TestSettingsRoundTrip gives all options back as a client does, changes some, and reads them again from the file.
func TestSettingsRoundTrip(t *testing.T) {
	dir := t.TempDir()
	l := open(t, library.Options{DataDir: dir})
	answer, err := json.Marshal(l.Settings().All())
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(answer, &back); err != nil {
		t.Fatal(err)
	}
	back["sd_model_checkpoint"], back["CLIP_stop_at_last_layers"], back["some_extension"], back["hide_samplers"] = "a.safetensors", 2.0, map[string]any{"x": 1.0}, []any{"LMS"}
	if err := l.Settings().Set(back); err != nil {
		t.Fatal(err)
	}
	again := open(t, library.Options{DataDir: dir}).Settings()
	if again.Text("sd_model_checkpoint") != "a.safetensors" || again.Number("CLIP_stop_at_last_layers") != 2 || !again.Bool("samples_save") {
		t.Errorf("read again: %v", again.All())
	}
	if got := again.Get("some_extension"); !reflect.DeepEqual(got, map[string]any{"x": 1.0}) {
		t.Errorf("what is not known is %v", got)
	}
	if got := again.Get("hide_samplers"); !reflect.DeepEqual(got, []string{"LMS"}) {
		t.Errorf("a list is %v", got)
	}
	other, err := again.With(map[string]any{"n_rows": 3, "sd_model_checkpoint": nil})
	if err != nil || other.Number("n_rows") != 3 || other.Get("sd_model_checkpoint") != nil || other.Number("CLIP_stop_at_last_layers") != 2 || again.Number("n_rows") != -1 {
		t.Errorf("overrides: %v, %v", other.All(), err)
	}
}

// TestSettingsRefused wants values that settings cannot have to be told together, and nothing to change.
func TestSettingsRefused(t *testing.T) {
	s := open(t, library.Options{DataDir: t.TempDir()}).Settings()
	err := s.Set(map[string]any{
		"n_rows": "many", "CLIP_stop_at_last_layers": 1.5, "samples_save": 1, "s_churn": "0", "sd_vae": 7, "samples_format": "exe", "hide_samplers": []any{1}, "eta_ddim": 0.5,
	})
	fields := make(map[string]bool)
	for _, f := range invalid.Fields(err) {
		fields[f.Field] = true
	}
	if len(fields) != 7 || !fields["Settings.n_rows"] || fields["Settings.eta_ddim"] || s.Number("eta_ddim") != 0 {
		t.Errorf("refused are %v: %v", fields, err)
	}
	if err := s.Set(map[string]any{"x": strings.Repeat("x", 2<<20)}); err == nil {
		t.Error("two megabytes of settings are kept")
	}
}

// TestSettingsOfOthers opens a file that another program wrote: what is known and wrong is told and left out; what is no JSON is an error.
func TestSettingsOfOthers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, []byte(`{"samples_save": "yes", "n_rows": 4, "unknown": null}`), 0o666); err != nil {
		t.Fatal(err)
	}
	l := open(t, library.Options{DataDir: dir})
	if skipped := l.Skipped(); len(skipped) != 1 || !strings.Contains(skipped[0].Error(), "samples_save") || l.Settings().Number("n_rows") != 4 {
		t.Errorf("skipped %v", skipped)
	}
	if err := os.WriteFile(path, []byte(`{`), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := library.Open(library.Options{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("a damaged file: %v", err)
	}
}

// TestSettingsWithoutEffect holds the list in docs/api.md of settings that do nothing here to the table.
func TestSettingsWithoutEffect(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "do nothing here:\n\n")
	text, _, _ = strings.Cut(text, "\n\n")
	told := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,.`\n\r", r) })
	var without []string
	for _, s := range library.KnownSettings() {
		if s.Help == "" {
			without = append(without, s.Name)
		}
	}
	if !slices.Equal(told, without) {
		t.Errorf("docs/api.md tells of\n%q, without effect are\n%q", told, without)
	}
}
