package sd

import (
	"errors"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// params are a network's parameters on the device, with adapters merged into them or without.
type params struct {
	compute.Params
	kind weights.Kind
	id   string // of the adapters
}

// load returns a network's parameters with adapters merged into them. They stay until others are asked for and no run
// uses them any more: of each network the device holds one set, more only while runs with different adapters
// overlap. The caller holds mu and acquires a program before it gives it up.
func (p *Pipeline) load(kind weights.Kind, set adapters) (*params, error) {
	changing, id := set.of(kind)
	var on *params
	for _, l := range p.loaded {
		if l.kind == kind && l.id == id {
			on = l
		}
	}
	if err := p.unloadIdle(kind, on); err != nil {
		return nil, err
	}
	if on == nil {
		source, err := lora.Merge(p.networks.Components[kind], kind, lora.MergeOptions{}, changing...)
		if err != nil {
			return nil, err
		}
		made, err := p.device.Load(source)
		if err != nil {
			return nil, err
		}
		on = &params{made, kind, id}
		p.loaded = append(p.loaded, on)
	}
	p.current[kind] = on
	return on, nil
}

// unloadIdle gives back a network's parameters that no run uses, except for those to keep. The caller holds mu.
func (p *Pipeline) unloadIdle(kind weights.Kind, keep *params) error {
	used := map[*params]bool{keep: true}
	for key, exe := range p.programs {
		used[key.on] = used[key.on] || exe.users > 0
	}
	var errs []error
	var left []*params
	for _, l := range p.loaded {
		if l.kind != kind || used[l] {
			left = append(left, l)
		} else {
			errs = append(errs, p.unload(l))
		}
	}
	p.loaded = left
	return errors.Join(errs...)
}

// unload closes parameters and the programs compiled against them. The caller holds mu.
func (p *Pipeline) unload(l *params) error {
	var errs []error
	for key, exe := range p.programs {
		if key.on == l {
			errs = append(errs, exe.Close())
			delete(p.programs, key)
		}
	}
	return errors.Join(append(errs, l.Close())...)
}
