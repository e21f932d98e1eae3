package lora

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/python"
	"github.com/atelier-go/atelier/internal/svd"
)

// DynamicMethod is a rule that gives each module its own rank by its singular values S₀ ≥ S₁ ≥ …, in the words of
// sd-scripts' resize_lora.
type DynamicMethod string

// The rules, with what p, the DynamicParam, means to them. The rank is one more than the number they say, as in the
// reference.
const (
	SVRatio      DynamicMethod = "sv_ratio"      // as many values as are above S₀/p
	SVCumulative DynamicMethod = "sv_cumulative" // as few as have the part p of the sum of all
	SVFro        DynamicMethod = "sv_fro"        // as few as have the part p of the Frobenius norm, the root of the sum of squares
)

// ResizeOptions say which ranks modules get.
type ResizeOptions struct {
	NewRank int // "new_rank": of all modules, or the most with a DynamicMethod; 0 means 4
	// NewConvRank is NewRank for convolutions, "new_conv_rank", 1×1 convolutions such as proj_in among them; 0 means NewRank.
	NewConvRank   int
	DynamicMethod DynamicMethod // "dynamic_method"; "" gives all modules the same rank
	DynamicParam  float64       // "dynamic_param": for sv_ratio at least 1, else a part, above 0 and up to 1
}

// Check reports what is wrong with the options.
func (o ResizeOptions) Check() error {
	for _, c := range []struct {
		option string
		rank   int
	}{{"new_rank", o.NewRank}, {"new_conv_rank", o.NewConvRank}} {
		if c.rank < 0 || c.rank > maxDim {
			return fmt.Errorf("lora: %s is %d, want 1 to %d; 8 is usual", c.option, c.rank, maxDim)
		}
	}
	p := o.DynamicParam
	switch o.DynamicMethod {
	case "":
		if p != 0 {
			return errors.New("lora: dynamic_param without dynamic_method; give the method too: sv_ratio, sv_cumulative or sv_fro")
		}
	case SVRatio:
		if !(p >= 1) || math.IsInf(p, 0) {
			return fmt.Errorf("lora: dynamic_param is %v, want for sv_ratio a number of at least 1, such as 20", p)
		}
	case SVCumulative, SVFro:
		if !(p > 0 && p <= 1) {
			return fmt.Errorf("lora: dynamic_param is %v, want for %s a part between 0 and 1, such as 0.9", p, o.DynamicMethod)
		}
	default:
		return fmt.Errorf("lora: dynamic_method is %.60q, want sv_ratio, sv_cumulative or sv_fro", o.DynamicMethod)
	}
	return nil
}

// noChange is the largest singular value of a module that changes nothing to speak of.
const noChange = 1e-6

// rank is how many singular values stay. n is how many a full decomposition has; those beyond s are 0.
func (o ResizeOptions) rank(s []float64, n, most int) int {
	most = min(most, n)
	if s[0] <= noChange {
		return 1
	}
	k := 0
	switch p := o.DynamicParam; o.DynamicMethod {
	case SVRatio:
		for k < len(s) && s[k] > s[0]/p {
			k++
		}
	case SVCumulative:
		k = reach(s, p, func(v float64) float64 { return v })
	case SVFro:
		k = reach(s, p*p, func(v float64) float64 { return v * v })
	default:
		return most
	}
	return min(min(max(k, 1), max(n-1, 1))+1, most)
}

// reach is how many of the first values have the part p of the sum of all, each measured by f.
func reach(s []float64, p float64, f func(float64) float64) int {
	total, sum := 0.0, 0.0
	for _, v := range s {
		total += f(v)
	}
	for i, v := range s {
		if sum += f(v); sum/total >= p {
			return i + 1
		}
	}
	return len(s)
}

// Resized tells what became of a module.
type Resized struct {
	Target
	OldRank, NewRank int
	SumRetained      float64 // the part of the sum of the singular values that is kept
	FroRetained      float64 // the part of the Frobenius norm of the change that is kept
	MaxRatio         float64 // the largest singular value through the smallest kept; infinite if that is 0
}

