package sd

import (
	"context"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/weights"
)

// TestTrainingSamples draws with an adapter that is in memory, as a training has it: the picture must be the one that its
// file gives.
func TestTrainingSamples(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	dir, file := t.TempDir(), loraFile(t, "tiny-random", "kohya")
	dev := openCPU(t)
	p := openTiny(t, dev)
	targets, err := lora.NewTargets(p.networks.Text.Config(), p.networks.UNet.Config())
	if err != nil {
		t.Fatal(err)
	}
	a, err := lora.Open(file, targets)
	if err != nil {
		t.Fatal(err)
	}
	prompts, err := train.ParseSamplePrompts("p.txt", []byte("a man --n dog --w 64 --h 72 --s 3 --d 7 --l 3 --ss euler\n<lora:no:1> --s 1\na man --w 64 --h 64 --s 2 --ss ddim"))
	if err != nil {
		t.Fatal(err)
	}
	s := train.Sample{Name: "person", Modules: a.Modules, ClipSkip: 2}
	for i, prompt := range prompts {
		s.Pictures = append(s.Pictures, train.SamplePicture{SamplePrompt: prompt, Path: filepath.Join(dir, string(rune('a'+i))+".png")})
	}
	var opened *Pipeline
	draw := TrainingSamples(func(context.Context) (*Pipeline, error) {
		opened = openTiny(t, dev)
		return opened, nil
	})
	if err := draw(t.Context(), s); err == nil || !strings.Contains(err.Error(), "Lora not found: no") {
		t.Errorf("the error is %v, want one about the second prompt", err)
	}
	if _, err := opened.Generate(t.Context(), small(nil)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("the pipeline is left open: %v", err)
	}
	want, err := p.Generate(t.Context(), Request{
		Prompt: "a man", NegativePrompt: "dog", Adapters: []Adapter{{Path: file}}, Width: 64, Height: 72, Steps: 3, Seed: 7, Guidance: new(3.0), Sampler: "Euler", ClipSkip: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := p.Generate(t.Context(), Request{Prompt: "a man", NegativePrompt: "dog", Width: 64, Height: 72, Steps: 3, Seed: 7, Guidance: new(3.0), Sampler: "Euler", ClipSkip: 2})
	if err != nil {
		t.Fatal(err)
	}
	got := readPNG(t, s.Pictures[0].Path)
	if !slices.Equal(pixels(got), pixels(want.Pictures[0].Image)) {
		t.Error("the adapter in memory gives another picture than its file")
	}
	if slices.Equal(pixels(got), pixels(plain.Pictures[0].Image)) {
		t.Error("the adapter changes nothing")
	}
	data, err := os.ReadFile(s.Pictures[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if info := "a man <lora:person:1>\nNegative prompt: dog\nSteps: 3, Sampler: Euler"; !strings.Contains(string(data), info) {
		t.Errorf("the picture has no infotext with %q", info)
	}
	readPNG(t, s.Pictures[2].Path)

	fails := TrainingSamples(func(context.Context) (*Pipeline, error) { return nil, os.ErrPermission })
	if err := fails(t.Context(), s); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a pipeline that does not open gives the error %v", err)
	}
}

// TestSampleWhileTraining trains with sample pictures and without: the file must be the same.
func TestSampleWhileTraining(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: pictures one after the other")
	}
	dev := openCPU(t)
	ckpt, err := weights.Open(tinyRandom(t), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ckpt.Close() })
	prompts := filepath.Join(t.TempDir(), "prompts.txt")
	if err := os.WriteFile(prompts, []byte("a man --w 64 --h 64 --s 2 --d 5"), 0o600); err != nil {
		t.Fatal(err)
	}
	photos := filepath.Join(golden.Root(t), "tinyportrait", "photos", "12_personname man")
	var hashes []string
	for _, sampled := range []bool{false, true} {
		cfg := train.Config{
			Device: dev, Checkpoint: ckpt, UNetLR: 1e-2, OutputDir: t.TempDir(), OutputName: "x", SavePrecision: compute.F32, Network: lora.Network{Dim: 2},
			Dataset: dataset.Config{
				Sets:          []dataset.Set{{Resolution: dataset.Size{W: 64, H: 64}, Subsets: []dataset.Subset{{ImageDir: photos}}}},
				MaxTrainSteps: 3, CacheLatents: true,
			},
			SampleAtFirst: sampled, SamplePrompts: prompts, Sample: TrainingSamples(func(context.Context) (*Pipeline, error) { return openTiny(t, dev), nil }),
			Progress: func(p train.Progress) {
				if p.Warning != "" && strings.Contains(p.Warning, "sample") {
					t.Error(p.Warning)
				}
			},
		}
		if sampled {
			cfg.SampleEveryNSteps = 1
		}
		if err := train.Train(t.Context(), cfg); errors.Is(err, compute.ErrUnsupported) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		f, err := weights.OpenFile(filepath.Join(cfg.OutputDir, "x.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, f.Metadata()["sshs_model_hash"])
		f.Close()
		found, err := filepath.Glob(filepath.Join(cfg.OutputDir, "sample", "x_*_00_*_5.png"))
		if err != nil || len(found) != map[bool]int{false: 0, true: 4}[sampled] {
			t.Fatalf("sample pictures are %q, %v", found, err)
		}
		if !sampled {
			continue
		}
		if first, last := readPNG(t, found[3]), readPNG(t, found[2]); slices.Equal(pixels(first), pixels(last)) {
			t.Errorf("%s and %s are the same picture", found[3], found[2])
		}
	}
	if hashes[0] != hashes[1] {
		t.Error("sample pictures change what is learned")
	}
}

func openCPU(t *testing.T) compute.Device {
	t.Helper()
	dev, err := cpu.Open(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func readPNG(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pixels lists the channels of a picture.
func pixels(img image.Image) (all []uint32) {
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			all = append(all, r, g, b)
		}
	}
	return all
}
