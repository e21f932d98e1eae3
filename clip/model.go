package clip

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// Model is the CLIPTextModel of transformers: a causal pre-norm transformer over token embeddings.
// See Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (arXiv:2103.00020).
type Model struct {
	config                            Config
	scope, embeddings, encoder        nn.Scope
	TokenEmbedding, PositionEmbedding nn.Param
	Layers                            []*EncoderLayer
	FinalLayerNorm                    *nn.LayerNorm
}

// EncoderLayer is one layer of the transformer.
type EncoderLayer struct {
	nn.Scope
	SelfAttn   *SelfAttention
	LayerNorm1 *nn.LayerNorm
	MLP        *MLP
	LayerNorm2 *nn.LayerNorm
}

// SelfAttention is causal multi-head attention with biases on every projection.
type SelfAttention struct {
	nn.Scope
	KProj, VProj, QProj, OutProj *nn.Linear
	Heads                        int
}

// MLP is fc2 of the activation of fc1.
type MLP struct {
	nn.Scope
	FC1, FC2   *nn.Linear
	Activation compute.Activation
}

// New builds the network of a valid configuration and claims its parameters.
func New(c Config, claimer nn.Claimer) (*Model, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := nn.Root(claimer).Sub("text_model")
	m := &Model{config: c, scope: s, embeddings: s.Sub("embeddings"), encoder: s.Sub("encoder")}
	m.TokenEmbedding = m.embeddings.Param("token_embedding.weight", c.VocabSize, c.HiddenSize)
	m.PositionEmbedding = m.embeddings.Param("position_embedding.weight", c.MaxPositionEmbeddings, c.HiddenSize)
	for i := range c.NumHiddenLayers {
		m.Layers = append(m.Layers, newEncoderLayer(m.encoder.Sub(fmt.Sprintf("layers.%d", i)), c))
	}
	m.FinalLayerNorm = nn.NewLayerNorm(s.Sub("final_layer_norm"), c.HiddenSize, c.LayerNormEps)
	return m, nil
}

func newEncoderLayer(s nn.Scope, c Config) *EncoderLayer {
	activation, _ := c.activation()
	attn, mlp, size := s.Sub("self_attn"), s.Sub("mlp"), c.HiddenSize
	return &EncoderLayer{
		Scope: s,
		SelfAttn: &SelfAttention{
			Scope:   attn,
			KProj:   nn.NewLinear(attn.Sub("k_proj"), size, size),
			VProj:   nn.NewLinear(attn.Sub("v_proj"), size, size),
			QProj:   nn.NewLinear(attn.Sub("q_proj"), size, size),
			OutProj: nn.NewLinear(attn.Sub("out_proj"), size, size),
			Heads:   c.NumAttentionHeads,
		},
		LayerNorm1: nn.NewLayerNorm(s.Sub("layer_norm1"), size, c.LayerNormEps),
		MLP: &MLP{
			Scope:      mlp,
			FC1:        nn.NewLinear(mlp.Sub("fc1"), size, c.IntermediateSize),
			FC2:        nn.NewLinear(mlp.Sub("fc2"), c.IntermediateSize, size),
			Activation: activation,
		},
		LayerNorm2: nn.NewLayerNorm(s.Sub("layer_norm2"), size, c.LayerNormEps),
	}
}

// Config is the configuration the model was built from.
func (m *Model) Config() Config { return m.config }

// Forward records the network on token ids, I32 [N,T] with T up to MaxPositionEmbeddings, to the hidden states
// [N,T,HiddenSize] that the UNet attends to: those after all layers but the last skip ones (diffusers' clip_skip; the
// web UI's "Clip skip" counts one more), through the final layer norm.
func (m *Model) Forward(b *compute.Builder, ids compute.Value, skip int) compute.Value {
	return m.ForwardAdded(b, ids, compute.Value{}, skip)
}

// ForwardAdded is Forward with [N,T,HiddenSize] added to the embeddings of the tokens, as textual inversion wants it; it may be absent.
func (m *Model) ForwardAdded(b *compute.Builder, ids, added compute.Value, skip int) compute.Value {
	if skip < 0 || skip >= len(m.Layers) {
		b.Fail(fmt.Errorf("clip: skipping %d of %d layers", skip, len(m.Layers)))
		return compute.Value{}
	}
	defer m.scope.Enter(b)()
	leave := m.embeddings.Enter(b)
	h := b.Op(compute.Embed{IDs: ids, Table: m.TokenEmbedding.Value(b), Position: m.PositionEmbedding.Value(b)})
	if added.Valid() {
		h = b.Op(compute.Add{A: h, B: added})
	}
	leave()
	leave = m.encoder.Enter(b)
	for _, layer := range m.Layers[:len(m.Layers)-skip] {
		h = layer.Forward(b, h)
	}
	leave()
	return m.FinalLayerNorm.Forward(b, h)
}

// Forward records h + self_attn(layer_norm1(h)), then h + mlp(layer_norm2(h)), on [N,T,C].
func (m *EncoderLayer) Forward(b *compute.Builder, h compute.Value) compute.Value {
	defer m.Enter(b)()
	defer b.Segment()()
	h = m.SelfAttn.Forward(b, m.LayerNorm1.Forward(b, h), h)
	return m.MLP.Forward(b, m.LayerNorm2.Forward(b, h), h)
}

// Forward records the attention of x to itself, added to residual.
func (m *SelfAttention) Forward(b *compute.Builder, x, residual compute.Value) compute.Value {
	defer m.Enter(b)()
	h := b.Op(compute.Attention{
		Q:      m.QProj.Forward(b, compute.Epilogue{}, x),
		K:      m.KProj.Forward(b, compute.Epilogue{}, x),
		V:      m.VProj.Forward(b, compute.Epilogue{}, x),
		Heads:  m.Heads,
		Causal: true,
	})
	return m.OutProj.Forward(b, compute.Epilogue{Residual: residual}, h)
}

// Forward records fc2(activation(fc1(x))) + residual.
func (m *MLP) Forward(b *compute.Builder, x, residual compute.Value) compute.Value {
	defer m.Enter(b)()
	h := m.FC1.Forward(b, compute.Epilogue{Activation: m.Activation}, x)
	return m.FC2.Forward(b, compute.Epilogue{Residual: residual}, h)
}
