package train_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sampler"
)

// TestSampleRounds lists when sample pictures are asked for, and as which files.
func TestSampleRounds(t *testing.T) {
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
			cfg := trainConfig(t, 2)
			cfg.SamplePrompts, cfg.SampleSampler, cfg.Trainer.ClipSkip = filepath.Join(t.TempDir(), "prompts.txt"), "euler_a", 2
			replaceFile(t, cfg.SamplePrompts, "a cat --d 7 --ss heun\na dog")
			var rounds []string
			cfg.Sample = func(_ context.Context, s train.Sample) error {
				round := fmt.Sprintf("%d/%d:", s.Step, s.Epoch)
				for _, p := range s.Pictures {
					if dir := filepath.Join(cfg.OutputDir, "sample"); filepath.Dir(p.Path) != dir {
						t.Errorf("%s is not in %s", p.Path, dir)
					}
					round += " " + regexp.MustCompile(`_20\d{12}`).ReplaceAllString(strings.TrimSuffix(filepath.Base(p.Path), ".png"), "_TIME")
				}
				rounds = append(rounds, round)
				if len(s.Modules) == 0 || s.ClipSkip != 2 || s.Name != "x" || s.Pictures[0].Sampler != sampler.Heun || s.Pictures[1].Sampler != sampler.EulerA {
					t.Errorf("%d modules, clip skip %d, name %q, samplers %q and %q", len(s.Modules), s.ClipSkip, s.Name, s.Pictures[0].Sampler, s.Pictures[1].Sampler)
				}
				return nil
			}
			c.change(&cfg)
			mustTrain(t, cfg)
			if got := strings.Join(rounds, "; "); got != c.want {
				t.Errorf("rounds are %s\nwant       %s", got, c.want)
			}
		})
	}
}

// TestSampleFails has nothing but trouble with sample pictures: warnings tell, and the training goes on.
func TestSampleFails(t *testing.T) {
	cfg := trainConfig(t, 2)
	cfg.SampleAtFirst, cfg.SampleEveryNSteps, cfg.SamplePrompts = true, 1, filepath.Join(t.TempDir(), "prompts.txt")
	replaceFile(t, cfg.SamplePrompts, "a cat")
	var drawn []string
	var remove sync.Once
	cfg.Sample = func(_ context.Context, s train.Sample) error {
		drawn = append(drawn, fmt.Sprint(s.Step, " ", s.Pictures[0].Prompt))
		if s.Step == 3 {
			return errors.New("out of paint")
		}
		return nil
	}
	var warnings []string
	cfg.Progress = func(p train.Progress) {
		remove.Do(func() { os.Remove(cfg.SamplePrompts) })
		switch {
		case p.Phase == "warning":
			warnings = append(warnings, p.Warning)
		case p.Phase == "steps":
			content := map[int]string{1: "a cat", 3: "a dog", 4: "a cat --ss magic"}[p.Done]
			if content == "" {
				return
			}
			if err := os.WriteFile(cfg.SamplePrompts, []byte(content), 0o666); err != nil {
				t.Error(err)
			}
		}
	}
	mustTrain(t, cfg)
	if want := []string{"1 a cat", "2 a cat", "3 a dog"}; !slices.Equal(drawn, want) {
		t.Errorf("drawn are %q, want %q", drawn, want)
	}
	for i, say := range []string{"sample pictures of step 0: lora: sample_prompts: ", "of step 3: out of paint", `of step 4: lora: `, "of step 5", "of step 6"} {
		if len(warnings) != 5 || !strings.Contains(warnings[i], say) {
			t.Fatalf("warnings are %q, want number %d with %q", warnings, i+1, say)
		}
	}
}

// TestSampleInterrupted stops a training while it draws: its state is that of the step done.
func TestSampleInterrupted(t *testing.T) {
	cfg := trainConfig(t, 2)
	cfg.SampleEveryNSteps, cfg.SamplePrompts = 2, filepath.Join(t.TempDir(), "prompts.txt")
	replaceFile(t, cfg.SamplePrompts, "a cat")
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Sample = func(ctx context.Context, s train.Sample) error {
		cancel()
		return ctx.Err()
	}
	err := train.Train(ctx, cfg)
	skipUnsupported(t, err)
	var stop *train.InterruptedError
	if !errors.As(err, &stop) || stop.Step != 2 || stop.State == "" {
		t.Errorf("the error is %v, want an InterruptedError after step 2 with a state", err)
	}
}
