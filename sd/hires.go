package sd

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/esrgan"
	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
)

// Hires is a second pass, which enlarges what the first one made and draws it anew in part: the web UI's "Hires. fix". The zero value of
// every field is a sensible default.
type Hires struct {
	Scale  float64 `json:"scale,omitzero"`    // how much longer both sides become, 1 to 8; 0 is 2. Without meaning where a side is given
	Width  int     `json:"resize_x,omitzero"` // of the finished picture, in pixels; with one side the shape stays, with both the picture covers them and is cropped
	Height int     `json:"resize_y,omitzero"`

	Upscaler string   `json:"upscaler,omitzero"`           // one of [Pipeline.Upscalers]; "" is "Latent"
	Strength *float64 `json:"denoising_strength,omitzero"` // how much is drawn anew, 0 to 1; nil is 0.7, 0 only enlarges
	Steps    int      `json:"steps,omitzero"`              // all of which are made; 0 is as many as the first pass was asked for

	Sampler        sampler.Sampler `json:"sampler,omitzero"` // "" is the first pass's, and so for all that follows
	Spacing        sampler.Spacing `json:"spacing,omitzero"`
	Guidance       *float64        `json:"guidance,omitzero"`
	Prompt         string          `json:"prompt,omitzero"`
	NegativePrompt string          `json:"negative_prompt,omitzero"`

	Checkpoint string `json:"checkpoint,omitzero"` // another one for this pass, "Hires checkpoint", named as Refiner.Checkpoint; "" and "Use same checkpoint" are the first pass's
}

// sameCheckpoint is what the web UI calls none of the second pass's own.
const sameCheckpoint = "Use same checkpoint"

// The upscalers that need no file, besides those of latents.
const (
	NoUpscaler = "None" // the picture is scaled by Lanczos' filter, as the web UI does in the end in any case
	Lanczos    = "Lanczos"
	Nearest    = "Nearest"
)

// NoUpscalerError says that there is no upscaler of a name.
type NoUpscalerError struct {
	Name  string
	Known []string // those that there are
	Dirs  []string // the folders that were looked in
}

// Error implements error.
func (e *NoUpscalerError) Error() string {
	return fmt.Sprintf("there is no upscaler %.60q; there are %s; put a model of the ESRGAN family into one of the folders %q and give its name",
		e.Name, strings.Join(e.Known, ", "), e.Dirs)
}

// Upscalers are the names that Hires.Upscaler can have: those of the web UI that scale latents, those that need no file, and the models
// in the folders of [Options].UpscalerDirs.
func (p *Pipeline) Upscalers() []string {
	all := BuiltInUpscalers()
	for _, path := range p.upscalerFiles() {
		all = append(all, stem(path))
	}
	return all
}

// BuiltInUpscalers are those of Upscalers that need no file.
func BuiltInUpscalers() []string {
	return append(slices.Clone(canvas.Upscalers), NoUpscaler, Lanczos, Nearest)
}

// upscalerFiles are the paths of models that enlarge pictures.
func (p *Pipeline) upscalerFiles() (all []string) {
	for _, dir := range p.upscalerDirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			p.log.Warn("a folder of upscalers cannot be read", "folder", dir, "error", err)
		}
		for _, e := range entries {
			if slices.Contains([]string{".pth", ".pt", ".safetensors"}, strings.ToLower(filepath.Ext(e.Name()))) {
				all = append(all, filepath.Join(dir, e.Name()))
			}
		}
	}
	return all
}

// upscalerFile is the path of a model, by the name of its file.
func (p *Pipeline) upscalerFile(name string) (string, error) {
	files := p.upscalerFiles()
	if i := slices.IndexFunc(files, func(path string) bool { return stem(path) == name || filepath.Base(path) == name }); i >= 0 {
		return files[i], nil
	}
	return "", &NoUpscalerError{name, p.Upscalers(), p.upscalerDirs}
}

