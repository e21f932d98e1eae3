package main

import (
	"bytes"
	"errors"
	"flag"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/sd/infotext"
)

// sketch writes a picture of a size, white with a black square.
func sketch(t *testing.T, size image.Point) string {
	t.Helper()
	img := image.NewGray(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			img.SetGray(x, y, color.Gray{Y: 255})
			if x > size.X/4 && x < size.X/2 && y > size.Y/4 && y < size.Y/2 {
				img.SetGray(x, y, color.Gray{})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sketch.png")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPicture(t *testing.T) {
	for _, c := range []struct {
		args string
		size image.Point
		says string
	}{
		{"", image.Pt(128, 64), "Steps: 4, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 7, Size: 128x64, Model: tiny-portrait, Denoising strength: 0.75, "},
		{"-strength 0 -width 32 -height 32", image.Pt(32, 32), "Denoising strength: 0, "},
		{"-strength 1 -width 32 -height 40 -resize-mode latent -sampler DDIM", image.Pt(32, 40), "Denoising strength: 1, "},
		{"-width 64 -height 64 -mask PICTURE -mask-blur 2 -masked-content fill", image.Pt(64, 64), "Mask blur: 2, Masked content: fill"},
		{"-width 64 -height 64 -mask PICTURE -mask-blur 2 -mask-blur-y 3.5", image.Pt(64, 64), "Mask blur x: 2, Mask blur y: 3.5"},
		{"-width 64 -height 64 -mask PICTURE -only-masked -mask-padding 8 -mask-invert", image.Pt(48, 24), "Mask mode: Inpaint not masked"},
		{"-width 64 -height 64 -resize-mode fill -extra-noise 0.1 -noise-multiplier 0.9", image.Pt(64, 64), "Noise multiplier: 0.9, Extra noise: 0.1"},
	} {
		path := filepath.Join(t.TempDir(), "a.png")
		var out bytes.Buffer
		args := slices.Concat(strings.Fields(strings.ReplaceAll(c.args, "PICTURE", sketch(t, image.Pt(48, 24)))), []string{"-image", sketch(t, image.Pt(48, 24)), "-prompt", "a portrait", "-steps", "4", "-seed", "7", "-o", path})
		if c.size == image.Pt(128, 64) {
			args = slices.Concat(args, []string{"-width", "128", "-height", "64"})
		}
		if err := run(t.Context(), args, &out, io.Discard); err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		file, err := os.ReadFile(path)
		if err != nil || out.String() != path+"\n" {
			t.Fatalf("%q, %v", out.String(), err)
		}
		config, err := png.DecodeConfig(bytes.NewReader(file))
		if err != nil || image.Pt(config.Width, config.Height) != c.size {
			t.Errorf("%s: %d×%d, %v; want %v", c.args, config.Width, config.Height, err, c.size)
		}
		if m, err := infotext.Extract(bytes.NewReader(file)); err != nil || !strings.Contains(m.Infotext(), c.says) {
			t.Errorf("%s: %v, with\n%s\nwant %s", c.args, err, m.Infotext(), c.says)
		}
	}
}

func TestBadCommandLines(t *testing.T) {
	picture := sketch(t, image.Pt(16, 16))
	for _, c := range []struct {
		args string
		says []string
	}{
		{"", []string{"no picture", "-image"}},
		{"-image nothing.png", []string{"-image", "nothing.png"}},
		{"-image main.go", []string{"-image", "main.go"}},
		{"-image PICTURE -strength 1.5", []string{"-strength is 1.5", "0 to 1"}},
		{"-image PICTURE -strength NaN", []string{"-strength is NaN"}},
		{"-image PICTURE -resize-mode shrink", []string{"-resize-mode", "stretch, crop, fill or latent"}},
		{"-image PICTURE -noise-multiplier -1", []string{"-noise-multiplier is -1", "0 to"}},
		{"-image PICTURE -extra-noise -1", []string{"-extra-noise is -1", "0 to"}},
		{"-image PICTURE -soft", []string{"-soft", "-mask FILE"}},
		{"-image PICTURE -mask nothing.png", []string{"-mask", "nothing.png"}},
		{"-image PICTURE -mask PICTURE -mask-blur 65", []string{"-mask-blur is 65", "0 to 64"}},
		{"-image PICTURE -mask PICTURE -masked-content hat", []string{`-masked-content is "hat"`, "latent noise"}},
		{"-image PICTURE -width 7", []string{"-width is 7", "multiple of 8"}},
		{"a lighthouse", []string{`"a"`, "after -prompt"}},
	} {
		args := strings.Fields(strings.ReplaceAll(c.args, "PICTURE", picture))
		err := run(t.Context(), slices.Concat([]string{"-steps", "1", "-o", filepath.Join(t.TempDir(), "a.png")}, args), io.Discard, io.Discard)
		for _, say := range c.says {
			if err == nil || !strings.Contains(err.Error(), say) {
				t.Errorf("%s: %v, want %q", c.args, err, say)
			}
		}
	}
}

func TestHelpFitsAScreen(t *testing.T) {
	var usage bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, io.Discard, &usage); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	program.Help(t, "img2img", usage.String())
}
