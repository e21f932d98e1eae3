package studio

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/studio/work"
)

// control is a control of the form in the room Draw, and the field of a job's request that it is about.
type control struct {
	name string
	path string // the field, as errors have it
	set  func(d *work.Draw, text string) error
	get  func(d *work.Draw) string
}

// controls are those of the form. Switches come before what they switch on.
var controls = []control{
	text("prompt", "Request.Prompt", func(d *work.Draw) *string { return &d.Request.Prompt }),
	text("negative", "Request.NegativePrompt", func(d *work.Draw) *string { return &d.Request.NegativePrompt }),
	text("checkpoint", "Draw.Checkpoint", func(d *work.Draw) *string { return &d.Checkpoint }),
	text("vae", "Request.VAE", func(d *work.Draw) *string { return &d.Request.VAE }),
	text("image", "Draw.Image", func(d *work.Draw) *string { return &d.Image }),

	whole("width", "Request.Width", func(d *work.Draw) *int { return &d.Request.Width }),
	whole("height", "Request.Height", func(d *work.Draw) *int { return &d.Request.Height }),
	whole("count", "Draw.Count", func(d *work.Draw) *int { return &d.Count }),
	whole("batch", "Request.BatchSize", func(d *work.Draw) *int { return &d.Request.BatchSize }),
	seed("seed", "Request.Seed", func(d *work.Draw) *int64 { return &d.Request.Seed }),
	plain("variation", "Request.Variation.Strength", func(d *work.Draw) *float64 { return &d.Request.Variation.Strength }),
	seed("variation_seed", "Request.Variation.Seed", func(d *work.Draw) *int64 { return &d.Request.Variation.Seed }),

	text("sampler", "Request.Sampler", func(d *work.Draw) *sampler.Sampler { return &d.Request.Sampler }),
	text("schedule", "Request.Spacing", func(d *work.Draw) *sampler.Spacing { return &d.Request.Spacing }),
	whole("steps", "Request.Steps", func(d *work.Draw) *int { return &d.Request.Steps }),
	number("cfg", "Request.Guidance", func(d *work.Draw) **float64 { return &d.Request.Guidance }),
	whole("clip_skip", "Request.ClipSkip", func(d *work.Draw) *int { return &d.Request.ClipSkip }),
	part("refiner", func(d *work.Draw) **sd.Refiner { return &d.Request.Refiner }),
	text("refiner_checkpoint", "Request.Refiner.Checkpoint", func(d *work.Draw) *string {
		return of(d.Request.Refiner, func(r *sd.Refiner) *string { return &r.Checkpoint })
	}),
	number("refiner_at", "Request.Refiner.SwitchAt", func(d *work.Draw) **float64 {
		return of(d.Request.Refiner, func(r *sd.Refiner) **float64 { return &r.SwitchAt })
	}),

	number("strength", "Request.Strength", func(d *work.Draw) **float64 { return &d.Request.Strength }),
	text("resize_mode", "Request.ResizeMode", func(d *work.Draw) *sd.ResizeMode { return &d.Request.ResizeMode }),
	part("inpaint", func(d *work.Draw) **sd.Inpaint { return &d.Request.Inpaint }),
	text("mask", "Draw.Mask", func(d *work.Draw) *string { return &d.Mask }),
	number("mask_blur", "Request.Inpaint.Blur", func(d *work.Draw) **float64 {
		return of(d.Request.Inpaint, func(in *sd.Inpaint) **float64 { return &in.Blur })
	}),
	text("masked_content", "Request.Inpaint.Content", func(d *work.Draw) *sd.MaskedContent {
		return of(d.Request.Inpaint, func(in *sd.Inpaint) *sd.MaskedContent { return &in.Content })
	}),
	choice("only_masked", func(d *work.Draw) *bool { return of(d.Request.Inpaint, func(in *sd.Inpaint) *bool { return &in.Only }) }),
	part("soft", func(d *work.Draw) **sd.Soft {
		return of(d.Request.Inpaint, func(in *sd.Inpaint) **sd.Soft { return &in.Soft })
	}),

	part("hires", func(d *work.Draw) **sd.Hires { return &d.Request.Hires }),
	text("hires_upscaler", "Request.Hires.Upscaler", func(d *work.Draw) *string {
		return of(d.Request.Hires, func(h *sd.Hires) *string { return &h.Upscaler })
	}),
	plain("hires_scale", "Request.Hires.Scale", func(d *work.Draw) *float64 {
		return of(d.Request.Hires, func(h *sd.Hires) *float64 { return &h.Scale })
	}),
	whole("hires_steps", "Request.Hires.Steps", func(d *work.Draw) *int { return of(d.Request.Hires, func(h *sd.Hires) *int { return &h.Steps }) }),
	number("hires_strength", "Request.Hires.Strength", func(d *work.Draw) **float64 {
		return of(d.Request.Hires, func(h *sd.Hires) **float64 { return &h.Strength })
	}),
	part("faces", func(d *work.Draw) **sd.FacePass { return &d.Request.Faces }),
	number("face_strength", "Request.Faces.Strength", func(d *work.Draw) **float64 {
		return of(d.Request.Faces, func(f *sd.FacePass) **float64 { return &f.Strength })
	}),
	text("face_prompt", "Request.Faces.Prompt", func(d *work.Draw) *string {
		return of(d.Request.Faces, func(f *sd.FacePass) *string { return &f.Prompt })
	}),
	choice("tiled_vae", func(d *work.Draw) *bool { return &d.Request.TiledVAE }),

	axis("x_axis", func(g *work.Grid) *work.Axis { return &g.X }),
	axisValues("x_values", "Draw.Grid.X", func(g *work.Grid) *work.Axis { return &g.X }),
	axis("y_axis", func(g *work.Grid) *work.Axis { return &g.Y }),
	axisValues("y_values", "Draw.Grid.Y", func(g *work.Grid) *work.Axis { return &g.Y }),
	axis("z_axis", func(g *work.Grid) *work.Axis { return &g.Z }),
	axisValues("z_values", "Draw.Grid.Z", func(g *work.Grid) *work.Axis { return &g.Z }),
}