// resolve fills in the defaults of the second pass.
func (h Hires) resolve(r Request) Hires {
	setDefault(&h.Scale, 2)
	setDefault(&h.Upscaler, canvas.Upscalers[0])
	setDefault(&h.Steps, r.Steps)
	setDefault(&h.Sampler, r.Sampler)
	if h.Sampler == r.Sampler {
		setDefault(&h.Spacing, r.Spacing)
	}
	setDefault(&h.Prompt, r.Prompt)
	setDefault(&h.NegativePrompt, r.NegativePrompt)
	if h.Checkpoint == sameCheckpoint || strings.EqualFold(h.Checkpoint, "None") {
		h.Checkpoint = ""
	}
	if h.Strength == nil {
		h.Strength = new(0.7)
	}
	if h.Guidance == nil {
		h.Guidance = r.Guidance
	}
	return h
}

// hiresTarget is what sizes follow from a request.
func (r Request) hiresTarget() canvas.HiresTarget {
	return canvas.Hires{Width: r.Width, Height: r.Height, Scale: r.Hires.Scale, ResizeX: r.Hires.Width, ResizeY: r.Hires.Height}.Target()
}

// check complains about what a second pass cannot be, the sampler's part left to the sampler.
func (h Hires) check() error {
	var errs []error
	check := func(ok bool, field string, value any, want string, args ...any) {
		if !ok {
			errs = append(errs, invalid.Field("Request.Hires."+field, value, want, args...))
		}
	}
	check(h.Scale >= 1 && h.Scale <= 8, "Scale", h.Scale, "a factor from 1 to 8")
	check(h.Width == 0 || goodSide(h.Width), "Width", h.Width, "0, or a multiple of 8 up to %d pixels", MaxSide)
	check(h.Height == 0 || goodSide(h.Height), "Height", h.Height, "0, or a multiple of 8 up to %d pixels", MaxSide)
	check(math.Abs(*h.Guidance) <= 1000, "Guidance", *h.Guidance, "a number from -1000 to 1000")
	return errors.Join(errs...)
}

// second is the request as its second pass carries it out, on latents of a size.
func (r Request) second(width, height int) Request {
	h := *r.Hires
	r.Width, r.Height, r.Steps, r.Strength, r.Guidance = width, height, h.Steps, h.Strength, h.Guidance
	r.Sampler, r.Spacing, r.Prompt, r.NegativePrompt = h.Sampler, h.Spacing, h.Prompt, h.NegativePrompt
	return r
}

// hiresConfig is what the second pass asks of its sampler. One that draws nothing anew, which needs none, is looked through as if it drew all.
func (r Request) hiresConfig(schedule sampler.Schedule, prediction sampler.Prediction) sampler.Config {
	c := r.second(r.Width, r.Height).config(schedule, prediction)
	if c.Denoise, c.ExactSteps = r.Hires.Strength, true; *c.Denoise == 0 {
		c.Denoise = new(1.0)
	}
	return c
}

// enlarged appends the second pass, or lets the first one's latents be enlarged where it draws nothing anew.
func (p *Pipeline) enlarged(ctx context.Context, c *course) error {
	second, err := p.hiresPass(ctx, c.request, c.passes[0])
	if err != nil {
		return err
	}
	if first := c.passes[0].source; first != nil {
		second.begun = first.Picture
	}
	if c.size = image.Pt(second.request.Width, second.request.Height); *c.request.Hires.Strength == 0 {
		c.passes[0].larger = second
	} else {
		c.passes = append(c.passes, second)
	}
	return nil
}

