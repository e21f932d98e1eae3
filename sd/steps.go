package sd

import (
	"context"
	"errors"
	"image"
	"iter"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/sampler"
)

// Step is the state of a run after a sampling step. It is valid until the iteration goes on.
type Step struct {
	// Index is 0 to Total-1; the step at Total-1 is the last. Until it comes, DPM adaptive only estimates Total, and faces that Options.Faces
	// finds add to it.
	Index, Total int
	pipe         *Pipeline
	*course
	vae      vaeFile
	hashes   func() hashes  // gives those of the checkpoint and of the VAE, once they are known
	at       int            // the pass that runs
	done     int            // steps of all passes
	left     []float32      // latents that the last pass made
	pictures []*image.NRGBA // finished but for their faces, and for those that the last passes made
	made     []*image.NRGBA // those that the step leads to, if they have been looked at
	run      *sampling
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
	data, channels := make([]float32, len(latents)), s.pipe.networks.LatentChannels()
	size := len(latents) / s.run.batch
	for i := range s.run.batch {
		channelsFirst(data[i*size:][:size], latents[i*size:][:size], channels)
	}
	return data, []int{s.run.batch, channels, s.run.height, s.run.width}, nil
}

// Preview makes pictures of the model's present idea of the finished ones. With FullVAE that costs as much as decoding the result, with
// ApproxCheap next to nothing; their sides are then an eighth. Where a face is drawn anew, it is the picture of the face.
func (s *Step) Preview(ctx context.Context, by Autoencoder) ([]*image.NRGBA, error) {
	latents, err := s.run.estimate()
	if err != nil {
		return nil, err
	}
	if by == ApproxCheap {
		return s.run.pipe.cheapPreviews(latents, s.run.height, s.run.width)
	}
	r := s.passes[s.at].request
	r.Decoder = by
	return s.run.pipe.decode(ctx, r, latents)
}

// Result decodes the latents as they are: after the last step these are the finished pictures.
func (s *Step) Result(ctx context.Context) (*Result, error) {
	images, err := s.images(ctx)
	if err != nil {
		return nil, err
	}
	return s.result(images), nil
}

// Estimate is the Result of the model's present idea of the finished pictures: what a run leaves that is ended here. Faces that are not
// drawn anew yet are as they were.
func (s *Step) Estimate(ctx context.Context) (*Result, error) {
	if s.passes[s.at].face != nil || s.Last() {
		return s.Result(ctx)
	}
	images, err := s.Preview(ctx, s.request.Decoder)
	if err != nil {
		return nil, err
	}
	return s.result(images), nil
}

// result are pictures with what is to be said of them.
func (s *Step) result(images []*image.NRGBA) *Result {
	var embedded []string
	for _, one := range s.prompted() {
		for _, name := range one.cond.embedded() {
			if hash := one.cond.known.hash(name); !slices.Contains(embedded, hash) {
				embedded = append(embedded, hash)
			}
		}
	}
	r, m := &Result{Request: s.request}, model{name: s.pipe.name, vae: s.vae.name, hashes: s.hashes(), embeddings: strings.Join(embedded, ", ")}
	if second := takesOver(s.passes); second != nil {
		m.refiner = second.name
	}
	if second := s.enlarges(); second != nil {
		m.hires = second.name
	}
	for i, img := range images {
		seed, _ := s.request.seeds(i)
		r.Pictures = append(r.Pictures, Picture{
			Image: img, Seed: seed, Infotext: describe(s.request, s.adapters(), m, i).String(),
		})
	}
	return r
}

// images are the pictures that the step leads to.
func (s *Step) images(ctx context.Context) ([]*image.NRGBA, error) {
	if s.made != nil {
		return s.made, nil
	}
	one := s.passes[s.at]
	images, err := s.run.pipe.pictures(ctx, one, s.run)
	if err != nil || one.face == nil {
		return images, err
	}
	all := slices.Clone(s.pictures)
	all[one.face.picture] = images[0]
	return all, nil
}

// adapters are those of all passes, each once.
func (s *Step) adapters() (all adapters) {
	for _, one := range s.prompted() {
		for _, a := range one.cond.adapters {
			if !slices.ContainsFunc(all, func(b adapter) bool { return a.Adapter == b.Adapter && a.tagged == b.tagged }) {
				all = append(all, a)
			}
		}
	}
	return all
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
		c, err := p.course(ctx, r)
		var vae autoencoder
		if err == nil {
			vae, err = c.finishes().autoencoder(c.request)
		}
		if err == nil {
			err = p.encodeAll(ctx, c.prompted())
		}
		if err != nil {
			yield(nil, err)
			return
		}
		ctx, stop := context.WithCancel(ctx)
		hashes := p.startHashes(ctx, vae.path, takesOver(c.passes), c.enlarges())
		defer func() { stop(); hashes() }()
		c.drawGiven()
		for step := (&Step{pipe: p, course: c, vae: vae.vaeFile, hashes: hashes}); step.at < len(c.passes); step.at++ {
			if more, err := step.sample(ctx, yield); err != nil {
				yield(nil, err)
				return
			} else if !more {
				return
			}
		}
	}
}

// sample carries out the pass that the run has come to, on what the pass before left, and tells whether the caller wants more.
func (s *Step) sample(ctx context.Context, yield func(*Step, error) bool) (more bool, err error) {
	one := s.passes[s.at]
	if one.face != nil {
		img := s.pictures[one.face.picture]
		one.source = s.pipe.source(one.request, img, one.face.mask(img.Rect.Size()))
	}
	if s.run, err = s.pipe.start(ctx, one, s.left); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, s.run.close(), s.pipe.leave(s.pipe)) }()
	before := s.done
	for progress, err := range one.plan.Run(func(e *sampler.Eval) (float64, error) { return s.run.evaluate(ctx, e) }) {
		if err != nil {
			return false, err
		}
		s.Index, s.done, s.made = before+progress.Step, before+progress.Step+1, nil
		if progress.Step == progress.Total-1 {
			if err := s.findFaces(ctx); err != nil {
				return false, err
			}
		}
		s.Total = before + progress.Total
		for _, later := range s.passes[s.at+1:] {
			s.Total += max(later.plan.Steps, 1)
		}
		if !yield(s, nil) {
			return false, nil
		}
	}
	switch {
	case s.at == len(s.passes)-1:
	case s.passes[s.at+1].face != nil:
		s.pictures, err = s.images(ctx)
	default:
		s.left, err = s.run.latents()
	}
	return true, err
}

// findFaces appends the passes of faces that are to be looked for, if the pictures are finished but for them.
func (s *Step) findFaces(ctx context.Context) (err error) {
	one := s.passes[s.at]
	if s.at < len(s.passes)-1 || len(s.faces) == 0 || len(s.request.Faces.Boxes) > 0 || one.face != nil {
		return nil
	}
	if s.made, err = s.images(ctx); err != nil {
		return err
	}
	for i, img := range s.made {
		boxes, err := s.pipe.findFaces(ctx, *s.request.Faces, img, one.source.drawn())
		if err != nil {
			return err
		}
		s.draw(i, boxes)
	}
	return nil
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
