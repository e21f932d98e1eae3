package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/internal/golden"
)

// files lists what is in a folder.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// read decodes a picture and finds the text of its tEXt chunk "parameters".
func read(t testing.TB, path string) (img image.Image, parameters string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = png.Decode(bytes.NewReader(data)); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for chunk := data[8:]; len(chunk) >= 12; {
		n := int(binary.BigEndian.Uint32(chunk))
		if text, ok := strings.CutPrefix(string(chunk[4:8+n]), "tEXtparameters\x00"); ok {
			parameters = text
		}
		chunk = chunk[12+n:]
	}
	return img, parameters
}

func TestPicture(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "woman.png")
	var out, log bytes.Buffer
	err := run(t.Context(), []string{"-prompt", "portrait of a woman, red hair", "-negative", "glasses", "-width", "72", "-height", "40", "-steps", "2",
		"-sampler", "Euler a", "-schedule", "Karras", "-cfg", "5", "-clip-skip", "2", "-seed", "7", "-noise", "CPU", "-o", path}, &out, &log)
	if err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"woman.png"}) || out.String() != path+"\n" {
		t.Errorf("the files are %q, the output %q", got, out.String())
	}
	img, parameters := read(t, path)
	if got, want := img.Bounds().Size(), image.Pt(72, 40); got != want {
		t.Errorf("the picture is %v, want %v", got, want)
	}
	want := "portrait of a woman, red hair\nNegative prompt: glasses\nSteps: 2, Sampler: Euler a, Schedule type: Karras, CFG scale: 5, Seed: 7, Size: 72x40, " +
		"Model: tiny-portrait, Clip skip: 2, RNG: CPU, Version: "
	if !strings.HasPrefix(parameters, want) {
		t.Errorf("the parameters are\n%s\nwant\n%s…", parameters, want)
	}
	for _, say := range []string{"tiny-portrait", "memory", "2/2"} {
		if !strings.Contains(log.String(), say) {
			t.Errorf("no %q in the log:\n%s", say, log.String())
		}
	}
}

