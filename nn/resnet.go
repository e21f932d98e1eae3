package nn

import "github.com/atelier-go/atelier/compute"

// ResnetBlock2D is two normalised 3×3 convolutions around which the input is added back.
type ResnetBlock2D struct {
	Scope
	Norm1        *GroupNorm
	Conv1        *Conv2D
	TimeEmbProj  *Linear // nil in the VAE
	Norm2        *GroupNorm
	Conv2        *Conv2D
	ConvShortcut *Linear // nil if the number of channels stays
}

// ResnetConfig describes a ResnetBlock2D.
type ResnetConfig struct {
	In, Out int // channels
	Time    int // channels of the time embedding; 0 for none
	Groups  int
	Eps     float64
}

// NewResnetBlock2D claims norm1, conv1, time_emb_proj, norm2, conv2 and conv_shortcut as far as they exist.
func NewResnetBlock2D(s Scope, c ResnetConfig) *ResnetBlock2D {
	m := &ResnetBlock2D{
		Scope: s,
		Norm1: NewGroupNorm(s.Sub("norm1"), c.In, c.Groups, c.Eps),
		Conv1: NewConv3x3(s.Sub("conv1"), c.In, c.Out),
		Norm2: NewGroupNorm(s.Sub("norm2"), c.Out, c.Groups, c.Eps),
		Conv2: NewConv3x3(s.Sub("conv2"), c.Out, c.Out),
	}
	if c.Time > 0 {
		m.TimeEmbProj = NewLinear(s.Sub("time_emb_proj"), c.Time, c.Out)
	}
	if c.In != c.Out {
		m.ConvShortcut = NewConv1x1(s.Sub("conv_shortcut"), c.In, c.Out)
	}
	return m
}

// Time records the block's projection of the activated time embedding, [M,C], to the [M,Cout] that Forward adds.
func (m *ResnetBlock2D) Time(b *compute.Builder, activated compute.Value) compute.Value {
	defer m.Enter(b)()
	return m.TimeEmbProj.Forward(b, compute.Epilogue{}, activated)
}

// Forward records y = shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + time))).
// x is [N,H,W,Cin], in one part or in two; time is [N,Cout] or [1,Cout], or absent; y is [N,H,W,Cout].
func (m *ResnetBlock2D) Forward(b *compute.Builder, time compute.Value, x ...compute.Value) compute.Value {
	defer m.Enter(b)()
	defer b.Segment()()
	skip, _ := parts(b, x)
	if m.ConvShortcut != nil {
		skip = m.ConvShortcut.Forward(b, compute.Epilogue{}, x...)
	}
	if b.Batch(time) > 1 {
		time = SpreadBatch(b, time, skip)
	}
	h := m.Norm1.Forward(b, compute.SiLU, x...)
	h = m.Conv1.Forward(b, compute.Epilogue{PerChannel: time}, h)
	h = m.Norm2.Forward(b, compute.SiLU, h)
	return m.Conv2.Forward(b, compute.Epilogue{Residual: skip}, h)
}

// Downsample2D halves an image with a 3×3 convolution of stride 2.
type Downsample2D struct {
	Scope
	Conv *Conv2D
}

// NewDownsample2D claims conv. The UNet pads every side by one; the VAE's encoder only the bottom and the right.
func NewDownsample2D(s Scope, channels int, pad compute.Padding) *Downsample2D {
	m := &Downsample2D{Scope: s, Conv: NewConv3x3(s.Sub("conv"), channels, channels)}
	m.Conv.Stride, m.Conv.Pad = 2, pad
	return m
}

// Forward records the layer.
func (m *Downsample2D) Forward(b *compute.Builder, x compute.Value) compute.Value {
	defer m.Enter(b)()
	return m.Conv.Forward(b, compute.Epilogue{}, x)
}

// Upsample2D resizes an image by nearest neighbour and convolves it.
type Upsample2D struct {
	Scope
	Conv *Conv2D
}

// NewUpsample2D claims conv.
func NewUpsample2D(s Scope, channels int) *Upsample2D {
	return &Upsample2D{Scope: s, Conv: NewConv3x3(s.Sub("conv"), channels, channels)}
}

// Forward records the layer; the result has the given height and width.
func (m *Upsample2D) Forward(b *compute.Builder, x compute.Value, height, width int) compute.Value {
	defer m.Enter(b)()
	return m.Conv.Resized(b, [2]int{height, width}, compute.Epilogue{}, x)
}

// TimestepEmbedding is the two-layer network behind the sinusoidal encoding of time.
type TimestepEmbedding struct {
	Scope
	Linear1, Linear2 *Linear
}

// NewTimestepEmbedding claims linear_1 and linear_2.
func NewTimestepEmbedding(s Scope, in, dim int) *TimestepEmbedding {
	return &TimestepEmbedding{
		Scope:   s,
		Linear1: NewLinear(s.Sub("linear_1"), in, dim),
		Linear2: NewLinear(s.Sub("linear_2"), dim, dim),
	}
}

// Forward records linear_2(silu(linear_1(x))), [M,in] to [M,dim].
func (m *TimestepEmbedding) Forward(b *compute.Builder, x compute.Value) compute.Value {
	defer m.Enter(b)()
	h := m.Linear1.Forward(b, compute.Epilogue{Activation: compute.SiLU}, x)
	return m.Linear2.Forward(b, compute.Epilogue{}, h)
}
