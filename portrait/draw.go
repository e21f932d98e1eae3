package portrait

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
)

// Pictures say what is drawn of a person. The zero value is a portrait for LinkedIn by Stable Diffusion 1.5: 32 candidates of 512×640,
// of which the best eight are drawn twice as large.
type Pictures struct {
	// Preset is the name of one of Presets; "" is the first. Prompt and Negative, if not "", are words of one's own in place of the
	// preset's; in Prompt, {person} and {lora} stand for the person and the LoRA, which are put in if they are not there.
	Preset, Prompt, Negative string
	// Candidates is how many are drawn, with consecutive seeds from Request.Seed, and Best how many of them are finished.
	// 0 means 32 and 8.
	Candidates, Best int
	// Request is how they are drawn: what of it is zero is Stable Diffusion's usual. Prompts, size of batches and passes besides the first
	// are not its business. Its seed is 1 if 0.
	Request sd.Request
	// Hires is how the best are drawn larger; nil means twice as large, a third of it anew, by Lanczos, which keeps the face.
	Hires *sd.Hires
	// Faces is how their faces are drawn anew after that, if Config.Detector is an sd.FaceDetector too, as face.Cascades is; nil means the
	// largest, three tenths of it. A Strength of 0 leaves faces as they are.
	Faces *sd.FacePass
}

// MaxCandidates is the most candidates that are drawn.
const MaxCandidates = 1000

// defaults fills in what is zero, for a model of a side.
func (p Pictures) defaults(side int) Pictures {
	def := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	def(&p.Candidates, 32)
	def(&p.Best, 8)
	p.Best = min(p.Best, p.Candidates)
	if p.Request.Width == 0 && p.Request.Height == 0 {
		p.Request.Width, p.Request.Height = side, side*5/4
	}
	def(&p.Request.Steps, 28)
	if p.Request.Seed == 0 {
		p.Request.Seed = 1
	}
	if p.Hires == nil {
		p.Hires = &sd.Hires{Scale: 2, Upscaler: sd.Lanczos, Strength: new(0.33), Steps: (p.Request.Steps + 1) / 2}
	}
	if p.Faces == nil {
		p.Faces = &sd.FacePass{Strength: new(0.3), Largest: 1}
	}
	return p
}

// check reports what cannot be, but for what a pipeline says of the request.
func (p Pictures) check() error {
	var errs []error
	if _, err := findPreset(p.Preset); err != nil {
		errs = append(errs, err)
	}
	if p.Candidates < 0 || p.Candidates > MaxCandidates {
		errs = append(errs, invalid.Field("Pictures.Candidates", p.Candidates, "1 to %d, or 0 for 32", MaxCandidates))
	}
	if p.Best < 0 || p.Best > MaxCandidates {
		errs = append(errs, invalid.Field("Pictures.Best", p.Best, "1 to the number of candidates, or 0 for 8"))
	}
	if p.Request.Seed < 0 {
		errs = append(errs, invalid.Field("Pictures.Request.Seed", p.Request.Seed, "a number from 0, so that pictures can be drawn again"))
	}
	return errors.Join(errs...)
}

// of is the request for a person with a LoRA by its name.
func (p Pictures) of(name, class, lora string, weight float64) sd.Request {
	preset, _ := findPreset(p.Preset) // check has found it
	r := p.Request
	r.Prompt, r.NegativePrompt = preset.Prompt, preset.Negative
	if p.Prompt != "" {
		r.Prompt, r.NegativePrompt = p.Prompt, ""
	}
	if p.Negative != "" {
		r.NegativePrompt = p.Negative
	}
	r.Prompt = fill(r.Prompt, name, class, lora, weight)
	r.BatchSize, r.Hires, r.Faces, r.Image, r.Inpaint = 1, nil, nil, nil, nil
	return r
}

// Sketch is a picture of a seed in a file.
type Sketch struct {
	sd.Picture
	Path string
}

// sketchPath is where Draw keeps the picture of a seed.
func sketchPath(dir string, seed int64) string {
	return filepath.Join(dir, fmt.Sprintf("%d.png", seed))
}

// Draw draws a request once for each seed into a folder, SEED.png with its infotext. Those that are there already are read, so that
// drawing that was interrupted goes on; it is the caller's business that they are of the same request. Between the pictures the
// sequence has, as a nil *Sketch, the steps; told tells how many of how many are done.
func Draw(ctx context.Context, pipe *sd.Pipeline, dir string, r sd.Request, seeds []int64, told func(done, total int)) iter.Seq2[Sketch, error] {
	return func(yield func(Sketch, error) bool) {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			yield(Sketch{}, fmt.Errorf("portrait: %w", err))
			return
		}
		for i, seed := range seeds {
			sketch, err := openSketch(ctx, sketchPath(dir, seed), seed)
			if errors.Is(err, fs.ErrNotExist) {
				r.Seed = seed
				sketch.Picture, err = drawOne(ctx, pipe, r, func(done, total int) { told(i*total+done, len(seeds)*total) })
				if err == nil {
					err = sketch.Save(sketch.Path)
				}
			}
			if err != nil {
				yield(sketch, err)
				return
			}
			if !yield(sketch, nil) {
				return
			}
		}
	}
}

// openSketch reads a picture that was drawn; one that cannot be read counts as one that is not there.
func openSketch(ctx context.Context, path string, seed int64) (Sketch, error) {
	s := Sketch{Path: path, Picture: sd.Picture{Seed: seed}}
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	text, err := infotext.Extract(bytes.NewReader(data))
	if err == nil {
		s.Infotext = text.Infotext()
		s.Image, err = picture.Decode(ctx, data, picture.Limits{})
	}
	switch {
	case ctx.Err() != nil:
		return s, context.Cause(ctx)
	case err != nil:
		return s, fmt.Errorf("%s is damaged: %w", path, fs.ErrNotExist)
	}
	return s, nil
}

// drawOne draws one picture.
func drawOne(ctx context.Context, pipe *sd.Pipeline, r sd.Request, told func(done, total int)) (sd.Picture, error) {
	for step, err := range pipe.Steps(ctx, r) {
		if err != nil {
			return sd.Picture{}, err
		}
		told(step.Index+1, step.Total)
		if step.Last() {
			result, err := step.Result(ctx)
			if err != nil {
				return sd.Picture{}, err
			}
			return result.Pictures[0], nil
		}
	}
	return sd.Picture{}, errors.New("portrait: the sampler made no steps")
}

// seeds are those of so many candidates.
func seeds(first int64, n int) (all []int64) {
	for i := range n {
		all = append(all, first+int64(i))
	}
	return all
}
