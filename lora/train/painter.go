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
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/sd"
)

// painter draws sample pictures.
type painter struct{ config Config }

// checkSampling reports what is wrong with the options of sample pictures, of which the file of prompts is one, and which pictures of it
// cannot be drawn, such as of sizes that there are not.
func (c Config) checkSampling() error {
	if !c.SampleAtFirst && c.SampleEveryNEpochs <= 0 && c.SampleEveryNSteps <= 0 {
		return nil
	}
	_, _, err := ParseSampleSampler(c.SampleSampler)
	if err != nil {
		err = &invalid.FieldError{Field: "Config.SampleSampler", Err: err}
	}
	if c.SamplePrompts == "" {
		return errors.Join(err, invalid.Field("Config.SamplePrompts", nil, "the file of prompts for sample pictures"))
	}
	p := &painter{c}
	prompts, promptsErr := p.prompts()
	errs := []error{err, promptsErr}
	for i, prompt := range prompts {
		if err := p.request(prompt).Check(); err != nil {
			errs = append(errs, &invalid.FieldError{Field: "Config.SamplePrompts", Err: fmt.Errorf("prompt %d: %w", i+1, err)})
		}
	}
	return invalid.Join(errs...)
}

// prompts reads the file of prompts and fills in samplers.
func (p *painter) prompts() ([]SamplePrompt, error) {
	c := &p.config
	data, err := openfile.ReadFile(c.SamplePrompts, maxPromptBytes)
	if err != nil {
		return nil, &invalid.FieldError{Field: "Config.SamplePrompts", Err: err}
	}
	prompts, err := ParseSamplePrompts(c.SamplePrompts, data)
	for i := range prompts {
		if one := &prompts[i]; one.Sampler == "" {
			one.Sampler, one.Spacing, _ = ParseSampleSampler(c.SampleSampler) // checked at the start
		}
	}
	return prompts, err
}

// draw draws prompts with an adapter as it is now, and tells of each picture. The pipeline is open for that alone, so that
// between rounds the training has the memory to itself. What goes wrong with one picture keeps no other from being drawn.
func (p *painter) draw(ctx context.Context, prompts []SamplePrompt, when string, modules []lora.Module, drawn func(SamplePrompt, string)) error {
	c := &p.config
	dir := filepath.Join(c.OutputDir, "sample")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	adapter, err := lora.NewAdapter(c.OutputName, modules)
	if err != nil {
		return err
	}
	pipe, err := sd.New(ctx, c.Checkpoint, c.Device, sd.Options{})
	if err != nil {
		return err
	}
	err = pipe.AddAdapter(c.OutputName, adapter)
	now := time.Now().Format("20060102150405")
	for i, prompt := range prompts {
		name := fmt.Sprintf("%s_%s_%02d_%s", c.OutputName, when, i, now)
		if prompt.Seed != nil {
			name += "_" + strconv.FormatInt(*prompt.Seed, 10)
		}
		path := filepath.Join(dir, name+".png")
		if failed := p.picture(ctx, pipe, prompt, path); failed != nil {
			err = errors.Join(err, failed)
		} else {
			drawn(prompt, path)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(err, pipe.Close())
}

// request is that of a prompt's picture.
func (p *painter) request(s SamplePrompt) sd.Request {
	r := sd.Request{
		Prompt: s.Prompt, NegativePrompt: s.NegativePrompt, Adapters: []sd.Adapter{{Name: p.config.OutputName}}, Width: s.Width, Height: s.Height,
		Steps: s.Steps, Sampler: s.Sampler, Spacing: s.Spacing, Guidance: &s.Guidance, ClipSkip: p.config.Trainer.ClipSkip, Seed: -1,
	}
	if s.Seed != nil {
		r.Seed = *s.Seed
	}
	return r
}

// picture draws one picture and saves it.
func (p *painter) picture(ctx context.Context, pipe *sd.Pipeline, s SamplePrompt, path string) error {
	result, err := pipe.Generate(ctx, p.request(s))
	if err != nil {
		return err
	}
	return result.Pictures[0].Save(path)
}

// sampleEpoch draws what the end of an epoch calls for; 0 is the beginning of the training.
func (r *run) sampleEpoch(ctx context.Context, epoch int) error {
	c := &r.config
	if epoch == 0 && c.SampleAtFirst || epoch > 0 && c.SampleEveryNEpochs > 0 && epoch%c.SampleEveryNEpochs == 0 {
		return r.sample(ctx, epoch, fmt.Sprintf("e%06d", epoch))
	}
	return nil
}

// sampleStep draws what the step calls for.
func (r *run) sampleStep(ctx context.Context) error {
	c := &r.config
	if c.SampleEveryNEpochs <= 0 && c.SampleEveryNSteps > 0 && r.at.Step%c.SampleEveryNSteps == 0 {
		return r.sample(ctx, r.epochsDone(), fmt.Sprintf("%06d", r.at.Step))
	}
	return nil
}

// sample draws a round of pictures. That it fails is worth a warning; only the end of ctx is an error.
func (r *run) sample(ctx context.Context, epoch int, when string) error {
	prompts, err := r.painter.prompts()
	var modules []lora.Module
	if err == nil {
		modules, err = r.trainer.Modules()
	}
	if err == nil {
		r.report(Sampling{r.at.Step, epoch, len(prompts)})
		err = r.painter.draw(ctx, prompts, when, modules, func(s SamplePrompt, path string) { r.report(Sampled{r.at.Step, epoch, s, path}) })
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		r.warn("sample pictures of step %d: %v", r.at.Step, err)
	}
	return nil
}
