package compute

import "fmt"

// AttentionGradient is the derivative of Attention by queries, keys and values, its three results in this order. With
// S = QKᵀ/√d and P = softmax(S), both computed again and never materialised as a whole, and dP = DY·Vᵀ, per head
//
//	dS = P∘(dP - rowsum(P∘dP)),  dQ = dS·K/√d,  dK = dSᵀ·Q/√d,  dV = Pᵀ·DY
//
// Q and DY are [N,T,Heads·d], K and V [N,S,Heads·d]; Heads and Causal are Attention's. With Y, what Attention made of Q, K and
// V, a device need not make rowsum(P∘dP) from the scores: it is rowsum(DY∘Y).
// See Dao et al., "FlashAttention" (arXiv:2205.14135), appendix B.2.
type AttentionGradient struct {
	Q, K, V, DY Value
	Y           Value // optional
	Heads       int
	Causal      bool
}

// Operands implements Op.
func (op AttentionGradient) Operands() []Value { return present(op.Q, op.K, op.V, op.DY, op.Y) }

func (op AttentionGradient) infer(t types) ([]Type, error) {
	forward := Attention{op.Q, op.K, op.V, op.Heads, op.Causal}
	y, err := forward.infer(t)
	if err != nil {
		return nil, err
	}
	if !t.of(op.DY).Equal(y[0]) {
		return nil, fmt.Errorf("the result's gradient is %v, want %v", t.of(op.DY), y[0])
	}
	if op.Y.Valid() && !t.of(op.Y).Equal(y[0]) {
		return nil, fmt.Errorf("the result is %v, want %v", t.of(op.Y), y[0])
	}
	return []Type{t.of(op.Q), t.of(op.K), t.of(op.V)}, nil
}

func (op AttentionGradient) flops(t types) int64 {
	return 10 * int64(t.of(op.Q).Shape.Elements()) * int64(t.of(op.K).Shape[1]) // five products
}

func (op AttentionGradient) gradient(g *adjoint, _ Value) { g.fail(op, secondDerivative) }
