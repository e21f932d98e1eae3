package computetest

import (
	"testing"

	"github.com/atelier-go/atelier/clip"
	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/nn"
	"github.com/atelier-go/atelier/unet"
)

// claimed gives the parameters that a network claims values.
type claimed struct{ o *Operands }

func (c claimed) Claim(name string, shape ...int) {
	width := 1.0
	for _, d := range shape[1:] {
		width /= float64(d)
	}
	values := c.o.uniform(compute.Shape(shape).Elements(), 0, 1.7*width)
	if len(shape) == 1 {
		values = c.o.uniform(shape[0], 0.5, 0.7) // norms as well as biases
	}
	c.o.source.Add(name, compute.F32, values, shape...)
}

// trained is a network with trainable low-rank factors that ends in a loss.
type trained struct {
	b    compute.Builder
	o    *Operands
	wrt  []compute.Value
	loss compute.Value
}

// lora records layer(x) + ½·(x·downᵀ)·upᵀ with factors of rank 2.
func (n *trained) lora(layer *nn.Linear, x compute.Value) compute.Value {
	out, in := layer.Weight.Shape[0], layer.Weight.Shape[1]
	down, up := n.o.Input(2, in), n.o.Input(out, 2)
	n.wrt = append(n.wrt, down, up)
	h := n.b.Op(compute.MatMul{A: x, B: down, TransposeB: true})
	return n.b.Op(compute.MatMul{A: h, B: up, TransposeB: true, Scale: 0.5, Add: layer.Forward(&n.b, compute.Epilogue{}, x)})
}

// attention is nn's with low-rank factors on all of its projections.
func (n *trained) attention(m *nn.Attention, x, context, residual compute.Value) compute.Value {
	q, k, v := n.lora(m.ToQ, x), n.lora(m.ToK, context), n.lora(m.ToV, context)
	h := n.b.Op(compute.Attention{Q: q, K: k, V: v, Heads: m.Heads})
	return n.b.Op(compute.Add{A: n.lora(m.ToOut, h), B: residual})
}

// transformer is nn's Transformer2D with low-rank factors in its attentions.
func (n *trained) transformer(m *nn.Transformer2D, x, context compute.Value) compute.Value {
	defer n.b.Segment()()
	b := &n.b
	d := b.Dims(x, 4)
	h := m.ProjIn.Forward(b, compute.Epilogue{}, m.Norm.Forward(b, compute.Identity, x))
	h = b.Reshape(h, d[0], d[1]*d[2], d[3])
	norm := m.Block.Norm1.Forward(b, h)
	h = n.attention(m.Block.Attn1, norm, norm, h)
	h = n.attention(m.Block.Attn2, m.Block.Norm2.Forward(b, h), context, h)
	h = m.Block.FeedForward.Forward(b, m.Block.Norm3.Forward(b, h), h)
	return m.ProjOut.Forward(b, compute.Epilogue{Residual: x}, b.Reshape(h, d...))
}