// Resize gives the modules of an adapter other ranks: those that change the weights least, by a singular value
// decomposition of B·A in float64, which is made of the factors. The scale alpha/rank of each module stays, so strengths mean
// what they meant. A module that is to have more ranks than it needs gets zeros. The metadata are the adapter's, with the new
// rank and alpha and the change noted in the comment.
func Resize(ctx context.Context, a *Adapter, o ResizeOptions) (*Adapter, []Resized, error) {
	if err := o.Check(); err != nil {
		return nil, nil, err
	}
	if o.NewRank == 0 {
		o.NewRank = 4
	}
	if o.NewConvRank == 0 {
		o.NewConvRank = o.NewRank
	}
	resized := &Adapter{Path: a.Path}
	var report []Resized
	for i := range a.Modules {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		m := &a.Modules[i]
		l, err := a.lowRank(m)
		if err != nil {
			return nil, nil, err
		}
		d, err := l.decompose()
		if err != nil {
			return nil, nil, fmt.Errorf("lora: %s: module %q: %w", a.Path, m.Name, err)
		}
		most := o.NewRank
		if len(l.Down.Shape) == 4 {
			most = o.NewConvRank
		}
		rank := o.rank(d.S, min(m.Shape[0], m.columns()), most)
		small := compose(m.Target, d, rank)
		small.Alpha = l.Scale() * float64(rank)
		resized.Modules = append(resized.Modules, Module{m.Target, small})
		report = append(report, retained(m, d.S, rank))
	}
	resized.Metadata = o.describe(a, resized.Modules)
	return resized, report, nil
}

// lowRank is the delta of a module, for those who work on the factors of a LoRA.
func (a *Adapter) lowRank(m *Module) (LowRank, error) {
	l, ok := m.Delta.(LowRank)
	if !ok {
		return l, &KindError{a.Path, m.Algorithm(), m.Param()}
	}
	return l, nil
}

// decompose decomposes the change, without its scale.
func (l LowRank) decompose() (*svd.Decomposition, error) {
	return svd.Product(l.Up.Data, l.flatDown(), l.Up.Shape[0], l.Up.Shape[1], l.columns())
}

// compose makes a change of the leading part of a decomposition, B = U·diag(S) and A = V, with a scale of 1.
func compose(t Target, d *svd.Decomposition, rank int) LowRank {
	l := newLowRank(t, rank)
	columns := t.columns()
	for k := range min(rank, len(d.S)) {
		for o := range t.Shape[0] {
			l.Up.Data[o*rank+k] = float32(d.U[o*len(d.S)+k] * d.S[k])
		}
		for i, v := range d.V[k*columns:][:columns] {
			l.Down.Data[k*columns+i] = float32(v)
		}
	}
	return l
}

// newLowRank makes a change for a target, with factors of zeros and a scale of 1.
func newLowRank(t Target, rank int) LowRank {
	l := LowRank{Alpha: float64(rank)}
	l.Down.Shape = append(compute.Shape{rank}, t.Shape[1:]...)
	l.Up.Shape = compute.Shape{t.Shape[0], rank, 1, 1}[:len(t.Shape)]
	l.Down.Data, l.Up.Data = make([]float32, l.Down.Shape.Elements()), make([]float32, l.Up.Shape.Elements())
	return l
}

// retained compares the first singular values with all.
func retained(m *Module, s []float64, rank int) Resized {
	r := Resized{Target: m.Target, OldRank: m.Rank(), NewRank: rank, SumRetained: 1, FroRetained: 1, MaxRatio: math.Inf(1)}
	var sum, squares, allSum, allSquares float64
	for i, v := range s {
		allSum, allSquares = allSum+v, allSquares+v*v
		if i < rank {
			sum, squares = allSum, allSquares
		}
	}
	if allSquares > 0 {
		r.SumRetained, r.FroRetained = sum/allSum, math.Sqrt(squares/allSquares)
	}
	if rank <= len(s) && s[rank-1] > 0 {
		r.MaxRatio = s[0] / s[rank-1]
	}
	return r
}

// describe makes the metadata of what was resized.
func (o ResizeOptions) describe(a *Adapter, modules []Module) map[string]string {
	m := maps.Clone(a.Metadata)
	if m == nil {
		m = make(map[string]string)
	}
	delete(m, "lora_adapter_metadata") // it tells alphas, which are tensors now
	old, _ := extremes(a.Modules)
	comment := fmt.Sprintf("dimension is resized from %s to %d; ", old, o.NewRank)
	if o.DynamicMethod != "" {
		comment = fmt.Sprintf("Dynamic resize with %s: %s from %s; ", o.DynamicMethod, python.String(o.DynamicParam), old)
	}
	m["ss_training_comment"] = comment + m["ss_training_comment"]
	m["ss_network_dim"], m["ss_network_alpha"] = extremes(modules)
	Specify(m)
	return m
}
