package esrgan

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// RRDBConfig is what models vary of RRDBNet.
type RRDBConfig struct {
	Channels    int // of the features: 64
	Growth      int // channels that a convolution of a dense block adds: 32
	Blocks      int // 23, or 6 in small models
	Upsamplings int // doublings behind the blocks: 2, or 0 to 3 in old models
	Unshuffle   int // pixels along a side that the first convolution sees as channels: 1, 2 or 4
}

// Scale is how many times larger the result is along a side.
func (c RRDBConfig) Scale() int { return 1 << c.Upsamplings / c.Unshuffle }

// RRDBNet is residual-in-residual dense blocks and doublings by nearest neighbour. Its parameters have BasicSR's names.
type RRDBNet struct {
	config    RRDBConfig
	ConvFirst *nn.Conv2D
	Body      []*RRDB
	ConvBody  *nn.Conv2D
	ConvUp    []*nn.Conv2D
	ConvHR    *nn.Conv2D
	ConvLast  *nn.Conv2D
}

// RRDB is three dense blocks around which a fifth of their result is added to the input.
type RRDB struct {
	nn.Scope
	Blocks [3]*DenseBlock
}

// DenseBlock is five convolutions, each of which sees all that those before it made; a fifth of the last one's result is added
// to the input.
type DenseBlock struct {
	nn.Scope
	Convs [5]*nn.Conv2D
}

// NewRRDBNet builds the network and claims its parameters.
func NewRRDBNet(c RRDBConfig, claimer nn.Claimer) *RRDBNet {
	s := nn.Root(claimer)
	conv := func(name string, in, out int) *nn.Conv2D { return nn.NewConv3x3(s.Sub(name), in, out) }
	m := &RRDBNet{config: c, ConvFirst: conv("conv_first", 3*c.Unshuffle*c.Unshuffle, c.Channels)}
	for i := range c.Blocks {
		m.Body = append(m.Body, newRRDB(s.Sub(fmt.Sprintf("body.%d", i)), c))
	}
	m.ConvBody = conv("conv_body", c.Channels, c.Channels)
	for i := range c.Upsamplings {
		m.ConvUp = append(m.ConvUp, conv(fmt.Sprintf("conv_up%d", i+1), c.Channels, c.Channels))
	}
	m.ConvHR = conv("conv_hr", c.Channels, c.Channels)
	m.ConvLast = conv("conv_last", c.Channels, 3)
	return m
}

func newRRDB(s nn.Scope, c RRDBConfig) *RRDB {
	m := &RRDB{Scope: s}
	for i := range m.Blocks {
		block := &DenseBlock{Scope: s.Sub(fmt.Sprintf("rdb%d", i+1))}
		for j := range block.Convs {
			out := c.Growth
			if j == len(block.Convs)-1 {
				out = c.Channels
			}
			block.Convs[j] = nn.NewConv3x3(block.Sub(fmt.Sprintf("conv%d", j+1)), c.Channels+j*c.Growth, out)
		}
		m.Blocks[i] = block
	}
	return m
}

// Forward records the network. x is [N,H,W,3·Unshuffle²] in [0,1]; the result is [N,H',W',3] with H' = H·2^Upsamplings, in
// about [0,1].
func (m *RRDBNet) Forward(b *compute.Builder, x compute.Value) compute.Value {
	fifth := fifths(b)
	first := m.ConvFirst.Forward(b, compute.Epilogue{}, x)
	h := first
	for _, block := range m.Body {
		h = block.Forward(b, h, fifth)
	}
	h = m.ConvBody.Forward(b, compute.Epilogue{Residual: first}, h)
	size := b.Dims(h, 4)
	for i, conv := range m.ConvUp {
		h = conv.Resized(b, [2]int{size[1] << (i + 1), size[2] << (i + 1)}, compute.Epilogue{Activation: compute.LeakyReLU}, h)
	}
	h = m.ConvHR.Forward(b, compute.Epilogue{Activation: compute.LeakyReLU}, h)
	return m.ConvLast.Forward(b, compute.Epilogue{}, h)
}

// Forward records y = x + block3(block2(block1(x)))/5.
func (m *RRDB) Forward(b *compute.Builder, x, fifth compute.Value) compute.Value {
	defer m.Enter(b)()
	h := x
	for _, block := range m.Blocks {
		h = block.Forward(b, h, fifth)
	}
	return b.Op(compute.LinearCombination{Terms: []compute.Value{h, x}, Coefficients: fifth})
}

// Forward records y = x + conv5(x, h1, h2, h3, h4)/5, where hi = leaky(convi(x, h1, …)).
func (m *DenseBlock) Forward(b *compute.Builder, x, fifth compute.Value) compute.Value {
	defer m.Enter(b)()
	leaky := compute.Epilogue{Activation: compute.LeakyReLU}
	last := len(m.Convs) - 1
	seen, h := x, m.Convs[0].Forward(b, leaky, x)
	for _, conv := range m.Convs[1:last] {
		next := conv.Forward(b, leaky, seen, h)
		seen, h = b.Op(compute.Concat{Parts: []compute.Value{seen, h}, Axis: 3}), next
	}
	y := m.Convs[last].Forward(b, compute.Epilogue{}, seen, h)
	return b.Op(compute.LinearCombination{Terms: []compute.Value{y, x}, Coefficients: fifth})
}

// fifths are the coefficients of y/5 + x.
func fifths(b *compute.Builder) compute.Value {
	fill := func(v float64) compute.Value { return b.Op(compute.Fill{Shape: compute.Shape{1, 1}, Value: v}) }
	return b.Op(compute.Concat{Parts: []compute.Value{fill(0.2), fill(1)}, Axis: 1})
}