// axis is a control of what an axis of a grid is; with the first there is one.
func axis(name string, at func(*work.Grid) *work.Axis) control {
	c := text(name, "", func(d *work.Draw) *string {
		return of(d.Grid, func(g *work.Grid) *string { return &at(g).Name })
	})
	set := c.set
	c.set = func(d *work.Draw, text string) error {
		if text != "" && d.Grid == nil {
			d.Grid = new(work.Grid)
		}
		return set(d, text)
	}
	return c
}

// axisValues is a control of its values.
func axisValues(name, path string, at func(*work.Grid) *work.Axis) control {
	return text(name, path, func(d *work.Draw) *string {
		if d.Grid == nil || at(d.Grid).Name == "" {
			return nil
		}
		return &at(d.Grid).Values
	})
}

// of is a field of what may be missing.
func of[T, F any](part *T, field func(*T) *F) *F {
	if part == nil {
		return nil
	}
	return field(part)
}

// text is a control of a text; what it is about may be missing, as with those below.
func text[S ~string](name, path string, at func(*work.Draw) *S) control {
	return control{name, path,
		func(d *work.Draw, text string) error {
			if p := at(d); p != nil {
				*p = S(text)
			}
			return nil
		},
		func(d *work.Draw) string {
			if p := at(d); p != nil {
				return string(*p)
			}
			return ""
		},
	}
}

// whole is a control of a whole number, of which none and 0 are the default.
func whole(name, path string, at func(*work.Draw) *int) control {
	return control{name, path,
		func(d *work.Draw, text string) (err error) {
			if p := at(d); p != nil && text != "" {
				if *p, err = strconv.Atoi(text); err != nil {
					return invalid.Field(path, text, "a whole number")
				}
			}
			return nil
		},
		func(d *work.Draw) string {
			if p := at(d); p != nil && *p != 0 {
				return strconv.Itoa(*p)
			}
			return ""
		},
	}
}

