package sd

import (
	"context"
	"fmt"

	"github.com/atelier-go/atelier/sampler"
	"github.com/atelier-go/atelier/sd/prompt"
)

// pass is one sampling of a request: of noise alone, or of noise over the latents that it begins with.
type pass struct {
	request Request // as the pass carries it out: its size, its steps, its prompts
	plan    *sampler.Plan
	first   int // steps of the first pass, if this is the hires pass, by which prompts count their edits
	cond    *conditioning
	source  *source       // the picture that the pass begins with, if there is one
	refiner *Pipeline     // takes over on the way; nil is none
	refined *conditioning // what the prompts say to it
	// clean makes the latents that the pass begins with, [N,h,w,C], of those that the pass before it left; nil if it begins with noise alone.
	clean func(ctx context.Context, before []float32) ([]float32, error)
}

// passes resolves a request and lists what is to be sampled for it.
func (p *Pipeline) passes(ctx context.Context, r Request) (Request, []*pass, error) {
	picture, err := r.picture(ctx, p.Side())
	if err != nil {
		return r, nil, fmt.Errorf("sd: %w", err)
	}
	r, plan, err := p.plan(r)
	if err != nil {
		return r, nil, err
	}
	all := []*pass{{request: r, plan: plan}}
	if picture != nil {
		mask, err := r.mask(ctx, plan)
		if err != nil {
			return r, nil, fmt.Errorf("sd: %w", err)
		}
		all[0].source = p.source(r, picture, mask)
		all[0].clean = func(ctx context.Context, _ []float32) ([]float32, error) {
			return p.begin(ctx, r, all[0].source.Picture)
		}
	}
	if r.Hires != nil {
		second, err := p.hiresPass(r, all[0])
		if err != nil {
			return r, nil, fmt.Errorf("sd: %w", err)
		}
		all = append(all, second)
	}
	refiner, err := p.refiner(ctx, r)
	for _, one := range all {
		if one.plan.Switched {
			one.refiner = refiner
		}
	}
	return r, all, err
}

// field is where a request has what the pass carries out.
func (one *pass) field(name string) string {
	if one.first > 0 {
		return "Request.Hires." + name
	}
	return "Request." + name
}

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

// encodeAll reads and encodes the prompts of all passes, so that what is wrong with them is said before the work.
func (p *Pipeline) encodeAll(ctx context.Context, passes []*pass) (err error) {
	for _, one := range passes {
		if one.cond, err = p.encode(ctx, one); err != nil {
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

// start begins the sampling of a pass on what the pass before left.
func (p *Pipeline) start(ctx context.Context, one *pass, before []float32) (*sampling, error) {
	var clean []float32
	if one.clean != nil {
		var err error
		if clean, err = one.clean(ctx, before); err != nil {
			return nil, err
		}
		if err := p.trimRefiners(); err != nil {
			return nil, err
		}
		if err := p.masked(one, clean); err != nil {
			return nil, err
		}
	}
	j, c := p.job(one), p.networks.VAE.Config()
	var err error
	j.paint.clean = clean
	if j.paint.shown, err = p.shown(ctx, one); err != nil {
		return nil, err
	}
	if j.noise, err = newNoise(one.request, c.LatentChannels, j.height, j.width, c.ScaleFactor(), one.plan); err != nil {
		return nil, err
	}
	initial := make([]float32, j.batch*j.height*j.width*c.LatentChannels)
	j.noise.draw(initial)
	if m := one.request.NoiseMultiplier; m != nil && one.clean != nil && one.first == 0 {
		for i := range initial {
			initial[i] *= float32(*m)
		}
	}
	return p.newSampling(ctx, j, initial, clean)
}
