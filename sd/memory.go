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
// before any parameter is read. Adapters add nothing to it: their weights take the place of the checkpoint's. A model that
// enlarges pictures between two passes is not counted. The device must be able to tell (compute.Estimator).
func (p *Pipeline) Memory(r Request) (compute.MemoryReport, error) {
	var total compute.MemoryReport
	estimator, ok := p.device.(compute.Estimator)
	if !ok {
		return total, fmt.Errorf("sd: %s cannot tell what it will need", p.device.Name())
	}
	r, passes, err := p.passes(context.Background(), r)
	if err != nil {
		return total, err
	}
	a, err := p.autoencoder(r)
	if err != nil {
		return total, err
	}
	keys, err := p.keys(r, a, passes)
	if err != nil {
		return total, err
	}
	programs := make(map[weights.Kind][]*compute.Program)
	for _, key := range keys {
		program, err := p.networks.Record(key)
		if err != nil {
			return total, err
		}
		programs[key.Network()] = append(programs[key.Network()], program)
	}
	for kind, of := range programs {
		source, err := a.params(p.networks, kind)
		if err != nil {
			return total, err
		}
		m, err := estimator.Estimate(source, of...)
		if err != nil {
			return total, err
		}
		total.Params += m.Params
		total.Arena = max(total.Arena, m.Arena)
		total.Worker = max(total.Worker, m.Worker)
	}
	return total, nil
}

// keys lists the programs that run for a request.
func (p *Pipeline) keys(r Request, a autoencoder, passes []*pass) (all []engine.Key, err error) {
	for i, one := range passes {
		if one.cond, err = p.read(one); err != nil {
			return nil, err
		}
		pixels := r.Hires != nil && !slices.Contains(canvas.Upscalers, r.Hires.Upscaler)
		if i == 0 && len(r.Image) > 0 || i == 1 && pixels || p.networks.Shown() > 0 {
			all = append(all, p.encodeKey(one.request, a))
		}
		all = append(all, engine.TextKey{
			Sequences: min(len(one.cond.toEncode()), encodedAtOnce), Skipped: r.ClipSkip - 1, Added: len(one.cond.embedded()) > 0,
		})
		j := p.job(one)
		for _, c := range j.conditionings() {
			all = append(all, j.keys(c)...)
		}
		if i == len(passes)-1 || pixels {
			all = append(all, p.decodeKey(one.request, a))
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
