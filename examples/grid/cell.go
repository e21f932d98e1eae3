package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/examples/internal/cli"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/grid"
	"github.com/atelier-go/atelier/weights"
)

// cell is a picture to make.
type cell struct {
	name    string // its values
	request sd.Request
	model   cli.Model
	path    string // where it is kept, by all that makes it
}

// cells are all, X changing first and Z last.
func (o *options) cells() (all []cell, err error) {
	size := o.axes.Size()
	for i := range size.X * size.Y * size.Z {
		c, err := o.cell(grid.Cell{X: i % size.X, Y: i / size.X % size.Y, Z: i / size.X / size.Y})
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (o *options) cell(at grid.Cell) (cell, error) {
	c := cell{request: o.request, model: o.model}
	job := &grid.Job{Prompt: o.request.Prompt, Negative: o.request.NegativePrompt, Settings: map[string]any{"steps": o.request.Steps}}
	if err := o.axes.Apply(at, job); err != nil {
		return c, err
	}
	for _, name := range job.Styles {
		if _, ok := o.styles.Find(name); !ok {
			return c, invalid.Field("Axis.Styles", name, "the name of a style in the file of -styles")
		}
	}
	c.request.Prompt, c.request.NegativePrompt = o.styles.Apply(job.Prompt, job.Negative, job.Styles...)
	for _, settings := range []map[string]any{job.Settings, job.Overrides} {
		for _, key := range slices.Sorted(maps.Keys(settings)) {
			if err := c.set(key, settings[key]); err != nil {
				return c, err
			}
		}
	}
	var labels []string
	for i, a := range []*grid.Axis{o.axes.X, o.axes.Y, o.axes.Z} {
		if a != nil {
			labels = append(labels, a.Labels()[[]int{at.X, at.Y, at.Z}[i]])
		}
	}
	c.name = strings.Join(labels, ", ")
	text, err := json.Marshal([]any{c.request, c.model, o.device.Options.Precision.String()})
	c.path = filepath.Join(o.folder(), fmt.Sprintf("%x.png", sha256.Sum256(text))[:16]+".png")
	return c, err
}

// fields are what settings of the web UI's API are among the fields of a request, by their names in JSON.
var fields = map[string]string{
	"seed": "seed", "subseed": "variation.seed", "subseed_strength": "variation.strength", "steps": "steps", "cfg_scale": "guidance", "eta": "eta",
	"width": "width", "height": "height", "CLIP_stop_at_last_layers": "clip_skip", "randn_source": "noise", "s_min_uncond": "speed.ngms",
	"s_churn": "sampler_options.sigma_churn", "s_tmin": "sampler_options.sigma_tmin", "s_tmax": "sampler_options.sigma_tmax", "s_noise": "sampler_options.sigma_noise",
	"sigma_min": "sampler_options.schedule_min_sigma", "sigma_max": "sampler_options.schedule_max_sigma", "rho": "sampler_options.schedule_rho",
	"beta_dist_alpha": "sampler_options.beta_schedule_alpha", "beta_dist_beta": "sampler_options.beta_schedule_beta", "uni_pc_order": "sampler_options.order",
	"always_discard_next_to_last_sigma": "sampler_options.discard_penultimate_sigma", "sgm_noise_multiplier": "sampler_options.sgm_noise_multiplier",
	"hr_second_pass_steps": "hires.steps", "hr_upscaler": "hires.upscaler", "denoising_strength": "hires.denoising_strength",
}

// set does to a cell what a setting of the web UI's API does.
func (c *cell) set(key string, value any) (err error) {
	r := &c.request
	switch key {
	case "sampler_name":
		r.Sampler, _, err = sampler.Parse(value.(string), "")
		return err
	case "scheduler":
		_, r.Spacing, err = sampler.Parse("", value.(string))
		return err
	case "sd_model_checkpoint":
		c.model.Path = value.(string)
		return nil
	case "sd_vae":
		if name := value.(string); name == "None" {
			c.model.Options.VAE = ""
		} else if name != "Automatic" {
			c.model.Options.VAE = name
		}
		return nil
	}
	name, ok := fields[key]
	if !ok {
		return fmt.Errorf("an axis sets %q, which this program cannot yet; choose another", key)
	}
	text, err := json.Marshal(value)
	for _, part := range slices.Backward(strings.Split(name, ".")) {
		text = fmt.Appendf(nil, "{%q:%s}", part, text)
	}
	return errors.Join(err, json.Unmarshal(text, r))
}

// studio is what draws, with one model at a time.
type studio struct {
	options    *options
	device     compute.Device
	log        io.Writer
	model      cli.Model
	checkpoint *weights.Checkpoint
	pipe       *sd.Pipeline
}

// open takes another model, if it is not this one.
func (s *studio) open(ctx context.Context, m cli.Model) (err error) {
	if s.pipe != nil && s.model == m {
		return nil
	}
	s.release()
	s.model = m
	if s.checkpoint, err = m.Open(ctx, s.log); err != nil {
		return err
	}
	s.options.pipeline.Logger = cli.Warnings(s.log)
	s.pipe, err = sd.New(ctx, s.checkpoint, s.device, s.options.pipeline)
	return err
}

func (s *studio) release() {
	if s.pipe != nil {
		s.pipe.Close()
	}
	if s.checkpoint != nil {
		s.checkpoint.Close()
	}
	s.pipe, s.checkpoint = nil, nil
}

func (s *studio) close() {
	s.release()
	if s.device != nil {
		s.device.Close()
	}
}

// draw makes a cell's picture and keeps it.
func (s *studio) draw(ctx context.Context, c cell, progress func(step, of int)) error {
	if err := s.open(ctx, c.model); err != nil {
		return err
	}
	memory, err := s.pipe.Memory(c.request)
	if err != nil {
		return err
	}
	if err := cli.Fits(memory.Total()); err != nil {
		return err
	}
	for step, err := range s.pipe.Steps(ctx, c.request) {
		if err != nil {
			return err
		}
		if progress(step.Index+1, step.Total); !step.Last() {
			continue
		}
		result, err := step.Result(ctx)
		if err != nil {
			return err
		}
		return result.Pictures[0].Save(c.path)
	}
	return errors.New("the sampler made no steps")
}
