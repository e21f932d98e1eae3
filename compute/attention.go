package compute

import "fmt"

// Attention is softmax(QKᵀ/√d)·V per head, the scores never materialised as a whole.
// Q is [N,T,Heads·d], K and V are [N,S,Heads·d]; head h owns channels h·d … (h+1)·d-1; the result is [N,T,Heads·d].
// With Causal, query i sees keys j ≤ i only, and T must equal S. Softmax statistics are kept in float32 or better.
// See Dao et al., "FlashAttention" (arXiv:2205.14135), algorithm 1.
type Attention struct {
	Q, K, V Value
	Heads   int
	Causal  bool
}

// Operands implements Op.
func (op Attention) Operands() []Value { return present(op.Q, op.K, op.V) }

func (op Attention) infer(t types) ([]Type, error) {
	q, k, v := t.of(op.Q), t.of(op.K), t.of(op.V)
	if err := wantFloat("query", q, 3); err != nil {
		return nil, err
	}
	if !k.Equal(v) || k.DType != q.DType || len(k.Shape) != 3 || k.Shape[0] != q.Shape[0] || k.Shape[2] != q.Shape[2] {
		return nil, fmt.Errorf("key %v and value %v do not fit query %v", k, v, q)
	}
	if op.Heads < 1 || q.Shape[2]%op.Heads != 0 {
		return nil, fmt.Errorf("%d channels do not divide into %d heads", q.Shape[2], op.Heads)
	}
	if k.Shape[1] < 1 {
		return nil, fmt.Errorf("there are no keys to attend to: %v", k)
	}
	if op.Causal && k.Shape[1] != q.Shape[1] {
		return nil, fmt.Errorf("causal attention of %d queries over %d keys", q.Shape[1], k.Shape[1])
	}
	return []Type{q}, nil
}

func (op Attention) gradient(g *adjoint, dy Value) {
	d := g.results(AttentionGradient{Q: op.Q, K: op.K, V: op.V, DY: dy, Y: g.result, Heads: op.Heads, Causal: op.Causal})
	g.accumulate(op.Q, d[0])
	g.accumulate(op.K, d[1])
	g.accumulate(op.V, d[2])
}

func (op Attention) flops(t types) int64 {
	return 4 * int64(t.of(op.Q).Shape.Elements()) * int64(t.of(op.K).Shape[1])
}
