package sd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/weights"
)

// Refiner is another checkpoint, which takes a run over on its way: the same latents, prompts and LoRAs, by its own text encoder, UNet
// and, at the end, VAE. While one of both checkpoints works, the UNet of the other is not held. The zero value of every field but
// Checkpoint is a sensible default.
type Refiner struct {
	Checkpoint string        `json:"checkpoint,omitzero"`             // a path, or the name of one in Options.CheckpointDirs or beside the pipeline's, as weights.FindCheckpoint has it; "" and "None" are none
	SwitchAt   *float64      `json:"switch_at,omitzero"`              // part of the way, 0 to 1, measured in timesteps; nil is 0.8, 0 is from the first step on, 1 never
	ByCalls    bool          `json:"switch_by_sample_steps,omitzero"` // it is measured in planned evaluations instead, as before the web UI's version 1.8
	Passes     RefinedPasses `json:"hires_pass,omitzero"`             // of a request with Hires; "" is RefineSecond
}

// RefinedPasses says which passes of a request with Hires a refiner takes over.
type RefinedPasses string

// The choices, by the web UI's names.
const (
	RefineFirst  RefinedPasses = "first pass"
	RefineSecond RefinedPasses = "second pass"
	RefineBoth   RefinedPasses = "both passes"
)

// refined are all of them.
var refined = []RefinedPasses{RefineFirst, RefineSecond, RefineBoth}

// resolve fills in the defaults; there is no refiner without a checkpoint.
func (f *Refiner) resolve() *Refiner {
	if f == nil || f.Checkpoint == "" || strings.EqualFold(f.Checkpoint, "None") {
		return nil
	}
	resolved := *f
	setDefault(&resolved.Passes, RefineSecond)
	if resolved.SwitchAt == nil {
		resolved.SwitchAt = new(0.8)
	}
	return &resolved
}

// refines tells whether the refiner of a resolved request may take over the first or the second pass.
func (r Request) refines(second bool) bool {
	switch {
	case r.Refiner == nil:
		return false
	case r.Hires == nil || r.Refiner.Passes == RefineBoth:
		return true
	}
	return second == (r.Refiner.Passes == RefineSecond)
}

// other is the pipeline of the checkpoint that a field of a request names, which may be this one.
func (p *Pipeline) other(ctx context.Context, field, name string) (*Pipeline, error) {
	refuse := func(err error) error { return &invalid.FieldError{Field: field, Value: name, Err: err} }
	path, err := weights.FindCheckpoint(name, p.path, p.checkpointDirs...)
	if err != nil {
		return nil, refuse(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, refuse(err)
	}
	if own, err := os.Stat(p.path); err == nil && os.SameFile(own, info) {
		return p, nil
	}
	p.files.Lock()
	defer p.files.Unlock()
	id := fmt.Sprintf("%q %d %d", path, info.Size(), info.ModTime().UnixNano())
	second := p.others[id]
	if second == nil {
		if second, err = p.openOther(ctx, path); err != nil {
			return nil, refuse(err)
		}
		p.others[id] = second
	}
	second.files.Lock()
	defer second.files.Unlock()
	second.added = maps.Clone(p.added)
	return second, nil
}

// openOther opens a checkpoint that can go on with the latents of this one.
func (p *Pipeline) openOther(ctx context.Context, path string) (*Pipeline, error) {
	o := Options{LoRA: p.lora.Name, LoRAMultiplier: &p.lora.TextEncoder, LoRADirs: p.folders, EmbeddingDirs: p.embeddingDirs, VAEDirs: p.vaeDirs, Logger: p.log}
	used := p.networks.Components[weights.KindVAE]
	if builtIn, _ := p.checkpoint.BuiltIn(weights.KindVAE); builtIn != used {
		o.Weights.VAE = used.Path()
	}
	second, err := Open(ctx, path, p.device, o)
	if err != nil {
		return nil, err
	}
	if err := second.networks.TakesOver(p.networks); err != nil {
		return nil, errors.Join(err, second.Close())
	}
	return second, nil
}

// leave gives back what other checkpoints than that of a pipeline hold on the device and nobody uses.
func (p *Pipeline) leave(to *Pipeline) error {
	p.files.Lock()
	defer p.files.Unlock()
	var errs []error
	for _, other := range append(slices.Collect(maps.Values(p.others)), p) {
		if other != to {
			errs = append(errs, other.cache.Trim())
		}
	}
	return errors.Join(errs...)
}

// finishes is the pipeline whose networks end the pass.
func (one *pass) finishes() *Pipeline {
	if one.refiner != nil {
		return one.refiner
	}
	return one.pipe
}

// finishes is the pipeline that makes the pictures, whose faces may be drawn anew.
func (c *course) finishes() *Pipeline {
	last := c.passes[len(c.passes)-1]
	if last.larger != nil {
		last = last.larger
	}
	return last.finishes()
}

// takesOver is the refiner of some pass, nil if there is none.
func takesOver(passes []*pass) *Pipeline {
	for _, one := range passes {
		if one.refiner != nil {
			return one.refiner
		}
	}
	return nil
}

// enlarges is the pipeline of another checkpoint with which a course has its hires pass, nil if there is none.
func (c *course) enlarges() *Pipeline {
	if larger := c.larger(); larger != nil && larger.pipe != c.passes[0].pipe {
		return larger.pipe
	}
	return nil
}

// larger is the hires pass, or what enlarges the pictures in its place; nil if there is none.
func (c *course) larger() *pass {
	first := c.passes[0]
	if first.larger == nil && len(c.passes) > 1 && c.passes[1].enlarge != nil {
		return c.passes[1]
	}
	return first.larger
}

// encodeRefined is encodeAll for what takes over, whose text encoder is not held any longer.
func encodeRefined(ctx context.Context, passes []*pass) (err error) {
	for _, one := range passes {
		if one.refiner == nil {
			continue
		}
		if one.refined, err = one.refiner.encode(ctx, one); err == nil {
			err = one.refiner.cache.Trim()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeOver lets the refiner go on with the state of the run.
func (s *sampling) takeOver() error {
	state, noise := make([][]float32, s.plan.Slots), s.draw.F32
	for i := range state {
		state[i] = make([]float32, len(noise))
		if err := s.current(i).Download(compute.Floats(state[i])); err != nil {
			return err
		}
	}
	if err := errors.Join(s.close(), s.pipe.cache.Trim()); err != nil {
		return err
	}
	s.pipe, s.cond, s.refiner = s.refiner, s.refined, nil
	s.slots, s.still, s.known = nil, nil, nil
	if err := s.open(); err != nil {
		return err
	}
	copy(s.draw.F32, noise)
	errs := []error{s.draw.Send()}
	for i, slot := range state {
		errs = append(errs, s.current(i).Upload(compute.Floats(slot)))
	}
	return errors.Join(errs...)
}
