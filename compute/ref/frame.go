package ref

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	"github.com/atelier-go/atelier/compute"
)

// number is the type that values are stored in. Arithmetic is float64 whatever it is.
type number interface{ float32 | float64 }

// frame gives the ops of one run access to their operands.
type frame[T number] struct {
	program *compute.Program
	layout  *compute.Layout
	weights map[int][]T // parameters by value index
	arena   []T         // element i of a value lies at a quarter of its offset in bytes, plus i
	words   []int32     // the same arena for I32 values; empty if there are none
}

// poison fills the arena with values no op computes.
func (f *frame[T]) poison() {
	nan := T(math.NaN())
	for i := range f.arena {
		f.arena[i] = nan
	}
	for i := range f.words {
		f.words[i] = -1
	}
}

// hasIDs reports whether a program has I32 values, for which the arena is there once more.
func hasIDs(p *compute.Program) bool {
	return slices.ContainsFunc(p.Values, func(v compute.ValueInfo) bool { return v.DType == compute.I32 })
}

// arenaBytes is the size of a program's arena, or arenas.
func arenaBytes(p *compute.Program, l *compute.Layout) int64 {
	if hasIDs(p) {
		return 2 * int64(l.Size)
	}
	return int64(l.Size)
}

// value is the storage of a float value or parameter.
func (f *frame[T]) value(v compute.Value) []T {
	if w, ok := f.weights[v.Index()]; ok {
		return w
	}
	if t := f.program.Type(v); t.DType != compute.F32 {
		panic(fmt.Sprintf("operand is %v, want F32", t))
	}
	return f.arena[f.layout.Offset(v)/4:][:f.shape(v).Elements()]
}

// optional is value, or nil for an absent operand.
func (f *frame[T]) optional(v compute.Value) []T {
	if !v.Valid() {
		return nil
	}
	return f.value(v)
}

// ids is the storage of an I32 value.
func (f *frame[T]) ids(v compute.Value) []int32 {
	if !f.isIDs(v) {
		panic(fmt.Sprintf("operand is %v, want I32", f.program.Type(v)))
	}
	return f.words[f.layout.Offset(v)/4:][:f.shape(v).Elements()]
}

func (f *frame[T]) isIDs(v compute.Value) bool { return f.program.Type(v).DType == compute.I32 }

func (f *frame[T]) shape(v compute.Value) compute.Shape { return f.program.Shape(v) }

// run executes the nodes one after the other.
func (f *frame[T]) run(ctx context.Context, kernels []kernel[T]) error {
	for i, n := range f.program.Nodes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := kernels[i].run(f, n.Out); err != nil {
			return fmt.Errorf("ref: %s: %s: %w", n.Path, compute.OpName(n.Op), err)
		}
	}
	return nil
}

// kernels lists the implementations of a program's nodes.
func kernels[T number](p *compute.Program) ([]kernel[T], error) {
	var list []kernel[T]
	for _, n := range p.Nodes {
		k := kernelOf[T](n.Op)
		if t := p.Type(n.Out[0]); k == nil || !stored(t.DType) {
			return nil, fmt.Errorf("ref: %s: %s of %v: %w", n.Path, compute.OpName(n.Op), t, compute.ErrUnsupported)
		}
		list = append(list, k)
	}
	return list, nil
}

// kernel computes one op into its results.
type kernel[T number] func(f *frame[T], out []compute.Value) error

// run calls the kernel and turns a panic into an error that carries its stack.
func (k kernel[T]) run(f *frame[T], out []compute.Value) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return k(f, out)
}

