package cli

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
)

// hires is what a command line says of the second pass.
type hires struct {
	sd.Hires
	sampler, schedule string
}

// preset is a portrait that people need, on a model's own side, which a second pass doubles.
type preset struct {
	name   string
	height int // in fourths of the width
}

// presets are a square for profiles and 4:5 for curricula vitae: 1024×1024 and 1024×1280 with SD 1.5.
var presets = []preset{{"linkedin", 4}, {"cv", 5}}

// Hires defines the flags of the second pass, and -preset, which chooses it.
func (d *Drawing) Hires(f *Flags) {
	h := &d.hires
	d.Request.Hires = &h.Hires
	f.Func("preset", "`NAME` linkedin (1:1) or cv (4:5): the model's own side, then twice as large", func(name string) error {
		if !slices.ContainsFunc(presets, func(p preset) bool { return p.name == name }) {
			return errors.New("there are linkedin and cv")
		}
		d.preset = name
		return nil
	})
	f.Float64Var(&h.Scale, "hires-scale", 0, "`NUMBER` times larger it becomes, and is drawn anew in part")
	f.StringVar(&h.Upscaler, "hires-upscaler", "", "`NAME` what enlarges it; a wrong one is answered with all (default: Latent)")
	f.Optional(&h.Strength, "hires-strength", "`NUMBER` how much is drawn anew, 0 to 1 (default: 0.7)")
	f.Upscalers(&d.pipeline)
	f.IntVar(&h.Width, "hires-width", 0, "`PIXELS` instead of -hires-scale: what is over the shape is cut off")
	f.IntVar(&h.Height, "hires-height", 0, "`PIXELS` likewise")
	f.IntVar(&h.Steps, "hires-steps", 0, "`NUMBER` of the second pass (default: as many)")
	f.StringVar(&h.sampler, "hires-sampler", "", "`NAME` of the second pass's sampler (default: the same)")
	f.StringVar(&h.schedule, "hires-schedule", "", "`NAME` of its noise levels (default: the same)")
	f.Optional(&h.Guidance, "hires-cfg", "`NUMBER` its guidance (default: the same)")
	f.StringVar(&h.Prompt, "hires-prompt", "", "`TEXT` its prompt (default: the same)")
	f.StringVar(&h.NegativePrompt, "hires-negative", "", "`TEXT` its negative prompt (default: the same)")
	f.StringVar(&h.Checkpoint, "hires-checkpoint", "", "`NAME` another checkpoint for it, as -refiner (default: the same)")
	f.Group("Second pass (hires fix)", "hires-scale", "hires-upscaler", "hires-strength", "upscaler-dir")
}

// second completes the second pass, and takes it from the request if no flag asks for it.
func (d *Drawing) second(f *Flags) (err error) {
	h := &d.hires
	for name, zero := range map[string]bool{"scale": h.Scale == 0, "width": h.Width == 0, "height": h.Height == 0, "steps": h.Steps == 0} {
		if name = "hires-" + name; zero && f.Given(name) {
			return fmt.Errorf("-%s is 0, want a number above it", name)
		}
	}
	if h.sampler != "" || h.schedule != "" {
		if h.Sampler, h.Spacing, err = sampler.Parse(cmp.Or(h.sampler, d.sampler), h.schedule); err != nil {
			return fmt.Errorf("-hires-sampler %q -hires-schedule %q: %w", h.sampler, h.schedule, err)
		}
	}
	if h.Hires == (sd.Hires{}) {
		d.Request.Hires = nil
	}
	return nil
}

// applyPreset chooses by the preset, for a model of a side, what a request leaves open.
func (d *Drawing) applyPreset(r *sd.Request, side int) {
	i := slices.IndexFunc(presets, func(p preset) bool { return p.name == d.preset })
	if i < 0 {
		return
	}
	r.Width = cmp.Or(r.Width, side)
	r.Height = cmp.Or(r.Height, side*presets[i].height/4/8*8)
	var second sd.Hires
	if r.Hires != nil {
		second = *r.Hires
	}
	second.Upscaler = cmp.Or(second.Upscaler, sd.Lanczos)
	second.Strength = cmp.Or(second.Strength, new(0.25))
	r.Hires = &second
}

// Upscalers defines -upscaler-dir.
func (f *Flags) Upscalers(o *sd.Options) {
	f.Func("upscaler-dir", "`FOLDER` with models that enlarge pictures, ESRGAN's family; repeat it for more", func(list string) error {
		o.UpscalerDirs = append(o.UpscalerDirs, filepath.SplitList(list)...)
		return nil
	})
}

// Optional defines a flag for a number that need not be there.
func (f *Flags) Optional(to **float64, name, usage string) {
	f.Func(name, usage, func(text string) error {
		v, err := Number(text)
		*to = &v
		return err
	})
}
