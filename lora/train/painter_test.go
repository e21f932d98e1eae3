package train_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	_ "image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sd"
)

// prompted is a configuration with a file of prompts for the smallest of pictures.
func prompted(t *testing.T, prompts string) train.Config {
	t.Helper()
	cfg := trainConfig(t, 2)
	cfg.SamplePrompts = filepath.Join(t.TempDir(), "prompts.txt")
	replaceFile(t, cfg.SamplePrompts, prompts)
	return cfg
}

// TestSampleRounds lists when sample pictures are drawn, and as which files.
func TestSampleRounds(t *testing.T) {
	long(t)
	for _, c := range []struct {
		name   string
		change func(c *train.Config)
		want   string // step, epoch and the files' names without the time
	}{
		{"at first and epochs", func(c *train.Config) { c.SampleAtFirst, c.SampleEveryNEpochs, c.SampleEveryNSteps = true, 1, 1 },
			"0/0: x_e000000_00_TIME_7 x_e000000_01_TIME; 3/1: x_e000001_00_TIME_7 x_e000001_01_TIME; 6/2: x_e000002_00_TIME_7 x_e000002_01_TIME"},
		{"steps", func(c *train.Config) { c.SampleEveryNEpochs, c.SampleEveryNSteps = -1, 4 },
			"4/1: x_000004_00_TIME_7 x_000004_01_TIME"},
		{"never", func(c *train.Config) { c.SampleEveryNSteps = 0 }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := prompted(t, "a cat --w 64 --h 64 --s 1 --d 7 --ss heun\na dog --w 64 --h 64 --s 1")
			cfg.SampleSampler, cfg.Trainer.ClipSkip = "euler_a", 2
			c.change(&cfg)
			var rounds []string
			mustTrain(t, cfg, func(e train.Event) {
				switch e := e.(type) {
				case train.Sampling:
					rounds = append(rounds, fmt.Sprintf("%d/%d:", e.Step, e.Epoch))
					if e.Pictures != 2 {
						t.Errorf("%d pictures are to be drawn, want 2", e.Pictures)
					}
				case train.Sampled:
					if dir := filepath.Join(cfg.OutputDir, "sample"); filepath.Dir(e.Path) != dir {
						t.Errorf("%s is not in %s", e.Path, dir)
					}
					name := regexp.MustCompile(`_20\d{12}`).ReplaceAllString(strings.TrimSuffix(filepath.Base(e.Path), ".png"), "_TIME")
					rounds[len(rounds)-1] += " " + name
					sampler := map[string]string{"a cat": "Heun", "a dog": "Euler a"}[e.Prompt.Prompt]
					for _, say := range []string{e.Prompt.Prompt + " <lora:x:1>", "Sampler: " + sampler + ",", "Clip skip: 2"} {
						if !bytes.Contains(content(t, e.Path), []byte(say)) {
							t.Errorf("%s has no infotext with %q", e.Path, say)
						}
					}
				}
			})
			if got := strings.Join(rounds, "; "); got != c.want {
				t.Errorf("rounds are %s\nwant       %s", got, c.want)
			}
		})
	}
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSampleWhileTraining trains with sample pictures and without: the file must be the same, the first picture as without the
// adapter, and the last one as with its file.
func TestSampleWhileTraining(t *testing.T) {
	long(t)
	plain := trainConfig(t, 2)
	plain.SavePrecision, plain.UNetLR, plain.LRScheduler, plain.LRWarmupSteps = compute.F32, 1e-2, "constant", ""
	unsampled := mustTrain(t, plain)
	cfg := prompted(t, "a man --n dog --w 64 --h 72 --s 3 --d 7 --l 3 --ss euler\n<lora:no:1> --w 64 --h 64 --s 2\na man --w 64 --h 64 --s 2 --ss ddim")
	cfg.SavePrecision, cfg.UNetLR, cfg.LRScheduler, cfg.LRWarmupSteps = compute.F32, 1e-2, "constant", ""
	cfg.SampleAtFirst, cfg.SampleEveryNSteps = true, 3
	var drawn []train.Sampled
	var warnings []train.Warning
	sampled := mustTrain(t, cfg, collect(&drawn), collect(&warnings))
	if sampled.Hash != unsampled.Hash {
		t.Error("sample pictures change what is learned")
	}
	if len(warnings) != 3 || !strings.Contains(warnings[0].Text, "Lora not found: no") {
		t.Errorf("warnings are %q, want one of each round about the second prompt", warnings)
	}
	if len(drawn) != 6 {
		t.Fatalf("%d pictures are drawn, want 6", len(drawn))
	}
	pipe, err := sd.New(t.Context(), cfg.Checkpoint, cfg.Device, sd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	draw := func(adapters ...sd.Adapter) []uint8 {
		result, err := pipe.Generate(t.Context(), sd.Request{
			Prompt: "a man", NegativePrompt: "dog", Adapters: adapters, Width: 64, Height: 72, Steps: 3, Seed: 7, Guidance: new(3.0), Sampler: "Euler",
		})
		if err != nil {
			t.Fatal(err)
		}
		return result.Pictures[0].Image.Pix
	}
	without, with := draw(), draw(sd.Adapter{Path: sampled.Path})
	if slices.Equal(without, with) {
		t.Error("the adapter changes nothing")
	}
	for path, want := range map[string][]uint8{drawn[0].Path: without, drawn[4].Path: with} {
		if !slices.Equal(pixels(t, path), want) {
			t.Errorf("%s is another picture than a pipeline draws", path)
		}
	}
}

// pixels are those of a picture, with an alpha channel.
func pixels(t *testing.T, path string) []uint8 {
	t.Helper()
	picture, _, err := image.Decode(bytes.NewReader(content(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	all := image.NewNRGBA(picture.Bounds())
	draw.Draw(all, all.Bounds(), picture, picture.Bounds().Min, draw.Src)
	return all.Pix
}

// TestSampleFails has nothing but trouble with sample pictures: warnings tell, and the training goes on.
func TestSampleFails(t *testing.T) {
	long(t)
	const small = " --w 64 --h 64 --s 2"
	cfg := prompted(t, "a cat"+small)
	cfg.SampleAtFirst, cfg.SampleEveryNSteps = true, 1
	var drawn []string
	var warnings []train.Warning
	mustTrain(t, cfg, collect(&warnings), func(e train.Event) {
		switch e := e.(type) {
		case train.Started:
			os.Remove(cfg.SamplePrompts)
		case train.Sampled:
			drawn = append(drawn, fmt.Sprint(e.Step, " ", e.Prompt.Prompt))
		case train.StepDone:
			prompts := map[int]string{1: "a cat" + small, 3: "a dog <lora:nobody:1>" + small, 4: "a cat --ss magic"}[e.Step]
			if prompts == "" {
				return
			}
			if err := os.WriteFile(cfg.SamplePrompts, []byte(prompts), 0o666); err != nil {
				t.Error(err)
			}
		}
	})
	if want := []string{"1 a cat", "2 a cat"}; !slices.Equal(drawn, want) {
		t.Errorf("drawn are %q, want %q", drawn, want)
	}
	for i, say := range []string{"sample pictures of step 0: Config.SamplePrompts: ", "Lora not found: nobody", `of step 4: lora: `, "of step 5", "of step 6"} {
		if len(warnings) != 5 || !strings.Contains(warnings[i].Text, say) {
			t.Fatalf("warnings are %q, want number %d with %q", warnings, i+1, say)
		}
	}
}

// TestSampleInterrupted stops a training while it draws: its state is that of the step done.
func TestSampleInterrupted(t *testing.T) {
	cfg := prompted(t, "a cat --w 64 --h 64")
	cfg.SampleEveryNSteps = 2
	ctx, cancel := context.WithCancel(t.Context())
	err := run(ctx, cfg, func(e train.Event) {
		if _, ok := e.(train.Sampling); ok {
			cancel()
		}
	})
	skipUnsupported(t, err)
	var stop *train.InterruptedError
	if !errors.As(err, &stop) || stop.Step != 2 || stop.State == "" {
		t.Errorf("the error is %v, want an InterruptedError after step 2 with a state", err)
	}
}
