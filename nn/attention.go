package nn

import "github.com/atelier-go/atelier/compute"

// Attention is diffusers' Attention: multi-head attention with projections to_q, to_k, to_v and to_out.0.
type Attention struct {
	Scope
	ToQ, ToK, ToV, ToOut *Linear
	Heads                int
}

// NewAttention claims the projections of queries of the given channels that attend to a context of contextDim
// channels, without biases on q, k and v.
func NewAttention(s Scope, channels, contextDim, heads int) *Attention {
	return &Attention{
		Scope: s,
		ToQ:   NewLinearNoBias(s.Sub("to_q"), channels, channels),
		ToK:   NewLinearNoBias(s.Sub("to_k"), contextDim, channels),
		ToV:   NewLinearNoBias(s.Sub("to_v"), contextDim, channels),
		ToOut: NewLinear(s.Sub("to_out.0"), channels, channels),
		Heads: heads,
	}
}

// KV is what attention reads of a context: keys and values, [N,S,C] each.
type KV struct{ K, V compute.Value }

// Context records the projection of a context, [N,S,contextDim], to keys and values.
func (m *Attention) Context(b *compute.Builder, context compute.Value) KV {
	defer m.Enter(b)()
	return KV{m.ToK.Forward(b, compute.Epilogue{}, context), m.ToV.Forward(b, compute.Epilogue{}, context)}
}

// Forward records the attention of x, [N,T,C], to kv and adds residual if there is one. If kv holds more
// samples than x, x attends to each of its contexts in turn; the residual then has kv's batch.
func (m *Attention) Forward(b *compute.Builder, x compute.Value, kv KV, residual compute.Value) compute.Value {
	defer m.Enter(b)()
	q := SpreadBatch(b, m.ToQ.Forward(b, compute.Epilogue{}, x), kv.K)
	h := b.Op(compute.Attention{Q: q, K: kv.K, V: kv.V, Heads: m.Heads})
	return m.ToOut.Forward(b, compute.Epilogue{Residual: residual}, h)
}

// SpreadBatch repeats v along the batch until it has as many samples as like; sample n of v becomes samples
// n, N+n, 2N+n, … It is where what a guided prediction shares between its contexts meets what differs.
func SpreadBatch(b *compute.Builder, v, like compute.Value) compute.Value {
	have, want := b.Batch(v), b.Batch(like)
	if have == 0 || want <= have || want%have != 0 {
		return v // nothing to do, or for the op that reads v to complain about
	}
	return b.Op(compute.Repeat{X: v, Times: want / have})
}