// seed is a control of a seed, of which none and -1 are a random one.
func seed(name, path string, at func(*work.Draw) *int64) control {
	return control{name, path,
		func(d *work.Draw, text string) (err error) {
			if text == "" {
				text = "-1"
			}
			if *at(d), err = strconv.ParseInt(text, 10, 64); err != nil {
				return invalid.Field(path, text, "a whole number, or -1 for a random one")
			}
			return nil
		},
		func(d *work.Draw) string { return strconv.FormatInt(*at(d), 10) },
	}
}

// plain is a control of a number, of which none and 0 are the default.
func plain(name, path string, at func(*work.Draw) *float64) control {
	c := number(name, path, func(d *work.Draw) **float64 { return new(at(d)) })
	given := c.get
	c.get = func(d *work.Draw) string {
		if text := given(d); text != "0" {
			return text
		}
		return ""
	}
	return c
}

// number is a control of a number, of which none is the default.
func number(name, path string, at func(*work.Draw) **float64) control {
	return control{name, path,
		func(d *work.Draw, text string) error {
			p := at(d)
			if p == nil || text == "" {
				return nil
			}
			v, ok := readNumber(text)
			if !ok {
				return invalid.Field(path, text, "a number")
			}
			if *p == nil {
				*p = new(float64)
			}
			**p = v
			return nil
		},
		func(d *work.Draw) string {
			if p := at(d); p != nil && *p != nil {
				return strconv.FormatFloat(**p, 'f', -1, 64)
			}
			return ""
		},
	}
}

// readNumber reads a number as people write it, with a comma or a point.
func readNumber(text string) (n float64, ok bool) {
	n, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	return n, err == nil && n-n == 0
}

// choice is a box to tick.
func choice(name string, at func(*work.Draw) *bool) control {
	return control{name, "",
		func(d *work.Draw, text string) error {
			if p := at(d); p != nil {
				*p = text != ""
			}
			return nil
		},
		func(d *work.Draw) string {
			if p := at(d); p != nil && *p {
				return "on"
			}
			return ""
		},
	}
}

// part is a box to tick for a part of the request.
func part[T any](name string, at func(*work.Draw) **T) control {
	return control{name, "",
		func(d *work.Draw, text string) error {
			if p := at(d); p != nil && text != "" {
				*p = new(T)
			}
			return nil
		},
		func(d *work.Draw) string {
			if p := at(d); p != nil && *p != nil {
				return "on"
			}
			return ""
		},
	}
}

// values are what a form's controls have, by their names.
type values map[string]string

// preset is the form as nobody has touched it.
func preset() values {
	return values{"width": "", "steps": "20", "cfg": "7", "count": "1", "batch": "1", "seed": "-1", "hires_upscaler": "Latent", "hires_scale": "2",
		"hires_strength": "0.7", "strength": "0.75", "mask_blur": "4", "face_strength": "0.4", "refiner_at": "0.8", "masked_content": string(sd.OriginalContent), "sampler": string(sampler.DPMPP2M)}
}

// valuesOf are the values of a job's request; what switched off parts would have is the preset's.
func valuesOf(d work.Draw) values {
	v := preset()
	for _, c := range controls {
		text := c.get(&d)
		if _, has := v[c.name]; text != "" || !has {
			v[c.name] = text
		}
	}
	return v
}

// maxText is the most bytes of a control.
const maxText = 100_000

// take takes the known ones of what a browser sends, those that are switched off as "".
func take(sent map[string][]string) values {
	v := make(values)
	for _, c := range controls {
		if all := sent[c.name]; len(all) > 0 {
			v[c.name] = strings.TrimSpace(all[0][:min(len(all[0]), maxText)])
		} else {
			v[c.name] = ""
		}
	}
	v["styles"] = strings.Join(sent["styles"], "\n")
	return v
}

