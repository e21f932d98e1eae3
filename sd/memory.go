package sd

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
)

// Memory reports what generating the request will hold on the device, all three networks' parameters included,
// before any parameter is read. Adapters add nothing to it: their weights take the place of the checkpoint's. The device
// must be able to tell (compute.Estimator).
func (p *Pipeline) Memory(r Request) (compute.MemoryReport, error) {
	var total compute.MemoryReport
	estimator, ok := p.device.(compute.Estimator)
	if !ok {
		return total, fmt.Errorf("sd: %s cannot tell what it will need", p.device.Name())
	}
	r, plan, err := p.plan(r)
	if err != nil {
		return total, err
	}
	c := p.networks.VAE.Config()
	height, width := r.Height/c.ScaleFactor(), r.Width/c.ScaleFactor()
	decode := engine.DecodeKey{Height: height, Width: width}
	if r.TiledVAE || r.Height*r.Width > tiledAbove {
		tile := c.DecodeTiling().Tile
		decode = engine.DecodeKey{Height: min(tile, height), Width: min(tile, width)}
	}
	prompts, err := p.read(r, plan)
	if err != nil {
		return total, fmt.Errorf("sd: %w", err)
	}
	j := job{plan: plan, cond: prompts, batch: r.BatchSize, height: height, width: width}
	var steps []engine.Key
	for _, c := range j.conditionings() {
		steps = append(steps, engine.ContextKey{Samples: len(c.parts) * r.BatchSize, Tokens: c.tokens}, j.key(c))
	}
	for _, keys := range [][]engine.Key{
		{engine.TextKey{Sequences: min(len(prompts.toEncode()), encodedAtOnce), Skipped: r.ClipSkip - 1, Added: len(prompts.embedded()) > 0}},
		steps,
		{decode},
	} {
		var programs []*compute.Program
		for _, key := range keys {
			program, err := p.networks.Record(key)
			if err != nil {
				return total, err
			}
			programs = append(programs, program)
		}
		m, err := estimator.Estimate(p.networks.Components[keys[0].Network()], programs...)
		if err != nil {
			return total, err
		}
		total.Params += m.Params
		total.Arena = max(total.Arena, m.Arena)
		total.Worker = max(total.Worker, m.Worker)
	}
	return total, nil
}
