package esrgan

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// CompactConfig is what models vary of SRVGGNetCompact.
type CompactConfig struct {
	Channels int // of the features: 64
	Layers   int // convolutions between the first and the last: 16 or 32
	Scale    int // how many times larger the result is along a side
}

// Compact is SRVGGNetCompact: convolutions one after the other, each but the last with a PReLU, whose result is added to the
// picture enlarged by nearest neighbour. Its parameters have BasicSR's names.
type Compact struct {
	config CompactConfig
	Convs  []*nn.Conv2D
	Slopes []nn.Param // of the PReLUs, [Channels] each
}

// NewCompact builds the network and claims its parameters.
func NewCompact(c CompactConfig, claimer nn.Claimer) *Compact {
	body, m := nn.Root(claimer).Sub("body"), &Compact{config: c}
	in := 3
	for i := range c.Layers + 1 {
		m.Convs = append(m.Convs, nn.NewConv3x3(body.Sub(fmt.Sprint(2*i)), in, c.Channels))
		m.Slopes = append(m.Slopes, body.Sub(fmt.Sprint(2*i+1)).Param("weight", c.Channels))
		in = c.Channels
	}
	m.Convs = append(m.Convs, nn.NewConv3x3(body.Sub(fmt.Sprint(2*c.Layers+2)), c.Channels, 3*c.Scale*c.Scale))
	return m
}

// Forward records the network. x is [N,H,W,3] in [0,1], slopes [2·(Layers+1),Channels]: the rows of the PReLUs' slopes, then 1
// less each of them. The result is [N,H,W,3·Scale²], to be shuffled into pixels and added to the enlarged picture.
func (m *Compact) Forward(b *compute.Builder, x, slopes compute.Value) compute.Value {
	last := len(m.Convs) - 1
	for i, conv := range m.Convs[:last] {
		x = conv.Forward(b, compute.Epilogue{}, x)
		x = prelu(b, x, b.Op(compute.Slice{X: slopes, Start: i, Length: 1}), b.Op(compute.Slice{X: slopes, Start: last + i, Length: 1}))
	}
	return m.Convs[last].Forward(b, compute.Epilogue{}, x)
}

// prelu records slope·x + (1-slope)·max(x, 0).
func prelu(b *compute.Builder, x, slope, rest compute.Value) compute.Value {
	positive := b.Op(compute.Activate{X: x, Activation: compute.ReLU})
	return b.Op(compute.Add{
		A: b.Op(compute.Multiply{X: x, Factors: slope}),
		B: b.Op(compute.Multiply{X: positive, Factors: rest}),
	})
}