// hiresPass is the second pass of a resolved request, behind the first one.
func (p *Pipeline) hiresPass(ctx context.Context, r Request, first *pass) (_ *pass, err error) {
	if err := r.Hires.check(); err != nil {
		return nil, err
	}
	factor, t := p.networks.VAE.Config().ScaleFactor(), r.hiresTarget()
	scaled := t.Upscaled.Div(factor)
	size := scaled.Sub(t.Truncate)
	if width, height := size.X*factor, size.Y*factor; !goodSide(width) || !goodSide(height) {
		return nil, invalid.Field("Request.Hires.Scale", r.Hires.Scale, "one with which no side is over %d pixels; the picture would be %d×%d", MaxSide, width, height)
	}
	one := &pass{request: r.second(size.X*factor, size.Y*factor), pipe: p, part: "Hires.", first: r.Steps}
	c := r.hiresConfig(p.networks.Schedule, p.networks.Prediction)
	if !r.refines(true) {
		c.SwitchAt = nil
	}
	if one.plan, err = sampler.New(c); err != nil {
		return nil, inPart("Hires", Hires{}, err)
	}
	if name := r.Hires.Checkpoint; name != "" {
		if one.pipe, err = p.other(ctx, "Request.Hires.Checkpoint", name); err != nil {
			return nil, err
		}
	}
	enlarge, err := p.upscaler(r, first, one, t.Upscaled)
	if err != nil {
		return nil, &invalid.FieldError{Field: "Request.Hires.Upscaler", Err: err}
	}
	one.enlarge = func(ctx context.Context, before []float32) ([]float32, error) {
		latents, err := enlarge(ctx, before)
		return crop(latents, r.BatchSize, scaled, t.Truncate), err
	}
	return one, nil
}

// inPart renames the fields in the error of a plan that a part of the request has of its own, such as "Hires".
func inPart(part string, of any, err error) error {
	var errs []error
	for _, e := range invalid.Fields(inRequest(err)) {
		if name := strings.TrimPrefix(e.Field, "Request."); has(of, name) {
			e.Field = "Request." + part + "." + name
		}
		errs = append(errs, e)
	}
	if errs == nil {
		return err
	}
	return errors.Join(errs...)
}

// upscaler finds what brings the latents of a request's first pass to a size in pixels, for the second.
func (p *Pipeline) upscaler(r Request, first, second *pass, size image.Point) (func(ctx context.Context, latents []float32) ([]float32, error), error) {
	name, factor := r.Hires.Upscaler, p.networks.VAE.Config().ScaleFactor()
	if slices.Contains(canvas.Upscalers, name) {
		return func(_ context.Context, latents []float32) ([]float32, error) {
			return p.resizeLatents(name, latents, image.Pt(r.Width, r.Height).Div(factor), size.Div(factor))
		}, nil
	}
	filter := map[string]picture.Filter{NoUpscaler: picture.Lanczos, Lanczos: picture.Lanczos, Nearest: picture.Nearest}[name]
	if filter == "" {
		var err error
		if second.model, err = p.upscalerFile(name); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, latents []float32) ([]float32, error) {
		pictures, err := first.finishes().decode(ctx, r, latents)
		if err != nil {
			return nil, err
		}
		if second.model == "" {
			for i, img := range pictures {
				pictures[i] = picture.Resample(img, size, image.Rectangle{Max: size}, filter, 4)
			}
		} else if err := p.enlarge(ctx, second.model, pictures, size); err != nil {
			return nil, err
		}
		if err := p.leave(second.pipe); err != nil {
			return nil, err
		}
		whole := image.Rectangle{Max: size.Div(factor).Mul(factor)}
		for i, img := range pictures {
			if img.Rect != whole {
				pictures[i] = picture.Resample(img, size, whole, picture.Lanczos, 4)
			}
		}
		return second.pipe.encodePictures(ctx, r, pictures)
	}, nil
}

// enlarge brings pictures to a size with the model of a file.
func (p *Pipeline) enlarge(ctx context.Context, path string, pictures []*image.NRGBA, size image.Point) (err error) {
	model, err := esrgan.Open(path, p.device, esrgan.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	for i, img := range pictures {
		if pictures[i], err = model.Resize(ctx, img, size.X, size.Y); err != nil {
			return err
		}
	}
	return nil
}

// crop cuts columns and rows off latents of a size, [N,h,w,C]: half of them on each side, the odd one at the right and at the bottom.
func crop(latents []float32, batch int, size, cut image.Point) []float32 {
	if cut == (image.Point{}) || len(latents) == 0 {
		return latents
	}
	channels := len(latents) / batch / size.X / size.Y
	from, left := cut.Div(2), size.Sub(cut)
	var out []float32
	for i := range batch {
		for y := range left.Y {
			at := ((i*size.Y+from.Y+y)*size.X + from.X) * channels
			out = append(out, latents[at:][:left.X*channels]...)
		}
	}
	return out
}
