// Package unet is the UNet2DConditionModel of Stable Diffusion 1.x: it predicts the noise in latents, given the time of
// diffusion and a text context. The network is written once, against a [compute.Builder], and serves inference and
// training on every device; see Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models"
// (arXiv:2112.10752), and diffusers' unet_2d_condition.py for the names.
//
// Latents are [N,h,w,C], the context is [N,S,CrossAttentionDim]. What does not change from one sampling step to the
// next is recorded apart: [Model.ContextProjections] depend on the text alone, [Model.TimeProjections] on the
// timestep alone, and [Model.Forward] takes both. [Model.Apply] is all of it together.
package unet

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// Model is a UNet2DConditionModel.
type Model struct {
	config        Config
	options       Options
	ConvIn        *nn.Conv2D
	TimeEmbedding *nn.TimestepEmbedding
	DownBlocks    []*Block
	MidBlock      *Block
	UpBlocks      []*Block
	ConvNormOut   *nn.GroupNorm
	ConvOut       *nn.Conv2D
}

// Block is a stretch of resnets, each followed by a transformer where there are Attentions, between two changes of
// resolution. The middle block has one resnet before its first attention.
type Block struct {
	nn.Scope
	Resnets     []*nn.ResnetBlock2D
	Attentions  []*nn.Transformer2D // none, or as many as Resnets, or one fewer in the middle
	Downsampler *nn.Downsample2D
	Upsampler   *nn.Upsample2D
}

// New builds the network of a valid configuration and claims its parameters.
func New(c Config, claimer nn.Claimer) (*Model, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	root := nn.Root(claimer)
	first, time := c.BlockOutChannels[0], 4*c.BlockOutChannels[0]
	m := &Model{
		config:        c,
		ConvIn:        nn.NewConv3x3(root.Sub("conv_in"), c.InChannels, first),
		TimeEmbedding: nn.NewTimestepEmbedding(root.Sub("time_embedding"), first, time),
	}

	skips := []int{first} // channels of the skip connections, as Forward pushes them
	channels := first
	levels := len(c.BlockOutChannels)
	for i, out := range c.BlockOutChannels {
		s := root.Sub(fmt.Sprintf("down_blocks.%d", i))
		block := &Block{Scope: s}
		for j := range c.LayersPerBlock {
			block.addResnet(c, j, channels, out, time)
			channels = out
			if c.DownBlockTypes[i] == crossAttnDown {
				block.addAttention(c, j, i, channels)
			}
			skips = append(skips, channels)
		}
		if i < levels-1 {
			block.Downsampler = nn.NewDownsample2D(s.Sub("downsamplers.0"), channels, compute.SamePadding(1))
			skips = append(skips, channels)
		}
		m.DownBlocks = append(m.DownBlocks, block)
	}

	m.MidBlock = &Block{Scope: root.Sub("mid_block")}
	m.MidBlock.addResnet(c, 0, channels, channels, time)
	m.MidBlock.addAttention(c, 0, levels-1, channels)
	m.MidBlock.addResnet(c, 1, channels, channels, time)

	for i := range levels {
		level := levels - 1 - i
		out := c.BlockOutChannels[level]
		s := root.Sub(fmt.Sprintf("up_blocks.%d", i))
		block := &Block{Scope: s}
		for j := range c.LayersPerBlock + 1 {
			skip := skips[len(skips)-1]
			skips = skips[:len(skips)-1]
			block.addResnet(c, j, channels+skip, out, time)
			channels = out
			if c.UpBlockTypes[i] == crossAttnUp {
				block.addAttention(c, j, level, channels)
			}
		}
		if i < levels-1 {
			block.Upsampler = nn.NewUpsample2D(s.Sub("upsamplers.0"), channels)
		}
		m.UpBlocks = append(m.UpBlocks, block)
	}

	m.ConvNormOut = nn.NewGroupNorm(root.Sub("conv_norm_out"), channels, c.NormNumGroups, c.NormEps)
	m.ConvOut = nn.NewConv3x3(root.Sub("conv_out"), channels, c.OutChannels)
	return m, nil
}

func (m *Block) addResnet(c Config, j, in, out, time int) {
	m.Resnets = append(m.Resnets, nn.NewResnetBlock2D(m.Sub(fmt.Sprintf("resnets.%d", j)),
		nn.ResnetConfig{In: in, Out: out, Time: time, Groups: c.NormNumGroups, Eps: c.NormEps}))
}

