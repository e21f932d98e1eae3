package kernel

import (
	"slices"

	"github.com/atelier-go/atelier/compute"
)

// Store is the program with the types that its values are kept as on the card. Of a card that computes in half precision inputs, outputs
// and what samplers, losses and optimizers keep are float32 and all else is half precision; a view is what it shows.
func (k *Kernels) Store(p *compute.Program) *compute.Program {
	stored := *p
	stored.Values = slices.Clone(p.Values)
	if !k.card.Half {
		return &stored
	}
	s := store{stored.Values}
	for _, n := range p.Nodes {
		s.results(n)
	}
	for _, n := range slices.Backward(p.Nodes) {
		s.operands(n)
	}
	return &stored
}

// store gives values their types.
type store struct{ values []compute.ValueInfo }

func (s store) is(v compute.Value, t compute.DType) bool { return s.values[v.Index()].DType == t }

func (s store) set(t compute.DType, vs ...compute.Value) {
	for _, v := range vs {
		if v.Valid() && s.values[v.Index()].Kind == compute.ResultKind && !s.is(v, compute.I32) {
			s.values[v.Index()].DType = t
		}
	}
}

// results gives a node's results their types, which those of some ops have from their operand.
func (s store) results(n compute.Node) {
	switch op := n.Op.(type) {
	case compute.LinearCombination, compute.GuidanceCombine, compute.Fill, compute.TimestepEmbedding, compute.Loss, compute.LossGradient, compute.ClipNorm, compute.AdamW:
	case compute.Reshape:
		s.follow(n.Out[0], op.X)
	case compute.Slice:
		s.follow(n.Out[0], op.X)
	case compute.Repeat:
		s.follow(n.Out[0], op.X)
	case compute.Scale:
		s.follow(n.Out[0], op.X)
	case compute.Multiply:
		s.follow(n.Out[0], op.X)
	default:
		s.set(compute.F16, n.Out...)
	}
}

func (s store) follow(y, x compute.Value) { s.set(s.values[x.Index()].DType, y) }

// operands makes float32 of what goes into ops that are exact or out of the program. It is called from the last node to the first.
func (s store) operands(n compute.Node) {
	for _, v := range n.Out {
		if s.values[v.Index()].Output {
			s.set(compute.F32, v)
		}
	}
	switch op := n.Op.(type) {
	case compute.LinearCombination, compute.GuidanceCombine, compute.Loss, compute.LossGradient, compute.ClipNorm, compute.AdamW:
		s.set(compute.F32, op.Operands()...)
	case compute.Reshape:
		if s.is(n.Out[0], compute.F32) {
			s.set(compute.F32, op.X)
		}
	}
}
