package nn

import (
	"fmt"
	"maps"
	"slices"

	"github.com/atelier-go/atelier/compute"
)

// Adapter is a low-rank change of a Linear or Conv2D that is not part of its weight and can be trained: what the layer
// makes of x, before its activation, becomes
//
//	W·x + bias + Scale·Up·(Mask∘(Down·x))
//
// See Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685).
//
// The factors are values of the Builder that the layer is recorded in next, inputs as a rule; to record the layer in
// another Builder, attach values of that one. Down is [r,in], or [r,in,kh,kw] of the layer's kernel, Up is [out,r] or
// [out,r,1,1].
type Adapter struct {
	Down, Up compute.Value
	Scale    float64       // alpha/r times the strength; 0 stands for 1, as in MatMul
	Mask     compute.Value // optional, [N,r] or [1,r]: dropped ranks are 0

	// Dropout, if not nil, is asked for a value of the shape of Down·x for every recording of the layer, with which each of
	// its numbers is multiplied: 0 where dropped.
	Dropout func(shape compute.Shape) compute.Value
}

// finish adds to y, what lies beneath the adapter, the change of h = Down·x, and records what of the epilogue had to wait.
func (m *Adapter) finish(b *compute.Builder, y, h compute.Value, weight compute.Shape, e compute.Epilogue) compute.Value {
	if m.Dropout != nil {
		h = b.Op(compute.Multiply{X: h, Factors: m.Dropout(b.Shape(h))})
	}
	if m.Mask.Valid() {
		h = b.Op(compute.Multiply{X: h, Factors: m.Mask})
	}
	up := b.Reshape(m.Up, weight[0], b.Batch(m.Down))
	y = b.Op(compute.MatMul{A: h, B: up, TransposeB: true, Scale: m.Scale, Add: y})
	if e.Activation == compute.Identity {
		return y
	}
	y = b.Op(compute.Activate{X: y, Activation: e.Activation})
	if e.Residual.Valid() {
		y = b.Op(compute.Add{A: y, B: e.Residual})
	}
	return y
}

// beneath is the epilogue of a layer under an adapter, which may be none: without what must wait for the change.
func (m *Adapter) beneath(e compute.Epilogue) compute.Epilogue {
	if m != nil && e.Activation != compute.Identity {
		e.Activation, e.Residual = compute.Identity, compute.Value{}
	}
	return e
}

// linear records the change of y, what a Linear makes of x1 and x2.
func (m *Adapter) linear(b *compute.Builder, y compute.Value, weight compute.Shape, e compute.Epilogue, x1, x2 compute.Value) compute.Value {
	down := b.Reshape(m.Down, b.Batch(m.Down), weight[1])
	if !x2.Valid() {
		return m.finish(b, y, b.Op(compute.MatMul{A: x1, B: down, TransposeB: true}), weight, e)
	}
	first := b.Dims(x1, 4)[3] // layers read images in two parts, never tokens
	left := b.Op(compute.Slice{X: down, Axis: 1, Length: first})
	right := b.Op(compute.Slice{X: down, Axis: 1, Start: first, Length: weight[1] - first})
	h := b.Op(compute.MatMul{A: x1, B: left, TransposeB: true})
	h = b.Op(compute.MatMul{A: x2, B: right, TransposeB: true, Add: h})
	return m.finish(b, y, h, weight, e)
}

// Layers is a Claimer that passes claims on and remembers the layers of the networks built on it, so that adapters
// reach them by the names that their modules have in a checkpoint:
//
//	layers := &nn.Layers{Claimer: component}
//	net, err := unet.New(config, layers)
//	…
//	err = layers.Attach("mid_block.attentions.0.proj_in", &nn.Adapter{…})
//
// Attaching changes what Forward records from then on, and nothing else.
type Layers struct {
	Claimer // told of every claim; nil for nobody

	slots map[string]**Adapter
}

// Claim implements Claimer.
func (l *Layers) Claim(name string, shape ...int) {
	if l.Claimer != nil {
		l.Claimer.Claim(name, shape...)
	}
}

// Names lists the layers that can hold an adapter, by module name, in alphabetical order.
func (l *Layers) Names() []string { return slices.Sorted(maps.Keys(l.slots)) }

// Attach puts an adapter on the named layer, in place of the one that was there; nil takes it off. A name that no Linear
// or Conv2D has is an error.
func (l *Layers) Attach(module string, a *Adapter) error {
	slot := l.slots[module]
	if slot == nil {
		return fmt.Errorf("nn: no layer %q to attach an adapter to, among %d", module, len(l.slots))
	}
	*slot = a
	return nil
}

// announce tells the claimer of a scope, if it asks, that its module has a slot for an adapter.
func (s Scope) announce(slot **Adapter) {
	l, ok := s.claimer.(*Layers)
	if !ok {
		return
	}
	if l.slots == nil {
		l.slots = make(map[string]**Adapter)
	}
	l.slots[s.path] = slot
}
