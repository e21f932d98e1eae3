package lora

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync/atomic"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/weights"
)

// Strength says how much of an adapter is applied. 1 is what it was trained for; 0 leaves the network alone, and
// negative values push away from what the adapter knows.
type Strength struct {
	TextEncoder float64 `json:"text_encoder"`
	UNet        float64 `json:"unet"`
	Rank        int     `json:"rank,omitzero"` // apply only the first ranks of each module, but of three-factor ones all; 0 is all
}

// of returns the strength for one of the networks.
func (s Strength) of(kind weights.Kind) float64 {
	if kind == weights.KindTextEncoder {
		return s.TextEncoder
	}
	return s.UNet
}

// Applied is an adapter and its strength.
type Applied struct {
	*Adapter
	Strength
}

// Changes reports whether the adapter, at its strength, changes anything in a model.
func (a Applied) Changes() bool {
	return slices.ContainsFunc(a.Modules, func(m Module) bool { return a.Strength.of(m.Kind) != 0 && !m.isZero() })
}

// MergeOptions say how to merge. The zero value is the sensible default.
type MergeOptions struct {
	// Type is the element type of the parameters that adapters change. InvalidDType, the default, keeps each in the
	// type it is stored in: no more memory than without adapters, at the price of one rounding. F32 does not round.
	Type compute.DType
}

// Merge lays adapters over the parameters of one of the networks: the result has W + Σ strength·(alpha/r)·B·A where src
// has W, or what other kinds of changes make of it, each of what those before have made, as in the web UI. It is computed in
// float32 when the parameter is asked for and rounded once. Parameters that no adapter changes are src's own, untouched; to
// take the adapters off again, exactly, use src. It stays open, and must until the result is no longer used. Without
// anything to apply the result is src itself.
func Merge(src compute.ParamSource, kind weights.Kind, o MergeOptions, adapters ...Applied) (compute.ParamSource, error) {
	m := &merged{src: src, changes: make(map[string]*change)}
	for _, a := range adapters {
		strength := a.Strength.of(kind)
		switch {
		case math.IsNaN(strength) || math.IsInf(strength, 0):
			return nil, fmt.Errorf("lora: %s: strength %v for the %s; want a number such as 0.8", a.Path, strength, kind)
		case a.Strength.Rank < 0:
			return nil, fmt.Errorf("lora: %s: the first %d ranks; want a positive number, or 0 for all", a.Path, a.Strength.Rank)
		case strength == 0:
			continue
		}
		for i := range a.Modules {
			module := &a.Modules[i]
			if module.Kind != kind {
				continue
			}
			if err := m.add(module, strength, a.Strength.Rank, o); err != nil {
				return nil, fmt.Errorf("lora: %s: %w", a.Path, err)
			}
		}
	}
	if len(m.changes) == 0 {
		return src, nil
	}
	return m, nil
}

// merged is a parameter source with adapters laid over it.
type merged struct {
	src     compute.ParamSource
	changes map[string]*change // by parameter

	asked, same atomic.Int64 // changed parameters that were computed, and those of them that came out as they were
}

// Rounded is implemented by what Merge returns if it changes something: of the parameters that adapters change and that were
// asked for so far it tells how many came out as they were, the changes being less than the type can hold.
type Rounded interface {
	Rounded() (same, asked int)
}

// Rounded implements Rounded.
func (m *merged) Rounded() (same, asked int) { return int(m.same.Load()), int(m.asked.Load()) }

var (
	_ compute.ParamOverlay = (*merged)(nil)
	_ compute.ParamOpener  = (*merged)(nil)
)

// Base implements compute.ParamOverlay.
func (m *merged) Base() compute.ParamSource { return m.src }

// Changed implements compute.ParamOverlay.
func (m *merged) Changed() []string { return slices.Sorted(maps.Keys(m.changes)) }

// change is what adapters make of one parameter.
type change struct {
	from, to compute.Type
	terms    []applied
}

// applied is a delta with its strength and the number of ranks to apply.
type applied struct {
	Delta
	strength float64
	ranks    int
}

// add registers a module's change.
func (m *merged) add(module *Module, strength float64, ranks int, o MergeOptions) error {
	c := m.changes[module.Param()]
	if c == nil {
		t, err := m.src.ParamType(module.Param())
		if err != nil {
			return err
		}
		if !t.Shape.Equal(module.Shape) {
			return fmt.Errorf("parameter %q is %v, want %v: the adapter was opened for another model", module.Param(), t, module.Shape)
		}
		c = &change{from: t, to: t}
		if o.Type != compute.InvalidDType {
			c.to.DType = o.Type
		}
		for _, d := range []compute.DType{c.from.DType, c.to.DType} {
			if d != compute.F32 && d != compute.F16 && d != compute.BF16 {
				return fmt.Errorf("parameter %q as %v: %w; want F32, F16 or BF16", module.Param(), d, compute.ErrUnsupported)
			}
		}
		m.changes[module.Param()] = c
	}
	c.terms = append(c.terms, applied{module.Delta, strength, ranks})
	return nil
}

