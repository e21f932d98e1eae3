package nn

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
)

// Linear is y = x·Weightᵀ + Bias on the innermost axis: [...,in] to [...,out]. It is also diffusers' 1×1 convolution.
type Linear struct {
	Scope
	Weight, Bias Param
	Adapter      *Adapter // nil for none
}

// NewLinear claims weight [out,in] and bias [out].
func NewLinear(s Scope, in, out int) *Linear {
	return newLinear(s, s.Param("weight", out, in), s.Param("bias", out))
}

// NewLinearNoBias claims weight [out,in].
func NewLinearNoBias(s Scope, in, out int) *Linear {
	return newLinear(s, s.Param("weight", out, in), Param{})
}

// NewConv1x1 claims weight [out,in,1,1] and bias [out].
func NewConv1x1(s Scope, in, out int) *Linear {
	return newLinear(s, s.Param("weight", out, in, 1, 1), s.Param("bias", out))
}

func newLinear(s Scope, weight, bias Param) *Linear {
	m := &Linear{Scope: s, Weight: weight, Bias: bias}
	s.announce(&m.Adapter)
	return m
}

// Forward records the layer on x, given in one part or in two.
func (m *Linear) Forward(b *compute.Builder, e compute.Epilogue, x ...compute.Value) compute.Value {
	defer m.Enter(b)()
	x1, x2 := parts(b, x)
	y := b.Op(compute.Linear{X: x1, X2: x2, Weight: m.Weight.Value(b), Bias: m.Bias.Value(b), Epilogue: m.Adapter.beneath(e)})
	if m.Adapter == nil {
		return y
	}
	return m.Adapter.linear(b, y, m.Weight.Shape, e, x1, x2)
}

// Conv2D is a two-dimensional convolution of [N,H,W,in] to [N,H',W',out].
type Conv2D struct {
	Scope
	Weight, Bias Param
	Stride       int
	Pad          compute.Padding
	Adapter      *Adapter // nil for none
}

// NewConv3x3 claims weight [out,in,3,3] and bias [out] of a convolution that keeps the size of the image.
func NewConv3x3(s Scope, in, out int) *Conv2D {
	m := NewConv3x3NoBias(s, in, out)
	m.Bias = s.Param("bias", out)
	return m
}

// NewConv3x3NoBias is NewConv3x3 without bias.
func NewConv3x3NoBias(s Scope, in, out int) *Conv2D {
	m := &Conv2D{Scope: s, Weight: s.Param("weight", out, in, 3, 3), Stride: 1, Pad: compute.SamePadding(1)}
	s.announce(&m.Adapter)
	return m
}

// Forward records the layer on x, given in one part or in two.
func (m *Conv2D) Forward(b *compute.Builder, e compute.Epilogue, x ...compute.Value) compute.Value {
	return m.Resized(b, [2]int{}, e, x...)
}

// Resized is Forward on x resized to the given height and width by nearest neighbour.
func (m *Conv2D) Resized(b *compute.Builder, size [2]int, e compute.Epilogue, x ...compute.Value) compute.Value {
	defer m.Enter(b)()
	x1, x2 := parts(b, x)
	y := b.Op(compute.Conv2D{
		X: x1, X2: x2, Weight: m.Weight.Value(b), Bias: m.Bias.Value(b),
		Stride: m.Stride, Pad: m.Pad, Resize: size, Epilogue: m.Adapter.beneath(e),
	})
	if m.Adapter == nil {
		return y
	}
	h := b.Op(compute.Conv2D{X: x1, X2: x2, Weight: m.Adapter.Down, Stride: m.Stride, Pad: m.Pad, Resize: size})
	return m.Adapter.finish(b, y, h, m.Weight.Shape, e)
}

// parts unpacks features that come in one part or in two.
func parts(b *compute.Builder, x []compute.Value) (first, second compute.Value) {
	switch len(x) {
	case 1:
		return x[0], second
	case 2:
		return x[0], x[1]
	}
	b.Fail(fmt.Errorf("nn: features in %d parts, want one or two", len(x)))
	return first, second
}
