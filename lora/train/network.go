package train

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// network makes the modules that are trained. The warnings name what NetworkWeights has to no use, and what it lacks.
func (r *run) network() (modules []lora.Module, warnings []string, err error) {
	targets, err := lora.NewTargets(r.networks.Text.Config(), r.networks.UNet.Config())
	if err != nil {
		return nil, nil, err
	}
	modules, err = r.config.Network.New(targets, mix(r.config.Dataset.Seed, networkStream))
	if err != nil || r.config.NetworkWeights == "" {
		return modules, nil, err
	}
	a, err := lora.Open(r.config.NetworkWeights, targets)
	if err != nil {
		return nil, nil, &invalid.FieldError{Field: "Config.NetworkWeights", Err: err}
	}
	return r.continued(modules, a)
}

// continued puts the factors of a file into modules, or makes modules of them.
func (r *run) continued(modules []lora.Module, a *lora.Adapter) ([]lora.Module, []string, error) {
	place := make(map[string]int) // where modules that begin anew are
	for i := range modules {
		place[modules[i].Key()] = i
	}
	var exact []lora.Module
	var frozen, unplaced []string
	for _, m := range a.Modules {
		i, ok := place[m.Key()]
		switch {
		case m.Kind == weights.KindTextEncoder && r.config.Network.UNetOnly || m.Kind == weights.KindUNet && r.config.Network.TextEncoderOnly:
			frozen = append(frozen, m.Key())
		case r.config.DimFromWeights:
			exact = append(exact, m)
		case !ok:
			unplaced = append(unplaced, m.Key())
		case m.Rank() != modules[i].Rank():
			err := fmt.Errorf("%s: %q has rank %d, the network %d; set Config.Network.Dim to it, or Config.DimFromWeights", a.Path, m.Key(), m.Rank(), modules[i].Rank())
			return nil, nil, &invalid.FieldError{Field: "Config.NetworkWeights", Err: err}
		default:
			modules[i] = m
			delete(place, m.Key())
		}
	}
	if r.config.DimFromWeights {
		modules = exact
		clear(place)
	}
	var warnings []string
	for _, w := range []struct {
		what  string
		names []string
	}{
		{"modules of a network that is not trained are left out", frozen},
		{"modules are left out, for the network that is trained has none there (Config.Network.ConvDim adds convolutions, Config.DimFromWeights takes all)", unplaced},
		{"tensors are of no module that this model has", a.Unmatched},
		{"tensors are no part of a LoRA", a.Ignored},
		{"modules of the network are not in it and begin anew", slices.Sorted(maps.Keys(place))},
	} {
		if n := len(w.names); n > 0 {
			warnings = append(warnings, fmt.Sprintf("Config.NetworkWeights %s: %d %s: %s", a.Path, n, w.what, strings.Join(w.names, ", ")))
		}
	}
	return modules, warnings, nil
}
