package compute

import (
	"fmt"
	"reflect"
	"slices"
)

// Gradient records the derivative of loss with respect to each of wrt and returns them in that order, each of its
// value's type; the zero Value where the loss does not depend on it. The loss has one element; wrt are inputs or
// results (parameters are frozen).
//
// It walks the recorded ops backwards from the loss, applying the gradient rule of each (reverse accumulation), and visits
// only values that depend on one of wrt: a frozen layer costs its input gradient, and one below all of wrt nothing.
// Rules read the operands of their op and, but for attention's, never its result, so that what an op computed may be dropped or
// computed again: results of norms, activations and gates, which cost next to nothing and whose operands their own adjoint reads,
// are made again where the adjoint reads them, to the same bits, instead of being kept until then. An op without a rule is
// an error with its scope path, kept by the Builder; the ops of an adjoint have none, so there are no second derivatives.
// Gradient is called once the loss is recorded and before Build.
func Gradient(b *Builder, loss Value, wrt []Value) []Value { return derive(b, loss, wrt, false) }

// CheckpointedGradient is [Gradient] in less memory: what a [Builder.Segment] computed for itself alone is computed again
// just before the segment's adjoint, so that only what passes from segment to segment is kept in between. The result
// is the same to the bit. See Chen et al., "Training Deep Nets with Sublinear Memory Cost" (arXiv:1604.06174).
func CheckpointedGradient(b *Builder, loss Value, wrt []Value) []Value {
	return derive(b, loss, wrt, true)
}

// adjoint is a walk backwards through a recorded program.
type adjoint struct {
	b      *Builder
	needed []bool          // by index of the forward program's values: depends on one of wrt
	sums   []Value         // by the same index: the sum of what has been contributed to the gradient so far
	kept   []bool          // by the same index: not to be computed again
	again  map[Value]Value // what has been computed again
	result Value           // first one of the op whose rule is applied
}

func derive(b *Builder, loss Value, wrt []Value, checkpoint bool) []Value {
	gradients := make([]Value, len(wrt))
	g := begin(b, loss, wrt, checkpoint)
	if b.err != nil || !g.needs(loss) {
		return gradients
	}
	scopes, segment := b.scopes, b.segment
	defer func() { b.scopes, b.segment = scopes, segment }()
	b.segment = 0

	g.sums[loss.Index()] = b.Op(Fill{Shape: b.program.Shape(loss), Value: 1})
	for i := b.program.Values[loss.Index()].Node; i >= 0; i-- {
		n := b.program.Nodes[i]
		if !slices.ContainsFunc(n.Out, func(v Value) bool { return g.sums[v.Index()].Valid() }) ||
			!slices.ContainsFunc(n.Op.Operands(), g.needs) {
			continue
		}
		b.scopes = []string{n.Path}
		g.result = n.Out[0]
		n.Op.gradient(g, g.sums[n.Out[0].Index()])
	}
	if b.err == nil {
		for i, v := range wrt {
			gradients[i] = g.sums[v.Index()]
		}
	}
	return gradients
}

// begin checks what is asked for and finds what depends on wrt.
func begin(b *Builder, loss Value, wrt []Value, checkpoint bool) *adjoint {
	values := b.program.Values
	g := &adjoint{b: b, needed: make([]bool, len(values)), sums: make([]Value, len(values)), again: make(map[Value]Value)}
	if !b.known(loss) || values[loss.Index()].Kind != ResultKind || values[loss.Index()].Shape.Elements() != 1 || values[loss.Index()].DType != F32 {
		b.fail("Gradient", "the loss must be a result of one F32 number")
		return g
	}
	for i, v := range wrt {
		switch {
		case !b.known(v):
			b.fail("Gradient", fmt.Sprintf("value %d to differentiate by is missing or belongs to another program", i))
			return g
		case values[v.Index()].Kind == ParamKind:
			b.fail("Gradient", fmt.Sprintf("%q is a parameter, which is frozen; make it an input to differentiate by it", values[v.Index()].Name))
			return g
		case !isFloat(values[v.Index()].DType):
			b.fail("Gradient", fmt.Sprintf("value %d to differentiate by is %v, want a float type", i, values[v.Index()].Type))
			return g
		}
		g.needed[v.Index()] = true
	}
	for _, n := range b.program.Nodes {
		if slices.ContainsFunc(n.Op.Operands(), g.needs) {
			for _, v := range n.Out {
				g.needed[v.Index()] = true
			}
		}
	}
	if checkpoint {
		g.kept = crossing(&b.program)
	} else {
		g.kept = g.costly()
	}
	return g
}

