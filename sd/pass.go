package sd

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/prompt"
)

// pass is one sampling of a request: of noise alone, or of noise over the latents that it begins with.
type pass struct {
	request Request   // as the pass carries it out: its size, its steps, its prompts
	pipe    *Pipeline // whose networks sample it
	plan    *sampler.Plan
	first   int // steps of the first pass, if this is the hires pass, by which prompts count their edits
	cond    *conditioning
	part    string        // where a request has what is the pass's own: "Hires.", "Faces." or ""
	source  *source       // the picture that the pass begins with, if there is one
	face    *face         // of a picture that is finished but for its faces, if the pass draws one
	refiner *Pipeline     // takes over on the way; nil is none
	refined *conditioning // what the prompts say to it
	// enlarge makes the latents that the hires pass begins with, [N,h,w,C], of those that the pass before it left.
	enlarge func(ctx context.Context, before []float32) ([]float32, error)
	model   string       // the file of what enlarges pictures, if there is one
	begun   *image.NRGBA // what the pass before the hires pass began with, if it was a picture
	larger  *pass        // a hires pass that draws nothing anew: what this pass leaves is only enlarged, and not sampled again; nil is none
}

// course is what is sampled for a request.
type course struct {
	request Request     // resolved
	passes  []*pass     // one after the other, those of faces behind the others, once it is known where these are
	faces   []*pass     // what the passes of each picture's faces are made of, the last for all further ones; nil leaves a face out
	size    image.Point // of the finished pictures
}

// course resolves a request and lists what is to be sampled for it.
func (p *Pipeline) course(ctx context.Context, r Request) (*course, error) {
	picture, err := r.picture(ctx, p.Side())
	if err != nil {
		return nil, fmt.Errorf("sd: %w", err)
	}
	r, plan, err := p.plan(r)
	if err != nil {
		return nil, err
	}
	c := &course{request: r, passes: []*pass{{request: r, pipe: p, plan: plan}}, size: image.Pt(r.Width, r.Height)}
	if picture != nil {
		err = p.begun(ctx, c, picture)
	}
	if err == nil && r.Hires != nil {
		err = p.enlarged(ctx, c)
	}
	if err == nil {
		err = p.refine(ctx, c)
	}
	if err == nil && r.Faces != nil {
		c.faces, err = p.facePasses(r)
		err = errors.Join(err, r.Faces.inside(c.size))
	}
	if err != nil {
		return nil, fmt.Errorf("sd: %w", err)
	}
	return c, nil
}

// refine lets the refiner take passes over.
func (p *Pipeline) refine(ctx context.Context, c *course) error {
	if c.request.Refiner == nil {
		return nil
	}
	refiner, err := p.other(ctx, "Request.Refiner.Checkpoint", c.request.Refiner.Checkpoint)
	for _, one := range c.passes {
		if one.plan.Switched && refiner != one.pipe {
			one.refiner = refiner
		}
	}
	return err
}

// begun lets the first pass begin with a picture.
func (p *Pipeline) begun(ctx context.Context, c *course, picture *image.NRGBA) error {
	first := c.passes[0]
	mask, err := c.request.mask(ctx)
	if err != nil {
		return err
	}
	if mask != nil && c.request.Inpaint.Only && mask.Rect.Size() != picture.Rect.Size() {
		has := picture.Rect.Size()
		return invalid.Field("Request.Inpaint.Mask", mask.Rect.Size(), "the picture's size, (%d,%d), where only the masked part is drawn: it says what is cut out of it", has.X, has.Y)
	}
	if first.source = p.source(c.request, picture, mask); !first.source.PasteTo.Empty() && !first.source.in.Bare {
		c.size = first.source.Overlay.Rect.Size()
	}
	return nil
}

// prompted are the passes with all prompts that a request has, whatever faces there are.
func (c *course) prompted() (all []*pass) {
	for _, one := range c.passes {
		if one.face == nil {
			all = append(all, one)
		}
	}
	for _, one := range c.faces {
		if one != nil {
			all = append(all, one)
		}
	}
	return all
}

// field is where a request has what the pass carries out.
func (one *pass) field(name string) string { return "Request." + one.part + name }

// timing is how the pass's prompts count their edits. Samplers of second order count each step twice.
func (one *pass) timing() prompt.Timing {
	twice := func(steps int) int {
		if one.request.Sampler.SecondOrder() {
			return 2 * steps
		}
		return steps
	}
	t := prompt.Timing{Steps: twice(one.request.Steps), Old: one.request.PromptOptions.OldTimelines}
	if one.first > 0 {
		t.Steps, t.Hires = twice(one.first), t.Steps
	}
	return t
}

// encodeAll reads and encodes the prompts of all passes, so that what is wrong with them is said before the work. Text encoders of other
// checkpoints are not held any longer.
func (p *Pipeline) encodeAll(ctx context.Context, passes []*pass) (err error) {
	for _, one := range passes {
		if one.cond, err = one.pipe.encode(ctx, one); err == nil && one.pipe != p {
			err = one.pipe.cache.Trim()
		}
		if err != nil {
			return err
		}
	}
	return encodeRefined(ctx, passes)
}

// size is that of the pass's latents.
func (p *Pipeline) size(one *pass) (height, width int) {
	f := p.networks.VAE.Config().ScaleFactor()
	return one.request.Height / f, one.request.Width / f
}

// job is what a pass samples, once its prompts are read.
func (p *Pipeline) job(one *pass) job {
	height, width := p.size(one)
	j := job{
		refiner: one.refiner, refined: one.refined,
		plan: one.plan, cond: one.cond, batch: one.request.BatchSize, height: height, width: width,
		options: one.network(p.networks.VAE.Config().ScaleFactor()), rescale: one.request.GuidanceRescale, cache: one.request.Speed.DeepCache,
	}
	if s := one.source; s != nil && s.mask != nil {
		j.paint.mask, j.paint.soft = s.mask, s.in.Soft
	}
	return j
}

// start begins the sampling of a pass on what the pass before left. Of other checkpoints nothing is held any longer.
func (p *Pipeline) start(ctx context.Context, one *pass, before []float32) (*sampling, error) {
	var clean []float32
	var err error
	switch {
	case one.enlarge != nil:
		clean, err = one.enlarge(ctx, before)
	case one.source != nil:
		if clean, err = p.begin(ctx, one.request, one.source.Picture); err == nil {
			err = p.masked(one, clean)
		}
	}
	if err := errors.Join(err, p.leave(one.pipe)); err != nil {
		return nil, err
	}
	return one.pipe.sample(ctx, one, clean)
}

// sample begins the sampling of a pass of this pipeline on clean latents, if there are some.
func (p *Pipeline) sample(ctx context.Context, one *pass, clean []float32) (_ *sampling, err error) {
	j, c := p.job(one), p.networks.VAE.Config()
	j.paint.clean = clean
	if j.paint.shown, err = p.shown(ctx, one); err != nil {
		return nil, err
	}
	if j.noise, err = newNoise(one.request, c.LatentChannels, j.height, j.width, c.ScaleFactor(), one.plan); err != nil {
		return nil, err
	}
	initial := make([]float32, j.batch*j.height*j.width*c.LatentChannels)
	j.noise.draw(initial)
	if m := one.request.NoiseMultiplier; m != nil && one.source != nil {
		for i := range initial {
			initial[i] *= float32(*m)
		}
	}
	return p.newSampling(ctx, j, initial, clean)
}
