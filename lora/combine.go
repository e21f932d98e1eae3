package lora

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/atelier-go/atelier/internal/svd"
)

// CombineMethod is how several adapters become one.
type CombineMethod int

const (
	// CombineSum makes what applying all adapters together makes, exactly: the ranks of a module are those of all adapters
	// side by side, each with its strength and scale. Resize, or CombineOptions.NewRank, makes it smaller.
	CombineSum CombineMethod = iota
	// CombineTensors is what sd-scripts' merge_lora does, for those who need its results: the factors themselves are added,
	// both multiplied by the strength and by √(alpha/alpha of the first adapter). A strength of 0.5 then has a quarter of the
	// effect, and B of one adapter works with A of another. Ranks must be equal.
	CombineTensors
	// CombineConcat is merge_lora with its option concat: ranks side by side, multiplied as in CombineTensors, and the alpha of
	// the first adapter, so that the effect shrinks with the rank that is added.
	CombineConcat
)

// CombineOptions say how to combine. The zero value combines exactly.
type CombineOptions struct {
	Method CombineMethod
	// NewRank, if not 0, replaces the sum by the change of this rank that is nearest to it, as sd-scripts' svd_merge_lora
	// does. NewConvRank is that of 3×3 convolutions; 0 means NewRank.
	NewRank, NewConvRank int
	// ClampQuantile bounds the numbers of the factors of NewRank by this quantile of all of them; 0 means 0.99, as in the
	// reference, and 1 leaves them. The bound costs accuracy and keeps single numbers from dominating the range of F16.
	ClampQuantile float64
	// BlockWeights has those of each adapter, "lbws". Nil is without.
	BlockWeights []BlockWeights
}

// Check reports what is wrong with the options.
func (o CombineOptions) Check() error {
	for _, c := range []struct {
		option string
		rank   int
	}{{"new_rank", o.NewRank}, {"new_conv_rank", o.NewConvRank}} {
		if c.rank < 0 || c.rank > maxDim {
			return fmt.Errorf("lora: %s is %d, want 1 to %d, or 0 to keep all ranks", c.option, c.rank, maxDim)
		}
	}
	if o.NewRank == 0 && o.NewConvRank != 0 {
		return errors.New("lora: new_conv_rank without new_rank; give both")
	}
	if o.Method != CombineSum && o.NewRank != 0 {
		return errors.New("lora: new_rank goes with the exact sum only; combine first and resize the result")
	}
	if o.Method != CombineSum && o.BlockWeights != nil {
		return errors.New("lora: lbws go with the exact sum only; leave one of them out")
	}
	for _, w := range o.BlockWeights {
		if w != nil && len(w) != Blocks+1 {
			return fmt.Errorf("lora: lbws has %d numbers, want %d", len(w), Blocks+1)
		}
	}
	return checkQuantile(o.ClampQuantile)
}

// cancelled is the part of the changes below which a sum of them is nothing but rounding.
const cancelled = 1e-12

// Combine makes one adapter that works at strength 1 as the given ones do at theirs. Modules that only some of them
// have are kept. That nothing is left of the changes is an error. The metadata name the sources; a title is left to the caller.
func Combine(ctx context.Context, o CombineOptions, adapters ...Applied) (*Adapter, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if len(adapters) == 0 {
		return nil, errors.New("lora: nothing to combine; give one or more adapters")
	}
	if o.BlockWeights == nil {
		o.BlockWeights = make([]BlockWeights, len(adapters))
	}
	if len(o.BlockWeights) != len(adapters) {
		return nil, fmt.Errorf("lora: lbws for %d of %d adapters; give them for each", len(o.BlockWeights), len(adapters))
	}
	var order []string
	var sources []string
	byKey := make(map[string]*sum)
	for at, a := range adapters {
		sources = append(sources, stem(a.Path))
		for i := range a.Modules {
			m := &a.Modules[i]
			strength := a.Strength.of(m.Kind) * o.BlockWeights[at].of(m.Target)
			if math.IsNaN(strength) || math.IsInf(strength, 0) || a.Strength.Rank < 0 {
				return nil, fmt.Errorf("lora: %s: strength %v, ranks %d; want a number such as 0.8, and 0 for all ranks", a.Path, strength, a.Strength.Rank)
			}
			l, err := a.lowRank(m)
			if err != nil {
				return nil, err
			}
			key := m.Key()
			if byKey[key] == nil {
				order, byKey[key] = append(order, key), &sum{Target: m.Target}
			} else if first := byKey[key]; !first.Shape.Equal(m.Shape) {
				return nil, fmt.Errorf("lora: %s: module %q changes a weight %v, in the adapters before it %v: they are for different models", a.Path, m.Name, m.Shape, first.Shape)
			}
			byKey[key].terms = append(byKey[key].terms, newTerm(l, strength, a.Strength.Rank))
		}
	}
	combined := &Adapter{}
	var left, given float64
	for _, key := range order {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		l, err := o.combine(byKey[key])
		if err != nil {
			return nil, fmt.Errorf("lora: module %q: %w", byKey[key].Name, err)
		}
		combined.Modules = append(combined.Modules, Module{byKey[key].Target, l})
		sum, alone := byKey[key].size(l)
		left, given = left+sum, given+alone
	}
	if left < cancelled*given {
		return nil, fmt.Errorf("lora: nothing is left of %s: at these strengths they cancel out; change one", strings.Join(sources, " and "))
	}
	combined.Metadata = describeMade(combined.Modules, adapters[0].Metadata["ss_base_model_version"], sources)
	return combined, nil
}

