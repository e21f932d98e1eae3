package nn

import "github.com/atelier-go/atelier/compute"

// FeedForward is Linear(4C→C) of GEGLU of Linear(C→8C), the "ff" of a transformer block.
type FeedForward struct {
	Scope
	Proj, Out *Linear
}

// NewFeedForward claims net.0.proj and net.2.
func NewFeedForward(s Scope, channels int) *FeedForward {
	return &FeedForward{
		Scope: s,
		Proj:  NewLinear(s.Sub("net.0.proj"), channels, 8*channels),
		Out:   NewLinear(s.Sub("net.2"), 4*channels, channels),
	}
}

// Forward records the layer on [N,T,C] and adds residual.
func (m *FeedForward) Forward(b *compute.Builder, x, residual compute.Value) compute.Value {
	defer m.Enter(b)()
	h := b.Op(compute.GEGLU{X: m.Proj.Forward(b, compute.Epilogue{}, x)})
	return m.Out.Forward(b, compute.Epilogue{Residual: residual}, h)
}

// BasicTransformerBlock is self-attention, cross-attention and feed-forward, each on a normalised input and added to it.
type BasicTransformerBlock struct {
	Scope
	Norm1       *LayerNorm
	Attn1       *Attention
	Norm2       *LayerNorm
	Attn2       *Attention
	Norm3       *LayerNorm
	FeedForward *FeedForward
}

// NewBasicTransformerBlock claims norm1, attn1, norm2, attn2, norm3 and ff.
func NewBasicTransformerBlock(s Scope, c TransformerConfig) *BasicTransformerBlock {
	const eps = 1e-5
	return &BasicTransformerBlock{
		Scope:       s,
		Norm1:       NewLayerNorm(s.Sub("norm1"), c.Channels, eps),
		Attn1:       NewAttention(s.Sub("attn1"), c.Channels, c.Channels, c.Heads),
		Norm2:       NewLayerNorm(s.Sub("norm2"), c.Channels, eps),
		Attn2:       NewAttention(s.Sub("attn2"), c.Channels, c.ContextDim, c.Heads),
		Norm3:       NewLayerNorm(s.Sub("norm3"), c.Channels, eps),
		FeedForward: NewFeedForward(s.Sub("ff"), c.Channels),
	}
}

// Regroup makes of the tokens of a map, [N,T,C], those that self-attention sees. Undo makes of its answer to these that to the map's.
type Regroup func(b *compute.Builder, x compute.Value) (y compute.Value, undo func(compute.Value) compute.Value)

// Forward records the block on x, [N,T,C], with the context kv. The result has kv's batch. Self-attention sees the tokens as they are
// without a regrouping.
func (m *BasicTransformerBlock) Forward(b *compute.Builder, x compute.Value, kv KV, regroup Regroup) compute.Value {
	defer m.Enter(b)()
	h := m.Norm1.Forward(b, x)
	if regroup == nil {
		x = m.Attn1.Forward(b, h, m.Attn1.Context(b, h), x)
	} else {
		tokens, undo := regroup(b, h)
		x = b.Op(compute.Add{A: undo(m.Attn1.Forward(b, tokens, m.Attn1.Context(b, tokens), compute.Value{})), B: x})
	}
	h = m.Norm2.Forward(b, x)
	x = m.Attn2.Forward(b, h, kv, SpreadBatch(b, x, kv.K))
	return m.FeedForward.Forward(b, m.Norm3.Forward(b, x), x)
}

// Transformer2D is diffusers' Transformer2DModel with one block: it reads an image as tokens, runs the block and adds
// the result to the image.
type Transformer2D struct {
	Scope
	Norm    *GroupNorm
	ProjIn  *Linear
	Block   *BasicTransformerBlock
	ProjOut *Linear
}

// TransformerConfig is the shape of a Transformer2D.
type TransformerConfig struct {
	Channels   int // the image's
	ContextDim int // the width of the text's vectors
	Heads      int
	Groups     int  // the norm's
	Linear     bool // projections are stored as Linear weights, use_linear_projection in a config, rather than as 1×1 convolutions
}

// NewTransformer2D claims norm, proj_in, transformer_blocks.0 and proj_out.
func NewTransformer2D(s Scope, c TransformerConfig) *Transformer2D {
	projection := NewConv1x1
	if c.Linear {
		projection = NewLinear
	}
	return &Transformer2D{
		Scope:   s,
		Norm:    NewGroupNorm(s.Sub("norm"), c.Channels, c.Groups, 1e-6), // unlike the 1e-5 of the resnets
		ProjIn:  projection(s.Sub("proj_in"), c.Channels, c.Channels),
		Block:   NewBasicTransformerBlock(s.Sub("transformer_blocks.0"), c),
		ProjOut: projection(s.Sub("proj_out"), c.Channels, c.Channels),
	}
}

// Context records the projection of the text, [N,S,contextDim], to the keys and values of the cross-attention.
func (m *Transformer2D) Context(b *compute.Builder, context compute.Value) KV {
	defer m.Enter(b)()
	defer m.Block.Enter(b)()
	return m.Block.Attn2.Context(b, context)
}

// Forward records the layer on x, [N,H,W,C], with the context kv, and with self-attention among other tokens if a regrouping is given. The
// result has kv's batch.
func (m *Transformer2D) Forward(b *compute.Builder, x compute.Value, kv KV, regroup Regroup) compute.Value {
	defer m.Enter(b)()
	defer b.Segment()()
	d := b.Dims(x, 4)
	height, width, channels := d[1], d[2], d[3]
	h := m.ProjIn.Forward(b, compute.Epilogue{}, m.Norm.Forward(b, compute.Identity, x))
	h = b.Reshape(h, d[0], height*width, channels)
	h = m.Block.Forward(b, h, kv, regroup)
	h = b.Reshape(h, b.Batch(h), height, width, channels)
	return m.ProjOut.Forward(b, compute.Epilogue{Residual: SpreadBatch(b, x, h)}, h)
}