// lowRank takes the low-rank terms that the change begins with, which add up to one product.
func (c *change) lowRank() (terms []term, rest []applied) {
	for i, a := range c.terms {
		l, ok := a.Delta.(LowRank)
		if !ok {
			return terms, c.terms[i:]
		}
		terms = append(terms, newTerm(l, a.strength, a.ranks))
	}
	return terms, nil
}

// apply writes what becomes of the parameter w to out, rounded once, and reports whether that is w again.
func (c *change) apply(out, w []byte) (same bool) {
	terms, rest := c.lowRank()
	if len(rest) == 0 {
		return stack(terms).apply(out, w, c.to.DType, c.from.DType, 0)
	}
	now := Factor{c.from.Shape, make([]float32, c.from.Shape.Elements())}
	weights.Widen(now.Data, w, c.from.DType)
	if len(terms) > 0 {
		stack(terms).add(now.Data)
	}
	next := slices.Clone(now.Data)
	for _, a := range rest {
		a.Add(next, now, a.strength, a.ranks)
		copy(now.Data, next)
	}
	weights.Narrow(out, now.Data, c.to.DType)
	return c.to.DType == c.from.DType && bytes.Equal(out, w)
}

// ParamType implements compute.ParamSource.
func (m *merged) ParamType(name string) (compute.Type, error) {
	if c := m.changes[name]; c != nil {
		return c.to, nil
	}
	return m.src.ParamType(name)
}

// ParamData implements compute.ParamSource. A changed parameter is computed anew at each call.
func (m *merged) ParamData(name string) ([]byte, error) {
	c := m.changes[name]
	data, err := m.src.ParamData(name)
	if err != nil || c == nil {
		return data, err
	}
	if len(data) != c.from.Bytes() {
		return nil, fmt.Errorf("lora: parameter %q has %d bytes, want %d for %v", name, len(data), c.from.Bytes(), c.from)
	}
	if err := damaged(name, c.from.DType, data, 0); err != nil {
		return nil, err
	}
	out := make([]byte, c.to.Bytes())
	m.count(c.apply(out, data))
	return out, beyond(name, c.to.DType, out, 0)
}

// count counts a changed parameter that was computed.
func (m *merged) count(same bool) {
	m.asked.Add(1)
	if same {
		m.same.Add(1)
	}
}

// damaged says which element of a part of a parameter that begins at element first was no number before it was changed.
func damaged(name string, t compute.DType, part []byte, first int) error {
	if i := compute.FirstNonFinite(t, part); i >= 0 {
		return fmt.Errorf("lora: parameter %q: element %d is not a finite number; the checkpoint is damaged, download or convert it again", name, first+i)
	}
	return nil
}

// beyond says which is none any more.
func beyond(name string, t compute.DType, part []byte, first int) error {
	if i := compute.FirstNonFinite(t, part); i >= 0 {
		return fmt.Errorf("lora: parameter %q: with the adapters element %d is beyond what %v holds; lower their strength", name, first+i, t)
	}
	return nil
}

// OpenParam implements compute.ParamOpener: nil for a parameter that can only be changed in whole.
func (m *merged) OpenParam(name string) io.ReaderAt {
	o, ok := m.src.(compute.ParamOpener)
	if !ok {
		return nil
	}
	place, c := o.OpenParam(name), m.changes[name]
	if place == nil || c == nil {
		return place
	}
	terms, rest := c.lowRank()
	if len(rest) > 0 || c.to.DType != c.from.DType {
		return nil
	}
	r := &changed{merged: m, place: place, name: name, t: c.to.DType, product: stack(terms)}
	r.left.Store(int64(c.to.Bytes()))
	return r
}

// changed reads a parameter with a low-rank change, which is made where it is read to: there is no copy of it in memory.
type changed struct {
	*merged
	place   io.ReaderAt // before the change
	name    string
	t       compute.DType
	product product
	differs atomic.Bool  // some part that was read is not as before
	left    atomic.Int64 // bytes that were not read yet, by several goroutines maybe; who reads the last of them counts the parameter
}

// ReadAt implements io.ReaderAt, for whole elements.
func (c *changed) ReadAt(part []byte, at int64) (int, error) {
	size := int64(c.t.Size())
	if at%size != 0 || int64(len(part))%size != 0 {
		return 0, fmt.Errorf("lora: parameter %q is read from byte %d, %d bytes: want whole elements of %v", c.name, at, len(part), c.t)
	}
	n, err := c.place.ReadAt(part, at)
	part = part[:n/int(size)*int(size)]
	if err := damaged(c.name, c.t, part, int(at/size)); err != nil {
		return 0, err
	}
	if !c.product.apply(part, part, c.t, c.t, int(at/size)) {
		c.differs.Store(true)
	}
	if n := int64(len(part)); n > 0 && c.left.Add(-n) == 0 {
		c.count(!c.differs.Load())
	}
	if err := beyond(c.name, c.t, part, int(at/size)); err != nil {
		return 0, err
	}
	return n, err
}