// sum is what several adapters change of one weight.
type sum struct {
	Target
	terms []term
}

// size measures what is left of the terms when they are added, exactly and in the result, and the terms one by one.
func (s *sum) size(result LowRank) (left, given float64) {
	all := make([]float64, s.Shape[0])
	for _, t := range s.terms {
		one := make([]float64, s.Shape[0])
		t.probe(one)
		t.probe(all)
		given += length(one)
	}
	in := make([]float64, s.Shape[0])
	newTerm(result, 1, 0).probe(in)
	return min(length(all), length(in)), given
}

// combine makes one change of the terms on one weight.
func (o CombineOptions) combine(s *sum) (LowRank, error) {
	switch {
	case o.Method != CombineSum:
		return s.tensors(o.Method == CombineConcat)
	case o.NewRank == 0:
		return s.exact(), nil
	}
	p := stack(s.terms)
	d, err := svd.Product(p.up, p.down, p.rows, p.rank, p.cols)
	if err != nil {
		return LowRank{}, err
	}
	rank := o.NewRank
	if o.NewConvRank != 0 && s.area() > 1 {
		rank = o.NewConvRank
	}
	l := compose(s.Target, d, min(rank, p.rows, p.cols))
	l.clamp(o.ClampQuantile)
	return l, nil
}

// area is the number of elements of a convolution's kernel, 1 for a linear layer.
func (t Target) area() int { return t.Shape[2:].Elements() }

// exact is the sum with the ranks side by side. The scale is that of the first term, whose factors stay as they are where
// its strength is 1, and what the others differ in is shared by both of their factors, so that neither leaves the range of F16.
func (s *sum) exact() LowRank {
	scale := s.terms[0].Scale()
	if scale == 0 {
		scale = 1
	}
	rank := 0
	for _, t := range s.terms {
		rank += t.width()
	}
	l := newLowRank(s.Target, rank)
	l.Alpha = scale * float64(rank)
	at := 0
	for _, t := range s.terms {
		factor := t.strength * t.Scale() / scale
		root := math.Sqrt(math.Abs(factor))
		l.accumulate(t, at, math.Copysign(root, factor), root)
		at += t.width()
	}
	return l
}

// tensors follows merge_lora.
func (s *sum) tensors(concat bool) (LowRank, error) {
	first := s.terms[0]
	rank := first.rank
	for _, t := range s.terms[1:] {
		if t.rank != rank && !concat {
			return LowRank{}, fmt.Errorf("ranks %d and %d; the reference's rule adds only factors of equal rank: resize one, concatenate, or take the exact sum", rank, t.rank)
		}
	}
	if concat {
		rank = 0
		for _, t := range s.terms {
			rank += t.rank
		}
	}
	l := newLowRank(s.Target, rank)
	l.Alpha = first.Alpha
	at := 0
	for _, t := range s.terms {
		factor := math.Sqrt(t.Alpha/first.Alpha) * t.strength
		if t.Mid.Data != nil || math.IsNaN(factor) || math.IsInf(factor, 0) {
			return LowRank{}, fmt.Errorf("alpha %v beside %v, three-factor form %t: the reference's rule does not apply; take the exact sum", t.Alpha, first.Alpha, t.Mid.Data != nil)
		}
		l.accumulate(t, at, factor, math.Abs(factor))
		if concat {
			at += t.rank
		}
	}
	return l, nil
}

// accumulate adds the factors of a term, multiplied, to those of the change from rank at on.
func (l LowRank) accumulate(t term, at int, down, up float64) {
	columns, rank, from := l.columns(), l.Rank(), t.Up.Shape[1]
	for i, v := range t.flatDown()[:t.width()*columns] {
		l.Down.Data[at*columns+i] += float32(down * float64(v))
	}
	for o := range l.Up.Shape[0] {
		for k := range t.width() {
			l.Up.Data[o*rank+at+k] += float32(up * float64(t.Up.Data[o*from+k]))
		}
	}
}
