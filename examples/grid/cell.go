package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
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
	"github.com/atelier-go/atelier/weights/hub"
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
	request, err := clone(o.request)
	if err != nil {
		return cell{}, err
	}
	c := cell{request: request, model: o.model}
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
			if err := c.set(o, key, settings[key]); err != nil {
				return c, err
			}
		}
	}
	if model, ok := job.Settings["ad_model"].(string); ok { // None goes before what other axes say of faces
		if err := c.detect(model); err != nil {
			return c, err
		}
	}
	var labels []string
	for i, a := range []*grid.Axis{o.axes.X, o.axes.Y, o.axes.Z} {
		if a == nil {
			continue
		}
		if err := c.check(a); err != nil {
			return c, err
		}
		labels = append(labels, a.Labels()[[]int{at.X, at.Y, at.Z}[i]])
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
	"hr_second_pass_steps": "hires.steps", "hr_upscaler": "hires.upscaler", "initial_noise_multiplier": "initial_noise_multiplier", "img2img_extra_noise": "img2img_extra_noise",
	"inpainting_mask_weight": "inpaint.conditional_mask_weight", "token_merging_ratio": "speed.token_merging_ratio", "token_merging_ratio_hr": "speed.token_merging_ratio_hr",
	"refiner_checkpoint": "refiner.checkpoint", "refiner_switch_at": "refiner.switch_at",
	"mask_blur": "inpaint.mask_blur", "inpaint_full_res_padding": "inpaint.inpaint_full_res_padding",
	"ad_prompt": "faces.prompt", "ad_negative_prompt": "faces.negative_prompt", "ad_dilate_erode": "faces.dilate_erode",
	"ad_denoising_strength": "faces.denoising_strength", "ad_inpaint_only_masked_padding": "faces.inpaint_padding",
}

// without are settings that have no effect with these values alone, and why they can have no others.
var without = map[string]struct {
	axis   string
	values []any
	why    string
}{
	"image_cfg_scale":        {"ImageCFGScale", nil, "checkpoints of InstructPix2Pix, which alone have it, are not read"},
	"restore_faces":          {"Facerestore", []any{false}, "there is no GFPGAN and no CodeFormer"},
	"face_restoration_model": {"Facerestore", nil, "there is no GFPGAN and no CodeFormer"},
	"fp8_storage":            {"FP8mode", []any{"Disable"}, "weights are kept in their own type"},
}

// clone is a request that shares no field with another, but for its picture: values are read into what pointers point to.
func clone(r sd.Request) (own sd.Request, err error) {
	picture := r.Image
	r.Image = nil
	text, err := json.Marshal(r)
	if err != nil {
		return own, err
	}
	err = json.Unmarshal(text, &own)
	own.Image = picture
	return own, err
}

// check complains about an axis that has no effect on the picture.
func (c *cell) check(a *grid.Axis) error {
	r, want := c.request, ""
	switch a.Name {
	case "Refiner switch at":
		if r.Refiner.Checkpoint == "" {
			want = "another checkpoint that takes over: an axis Refiner checkpoint, or -set refiner.checkpoint=NAME"
		}
	case "Cond. Image Mask Weight", "Mask blur", "Masked content", "Only masked padding":
		if r.Inpaint == nil || len(r.Inpaint.Mask) == 0 {
			want = "a mask: -image FILE -mask FILE"
		} else if a.Name == "Only masked padding" && !r.Inpaint.Only {
			want = "a picture of which only the masked part is drawn: -set inpaint.inpaint_full_res=true"
		}
	case "Initial noise multiplier", "Resize mode":
		if len(r.Image) == 0 {
			want = "a picture to begin with: -image FILE"
		}
	}
	if want == "" {
		return nil
	}
	return invalid.Field("Axis."+strings.ReplaceAll(a.Name, " ", ""), a.Values[0], "%s", want)
}