func (m *Block) addAttention(c Config, j, level, channels int) {
	m.Attentions = append(m.Attentions, nn.NewTransformer2D(m.Sub(fmt.Sprintf("attentions.%d", j)), nn.TransformerConfig{
		Channels: channels, ContextDim: c.CrossAttentionDim, Heads: c.AttentionHeads[level], Groups: c.NormNumGroups, Linear: c.UseLinearProjection,
	}))
}

// Config is the configuration the model was built from.
func (m *Model) Config() Config { return m.config }

// blocks lists all blocks in the order of execution.
func (m *Model) blocks() []*Block {
	return append(append(append([]*Block(nil), m.DownBlocks...), m.MidBlock), m.UpBlocks...)
}

// count is the number of resnets and of transformers.
func (m *Model) count() (resnets, attentions int) {
	for _, block := range m.blocks() {
		resnets += len(block.Resnets)
		attentions += len(block.Attentions)
	}
	return resnets, attentions
}

// KV is what a cross-attention reads of the text: keys and values, [N,S,C] each.
type KV = nn.KV

// Conditioning is what Forward is told besides the latents, one entry for each resnet and each transformer in the
// order of execution.
type Conditioning struct {
	Time    []compute.Value // from TimeProjections, [N,Cout] or [1,Cout] each
	Context []KV            // from ContextProjections, [N,S,C] or [K·N,S,C] each
}

// TimeProjections records the time embedding of timesteps, F32 [N] or [1], and its projection for each resnet.
func (m *Model) TimeProjections(b *compute.Builder, timesteps compute.Value) []compute.Value {
	leave := b.Scope("time_proj")
	encoding := b.Op(compute.TimestepEmbedding{
		Timesteps: timesteps, Dim: m.config.BlockOutChannels[0],
		FlipSinToCos: m.config.FlipSinToCos, FreqShift: m.config.FreqShift,
	})
	leave()
	activated := b.Op(compute.Activate{X: m.TimeEmbedding.Forward(b, encoding), Activation: compute.SiLU})
	var all []compute.Value
	for _, block := range m.blocks() {
		leave := block.Enter(b)
		for _, resnet := range block.Resnets {
			all = append(all, resnet.Time(b, activated))
		}
		leave()
	}
	return all
}

// ContextProjections records keys and values of context, [N,S,CrossAttentionDim], for each cross-attention.
func (m *Model) ContextProjections(b *compute.Builder, context compute.Value) []KV {
	var all []KV
	for _, block := range m.blocks() {
		leave := block.Enter(b)
		for _, attention := range block.Attentions {
			all = append(all, attention.Context(b, context))
		}
		leave()
	}
	return all
}

// TimeChannels lists the channels of each time projection, in the order of TimeProjections.
func (m *Model) TimeChannels() []int {
	var all []int
	for _, block := range m.blocks() {
		for _, resnet := range block.Resnets {
			all = append(all, resnet.TimeEmbProj.Weight.Shape[0])
		}
	}
	return all
}

// ContextChannels lists the channels of each cross-attention's keys and values, in the order of ContextProjections.
func (m *Model) ContextChannels() []int {
	var all []int
	for _, block := range m.blocks() {
		for _, attention := range block.Attentions {
			all = append(all, attention.Block.Attn2.ToK.Weight.Shape[0])
		}
	}
	return all
}

// Apply records the whole network: sample [N,h,w,InChannels], timesteps F32 [N] or [1], context
// [N,S,CrossAttentionDim]; the result is [N,h,w,OutChannels].
func (m *Model) Apply(b *compute.Builder, sample, timesteps, context compute.Value) compute.Value {
	return m.Forward(b, sample, Conditioning{m.TimeProjections(b, timesteps), m.ContextProjections(b, context)})
}

// Forward records the network on sample, [N,h,w,InChannels]. Any h and w will do; multiples of 8 (of two to the number
// of downsamplers) give the result the network was trained for.
//
// The context may hold K·N samples, K contexts for every latent, context k of latent n at k·N+n: then everything up to
// the first cross-attention, which is the same for all contexts, is computed once, and the result has K·N samples.
// That is how classifier-free guidance runs. Time projections are [1,Cout], or [N,Cout] with one timestep for each latent.
func (m *Model) Forward(b *compute.Builder, sample compute.Value, c Conditioning) compute.Value {
	return m.forward(b, sample, c, &pass{})
}