// TestPictures makes two at once, and the second one alone.
func TestPictures(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	make := func(args ...string) {
		t.Helper()
		if err := run(t.Context(), append([]string{"-prompt", "portrait", "-width", "64", "-height", "64", "-steps", "1"}, args...), &out, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	make("-n", "2", "-seed", "41", "-o", filepath.Join(dir, "a.png"))
	make("-seed", "42", "-o", filepath.Join(dir, "b.PNG"))
	if got, want := files(t, dir), []string{"a-2.png", "a.png", "b.PNG"}; !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
	if got, want := strings.Fields(out.String()), []string{filepath.Join(dir, "a.png"), filepath.Join(dir, "a-2.png"), filepath.Join(dir, "b.PNG")}; !slices.Equal(got, want) {
		t.Errorf("the output is %q, want %q", got, want)
	}
	_, second := read(t, filepath.Join(dir, "a-2.png"))
	_, alone := read(t, filepath.Join(dir, "b.PNG"))
	if second != alone || !strings.Contains(second, "Seed: 42,") {
		t.Errorf("the second picture says\n%s\nalone it says\n%s", second, alone)
	}
}

// TestSeedIsTheName leaves out everything that has a default.
func TestSeedIsTheName(t *testing.T) {
	t.Chdir(t.TempDir())
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-steps", "1"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSpace(out.String())
	if got := files(t, "."); !slices.Equal(got, []string{name}) {
		t.Fatalf("the files are %q, the output %q", got, name)
	}
	img, parameters := read(t, name)
	if seed, _ := strings.CutSuffix(name, ".png"); !strings.Contains(parameters, "Seed: "+seed+",") {
		t.Errorf("%s says\n%s", name, parameters)
	}
	if got, want := img.Bounds().Size(), image.Pt(128, 128); got != want {
		t.Errorf("the picture is %v, want the model's %v", got, want)
	}
}

func TestLoRA(t *testing.T) {
	source := filepath.Join(golden.Root(t), "testdata", "tiny-portrait", "goldens", "lora_kohya.safetensors")
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	loras := t.TempDir()
	if err := os.WriteFile(filepath.Join(loras, "person.safetensors"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-prompt", "portrait <lora:person:0.6>", "-steps", "1", "-width", "64", "-height", "64", "-seed", "1", "-o"}
	for _, c := range []struct {
		name, cwd string
		flags     []string
	}{
		{"the current folder", loras, nil},
		{"a folder", t.TempDir(), []string{"-lora-dir", loras}},
		{"several", t.TempDir(), []string{"-lora-dir", t.TempDir(), "-lora-dir", t.TempDir() + string(filepath.ListSeparator) + loras}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(c.cwd)
			var log bytes.Buffer
			path := filepath.Join(t.TempDir(), "a.png")
			if err := run(t.Context(), slices.Concat(args, []string{path}, c.flags), io.Discard, &log); err != nil {
				t.Fatal(err)
			}
			for _, say := range []string{"person.safetensors: ", " modules (", "0 tensors unmatched", "strength 0.6 text encoder, 0.6 UNet"} {
				if !strings.Contains(log.String(), say) {
					t.Errorf("no %q in the log:\n%s", say, log.String())
				}
			}
			if _, parameters := read(t, path); !strings.Contains(parameters, "portrait <lora:person:0.6>\n") || !strings.Contains(parameters, `Lora hashes: "person: `) {
				t.Errorf("the parameters are\n%s", parameters)
			}
		})
	}
}

// TestSecondPass draws with presets and with flags of a second pass, on a smaller first one.
func TestSecondPass(t *testing.T) {
	for _, c := range []struct {
		args string
		size image.Point
		says string
	}{
		{"-preset linkedin -width 64 -height 64", image.Pt(128, 128), "Denoising strength: 0.25, RNG: NV, Hires upscale: 2, Hires upscaler: Lanczos"},
		{"-preset cv", image.Pt(256, 320), "Size: 128x160, "},
		{"-preset cv -width 32 -height 40 -hires-scale 1.5 -hires-upscaler Latent", image.Pt(48, 56), "Denoising strength: 0.25, RNG: NV, Hires upscale: 1.5, Hires upscaler: Latent"},
		{"-width 32 -height 32 -hires-width 48 -hires-height 40 -hires-upscaler compact-x2 -hires-strength 1 -upscaler-dir ../../esrgan/testdata", image.Pt(48, 40),
			"Denoising strength: 1, RNG: NV, Hires resize: 48x40, Hires upscaler: compact-x2"},
		{"-width 32 -height 32 -hires-steps 2 -hires-sampler Euler -hires-cfg 3 -hires-prompt woman", image.Pt(64, 64),
			"Hires steps: 2, Hires upscaler: Latent, Hires sampler: Euler, Hires CFG Scale: 3, Hires prompt: woman"},
	} {
		path := filepath.Join(t.TempDir(), "a.png")
		args := slices.Concat(strings.Fields(c.args), []string{"-prompt", "portrait", "-steps", "1", "-seed", "7", "-o", path})
		if err := run(t.Context(), args, io.Discard, io.Discard); err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		if img, parameters := read(t, path); img.Bounds().Size() != c.size || !strings.Contains(parameters, c.says) {
			t.Errorf("%s: a picture of %v, want %v, with\n%s\nwant %s", c.args, img.Bounds().Size(), c.size, parameters, c.says)
		}
	}
}

// TestPromptsFromFile draws the prompts of a file, with what its lines say, under names by a pattern.
func TestPromptsFromFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "prompts.txt")
	lines := "a man\n\n--prompt \"a woman, hat\" --steps 2 --seed 9 --cfg_scale 3 --sampler_name \"Euler a\" --width 40 --negative_prompt glasses --n_iter 2\r\n--seed 3 --styles bright"
	styles := filepath.Join(dir, "styles.csv")
	for path, text := range map[string]string{file: lines, styles: "name,prompt,negative_prompt\nbright,sunny {prompt},\n"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out")
	var names, log strings.Builder
	args := []string{"-prompts-from-file", file, "-prompt", "portrait", "-seed", "7", "-steps", "1", "-width", "32", "-height", "32", "-styles", styles,
		"-folder", out, "-folder-pattern", "[steps] steps", "-pattern", "[seed]-[prompt_no_styles]-[generation_number]"}
	if err := run(t.Context(), args, &names, &log); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, says string }{
		{"1 steps/00000-7-a man portrait.png", "a man portrait\nSteps: 1, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 7, Size: 32x32"},
		{"2 steps/00000-9-a woman, hat portrait-1.png", "a woman, hat portrait\nNegative prompt: glasses\nSteps: 2, Sampler: Euler a, Schedule type: Automatic, CFG scale: 3, Seed: 9, Size: 40x32"},
		{"2 steps/00001-10-a woman, hat portrait-2.png", "Seed: 10, Size: 40x32"},
		{"1 steps/00001-3-portrait.png", "sunny portrait\nSteps: 1, "},
	} {
		path := filepath.Join(out, filepath.FromSlash(c.path))
		if _, got := read(t, path); !strings.Contains(got, c.says) {
			t.Errorf("%s says\n%s\nwant %q in it", c.path, got, c.says)
		}
		if !strings.Contains(names.String(), path+"\n") {
			t.Errorf("%s is not named: %s", path, names.String())
		}
	}
	for line, says := range map[string][]string{
		"--steps many":                {"prompt 1", "--steps", `"many"`},
		"--steps 0":                   {"--steps", "other than 0"},
		"--seed 1.5":                  {"--seed", "whole number"},
		"--sampler_name x":            {"--sampler_name", "DPM++ 2M"},
		"--tiling true":               {"--tiling", "take it out"},
		"--magic 1":                   {"line 1", "--magic", "want one of"},
		"--n_iter 0":                  {"--n_iter", "1 to"},
		"a\n--prompt b --styles none": {"prompt 2", "-style", "none"},
		"--width 7":                   {"prompt 1 of 1", "-width is 7", "multiple of 8"},
		"\n":                          {"there is no prompt"},
	} {
		if err := os.WriteFile(file, []byte(line), 0o666); err != nil {
			t.Fatal(err)
		}
		err := run(t.Context(), []string{"-prompts-from-file", file, "-steps", "1", "-folder", out}, io.Discard, io.Discard)
		for _, say := range says {
			if err == nil || !strings.Contains(err.Error(), say) {
				t.Errorf("%q: %v, want %q in it", line, err, say)
			}
		}
	}
}

// TestFaces draws the faces of two people anew, found and given, and changes nothing else.
func TestFaces(t *testing.T) {
	draw := func(args ...string) image.Image {
		t.Helper()
		path := filepath.Join(t.TempDir(), "a.png")
		base := []string{"-prompt", "portrait of a woman, red hair, glasses", "-seed", "8", "-steps", "6", "-width", "192", "-o", path}
		if err := run(t.Context(), append(base, args...), io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		img, text := read(t, path)
		if strings.Contains(text, "ADetailer model: ") != (len(args) > 0) {
			t.Errorf("%q: the text is\n%s", args, text)
		}
		return img
	}
	plain := draw()
	for name, args := range map[string][]string{
		"found": {"-faces", "-set", "faces.steps=2"},
		"given": {"-face-box", "40,30,88,78", "-face-box", "100,30,150,80", "-face-strength", "0.5", "-face-prompt", "a man [SEP] a woman", "-face-negative", "hat", "-set", "faces.steps=2"},
	} {
		img, changed := draw(args...), image.Rectangle{}
		for y := range 128 {
			for x := range 192 {
				if img.At(x, y) != plain.At(x, y) {
					changed = changed.Union(image.Rect(x, y, x+1, y+1))
				}
			}
		}
		if changed.Dx() < 60 || changed.Min.Y == 0 || changed.Max.Y > 120 {
			t.Errorf("%s: %v has changed", name, changed)
		}
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, c := range []struct {
		args string
		says []string // the flag and the mend
	}{
		{"-width 7", []string{"-width is 7", "multiple of 8"}},
		{"-width 0", []string{"-width is 0", "multiple of 8"}},
		{"-height 100000", []string{"-height is 100000", "4096"}},
		{"-height 0", []string{"-height is 0", "multiple of 8"}},
		{"-width tall", []string{"-width", `"tall"`}},
		{"-steps 12abc", []string{"-steps", `"12abc"`}},
		{"-cfg 7,5", []string{"-cfg", `"7,5"`}},
		{"-seed 1.5", []string{"-seed", `"1.5"`}},
		{"-steps 0", []string{"-steps", "other than 0"}},
		{"-steps -3", []string{"-steps is -3", "1 to"}},
		{"-n 0", []string{"-n", "other than 0"}},
		{"-n 1000", []string{"-n is 1000", "1 to 64"}},
		{"-cfg NaN", []string{"-cfg is NaN", "number from"}},
		{"-clip-skip 99", []string{"-clip-skip is 99", "layers"}},
		{"-noise TPU", []string{"-noise", `"TPU"`, `"NV" or "CPU"`}},
		{"-sampler magic", []string{"-sampler", `"magic"`, "DPM++ 2M"}},
		{"-schedule magic", []string{"-schedule", `"magic"`, "Karras"}},
		{"-precision fp8", []string{"-precision", `"fp8"`, "fp32, bf16 or fp16"}},
		{"-device abacus", []string{"-device", `"abacus"`, "auto and cpu, and cuda"}},
		{"-threads -1", []string{"-threads is -1", "all processors"}},
		{"-o picture.gif", []string{"-output", "picture.gif", ".png"}},
		{"-output picture.png/below.png", []string{"-output", "make it first"}},
		{"-o nowhere/picture.png", []string{"-output nowhere/picture.png", "folder that exists"}},
		{"-model nothing.safetensors", []string{"nothing.safetensors", "give a diffusers folder or a .safetensors or .ckpt file"}},
		{"-vae nothing", []string{"nothing", "give a diffusers folder or a .safetensors or .ckpt file"}},
		{"-model-config nothing", []string{"nothing", "diffusers folder"}},
		{"-prompt <lora:nobody:1>", []string{"-lora-dir", "Lora not found: nobody", "put nobody.safetensors there"}},
		{"-prompt portrait -embedding-dir nothing", []string{"-embedding-dir: ", "nothing"}},
		{"-prompt <lora:nobody:1> -lora-dir nothing", []string{"nothing", "looking for adapters"}},
		{"-prompt <lora:nobody:much>", []string{"-prompt", `"much"`, "0.8"}},
		{"-prompt <hypernet:nobody:1>", []string{"-prompt", "<hypernet:nobody:1>", "take the tag out"}},
		{"-prompt \xff", []string{"-prompt", "UTF-8", "convert"}},
		{"-negative \xff", []string{"-negative", "UTF-8", "convert"}},
		{"-set eta=much", []string{"-set", "eta", "float64"}},
		{"-set beta=1", []string{"-set", `"beta"`}},
		{"-set sampler_options.sigma_churn=-3", []string{"SChurn is -3", "0 to"}},
		{"-set variation.strength=7", []string{"Variation.Strength is 7", "0 to 1"}},
		{"-refiner nobody -checkpoint-dir .", []string{`-refiner is "nobody"`, "no checkpoint called"}},
		{"-refiner nobody -refiner-switch 1.5", []string{"-refiner-switch is 1.5", "0 to 1"}},
		{"-refiner-switch 0.5", []string{"-refiner-switch", "give -refiner"}},
		{"-prompts-from-file nothing.txt", []string{"-prompts-from-file", "nothing.txt"}},
		{"-prompts-from-file main.go -o a.png", []string{"-output", "-prompts-from-file"}},
		{"-folder a -o a.png", []string{"-output", "-folder"}},
		{"-folder-pattern ../[seed] -width 32 -height 32 -steps 1", []string{"Pattern", "stays in its folder"}},
		{"-preset passport", []string{"-preset", "linkedin and cv"}},
		{"-face-box 1,2,3", []string{"-face-box", "four numbers"}},
		{"-face-box 0,0,129,9", []string{"-face-box is (0,0)-(129,9)", "128×128"}},
		{"-face-strength 2", []string{"-face-strength is 2", "0 to 1"}},
		{"-face-size 0", []string{"-face-size is 0", "above it"}},
		{"-face-size 12", []string{"-face-size is 12", "multiple of 8"}},
		{"-hires-scale 0", []string{"-hires-scale is 0", "above it"}},
		{"-hires-scale 9", []string{"-hires-scale is 9", "1 to 8"}},
		{"-hires-width 7", []string{"-hires-width is 7", "multiple of 8"}},
		{"-width 1024 -hires-scale 8", []string{"-hires-scale is 8", "4096", "8192×1024"}},
		{"-hires-upscaler magic", []string{"-hires-upscaler", `"magic"`, "Lanczos", "Latent (bicubic)"}},
		{"-hires-sampler magic", []string{"-hires-sampler", `"magic"`, "DPM++ 2M"}},
		{"-hires-strength NaN", []string{"-hires-strength is NaN", "0 to 1"}},
		{"-hires-strength many", []string{"-hires-strength", `"many"`, "number"}},
		{"-hires-steps -1", []string{"-hires-steps is -1", "1 to"}},
		{"a lighthouse", []string{`"a"`, "after -prompt, in quotes"}},
		{"-colour red", []string{"-colour"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Chdir(t.TempDir())
			args := slices.Concat([]string{"-steps", "1"}, strings.Fields(c.args))
			err := run(t.Context(), args, io.Discard, io.Discard)
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
			if left := files(t, "."); len(left) > 0 {
				t.Errorf("%q are left in the folder", left)
			}
		})
	}
	var usage bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, io.Discard, &usage); !errors.Is(err, flag.ErrHelp) || !strings.Contains(usage.String(), "-lora-dir") {
		t.Errorf("-h: %v, and\n%s", err, usage.String())
	}
	program.Help(t, "txt2img", usage.String())
}

// TestOutputIsFolder wants that to be told before the work, of every picture.
func TestOutputIsFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a-2.png"), 0o777); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	err := run(t.Context(), []string{"-n", "2", "-o", filepath.Join(dir, "a.png")}, io.Discard, &log)
	if err == nil || !strings.Contains(err.Error(), "a-2.png") || log.Len() > 0 {
		t.Errorf("%v, after %q", err, log.String())
	}
}

// TestTooLarge wants a picture refused that a container's limit has no room for.
func TestTooLarge(t *testing.T) {
	defer func(limit func() (uint64, error)) { cli.MemoryLimit = limit }(cli.MemoryLimit)
	cli.MemoryLimit = func() (uint64, error) { return 1 << 20, nil }
	t.Chdir(t.TempDir())
	var log bytes.Buffer
	err := run(t.Context(), []string{"-steps", "1"}, io.Discard, &log)
	if err == nil || !strings.Contains(err.Error(), "allows 1 MB") || strings.Contains(log.String(), "sampling") {
		t.Errorf("%v, after %q", err, log.String())
	}
}

// canceller is a log that cancels the run when it reads a text.
type canceller struct {
	at     string
	cancel context.CancelCauseFunc
}

var errEnough = errors.New("the user has seen enough")

func (c canceller) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.at) {
		c.cancel(errEnough)
	}
	return len(p), nil
}

func TestCancel(t *testing.T) {
	for _, c := range []struct{ name, at string }{{"while sampling", "sampling:   0%"}, {"while decoding", "5/5"}, {"before", ""}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			ctx, cancel := context.WithCancelCause(t.Context())
			if c.at == "" {
				cancel(errEnough)
			}
			err := run(ctx, []string{"-steps", "5", "-n", "2", "-o", filepath.Join(dir, "a.png")}, io.Discard, canceller{c.at, cancel})
			if !errors.Is(err, errEnough) {
				t.Errorf("the error is %v, want %v", err, errEnough)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("%q are left in the folder", left)
			}
		})
	}
}
