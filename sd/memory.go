package sd

import (
	"context"
	"fmt"
	"image"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/weights"
)

// Memory reports what generating the request will hold on the device, all three networks' parameters included,
// before any parameter is read. Of a checkpoint and its refiner the larger counts: they take turns. Adapters add nothing to it: their weights take the place of the checkpoint's. A model that
// enlarges pictures between two passes is not counted; faces to be looked for are counted as if there were some. The device must be able to tell (compute.Estimator).
func (p *Pipeline) Memory(r Request) (compute.MemoryReport, error) {
	var total compute.MemoryReport
	estimator, ok := p.device.(compute.Estimator)
	if !ok {
		return total, fmt.Errorf("sd: %s cannot tell what it will need", p.device.Name())
	}
	c, err := p.course(context.Background(), r)
	if err != nil {
		return total, err
	}
	stages, err := p.stages(c)
	if err != nil {
		return total, err
	}
	for _, s := range stages {
		m, err := s.estimate(estimator)
		if err != nil {
			return total, err
		}
		total.Params, total.Arena, total.Worker = max(total.Params, m.Params), max(total.Arena, m.Arena), max(total.Worker, m.Worker)
	}
	return total, nil
}

// stage is what runs while the networks of one checkpoint are on the device: the pipeline's, or a refiner's.
type stage struct {
	pipe *Pipeline
	vae  autoencoder
	keys []engine.Key
}

// estimate is what the programs hold.
func (s *stage) estimate(by compute.Estimator) (total compute.MemoryReport, err error) {
	programs := make(map[weights.Kind][]*compute.Program)
	for _, key := range s.keys {
		program, err := s.pipe.networks.Record(key)
		if err != nil {
			return total, err
		}
		programs[key.Network()] = append(programs[key.Network()], program)
	}
	for kind, of := range programs {
		source, err := s.vae.params(s.pipe.networks, kind)
		if err != nil {
			return total, err
		}
		m, err := by.Estimate(source, of...)
		if err != nil {
			return total, err
		}
		total.Params += m.Params
		total.Arena = max(total.Arena, m.Arena)
		total.Worker = max(total.Worker, m.Worker)
	}
	return total, nil
}

// stages are those of a request. That of a refiner has no text encoder: it is given back before the UNet comes.
func (p *Pipeline) stages(c *course) (all []*stage, err error) {
	r, own := c.request, &stage{pipe: p}
	if own.vae, err = p.autoencoder(r); err != nil {
		return nil, err
	}
	all = []*stage{own}
	for i, one := range c.prompted() {
		if one.cond, err = p.read(one); err != nil {
			return nil, err
		}
		pixels := r.Hires != nil && !slices.Contains(canvas.Upscalers, r.Hires.Upscaler)
		face := i >= len(c.passes)
		if i == 0 && len(r.Image) > 0 || i == 1 && pixels || face || p.networks.Shown() > 0 {
			own.keys = append(own.keys, p.encodeKey(one.request, own.vae))
		}
		own.keys = append(own.keys, engine.TextKey{
			Sequences: min(len(one.cond.toEncode()), encodedAtOnce), Skipped: r.ClipSkip - 1, Added: len(one.cond.embedded()) > 0,
		})
		j, last := p.job(one), own
		for _, c := range j.conditionings() {
			own.keys = append(own.keys, j.keys(c)...)
		}
		if one.refiner != nil {
			last = &stage{pipe: one.refiner}
			if last.vae, err = last.pipe.autoencoder(r); err != nil {
				return nil, err
			}
			if j.cond, err = last.pipe.read(one); err != nil {
				return nil, err
			}
			for _, c := range j.conditionings() {
				last.keys = append(last.keys, j.keys(c)...)
			}
			all = append(all, last)
		}
		if i == len(c.passes)-1 || pixels || face {
			last.keys = append(last.keys, last.pipe.decodeKey(one.request, last.vae))
		}
	}
	return all, nil
}

// decodeKey is the program that decodes pictures of a request's size.
func (p *Pipeline) decodeKey(r Request, a autoencoder) engine.Key {
	c := p.networks.VAE.Config()
	height, width := r.Height/c.ScaleFactor(), r.Width/c.ScaleFactor()
	if tile := c.DecodeTiling().Tile; tiled(r, image.Pt(r.Width, r.Height)) {
		height, width = min(tile, height), min(tile, width)
	}
	return a.decodeKey(height, width)
}

// encodeKey is the program that encodes pictures of a request's size.
func (p *Pipeline) encodeKey(r Request, a autoencoder) engine.Key {
	height, width := r.Height, r.Width
	if tile := p.networks.VAE.Config().EncodeTiling().Tile; tiled(r, image.Pt(r.Width, r.Height)) {
		height, width = min(tile, height), min(tile, width)
	}
	return a.encodeKey(height, width)
}
