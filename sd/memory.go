package sd

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/esrgan"
	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/weights"
)

// Memory reports what generating the request will hold on the device, all three networks' parameters included,
// before any parameter is read. Of several checkpoints the largest counts: they take turns. A model that enlarges pictures comes to what
// draws them; adapters add nothing to it: their weights take the place of the checkpoint's. Faces to be looked for are counted as if there
// were some. The device must be able to tell (compute.Estimator).
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

// stage is what runs while the networks of one checkpoint are on the device.
type stage struct {
	pipe     *Pipeline
	vae      autoencoder
	keys     []engine.Key
	model    string      // a file of what enlarges pictures meanwhile, if there is one
	enlarged image.Point // their size then
	beside   *stage      // what is on the device meanwhile too, if anything
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
		total = together(total, m)
	}
	if s.model != "" {
		m, err := esrgan.Estimate(s.model, s.pipe.device, esrgan.Options{}, s.enlarged)
		if err != nil {
			return total, &invalid.FieldError{Field: "Request.Hires.Upscaler", Err: err}
		}
		total = together(total, m)
	}
	if s.beside != nil {
		m, err := s.beside.estimate(by)
		return together(total, m), err
	}
	return total, nil
}

// together is what two hold that are on the device at the same time and run in turn.
func together(a, b compute.MemoryReport) compute.MemoryReport {
	return compute.MemoryReport{Params: a.Params + b.Params, Arena: max(a.Arena, b.Arena), Worker: max(a.Worker, b.Worker)}
}

// stages are those of a request, the pipeline's first. Those of other checkpoints have no text encoder: it is given back before the UNet comes.
func (p *Pipeline) stages(c *course) (all []*stage, err error) {
	of := func(pipe *Pipeline) *stage {
		if i := slices.IndexFunc(all, func(s *stage) bool { return s.pipe == pipe }); i >= 0 {
			return all[i]
		}
		a, failed := pipe.autoencoder(c.request)
		all, err = append(all, &stage{pipe: pipe, vae: a}), errors.Join(err, failed)
		return all[len(all)-1]
	}
	of(p)
	for i, one := range c.prompted() {
		begin, end := of(one.pipe), of(one.finishes())
		if one.source != nil || p.networks.Shown() > 0 {
			begin.encodes(one)
		}
		if err := begin.samples(one, end, begin == all[0]); err != nil {
			return nil, err
		}
		if i == 0 && c.larger() != nil {
			end.enlarges(one, c.larger(), of(c.larger().pipe))
		} else {
			end.decodes(one)
		}
	}
	return all, err
}

// encodes and decodes add what the VAE does for a pass.
func (s *stage) encodes(one *pass) { s.keys = append(s.keys, s.pipe.encodeKey(one.request, s.vae)) }
func (s *stage) decodes(one *pass) { s.keys = append(s.keys, s.pipe.decodeKey(one.request, s.vae)) }

// samples adds the steps of a pass, which another stage may end, and its text encoder where that is held.
func (s *stage) samples(one *pass, end *stage, reads bool) (err error) {
	if one.cond, err = s.pipe.read(one); err != nil {
		return err
	}
	if reads {
		s.keys = append(s.keys, engine.TextKey{
			Sequences: min(len(one.cond.toEncode()), encodedAtOnce), Skipped: one.request.ClipSkip - 1, Added: len(one.cond.embedded()) > 0,
		})
	}
	j := s.pipe.job(one)
	for _, c := range j.conditionings() {
		s.keys = append(s.keys, j.keys(c)...)
	}
	if end == s {
		return nil
	}
	if j.cond, err = end.pipe.read(one); err != nil {
		return err
	}
	for _, c := range j.conditionings() {
		end.keys = append(end.keys, j.keys(c)...)
	}
	return nil
}

// enlarges adds what is done between two passes, or behind one that is only enlarged, whose UNet is held until then.
func (s *stage) enlarges(one, larger *pass, to *stage) {
	if !slices.Contains(canvas.Upscalers, larger.request.Hires.Upscaler) {
		s.decodes(one)
		s.model, s.enlarged = larger.model, image.Pt(larger.request.Width, larger.request.Height)
		to.encodes(larger)
	}
	if one.larger == nil {
		return
	}
	if to.decodes(larger); to != s {
		s.beside = to
	}
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