// unetLike is a UNet of one level: a residual block, a transformer, down, up, a skip connection in two parts, and what
// the loss of diffusion asks for around it. The first residual block lies below all trainable factors.
func unetLike() *trained {
	n := new(trained)
	n.o = newOperands(&n.b, "unet", compute.F32)
	b, root := &n.b, nn.Root(claimed{n.o})
	const c, time, text = 8, 12, 6
	block := func(name string, in, out int) *nn.ResnetBlock2D {
		return nn.NewResnetBlock2D(root.Sub(name), nn.ResnetConfig{In: in, Out: out, Time: time, Groups: 2, Eps: 1e-5})
	}
	resnet := func(m *nn.ResnetBlock2D, temb compute.Value, x ...compute.Value) compute.Value {
		defer b.Segment()()
		return m.Forward(b, m.Time(b, temb), x...)
	}
	latents, noise := n.o.Input(2, 5, 6, 4), n.o.Input(2, 5, 6, 4)
	factors := n.o.Values([]float32{0.9, 0.4, 0.3, 0.95}, 2, 2) // √ᾱ and √(1-ᾱ) of each sample
	noisy := b.Op(compute.Add{A: b.Op(compute.Scale{X: latents, Factors: factors}), B: b.Op(compute.Scale{X: noise, Factors: factors, Column: 1})})
	context := n.lora(nn.NewLinear(root.Sub("text"), text, text), n.o.Input(2, 3, text))
	temb := b.Op(compute.TimestepEmbedding{Timesteps: n.o.Values([]float32{500, 3}, 2), Dim: c, FlipSinToCos: true})
	temb = nn.NewTimestepEmbedding(root.Sub("time_embedding"), c, time).Forward(b, temb)
	temb = b.Op(compute.Activate{X: temb, Activation: compute.SiLU})

	x := nn.NewConv3x3(root.Sub("conv_in"), 4, c).Forward(b, compute.Epilogue{}, noisy)
	x = resnet(block("resnets.0", c, c), temb, x)
	x = n.transformer(nn.NewTransformer2D(root.Sub("attentions.0"), nn.TransformerConfig{Channels: c, ContextDim: text, Heads: 2, Groups: 4}), x, context)
	skip := x
	x = nn.NewDownsample2D(root.Sub("downsamplers.0"), c, compute.SamePadding(1)).Forward(b, x)
	x = resnet(block("resnets.1", c, c), temb, x)
	x = n.transformer(nn.NewTransformer2D(root.Sub("attentions.1"), nn.TransformerConfig{Channels: c, ContextDim: text, Heads: 2, Groups: 4, Linear: true}), x, context)
	x = nn.NewUpsample2D(root.Sub("upsamplers.0"), c).Forward(b, x, 5, 6)
	x = resnet(block("resnets.2", 2*c, c), temb, x, skip)
	x = nn.NewGroupNorm(root.Sub("conv_norm_out"), c, 2, 1e-5).Forward(b, compute.SiLU, x)
	x = nn.NewConv3x3(root.Sub("conv_out"), c, 4).Forward(b, compute.Epilogue{}, x)
	n.loss = b.Op(compute.Loss{Prediction: x, Target: noise, Weights: n.o.Values([]float32{1, 0.25}, 2), Mask: n.o.Input(2, 5, 6, 1)})
	return n
}

// clipLike is a text encoder with low-rank factors on queries, values and the first layer of the feed-forward.
func clipLike(t *testing.T) *trained {
	n := new(trained)
	n.o = newOperands(&n.b, "clip", compute.F32)
	b := &n.b
	m, err := clip.New(clip.Config{
		VocabSize: 11, HiddenSize: 8, IntermediateSize: 12, NumHiddenLayers: 2, NumAttentionHeads: 2,
		MaxPositionEmbeddings: 5, LayerNormEps: 1e-5, HiddenAct: "quick_gelu",
	}, claimed{n.o})
	if err != nil {
		t.Fatal(err)
	}
	h := b.Op(compute.Embed{IDs: n.o.RandomIDs(11, 2, 5), Table: m.TokenEmbedding.Value(b), Position: m.PositionEmbedding.Value(b)})
	for _, layer := range m.Layers {
		func() {
			defer b.Segment()()
			norm := layer.LayerNorm1.Forward(b, h)
			a := layer.SelfAttn
			q, k, v := n.lora(a.QProj, norm), a.KProj.Forward(b, compute.Epilogue{}, norm), n.lora(a.VProj, norm)
			h = a.OutProj.Forward(b, compute.Epilogue{Residual: h}, b.Op(compute.Attention{Q: q, K: k, V: v, Heads: a.Heads, Causal: true}))
			f := b.Op(compute.Activate{X: n.lora(layer.MLP.FC1, layer.LayerNorm2.Forward(b, h)), Activation: layer.MLP.Activation})
			h = layer.MLP.FC2.Forward(b, compute.Epilogue{Residual: h}, f)
			h = layer.MLP.Forward(b, layer.LayerNorm2.Forward(b, h), h) // once more, with the activation in an epilogue
		}()
	}
	h = m.FinalLayerNorm.Forward(b, h)
	n.loss = b.Op(compute.Loss{Prediction: h, Target: n.o.Input(2, 5, 8)})
	return n
}

