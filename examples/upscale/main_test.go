package main

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/sd/infotext"
)

const model = "../../esrgan/testdata/compact-x2.safetensors"

// portrait writes a picture of 12×10 pixels with parameters.
func portrait(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 12, 10))); err != nil {
		t.Fatal(err)
	}
	file, err := infotext.Insert(b.Bytes(), "a face\nSteps: 1, Sampler: Euler, CFG scale: 7")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "face.png")
	if err := os.WriteFile(path, file, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUpscale(t *testing.T) {
	for _, c := range []struct {
		args []string
		want image.Point
	}{
		{nil, image.Pt(24, 20)},
		{[]string{"-scale", "3"}, image.Pt(36, 30)},
		{[]string{"-scale", "0.5"}, image.Pt(6, 5)},
	} {
		path := portrait(t)
		var out, log bytes.Buffer
		if err := run(t.Context(), append(append([]string{"-upscaler", model}, c.args...), path), &out, &log); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(path, ".png") + "-large.png"
		file, err := os.ReadFile(name)
		if err != nil || strings.TrimSpace(out.String()) != name {
			t.Fatalf("%q, %v", out.String(), err)
		}
		config, err := png.DecodeConfig(bytes.NewReader(file))
		if err != nil || image.Pt(config.Width, config.Height) != c.want {
			t.Errorf("%v: %d×%d, %v, want %v", c.args, config.Width, config.Height, err, c.want)
		}
		if m, err := infotext.Extract(bytes.NewReader(file)); err != nil || !strings.HasPrefix(m.Infotext(), "a face\n") {
			t.Errorf("parameters %q, %v", m.Infotext(), err)
		}
	}
}

func TestMistakes(t *testing.T) {
	path := portrait(t)
	output := filepath.Join(t.TempDir(), "large.png") // beside testdata nothing may be writable
	for _, c := range []struct {
		args []string
		say  []string
	}{
		{nil, []string{"no picture"}},
		{[]string{path}, []string{"-upscaler", "RealESRGAN"}},
		{[]string{"-upscaler", model, "-scale", "0", path}, []string{"-scale is 0", "0.1 to 16"}},
		{[]string{"-upscaler", model, "-scale", "NaN", path}, []string{"-scale is NaN"}},
		{[]string{"-upscaler", model, "-tile", "8", path}, []string{"-tile is 8", "32 to 4096"}},
		{[]string{"-upscaler", model, "-denoise", "0.3", path}, []string{"-weak"}},
		{[]string{"-upscaler", model, "-output", "x.jpg", path}, []string{"x.jpg", ".png"}},
		{[]string{"-upscaler", path, path}, []string{path, "a picture, not safetensors"}},
		{[]string{"-upscaler", model, "-output", output, model}, []string{model}},
		{[]string{"-upscaler", "../../testdata/tiny-random/goldens/lora_kohya.safetensors", path}, []string{"a LoRA", "ESRGAN family"}},
	} {
		var out, log bytes.Buffer
		err := run(t.Context(), c.args, &out, &log)
		for _, say := range c.say {
			if err == nil || !strings.Contains(err.Error(), say) {
				t.Errorf("%q: %v, want %q", c.args, err, say)
			}
		}
	}
}

func TestHelpFitsAScreen(t *testing.T) {
	var log bytes.Buffer
	_ = run(t.Context(), []string{"-h"}, &log, &log)
	lines := strings.Split(log.String(), "\n")
	for _, line := range lines {
		if len(line) > 100 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if len(lines) < 10 || len(lines) > 40 {
		t.Errorf("%d lines", len(lines))
	}
}
