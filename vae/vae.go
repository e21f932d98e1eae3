// Package vae is the AutoencoderKL of Stable Diffusion 1.x: an encoder of pictures to latents of an eighth of their
// size and the decoder back. See Rombach et al. (arXiv:2112.10752) and diffusers' autoencoder_kl.py for the names.
//
// Pictures are [N,H,W,3] in [-1,1], latents [N,H/8,W/8,4]. The latents here are those of the autoencoder itself; the
// UNet works on them times Config.ScalingFactor. Large pictures are decoded and encoded in overlapping tiles: see
// [Tiled].
package vae

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// eps is the epsilon of every GroupNorm of the VAE.
const eps = 1e-6

// Model is an AutoencoderKL.
type Model struct {
	config        Config
	Encoder       *Encoder
	Decoder       *Decoder
	QuantConv     *nn.Linear
	PostQuantConv *nn.Linear
}

// Encoder turns pictures into moments of latents.
type Encoder struct {
	nn.Scope
	ConvIn      *nn.Conv2D
	DownBlocks  []*Block
	MidBlock    *MidBlock
	ConvNormOut *nn.GroupNorm
	ConvOut     *nn.Conv2D
}

// Decoder turns latents into pictures.
type Decoder struct {
	nn.Scope
	ConvIn      *nn.Conv2D
	MidBlock    *MidBlock
	UpBlocks    []*Block
	ConvNormOut *nn.GroupNorm
	ConvOut     *nn.Conv2D
}

// Block is the resnets of one resolution and the change to the next.
type Block struct {
	nn.Scope
	Resnets     []*nn.ResnetBlock2D
	Downsampler *nn.Downsample2D // in the encoder, but for the last block
	Upsampler   *nn.Upsample2D   // in the decoder, but for the last block
}

// MidBlock is resnet, attention, resnet at the lowest resolution.
type MidBlock struct {
	nn.Scope
	Resnets   [2]*nn.ResnetBlock2D
	Attention *Attention
}

// Attention is self-attention of one head over all positions, on a normalised input and added to it.
type Attention struct {
	nn.Scope
	GroupNorm            *nn.GroupNorm
	ToQ, ToK, ToV, ToOut *nn.Linear
}

// New builds the network of a valid configuration and claims its parameters.
func New(c Config, claimer nn.Claimer) (*Model, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	root := nn.Root(claimer)
	return &Model{
		config:        c,
		Encoder:       newEncoder(root.Sub("encoder"), c),
		Decoder:       newDecoder(root.Sub("decoder"), c),
		QuantConv:     nn.NewConv1x1(root.Sub("quant_conv"), 2*c.LatentChannels, 2*c.LatentChannels),
		PostQuantConv: nn.NewConv1x1(root.Sub("post_quant_conv"), c.LatentChannels, c.LatentChannels),
	}, nil
}

func newEncoder(s nn.Scope, c Config) *Encoder {
	channels := c.BlockOutChannels[0]
	m := &Encoder{Scope: s, ConvIn: nn.NewConv3x3(s.Sub("conv_in"), c.InChannels, channels)}
	for i, out := range c.BlockOutChannels {
		block := newBlock(s.Sub(fmt.Sprintf("down_blocks.%d", i)), c, channels, out, c.LayersPerBlock)
		if channels = out; i < len(c.BlockOutChannels)-1 {
			// The reference pads only the bottom and the right; anything else shifts the latents.
			block.Downsampler = nn.NewDownsample2D(block.Sub("downsamplers.0"), out, compute.Padding{Bottom: 1, Right: 1})
		}
		m.DownBlocks = append(m.DownBlocks, block)
	}
	m.MidBlock = newMidBlock(s.Sub("mid_block"), c, channels)
	m.ConvNormOut = nn.NewGroupNorm(s.Sub("conv_norm_out"), channels, c.NormNumGroups, eps)
	m.ConvOut = nn.NewConv3x3(s.Sub("conv_out"), channels, 2*c.LatentChannels)
	return m
}

func newDecoder(s nn.Scope, c Config) *Decoder {
	levels := len(c.BlockOutChannels)
	channels := c.BlockOutChannels[levels-1]
	m := &Decoder{
		Scope:    s,
		ConvIn:   nn.NewConv3x3(s.Sub("conv_in"), c.LatentChannels, channels),
		MidBlock: newMidBlock(s.Sub("mid_block"), c, channels),
	}
	for i := range levels {
		out := c.BlockOutChannels[levels-1-i]
		block := newBlock(s.Sub(fmt.Sprintf("up_blocks.%d", i)), c, channels, out, c.LayersPerBlock+1)
		if channels = out; i < levels-1 {
			block.Upsampler = nn.NewUpsample2D(block.Sub("upsamplers.0"), out)
		}
		m.UpBlocks = append(m.UpBlocks, block)
	}
	m.ConvNormOut = nn.NewGroupNorm(s.Sub("conv_norm_out"), channels, c.NormNumGroups, eps)
	m.ConvOut = nn.NewConv3x3(s.Sub("conv_out"), channels, c.OutChannels)
	return m
}