// kernelOf is the implementation of op, nil if there is none.
func kernelOf[T number](op compute.Op) kernel[T] {
	switch op := op.(type) {
	case compute.Linear:
		return func(f *frame[T], y []compute.Value) error { f.linear(op, y[0]); return nil }
	case compute.Conv2D:
		return func(f *frame[T], y []compute.Value) error { f.conv2D(op, y[0]); return nil }
	case compute.GroupNorm:
		return func(f *frame[T], y []compute.Value) error { f.groupNorm(op, y[0]); return nil }
	case compute.LayerNorm:
		return func(f *frame[T], y []compute.Value) error { f.layerNorm(op, y[0]); return nil }
	case compute.Attention:
		return func(f *frame[T], y []compute.Value) error { f.attention(op, y[0]); return nil }
	case compute.Embed:
		return func(f *frame[T], y []compute.Value) error { return f.embed(op, y[0]) }
	case compute.TimestepEmbedding:
		return func(f *frame[T], y []compute.Value) error { f.timestepEmbedding(op, y[0]); return nil }
	case compute.Activate:
		return func(f *frame[T], y []compute.Value) error { f.activate(op, y[0]); return nil }
	case compute.GEGLU:
		return func(f *frame[T], y []compute.Value) error { f.geglu(op, y[0]); return nil }
	case compute.Add:
		return func(f *frame[T], y []compute.Value) error { f.add(op, y[0]); return nil }
	case compute.GuidanceCombine:
		return func(f *frame[T], y []compute.Value) error { f.guidanceCombine(op, y[0]); return nil }
	case compute.LinearCombination:
		return func(f *frame[T], y []compute.Value) error { f.linearCombination(op, y[0]); return nil }
	case compute.Reshape:
		return func(*frame[T], []compute.Value) error { return nil } // the planner gave it X's storage
	case compute.Repeat:
		return func(f *frame[T], y []compute.Value) error { f.repeat(op, y[0]); return nil }
	case compute.Concat:
		return func(f *frame[T], y []compute.Value) error { f.concat(op, y[0]); return nil }
	case compute.Slice:
		return func(f *frame[T], y []compute.Value) error { f.slice(op, y[0]); return nil }
	case compute.MergeTokens:
		return func(f *frame[T], y []compute.Value) error { f.mergeTokens(op, y[0], y[1]); return nil }
	case compute.MatMul:
		return func(f *frame[T], y []compute.Value) error { f.matMul(op, y[0]); return nil }
	case compute.Fill:
		return func(f *frame[T], y []compute.Value) error { f.fill(op, y[0]); return nil }
	case compute.Scale:
		return func(f *frame[T], y []compute.Value) error { f.scale(op, y[0]); return nil }
	case compute.Multiply:
		return func(f *frame[T], y []compute.Value) error { f.multiply(op, y[0]); return nil }
	case compute.Loss:
		return func(f *frame[T], y []compute.Value) error { f.loss(op, y[0]); return nil }
	case compute.LossGradient:
		return func(f *frame[T], y []compute.Value) error { f.lossGradient(op, y[0]); return nil }
	case compute.Conv2DWeightGradient:
		return func(f *frame[T], y []compute.Value) error { f.conv2DWeightGradient(op, y[0]); return nil }
	case compute.ClipNorm:
		return func(f *frame[T], y []compute.Value) error { f.clipNorm(op, y[0]); return nil }
	case compute.AdamW:
		return func(f *frame[T], y []compute.Value) error { f.adamW(op, y); return nil }
	case compute.LinearInputGradient:
		return func(f *frame[T], y []compute.Value) error { f.linearInputGradient(op, y[0]); return nil }
	case compute.Conv2DInputGradient:
		return func(f *frame[T], y []compute.Value) error { f.conv2DInputGradient(op, y[0]); return nil }
	case compute.GroupNormGradient:
		return func(f *frame[T], y []compute.Value) error { f.groupNormGradient(op, y); return nil }
	case compute.LayerNormGradient:
		return func(f *frame[T], y []compute.Value) error { f.layerNormGradient(op, y[0]); return nil }
	case compute.AttentionGradient:
		return func(f *frame[T], y []compute.Value) error { f.attentionGradient(op, y); return nil }
	case compute.ActivateGradient:
		return func(f *frame[T], y []compute.Value) error { f.activateGradient(op, y[0]); return nil }
	case compute.GEGLUGradient:
		return func(f *frame[T], y []compute.Value) error { f.gegluGradient(op, y[0]); return nil }
	case compute.SumPositions:
		return func(f *frame[T], y []compute.Value) error { f.sumPositions(op, y[0]); return nil }
	}
	return nil
}
