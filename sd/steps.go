package sd

import (
	"context"
	"errors"
	"image"
	"iter"

	"github.com/atelier-go/atelier/sampler"
)

// Step is the state of a run after a sampling step. It is valid until the iteration goes on.
type Step struct {
	Index, Total int // Index is 0 to Total-1; the step at Total-1 is the last; until it comes, DPM adaptive only estimates Total
	run          *sampling
	request      Request
	hash         func() string // gives the checkpoint's hash, once it is known, else ""
}

// Last reports whether the run is complete, so that Result has the finished pictures.
func (s *Step) Last() bool { return s.Index == s.Total-1 }

// Latents is the state of the sampler, [N,C,H/8,W/8], in the scaled space of the UNet. Package sd/dense makes an array of
// Gorgonia's of it.
func (s *Step) Latents() (data []float32, shape []int, err error) {
	latents, err := s.run.latents()
	if err != nil {
		return nil, nil, err
	}
	data, channels := make([]float32, len(latents)), s.run.pipe.networks.LatentChannels()
	size := len(latents) / s.run.batch
	for i := range s.run.batch {
		channelsFirst(data[i*size:][:size], latents[i*size:][:size], channels)
	}
	return data, []int{s.run.batch, channels, s.run.height, s.run.width}, nil
}

// Preview decodes the model's present idea of the finished pictures. That costs as much as decoding the result.
func (s *Step) Preview(ctx context.Context) ([]*image.NRGBA, error) {
	latents, err := s.run.estimate()
	if err != nil {
		return nil, err
	}
	return s.run.pipe.decode(ctx, s.request, latents)
}

// Result decodes the latents as they are: after the last step these are the finished pictures.
func (s *Step) Result(ctx context.Context) (*Result, error) {
	latents, err := s.run.latents()
	if err != nil {
		return nil, err
	}
	images, err := s.run.pipe.decode(ctx, s.request, latents)
	if err != nil {
		return nil, err
	}
	r, m := &Result{Request: s.request}, model{s.run.pipe.name, s.hash(), s.run.pipe.embeddings.hashes(s.run.cond.embedded())}
	for i, img := range images {
		seed, _ := s.request.seeds(i)
		r.Pictures = append(r.Pictures, Picture{
			Image: img, Seed: seed, Infotext: describe(s.request, s.run.cond.adapters, m, i).String(),
		})
	}
	return r, nil
}

// Result holds finished pictures.
type Result struct {
	Request  Request   // as it was carried out, defaults filled in
	Pictures []Picture // BatchSize of them
}

// Steps runs a request and yields after each sampling step. The run ends early when ctx is done, within one op on the
// device, and yields context.Cause(ctx); breaking out of the loop ends it too.
//
//	for step, err := range pipe.Steps(ctx, sd.Request{Prompt: "a lighthouse"}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(step.Index+1, "of", step.Total)
//		if step.Last() {
//			result, err = step.Result(ctx)
//		}
//	}
func (p *Pipeline) Steps(ctx context.Context, r Request) iter.Seq2[*Step, error] {
	return func(yield func(*Step, error) bool) {
		s, r, err := p.start(ctx, r)
		if err != nil {
			yield(nil, err)
			return
		}
		defer s.close()
		ctx, stop := context.WithCancel(ctx)
		hash := p.startHash(ctx)
		defer func() { stop(); hash() }()
		step := &Step{run: s, request: r, hash: hash}
		for progress, err := range s.plan.Run(func(e *sampler.Eval) (float64, error) { return s.evaluate(ctx, e) }) {
			if err != nil {
				yield(nil, err)
				return
			}
			if step.Index, step.Total = progress.Step, progress.Total; !yield(step, nil) {
				return
			}
		}
	}
}

// start validates a request and prepares its run.
func (p *Pipeline) start(ctx context.Context, r Request) (*sampling, Request, error) {
	r, plan, err := p.plan(r)
	if err != nil {
		return nil, r, err
	}
	c, err := p.encode(ctx, r, plan)
	if err != nil {
		return nil, r, err
	}
	factor := p.networks.VAE.Config().ScaleFactor()
	height, width, channels := r.Height/factor, r.Width/factor, p.networks.LatentChannels()
	n, err := newNoise(r, channels, height, width, factor, plan)
	if err != nil {
		return nil, r, err
	}
	initial := make([]float32, r.BatchSize*height*width*channels)
	n.draw(initial)
	s, err := p.newSampling(ctx, job{plan: plan, cond: c, noise: n, batch: r.BatchSize, height: height, width: width}, initial)
	return s, r, err
}

// Generate runs a request to its end.
func (p *Pipeline) Generate(ctx context.Context, r Request) (*Result, error) {
	for step, err := range p.Steps(ctx, r) {
		if err != nil {
			return nil, err
		}
		if step.Last() {
			return step.Result(ctx)
		}
	}
	return nil, errors.New("sd: the sampler made no steps")
}
