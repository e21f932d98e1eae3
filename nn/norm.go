package nn

import "github.com/atelier-go/atelier/compute"

// GroupNorm normalises [N,H,W,C] over groups of channels and all positions.
type GroupNorm struct {
	Scope
	Weight, Bias Param
	Groups       int
	Eps          float64
}

// NewGroupNorm claims weight and bias [channels].
func NewGroupNorm(s Scope, channels, groups int, eps float64) *GroupNorm {
	return &GroupNorm{Scope: s, Weight: s.Param("weight", channels), Bias: s.Param("bias", channels), Groups: groups, Eps: eps}
}

// Forward records the layer, followed by an activation, on x, given in one part or in two.
func (m *GroupNorm) Forward(b *compute.Builder, a compute.Activation, x ...compute.Value) compute.Value {
	defer m.Enter(b)()
	x1, x2 := parts(b, x)
	return b.Op(compute.GroupNorm{
		X: x1, X2: x2, Weight: m.Weight.Value(b), Bias: m.Bias.Value(b), Groups: m.Groups, Eps: m.Eps, Activation: a,
	})
}

// LayerNorm normalises each row of [...,C].
type LayerNorm struct {
	Scope
	Weight, Bias Param
	Eps          float64
}

// NewLayerNorm claims weight and bias [channels].
func NewLayerNorm(s Scope, channels int, eps float64) *LayerNorm {
	return &LayerNorm{Scope: s, Weight: s.Param("weight", channels), Bias: s.Param("bias", channels), Eps: eps}
}

// Forward records the layer.
func (m *LayerNorm) Forward(b *compute.Builder, x compute.Value) compute.Value {
	defer m.Enter(b)()
	return b.Op(compute.LayerNorm{X: x, Weight: m.Weight.Value(b), Bias: m.Bias.Value(b), Eps: m.Eps})
}