// wholeUNet is the network itself, differentiated by its latents and its text, two contexts for each latent.
func wholeUNet(t *testing.T) *trained {
	n := new(trained)
	n.o = newOperands(&n.b, "whole unet", compute.F32)
	m, err := unet.New(unet.Config{
		SampleSize: 8, InChannels: 4, OutChannels: 4,
		DownBlockTypes: []string{"CrossAttnDownBlock2D", "DownBlock2D"}, UpBlockTypes: []string{"UpBlock2D", "CrossAttnUpBlock2D"},
		BlockOutChannels: []int{4, 8}, LayersPerBlock: 1, AttentionHeads: []int{2, 2},
		CrossAttentionDim: 6, NormNumGroups: 2, NormEps: 1e-5, FlipSinToCos: true,
	}, claimed{n.o})
	if err != nil {
		t.Fatal(err)
	}
	latents, context := n.o.Input(2, 5, 4, 4), n.o.Input(4, 3, 6)
	steps := n.o.Values([]float32{700, 20}, 2)
	n.wrt = []compute.Value{latents, context}
	y := n.b.Op(compute.GuidanceCombine{X: m.Apply(&n.b, latents, steps, context), Weights: n.o.Values([]float32{-1, 2}, 2)})
	n.loss = n.b.Op(compute.Loss{Prediction: y, Target: n.o.Input(2, 5, 4, 4)})
	return n
}

var networks = []struct {
	name   string
	record func(t *testing.T) *trained
}{
	{"UNet-like", func(*testing.T) *trained { return unetLike() }},
	{"CLIP-like", clipLike},
	{"UNet", wholeUNet},
}

// TestNetworkGradients compares the gradients of small networks with central differences.
func TestNetworkGradients(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: thousands of runs")
	}
	for _, c := range networks {
		t.Run(c.name, func(t *testing.T) {
			n := c.record(t)
			checkGradient(t, &n.b, &n.o.source, n.o.inputs, n.loss, n.wrt)
		})
	}
}

// TestCheckpointedGradients compares checkpointed gradients with plain ones, bit for bit, and what they take.
func TestCheckpointedGradients(t *testing.T) {
	for _, c := range networks[:2] { // those with segments
		t.Run(c.name, func(t *testing.T) {
			gradients := func(derive func(*compute.Builder, compute.Value, []compute.Value) []compute.Value) ([]compute.Buffer, *compute.Program) {
				n := c.record(t)
				n.b.Output(n.loss)
				for _, g := range derive(&n.b, n.loss, n.wrt) {
					n.b.Output(g)
				}
				p, err := n.b.Build()
				if err != nil {
					t.Fatal(err)
				}
				device := ref.New()
				closing(t, device)
				x := start(t, device, &recording{p, n.o.inputs, &n.o.source})
				x.run(t)
				var out []compute.Buffer
				for i := range x.out {
					out = append(out, x.output(t, i))
				}
				return out, p
			}
			plain, p := gradients(compute.Gradient)
			again, q := gradients(compute.CheckpointedGradient)
			for i := range plain {
				if at := firstDifference(plain[i], again[i]); at >= 0 {
					t.Errorf("output %d differs at element %d: %v", i, at, again[i])
				}
			}
			have, want := compute.Plan(q, nil).Size, compute.Plan(p, nil).Size
			t.Logf("%d bytes and %d ops instead of %d and %d", have, len(q.Nodes), want, len(p.Nodes))
			if have >= want {
				t.Errorf("checkpointed gradients take %d bytes, plain ones %d", have, want)
			}
			if len(q.Nodes) <= len(p.Nodes) {
				t.Errorf("%d ops with checkpoints, %d without: nothing was computed again", len(q.Nodes), len(p.Nodes))
			}
		})
	}
}
