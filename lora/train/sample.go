package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/atelier-go/atelier/internal/openfile"
	"github.com/atelier-go/atelier/lora"
)

// Sample is a round of pictures to draw while training, for Config.Sample.
type Sample struct {
	Name        string // of the training, its OutputName
	Step, Epoch int    // done; the epoch counts when it is complete
	// Modules are the adapter as it is now. They stay as they are and are not to be modified.
	Modules  []lora.Module
	ClipSkip int // 0 is 1
	Pictures []SamplePicture
}

// SamplePicture is a prompt, its sampler filled in, and the PNG file to write.
type SamplePicture struct {
	SamplePrompt
	Path string
}

// checkSampling reports what is wrong with the options of sample pictures, of which the file of prompts is one.
func (c Config) checkSampling() error {
	if !c.SampleAtFirst && c.SampleEveryNEpochs <= 0 && c.SampleEveryNSteps <= 0 {
		return nil
	}
	var errs []error
	if c.Sample == nil {
		errs = append(errs, errors.New("lora: sample pictures need a function that draws them, Config.Sample"))
	}
	_, _, err := ParseSampleSampler(c.SampleSampler)
	errs = append(errs, err)
	if c.SamplePrompts == "" {
		errs = append(errs, errors.New("lora: sample_prompts is empty; name the file of prompts for sample pictures"))
	} else if _, err := c.samplePrompts(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// samplePrompts reads the file of prompts and fills in samplers.
func (c Config) samplePrompts() ([]SamplePrompt, error) {
	data, err := openfile.ReadFile(c.SamplePrompts, maxPromptBytes)
	if err != nil {
		return nil, fmt.Errorf("lora: sample_prompts: %w", err)
	}
	prompts, err := ParseSamplePrompts(c.SamplePrompts, data)
	for i := range prompts {
		if p := &prompts[i]; p.Sampler == "" {
			p.Sampler, p.Spacing, _ = ParseSampleSampler(c.SampleSampler) // checked at the start
		}
	}
	return prompts, err
}

// sampleEpoch draws what the end of an epoch calls for; 0 is the beginning of the training.
func (r *run) sampleEpoch(ctx context.Context, epoch int) error {
	if epoch == 0 && r.SampleAtFirst || epoch > 0 && r.SampleEveryNEpochs > 0 && epoch%r.SampleEveryNEpochs == 0 {
		return r.sample(ctx, epoch, fmt.Sprintf("e%06d", epoch))
	}
	return nil
}

// sampleStep draws what the step calls for.
func (r *run) sampleStep(ctx context.Context) error {
	if r.SampleEveryNEpochs <= 0 && r.SampleEveryNSteps > 0 && r.Step%r.SampleEveryNSteps == 0 {
		return r.sample(ctx, r.epochsDone(), fmt.Sprintf("%06d", r.Step))
	}
	return nil
}

// sample draws a round of pictures. That it fails is worth a warning; only the end of ctx is an error.
func (r *run) sample(ctx context.Context, epoch int, when string) error {
	err := r.draw(ctx, epoch, when)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		r.warn("sample pictures of step %d: %v", r.Step, err)
	}
	return nil
}

func (r *run) draw(ctx context.Context, epoch int, when string) error {
	prompts, err := r.samplePrompts()
	if err != nil {
		return err
	}
	modules, err := r.trainer.Modules()
	if err != nil {
		return err
	}
	dir := filepath.Join(r.OutputDir, "sample")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	s := Sample{Name: r.OutputName, Step: r.Step, Epoch: epoch, Modules: modules, ClipSkip: r.Config.Trainer.ClipSkip}
	now := time.Now().Format("20060102150405")
	for i, p := range prompts {
		name := fmt.Sprintf("%s_%s_%02d_%s", r.OutputName, when, i, now)
		if p.Seed != nil {
			name += "_" + strconv.FormatInt(*p.Seed, 10)
		}
		s.Pictures = append(s.Pictures, SamplePicture{p, filepath.Join(dir, name+".png")})
	}
	r.report(Progress{Phase: "samples", Total: len(prompts), Epoch: epoch})
	if err := r.Sample(ctx, s); err != nil {
		return err
	}
	r.report(Progress{Phase: "samples", Done: len(prompts), Total: len(prompts), Epoch: epoch, Saved: dir})
	return nil
}