// costly tells of every value whether to compute it again takes more than a walk through operands that are there anyway.
func (g *adjoint) costly() []bool {
	p := &g.b.program
	kept := slices.Repeat([]bool{true}, len(p.Values))
	for _, n := range p.Nodes {
		switch op := n.Op.(type) {
		case GroupNorm, LayerNorm, Activate, GEGLU:
			kept[n.Out[0].Index()] = slices.ContainsFunc(op.Operands(), func(v Value) bool { return !g.needs(v) && p.Values[v.Index()].Kind != ParamKind })
		case Viewer:
			kept[n.Out[0].Index()] = kept[op.Viewed().Index()]
		}
	}
	return kept
}

// crossing tells of every value whether it is read outside of the segment that it is made in, itself or through a view,
// or made in none.
func crossing(p *Program) []bool {
	kept := make([]bool, len(p.Values))
	for i := len(p.Nodes) - 1; i >= 0; i-- {
		n := p.Nodes[i]
		for _, v := range n.Out {
			kept[v.Index()] = kept[v.Index()] || n.segment == 0
		}
		for _, v := range n.Op.Operands() {
			if from := p.Values[v.Index()].Node; from >= 0 && p.Nodes[from].segment != n.segment {
				kept[v.Index()] = true
			}
		}
		if view, ok := n.Op.(Viewer); ok && kept[n.Out[0].Index()] {
			kept[view.Viewed().Index()] = true
		}
	}
	return kept
}

// needs reports whether the gradient of v is asked for; it is not for an absent operand.
func (g *adjoint) needs(v Value) bool { return v.Valid() && g.needed[v.Index()] }

// sum is the gradient of v as far as it is known, absent if nothing has been contributed or v needs none.
func (g *adjoint) sum(v Value) Value {
	if !g.needs(v) {
		return Value{}
	}
	return g.sums[v.Index()]
}

// accumulate adds a contribution to the gradient of v.
func (g *adjoint) accumulate(v, contribution Value) {
	if sum := g.sum(v); sum.Valid() {
		contribution = g.op(Add{A: sum, B: contribution})
	}
	g.replace(v, contribution)
}

// into replaces the gradient of v by the result of an op that adds its contribution to the sum so far.
func (g *adjoint) into(v Value, op func(sum Value) Op) {
	if g.needs(v) {
		g.replace(v, g.op(op(g.sum(v))))
	}
}

func (g *adjoint) replace(v, sum Value) {
	if !g.needs(v) || g.b.err != nil {
		return
	}
	if have, want := g.b.program.Type(sum), g.b.program.Type(v); !have.Equal(want) {
		g.b.fail("Gradient", fmt.Sprintf("the gradient of %v is %v", want, have)) // a wrong rule
	}
	g.sums[v.Index()] = sum
}

// fail reports an op that cannot be differentiated.
func (g *adjoint) fail(op Op, reason string) {
	g.b.fail(OpName(op), "is not differentiable here: "+reason)
}

// op records an op of the adjoint.
func (g *adjoint) op(op Op) Value { return g.results(op)[0] }

// results records an op of the adjoint. Operands that are not kept are computed again first.
func (g *adjoint) results(op Op) []Value {
	return g.b.Results(substitute(op, g.recall))
}

// recall is v, computed again if it is not kept.
func (g *adjoint) recall(v Value) Value {
	if !v.Valid() || v.Index() >= len(g.kept) || g.kept[v.Index()] || g.b.err != nil {
		return v
	}
	if again, ok := g.again[v]; ok {
		return again
	}
	info := g.b.program.Values[v.Index()]
	if info.Kind != ResultKind || info.Output {
		return v
	}
	n := g.b.program.Nodes[info.Node]
	op := substitute(n.Op, g.recall)
	scopes := g.b.scopes
	g.b.scopes = []string{n.Path}
	for i, again := range g.b.Results(op) {
		if i < len(n.Out) {
			g.again[n.Out[i]] = again
		}
	}
	g.b.scopes = scopes
	return g.again[v]
}

// substitute is op with f applied to every operand.
func substitute(op Op, f func(Value) Value) Op {
	changed := reflect.New(reflect.TypeOf(op)).Elem()
	changed.Set(reflect.ValueOf(op))
	substituteIn(changed, f)
	return changed.Interface().(Op)
}

func substituteIn(field reflect.Value, f func(Value) Value) {
	switch x := field.Interface().(type) {
	case Value:
		field.Set(reflect.ValueOf(f(x)))
	case []Value:
		changed := slices.Clone(x) // the op shares x
		for i, v := range changed {
			changed[i] = f(v)
		}
		field.Set(reflect.ValueOf(changed))
	default:
		if field.Kind() == reflect.Struct {
			for _, inner := range field.Fields() {
				substituteIn(inner, f)
			}
		}
	}
}