func newBlock(s nn.Scope, c Config, in, out, layers int) *Block {
	m := &Block{Scope: s}
	for j := range layers {
		m.Resnets = append(m.Resnets, newResnet(s.Sub(fmt.Sprintf("resnets.%d", j)), c, in, out))
		in = out
	}
	return m
}

func newResnet(s nn.Scope, c Config, in, out int) *nn.ResnetBlock2D {
	return nn.NewResnetBlock2D(s, nn.ResnetConfig{In: in, Out: out, Groups: c.NormNumGroups, Eps: eps})
}

func newMidBlock(s nn.Scope, c Config, channels int) *MidBlock {
	m := &MidBlock{Scope: s}
	m.Resnets[0] = newResnet(s.Sub("resnets.0"), c, channels, channels)
	a := s.Sub("attentions.0")
	m.Attention = &Attention{
		Scope:     a,
		GroupNorm: nn.NewGroupNorm(a.Sub("group_norm"), channels, c.NormNumGroups, eps),
		ToQ:       nn.NewLinear(a.Sub("to_q"), channels, channels),
		ToK:       nn.NewLinear(a.Sub("to_k"), channels, channels),
		ToV:       nn.NewLinear(a.Sub("to_v"), channels, channels),
		ToOut:     nn.NewLinear(a.Sub("to_out.0"), channels, channels),
	}
	m.Resnets[1] = newResnet(s.Sub("resnets.1"), c, channels, channels)
	return m
}

// Config is the configuration the model was built from.
func (m *Model) Config() Config { return m.config }

// Encode records the encoder: pictures [N,H,W,3] in [-1,1] to the moments [N,H/8,W/8,2·C] of their latents, the means in
// the first C channels and the logarithms of the variances in the last; see [Moments].
func (m *Model) Encode(b *compute.Builder, images compute.Value) compute.Value {
	return m.QuantConv.Forward(b, compute.Epilogue{}, m.Encoder.Forward(b, images))
}

// Decode records the decoder: latents [N,h,w,C], not scaled, to pictures [N,8h,8w,3], in [-1,1] but for overshoots.
func (m *Model) Decode(b *compute.Builder, latents compute.Value) compute.Value {
	return m.Decoder.Forward(b, m.PostQuantConv.Forward(b, compute.Epilogue{}, latents))
}

// Forward records the encoder without quant_conv.
func (m *Encoder) Forward(b *compute.Builder, x compute.Value) compute.Value {
	defer m.Enter(b)()
	x = m.ConvIn.Forward(b, compute.Epilogue{}, x)
	for _, block := range m.DownBlocks {
		x = block.Forward(b, x)
	}
	x = m.MidBlock.Forward(b, x)
	x = m.ConvNormOut.Forward(b, compute.SiLU, x)
	return m.ConvOut.Forward(b, compute.Epilogue{}, x)
}

// Forward records the decoder without post_quant_conv.
func (m *Decoder) Forward(b *compute.Builder, x compute.Value) compute.Value {
	defer m.Enter(b)()
	x = m.ConvIn.Forward(b, compute.Epilogue{}, x)
	x = m.MidBlock.Forward(b, x)
	for _, block := range m.UpBlocks {
		x = block.Forward(b, x)
	}
	x = m.ConvNormOut.Forward(b, compute.SiLU, x)
	return m.ConvOut.Forward(b, compute.Epilogue{}, x)
}

// Forward records the resnets and the change of resolution.
func (m *Block) Forward(b *compute.Builder, x compute.Value) compute.Value {
	defer m.Enter(b)()
	for _, resnet := range m.Resnets {
		x = resnet.Forward(b, compute.Value{}, x)
	}
	if m.Downsampler != nil {
		x = m.Downsampler.Forward(b, x)
	}
	if m.Upsampler != nil {
		d := b.Dims(x, 4)
		x = m.Upsampler.Forward(b, x, 2*d[1], 2*d[2])
	}
	return x
}

// Forward records resnet, attention, resnet.
func (m *MidBlock) Forward(b *compute.Builder, x compute.Value) compute.Value {
	defer m.Enter(b)()
	x = m.Resnets[0].Forward(b, compute.Value{}, x)
	x = m.Attention.Forward(b, x)
	return m.Resnets[1].Forward(b, compute.Value{}, x)
}

// Forward records x + to_out(attention(group_norm(x))) over the positions of x, [N,H,W,C].
func (m *Attention) Forward(b *compute.Builder, x compute.Value) compute.Value {
	defer m.Enter(b)()
	d := b.Dims(x, 4)
	tokens := b.Reshape(x, d[0], d[1]*d[2], d[3])
	h := m.GroupNorm.Forward(b, compute.Identity, tokens)
	h = b.Op(compute.Attention{
		Q:     m.ToQ.Forward(b, compute.Epilogue{}, h),
		K:     m.ToK.Forward(b, compute.Epilogue{}, h),
		V:     m.ToV.Forward(b, compute.Epilogue{}, h),
		Heads: 1,
	})
	h = m.ToOut.Forward(b, compute.Epilogue{Residual: tokens}, h)
	return b.Reshape(h, d...)
}
