package vae

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// TinyConfig is what tiny autoencoders vary.
type TinyConfig struct {
	Channels       int // of the features: 64
	LatentChannels int // 4 for Stable Diffusion 1.x
}

// TAESD is the configuration of the tiny autoencoder for Stable Diffusion 1.x.
func TAESD() TinyConfig { return TinyConfig{Channels: 64, LatentChannels: 4} }

// TinyDecoder is the decoder of TAESD, which makes pictures of latents some twenty times faster than the autoencoder it
// imitates, and nearly as good: for previews. See https://github.com/madebyollin/taesd. Its parameters have diffusers' names.
type TinyDecoder struct{ tiny }

// TinyEncoder is the encoder of TAESD.
type TinyEncoder struct{ tiny }

// tiny is layers one after the other.
type tiny []func(b *compute.Builder, x compute.Value) compute.Value

// TinyBlock is three convolutions around which the input is added back.
type TinyBlock struct {
	nn.Scope
	Convs [3]*nn.Conv2D
}

// NewTinyDecoder builds the decoder and claims its parameters, decoder.layers.0 to 18.
func NewTinyDecoder(c TinyConfig, claimer nn.Claimer) *TinyDecoder {
	s, m := nn.Root(claimer).Sub("decoder.layers"), &TinyDecoder{}
	at := func(i int) nn.Scope { return s.Sub(strconv.Itoa(i)) }
	m.conv(nn.NewConv3x3(at(0), c.LatentChannels, c.Channels), compute.ReLU)
	for first := 2; first < 17; first += 5 { // three blocks, a doubling without parameters and a convolution
		for i := range 3 {
			m.block(at(first+i), c.Channels)
		}
		m.double(nn.NewConv3x3NoBias(at(first+4), c.Channels, c.Channels))
	}
	m.block(at(17), c.Channels)
	m.conv(nn.NewConv3x3(at(18), c.Channels, 3), compute.Identity)
	return m
}

// NewTinyEncoder builds the encoder and claims its parameters, encoder.layers.0 to 14.
func NewTinyEncoder(c TinyConfig, claimer nn.Claimer) *TinyEncoder {
	s, m := nn.Root(claimer).Sub("encoder.layers"), &TinyEncoder{}
	at := func(i int) nn.Scope { return s.Sub(strconv.Itoa(i)) }
	m.conv(nn.NewConv3x3(at(0), 3, c.Channels), compute.Identity)
	m.block(at(1), c.Channels)
	for first := 2; first < 14; first += 4 { // a halving and three blocks
		half := nn.NewConv3x3NoBias(at(first), c.Channels, c.Channels)
		half.Stride = 2
		m.conv(half, compute.Identity)
		for i := range 3 {
			m.block(at(first+1+i), c.Channels)
		}
	}
	m.conv(nn.NewConv3x3(at(14), c.Channels, c.LatentChannels), compute.Identity)
	return m
}

func (t *tiny) conv(c *nn.Conv2D, a compute.Activation) {
	*t = append(*t, func(b *compute.Builder, x compute.Value) compute.Value {
		return c.Forward(b, compute.Epilogue{Activation: a}, x)
	})
}

// double enlarges by nearest neighbour and convolves.
func (t *tiny) double(c *nn.Conv2D) {
	*t = append(*t, func(b *compute.Builder, x compute.Value) compute.Value {
		size := b.Dims(x, 4)
		return c.Resized(b, [2]int{2 * size[1], 2 * size[2]}, compute.Epilogue{}, x)
	})
}

func (t *tiny) block(s nn.Scope, channels int) {
	block := &TinyBlock{Scope: s}
	for i := range block.Convs {
		block.Convs[i] = nn.NewConv3x3(s.Sub(fmt.Sprintf("conv.%d", 2*i)), channels, channels)
	}
	*t = append(*t, block.Forward)
}

// Forward records y = relu(x + conv4(relu(conv2(relu(conv0(x)))))).
func (m *TinyBlock) Forward(b *compute.Builder, x compute.Value) compute.Value {
	defer m.Enter(b)()
	relu := compute.Epilogue{Activation: compute.ReLU}
	h := m.Convs[1].Forward(b, relu, m.Convs[0].Forward(b, relu, x))
	h = m.Convs[2].Forward(b, compute.Epilogue{Residual: x}, h)
	return b.Op(compute.Activate{X: h, Activation: compute.ReLU})
}

func (t tiny) forward(b *compute.Builder, x compute.Value) compute.Value {
	for _, layer := range t {
		x = layer(b, x)
	}
	return x
}

// affine records scale·x + offset.
func affine(b *compute.Builder, x compute.Value, scale, offset float64) compute.Value {
	fill := func(v float64, shape ...int) compute.Value { return b.Op(compute.Fill{Shape: shape, Value: v}) }
	ones := fill(1, b.Shape(x)...)
	coefficients := b.Op(compute.Concat{Parts: []compute.Value{fill(scale, 1, 1), fill(offset, 1, 1)}, Axis: 1})
	return b.Op(compute.LinearCombination{Terms: []compute.Value{x, ones}, Coefficients: coefficients})
}

// Decode records pictures [N,8H,8W,3] in [-1,1] of latents [N,H,W,4] as the UNet has them, bounded by [BoundLatents].
func (m *TinyDecoder) Decode(b *compute.Builder, latents compute.Value) compute.Value {
	return affine(b, m.forward(b, latents), 2, -1)
}

// Encode records latents [N,H/8,W/8,4] as the UNet has them of pictures [N,H,W,3] in [-1,1].
func (m *TinyEncoder) Encode(b *compute.Builder, pictures compute.Value) compute.Value {
	return m.forward(b, affine(b, pictures, 0.5, 0.5))
}

// BoundLatents replaces each x by 3·tanh(x/3), as TAESD's decoder takes latents.
func BoundLatents(latents []float32) {
	for i, x := range latents {
		latents[i] = float32(3 * math.Tanh(float64(x)/3))
	}
}

// TinyName translates a key of a TAESD file to diffusers' names. Files of the original program hold one half each, with the places
// of layers as names, the decoder's one higher; decoder says that it is that half. Its keys in files with both are told by
// their prefix.
func TinyName(key string, decoder bool) string {
	switch rest, found := strings.CutPrefix(key, "taesd_decoder."); {
	case found:
		key, decoder = rest, true
	default:
		if rest, found = strings.CutPrefix(key, "taesd_encoder."); found {
			key, decoder = rest, false
		}
	}
	place, rest, _ := strings.Cut(key, ".")
	n, err := strconv.Atoi(place)
	switch {
	case err != nil:
		return key // diffusers' already
	case decoder:
		return fmt.Sprintf("decoder.layers.%d.%s", n-1, rest)
	}
	return fmt.Sprintf("encoder.layers.%d.%s", n, rest)
}

// IsTinyDecoder reports whether the keys of a file without prefixes are those of the decoder, whose first layer has no parameters.
func IsTinyDecoder(keys []string) bool {
	return !slices.Contains(keys, "0.weight")
}