// forward records the network, or the part of it that a pass goes through.
func (m *Model) forward(b *compute.Builder, sample compute.Value, c Conditioning, run *pass) compute.Value {
	if resnets, attentions := m.count(); len(c.Time) != resnets || len(c.Context) != attentions {
		b.Fail(fmt.Errorf("unet: conditioning of %d resnets and %d transformers, the network has %d and %d",
			len(c.Time), len(c.Context), resnets, attentions))
		return compute.Value{}
	}
	run.b, run.c, run.options, run.layer = b, c, m.options, m.Layers()
	run.x = m.ConvIn.Forward(b, compute.Epilogue{}, sample)
	run.push()
	for i, block := range m.DownBlocks {
		run.level = i
		run.down(block)
	}
	run.middle(m.MidBlock)
	for i, block := range m.UpBlocks {
		run.level = len(m.UpBlocks) - 1 - i
		run.up(block, i)
	}
	h := m.ConvNormOut.Forward(b, compute.SiLU, run.x)
	return m.ConvOut.Forward(b, compute.Epilogue{}, h)
}

// pass is a walk through the network.
type pass struct {
	b       *compute.Builder
	options Options
	level   int             // how often the map has been halved
	layer   int             // layers of the up blocks that are still to come
	c       Conditioning    // what has not been used yet
	x       compute.Value   // the running activation
	skips   []compute.Value // the skip connections, last pushed last

	cut     int           // the layer at which the network is cut, 0 if it is not
	deep    compute.Value // what comes into that layer from below: given to a shallow pass, found by another
	shallow bool          // the pass leaves out what is below
	below   bool          // it is there now
}

// push adds a skip connection, the last before the cut being that of the layer there.
func (p *pass) push() {
	if p.below {
		return
	}
	p.skips = append(p.skips, p.x)
	p.below = p.shallow && len(p.skips) == p.cut
}

// pop takes the skip connection of the next layer of an up block, with which a shallow pass comes back from below.
func (p *pass) pop() (skip compute.Value, ok bool) {
	if p.layer == p.cut {
		if p.shallow {
			p.x, p.below = p.deep, false
		}
		p.deep = p.x
	}
	p.layer--
	if p.below {
		return skip, false
	}
	last := len(p.skips) - 1
	skip, p.skips = p.skips[last], p.skips[:last]
	return skip, true
}

func (p *pass) resnet(m *nn.ResnetBlock2D, skip ...compute.Value) {
	if !p.below {
		p.x = m.Forward(p.b, p.c.Time[0], append([]compute.Value{p.x}, skip...)...)
	}
	p.c.Time = p.c.Time[1:]
}

func (p *pass) attention(m *nn.Transformer2D) {
	if !p.below {
		d := p.b.Dims(p.x, 4)
		p.x = m.Forward(p.b, p.x, p.c.Context[0], p.options.regroup(p.level, d[1], d[2]))
	}
	p.c.Context = p.c.Context[1:]
}

func (p *pass) down(m *Block) {
	defer m.Enter(p.b)()
	for j, resnet := range m.Resnets {
		p.resnet(resnet)
		if len(m.Attentions) > 0 {
			p.attention(m.Attentions[j])
		}
		p.push()
	}
	if m.Downsampler != nil && !p.below {
		p.x = m.Downsampler.Forward(p.b, p.x)
		p.push()
	}
}

func (p *pass) middle(m *Block) {
	defer m.Enter(p.b)()
	p.resnet(m.Resnets[0])
	p.attention(m.Attentions[0])
	p.resnet(m.Resnets[1])
}

// up records an up block, whose number FreeU wants to know.
func (p *pass) up(m *Block, number int) {
	defer m.Enter(p.b)()
	for j, resnet := range m.Resnets {
		if skip, ok := p.pop(); ok {
			p.x, skip = p.options.FreeU.weigh(p.b, number, p.x, skip)
			p.resnet(resnet, nn.SpreadBatch(p.b, skip, p.x))
		} else {
			p.resnet(resnet)
		}
		if len(m.Attentions) > 0 {
			p.attention(m.Attentions[j])
		}
	}
	if m.Upsampler != nil && !p.below {
		// The size of the next skip connection: twice this one's, less a row or column that halving rounded up.
		next := p.b.Dims(p.skips[len(p.skips)-1], 4)
		p.x = m.Upsampler.Forward(p.b, p.x, next[1], next[2])
	}
}