// faults are what is wrong, by the controls; under "" what is about none of them.
type faults map[string]string

// of adds an error under the controls that it is about.
func (f faults) of(err error) {
	for _, e := range invalid.Fields(err) {
		at := slices.IndexFunc(controls, func(c control) bool { return c.path == e.Field })
		name := ""
		if at >= 0 {
			name = controls[at].name
		}
		if f[name] == "" {
			f[name] = strings.TrimSpace(e.Say(""))
			if name == "" {
				f[name] = e.Error()
			}
		}
	}
	if err != nil && len(f) == 0 {
		f[""] = err.Error()
	}
}

// draw is the job's request that the values mean, with the styles in its prompts.
func (v values) draw(lib *library.Library) (work.Draw, faults) {
	var d work.Draw
	var errs []error
	for _, c := range controls {
		errs = append(errs, c.set(&d, v[c.name]))
	}
	if d.Image == "" {
		d.Request.Inpaint, d.Mask, d.Request.Strength, d.Request.ResizeMode = nil, "", nil, ""
	}
	if d.Mask == "" {
		d.Request.Inpaint = nil
	}
	if d.Request.Inpaint == nil {
		d.Mask = ""
	}
	if d.Save = library.Txt2Img; d.Image != "" {
		d.Save = library.Img2Img
	}
	if names := strings.FieldsFunc(v["styles"], func(r rune) bool { return r == '\n' }); len(names) > 0 {
		d.Request.Prompt, d.Request.NegativePrompt = lib.Styles().Apply(d.Request.Prompt, d.Request.NegativePrompt, names...)
	}
	if d.Checkpoint != "" {
		if _, err := lib.Checkpoint(d.Checkpoint); err != nil {
			errs = append(errs, &invalid.FieldError{Field: "Draw.Checkpoint", Err: err})
		}
	}
	f := make(faults)
	if f.of(errors.Join(errs...)); len(f) == 0 {
		f.of(d.Check())
	}
	if len(f) == 0 {
		f.of(d.Cells(lib.Styles()))
	}
	return d, f
}

// size is the summary of the fold about size and count.
func (v values) sizes() string {
	size, pictures := "the model’s own size", 1
	if v["width"] != "" || v["height"] != "" {
		size = fmt.Sprintf("%s × %s", orAuto(v["width"]), orAuto(v["height"]))
	}
	for _, name := range []string{"count", "batch"} {
		if n, err := strconv.Atoi(v[name]); err == nil && n > 1 {
			pictures *= n
		}
	}
	seed := "random seed"
	if s := v["seed"]; s != "" && s != "-1" {
		seed = "seed " + s
	}
	if pictures == 1 {
		return size + " · 1 picture · " + seed
	}
	return fmt.Sprintf("%s · %d pictures · %s", size, pictures, seed)
}

func orAuto(text string) string {
	if text == "" {
		return "auto"
	}
	return text
}

// sampling is the summary of the fold about sampling.
func (v values) sampling() string {
	text := fmt.Sprintf("%s · %s steps · CFG %s", v["sampler"], orAuto(v["steps"]), orAuto(v["cfg"]))
	if v["schedule"] != "" {
		text += " · " + v["schedule"]
	}
	return text
}

// grid is the summary of the fold about comparing.
func (v values) grid() string {
	var axes []string
	for _, name := range []string{"x_axis", "y_axis", "z_axis"} {
		if v[name] != "" {
			axes = append(axes, v[name])
		}
	}
	return cmp.Or(strings.Join(axes, " × "), "none")
}

// finish is the summary of the fold about what comes after.
func (v values) finish() string {
	var parts []string
	if v["hires"] != "" {
		parts = append(parts, "enlarged × "+v["hires_scale"])
	}
	if v["faces"] != "" {
		parts = append(parts, "faces drawn anew")
	}
	if len(parts) == 0 {
		return "nothing more"
	}
	return strings.Join(parts, " · ")
}
