package compute

import (
	"fmt"
	"slices"
)

// Op is one operation of the closed vocabulary: a struct of this package whose Value fields are its operands
// and whose other fields are its attributes. Devices switch on the concrete type.
type Op interface {
	// Operands lists every value the op reads, parameters included, absent ones left out.
	Operands() []Value
	// infer is the shape rule: the types of the results, or what is wrong with the operands.
	infer(t types) ([]Type, error)
	// flops counts the floating-point operations of the direct algorithm, a multiply-add as two.
	flops(t types) int64
	// gradient is the gradient rule: given dy, the gradient of the result, it contributes to those of the operands.
	gradient(g *adjoint, dy Value)
}

// Viewer is implemented by ops that move no data: the result shares the storage of the viewed value.
type Viewer interface{ Viewed() Value }

// Overwriter is implemented by ops that read some operand element by element just before writing the same element
// of the result. If such an operand dies here and no other operand shares its storage, the planner lets the
// result take its place, so a device must not write an element before it has read the operand's.
type Overwriter interface{ Overwritable() []Value }

// Activation is a pointwise function.
type Activation uint8

// The activations of the SD 1.x networks and of upscalers.
const (
	Identity  Activation = iota
	SiLU                 // x·sigmoid(x)
	QuickGELU            // x·sigmoid(1.702·x), CLIP's
	GELU                 // x·Φ(x) = x/2·(1+erf(x/√2)), exact
	ReLU                 // max(x, 0)
	LeakyReLU            // max(x, x/5), ESRGAN's
)

// String is the name of the activation: "SiLU".
func (a Activation) String() string {
	names := [...]string{"Identity", "SiLU", "QuickGELU", "GELU", "ReLU", "LeakyReLU"}
	if int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("Activation(%d)", uint8(a))
}

// Epilogue is what Linear and Conv2D do to each result element while it is at hand:
//
//	y = Activation(x·W + bias + PerChannel) + Residual
//
// The zero Epilogue does nothing.
type Epilogue struct {
	PerChannel Value      // optional [N,C] or [1,C], added to every row of sample n
	Activation Activation //
	Residual   Value      // optional, of the result's type
}

// gradient passes dy back through the epilogue of before, the op without activation and residual, to the sum
// x·W + bias + PerChannel. Where there is an activation, before is recorded once more to tell what it was applied to.
func (e Epilogue) gradient(g *adjoint, dy Value, before Op) Value {
	g.accumulate(e.Residual, dy)
	if e.Activation != Identity {
		dy = g.op(ActivateGradient{X: g.op(before), DY: dy, Activation: e.Activation})
	}
	if g.needs(e.PerChannel) {
		shape := g.b.program.Shape(e.PerChannel)
		g.accumulate(e.PerChannel, g.op(SumPositions{X: dy, AllSamples: shape[0] == 1}))
	}
	return dy
}

func (e Epilogue) check(t types, out Type) error {
	if e.Activation > LeakyReLU {
		return fmt.Errorf("unknown %v", e.Activation)
	}
	if e.PerChannel.Valid() {
		p := t.of(e.PerChannel)
		if len(p.Shape) != 2 || p.Shape[1] != out.Shape.Last() || (p.Shape[0] != 1 && p.Shape[0] != out.Shape[0]) || p.DType != out.DType {
			return fmt.Errorf("per-channel addend is %v, want %v[%d|1 %d]", p, out.DType, out.Shape[0], out.Shape.Last())
		}
	}
	if e.Residual.Valid() && !t.of(e.Residual).Equal(out) {
		return fmt.Errorf("residual is %v, want %v", t.of(e.Residual), out)
	}
	return nil
}

// types looks up the types of values while an op is checked.
type types []ValueInfo

// of returns the type of v; an absent value has an invalid one that no shape rule accepts.
func (t types) of(v Value) Type {
	if !v.Valid() {
		return Type{}
	}
	return t[v.Index()].Type
}

// present drops the absent ones of an operand list.
func present(vs ...Value) []Value {
	kept := vs[:0]
	for _, v := range vs {
		if v.Valid() {
			kept = append(kept, v)
		}
	}
	return kept
}

func isFloat(t DType) bool { return t == F32 || t == F16 || t == BF16 }

// wantFloat checks that an activation has a float type and one of the given ranks.
func wantFloat(name string, t Type, ranks ...int) error {
	if !isFloat(t.DType) {
		return fmt.Errorf("%s is %v, want a float type", name, t)
	}
	if slices.Contains(ranks, len(t.Shape)) {
		return nil
	}
	if len(ranks) > 0 {
		return fmt.Errorf("%s is %v, want rank %v", name, t, ranks)
	}
	return nil
}

// wantShape checks a parameter against the shape the op needs.
func wantShape(name string, t types, v Value, shape ...int) error {
	if !t.of(v).Shape.Equal(shape) {
		return fmt.Errorf("%s is %v, want %v", name, t.of(v).Shape, Shape(shape))
	}
	return nil
}

// wantBias is wantShape for a bias that may be absent.
func wantBias(t types, v Value, channels int) error {
	if !v.Valid() {
		return nil
	}
	return wantShape("bias", t, v, channels)
}

// joinChannels is the type of x with x2's channels appended; x2 may be absent.
func joinChannels(t types, x, x2 Value) (Type, error) {
	a := t.of(x)
	if err := wantFloat("input", a); err != nil {
		return Type{}, err
	}
	if len(a.Shape) < 2 {
		return Type{}, fmt.Errorf("input is %v, want at least rank 2", a)
	}
	if !x2.Valid() {
		return a, nil
	}
	b := t.of(x2)
	rank := len(a.Shape)
	if b.DType != a.DType || len(b.Shape) != rank || !a.Shape[:rank-1].Equal(b.Shape[:rank-1]) {
		return Type{}, fmt.Errorf("second input is %v, which does not extend %v along channels", b, a)
	}
	joined := append(Shape(nil), a.Shape...)
	joined[rank-1] += b.Shape[rank-1]
	return Type{a.DType, joined}, nil
}