// set does to a cell what a setting of the web UI's API does.
func (c *cell) set(o *options, key string, value any) (err error) {
	r := &c.request
	if no, ok := without[key]; ok {
		if slices.Contains(no.values, value) {
			return nil
		}
		return invalid.Field("Axis."+no.axis, value, "another axis: %s", no.why)
	}
	if number, ok := value.(float64); ok && (math.IsNaN(number) || math.IsInf(number, 0)) {
		return invalid.Field("Axis."+key, number, "a finite number")
	}
	switch key {
	case "denoising_strength":
		strength := value.(float64)
		if len(r.Image) > 0 {
			r.Strength = &strength
			return nil
		}
		c.hires().Strength = &strength
		return nil
	case "hr_sampler_name":
		c.hires().Sampler, _, err = sampler.Parse(value.(string), "")
		return err
	case "sampler_name":
		r.Sampler, _, err = sampler.Parse(value.(string), "")
		return err
	case "ad_sampler":
		c.faces().Sampler, c.faces().Spacing, err = sampler.Parse(value.(string), "")
		return err
	case "ad_model":
		return nil
	case "resize_mode":
		r.ResizeMode = sd.ResizeModes[value.(int)]
		return nil
	case "inpainting_fill":
		if r.Inpaint == nil {
			r.Inpaint = new(sd.Inpaint)
		}
		r.Inpaint.Content = sd.MaskedContents[value.(int)]
		return nil
	case "scheduler":
		_, r.Spacing, err = sampler.Parse("", value.(string))
		return err
	case "sd_model_checkpoint":
		path, err := weights.FindCheckpoint(value.(string), c.model.Path, o.pipeline.CheckpointDirs...)
		if err != nil && !hub.IsID(value.(string)) {
			return &invalid.FieldError{Field: "Axis.Checkpointname", Value: value, Err: err}
		}
		c.model.Path = cmp.Or(path, value.(string))
		return nil
	case "sd_vae":
		c.model.Options.VAE = value.(string)
		if name := c.model.NameOfVAE([]string{"."}); name != "" {
			r.VAE = name
		}
		return nil
	}
	name, ok := fields[key]
	if !ok {
		return fmt.Errorf("an axis sets %q, which this program does not know", key)
	}
	text, err := json.Marshal(value)
	for _, part := range slices.Backward(strings.Split(name, ".")) {
		text = fmt.Appendf(nil, "{%q:%s}", part, text)
	}
	return errors.Join(err, json.Unmarshal(text, r))
}

// hires is the second pass, which there is from then on.
func (c *cell) hires() *sd.Hires {
	if c.request.Hires == nil {
		c.request.Hires = new(sd.Hires)
	}
	return c.request.Hires
}

// faces is the pass that draws faces anew, which there is from then on.
func (c *cell) faces() *sd.FacePass {
	if c.request.Faces == nil {
		c.request.Faces = new(sd.FacePass)
	}
	return c.request.Faces
}

// detect has faces drawn anew, or not, by what finds them in the web UI.
func (c *cell) detect(model string) error {
	switch {
	case strings.EqualFold(model, "None"):
		c.request.Faces = nil
	case strings.Contains(strings.ToLower(model), "face"):
		c.faces()
	default:
		return invalid.Field("Axis.[ADetailer]ADetailermodel1st", model, "None, or what finds faces, such as face_yolov8n.pt: they alone can be drawn anew")
	}
	return nil
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
	s.options.pipeline.Logger, s.options.pipeline.Faces = cli.Warnings(s.log), m.Detector()
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

// check finds out before the work whether a cell's picture can be made.
func (s *studio) check(ctx context.Context, c cell) error {
	if err := s.open(ctx, c.model); err != nil {
		return err
	}
	memory, err := s.pipe.Memory(c.request)
	if err != nil {
		return err
	}
	return cli.Fits(memory.Total())
}

// draw makes a cell's picture and keeps it.
func (s *studio) draw(ctx context.Context, c cell, progress func(step, of int)) error {
	if err := s.open(ctx, c.model); err != nil {
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
