package lora

import (
	"fmt"
	"slices"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// algorithms are the kinds of changes that files hold of weights: the first of whose signs a module has one decides, and the
// last is that of modules with none.
var algorithms = []struct {
	signs, needs []part
	read         func(Target, *tensors) (Delta, error)
}{
	{[]part{partHada1A, partHada1B, partHada2A, partHada2B, partHadaT1, partHadaT2}, []part{partHada1A, partHada1B, partHada2A, partHada2B}, readLoHa},
	{[]part{partLokr1, partLokr1A, partLokr1B, partLokr2, partLokr2A, partLokr2B, partLokrT2}, nil, readLoKr},
	{[]part{partGloraA1, partGloraA2, partGloraB1, partGloraB2, partGloraMid}, []part{partGloraA1, partGloraA2, partGloraB1, partGloraB2}, readGLoRA},
	{[]part{partOftBlocks}, nil, readOFT},
	{[]part{partOftDiag}, nil, readOFT},
	{[]part{partPeftOFT}, nil, readPEFTOFT},
	{[]part{partPeftIA3}, nil, readPEFTIA3},
	{[]part{partOnInput}, []part{partWeight}, readIA3},
	{[]part{partEmbedA, partEmbedB}, []part{partEmbedA, partEmbedB}, readEmbedding},
	{[]part{partDown, partUp, partMid, partUpBias}, []part{partDown, partUp}, readLowRank},
	{[]part{partDiff}, nil, func(t Target, x *tensors) (Delta, error) { return Difference{forInpainting(t, x.at[partDiff])}, nil }},
	{[]part{partNormDiff}, nil, func(_ Target, x *tensors) (Delta, error) { return Difference{x.at[partNormDiff]}, nil }},
	{[]part{partSetWeight}, nil, func(_ Target, x *tensors) (Delta, error) { return Replacement{x.at[partSetWeight]}, nil }},
	{[]part{partWeight}, nil, func(_ Target, x *tensors) (Delta, error) { return Replacement{x.at[partWeight]}, nil }},
	{nil, []part{partDown, partUp}, readLowRank},
}

// ofBias are the parts that change a layer's bias alone.
var ofBias = []part{partDiffBias, partNormBias, partBias}

// read is Open without the hash.
func read(f *weights.File, t *Targets) (*Adapter, error) {
	if err := recognise(f.Path(), f.Names()); err != nil {
		return nil, err
	}
	a := &Adapter{Path: f.Path(), Metadata: f.Metadata()}
	keys := make([]map[part]string, len(t.layers)) // the tensors of each layer
	isAdapter, matched := false, false
	for _, key := range f.Names() {
		if kind := otherKind(key); kind != "" {
			return nil, &KindError{a.Path, kind, key}
		}
		module, p, ok := splitKey(key)
		isAdapter = isAdapter || ok && p.isSign()
		if !ok {
			module, p, ok = splitParam(key)
		}
		i, found := 0, false
		if ok {
			i, found = t.resolve(module)
			found = found && t.layers[i].has(p)
		}
		switch {
		case strings.HasPrefix(key, bundlePrefix):
			a.Ignored = append(a.Ignored, key)
		case !found:
			a.Unmatched = append(a.Unmatched, key)
		case keys[i][p] != "":
			return nil, fmt.Errorf("lora: %s: both %.200q and %.200q are the %v of %q; the file is a bad merge, get another version",
				a.Path, keys[i][p], key, p, t.layers[i].name())
		default:
			if keys[i] == nil {
				keys[i] = make(map[part]string)
			}
			keys[i][p], matched = key, true
		}
	}
	switch {
	case !isAdapter:
		return nil, notAdapter(a.Path, f.Names())
	case !matched:
		return nil, foreign(a.Path, a.Unmatched, a.Metadata)
	}
	var err error
	if a.Embeddings, err = bundled(f, a.Ignored); err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	settings, err := findSettings(f)
	if err != nil {
		return nil, fmt.Errorf("lora: %s: %w", a.Path, err)
	}
	for i, k := range keys {
		if err := a.addLayer(f, t.layers[i], k, settings); err != nil {
			return nil, err
		}
	}
	if err := misfit(a); err != nil {
		return nil, err
	}
	return a, nil
}

// has reports whether the layer has the parameter that a part changes.
func (l layer) has(p part) bool {
	if slices.Contains(ofBias, p) || p == partUpBias && l.bias.Shape == nil {
		return l.bias.Shape != nil
	}
	return l.weight.Shape != nil && (l.isMatrix() || slices.Contains([]part{partNormDiff, partDiff, partSetWeight, partWeight}, p))
}

// addLayer reads the tensors of a layer, if it has some, and adds what they change.
func (a *Adapter) addLayer(f *weights.File, l layer, keys map[part]string, settings map[weights.Kind]*settings) error {
	if len(keys) == 0 {
		return nil
	}
	x, err := readTensors(f, keys, settings[l.kind()])
	if err != nil {
		return fmt.Errorf("lora: %w", err)
	}
	x.module = l.name()
	if slices.ContainsFunc(x.parts(), func(p part) bool { return !slices.Contains(ofBias, p) }) {
		d, err := x.weight(l.weight)
		if err != nil {
			return fmt.Errorf("lora: %s: %w", a.Path, err)
		}
		a.Modules = append(a.Modules, Module{l.weight, d})
	}
	for _, d := range x.biases(l) {
		a.Modules = append(a.Modules, Module{l.bias, d})
	}
	return nil
}

// kind is the network that the layer is part of.
func (l layer) kind() weights.Kind {
	if l.weight.Shape == nil {
		return l.bias.Kind
	}
	return l.weight.Kind
}

// tensors are those of a module.
type tensors struct {
	module   string
	at       map[part]Factor
	keys     map[part]string
	settings *settings
}

// readTensors reads all tensors of a module.
func readTensors(f *weights.File, keys map[part]string, s *settings) (*tensors, error) {
	x := &tensors{at: make(map[part]Factor), keys: keys, settings: s}
	for _, p := range x.parts() {
		var err error
		if x.at[p], err = ReadFactor(f, keys[p]); err != nil {
			return nil, err
		}
		if (p == partAlpha || p == partScale || p == partScalar) && len(x.at[p].Data) != 1 {
			return nil, fmt.Errorf("%s: %w", f.Path(), x.notOne(p))
		}
	}
	return x, nil
}

// parts lists the parts that the module has, in an order that stays.
func (x *tensors) parts() (all []part) {
	for p := range x.keys {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

// weight makes the change of the module's weight.
func (x *tensors) weight(t Target) (Delta, error) {
	for _, a := range algorithms {
		if a.signs != nil && !slices.ContainsFunc(a.signs, func(p part) bool { return x.keys[p] != "" }) {
			continue
		}
		for _, p := range a.needs {
			if x.keys[p] == "" {
				return nil, x.lacks(p)
			}
		}
		d, err := a.read(t, x)
		if err != nil {
			return nil, err
		}
		return withMagnitude(d, x), nil
	}
	panic("lora: the last algorithm has signs")
}

// biases makes the changes of the layer's bias.
func (x *tensors) biases(l layer) (all []Delta) {
	if l.bias.Shape == nil {
		return nil
	}
	if f, ok := x.at[partUpBias]; ok {
		scaled := Factor{f.Shape, slices.Clone(f.Data)}
		clear(scaled.Data)
		axpy(scaled.Data, float32(x.scale(rows(x.at[partDown]))), f.Data)
		all = append(all, Difference{scaled})
	}
	for _, p := range []part{partDiffBias, partNormBias} {
		if f, ok := x.at[p]; ok {
			all = append(all, Difference{f})
		}
	}
	if f, ok := x.at[partBias]; ok {
		all = append(all, Replacement{f})
	}
	if x.keys[partPeftIA3] != "" { // PEFT multiplies what the layer gives, its bias too
		if d, _ := readPEFTIA3(l.weight, x); !d.(IA3).Inputs {
			all = append(all, d)
		}
	}
	return all
}

// alpha is what the change of factors with so many ranks is multiplied with, times their number.
func (x *tensors) alpha(rank int) float64 {
	a := x.settings.alpha(x.module, rank)
	if f, ok := x.at[partAlpha]; ok {
		a = float64(f.Data[0])
	}
	if f, ok := x.at[partScale]; ok {
		a = float64(f.Data[0]) * float64(rank)
	}
	if f, ok := x.at[partScalar]; ok {
		a *= float64(f.Data[0])
	}
	return a
}

// scale is what the change of factors with so many ranks is multiplied with.
func (x *tensors) scale(rank int) float64 { return x.alpha(rank) / float64(rank) }

// lacks is the error for a module without a part, or any of them.
func (x *tensors) lacks(parts ...part) error {
	var missing []string
	for _, p := range parts {
		missing = append(missing, string(p))
	}
	var present []string
	for _, p := range x.parts() {
		present = append(present, x.keys[p])
	}
	return fmt.Errorf("module %q has no %v beside %q; the file is incomplete, get it again", x.module, strings.Join(missing, " or "), strings.Join(present, `", "`))
}

// notOne is the error for a tensor that should be a number.
func (x *tensors) notOne(p part) error {
	return fmt.Errorf("tensor %q is %v, want a single number", x.keys[p], x.at[p].Shape)
}

// readLowRank makes the usual change.
func readLowRank(t Target, x *tensors) (Delta, error) {
	return x.lowRank(LowRank{Down: forInpainting(t, x.at[partDown]), Up: x.at[partUp], Mid: x.at[partMid]}, partDown)
}

// forInpainting fills the inputs of a UNet's first convolution up with zeros, where an adapter of the usual four channels is
// applied to a UNet that sees the mask and the masked picture too: nine.
func forInpainting(t Target, f Factor) Factor {
	if t.Name != "conv_in" || len(t.Shape) != 4 || t.Shape[1] != 9 || len(f.Shape) != 4 || f.Shape[1] != 4 {
		return f
	}
	area := f.Shape[2:].Elements()
	wide := Factor{compute.Shape{f.Shape[0], 9, f.Shape[2], f.Shape[3]}, make([]float32, f.Shape[0]*9*area)}
	for r := range f.Shape[0] {
		copy(wide.Data[r*9*area:], f.Data[r*4*area:][:4*area])
	}
	return wide
}

// readEmbedding makes the change of PEFT's tensors for an embedding, which is looked up in and so lies the other way round.
func readEmbedding(_ Target, x *tensors) (Delta, error) {
	return x.lowRank(LowRank{Down: transposed(x.at[partEmbedB]), Up: transposed(x.at[partEmbedA])}, partEmbedB)
}

// lowRank completes a change by its alpha.
func (x *tensors) lowRank(l LowRank, ranks part) (Delta, error) {
	rank := rows(l.Down)
	if rank == 0 {
		return nil, fmt.Errorf("tensor %q is %v, which has no rank; get the file again", x.keys[ranks], x.at[ranks].Shape)
	}
	l.Alpha = x.alpha(rank)
	return l, nil
}
