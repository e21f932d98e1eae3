package nn_test

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// claims prints what a network claims.
type claims struct{}

func (claims) Claim(name string, shape ...int) { fmt.Println(name, shape) }

// A network is a tree of layers. Building it claims the parameters; running its Forward records what it computes.
func Example() {
	block := nn.NewResnetBlock2D(nn.Root(claims{}).Sub("down_blocks.0").Sub("resnets.0"), nn.ResnetConfig{In: 4, Out: 8, Groups: 2, Eps: 1e-6})

	var b compute.Builder
	leave := b.Scope("down_blocks.0")
	b.Output(block.Forward(&b, compute.Value{}, b.Input("x", compute.F32, 1, 16, 16, 4)))
	leave()
	p, err := b.Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range p.Nodes {
		fmt.Println(n.Path, compute.OpName(n.Op), p.Shape(n.Out[0]))
	}
	// Output:
	// down_blocks.0.resnets.0.norm1.weight [4]
	// down_blocks.0.resnets.0.norm1.bias [4]
	// down_blocks.0.resnets.0.conv1.weight [8 4 3 3]
	// down_blocks.0.resnets.0.conv1.bias [8]
	// down_blocks.0.resnets.0.norm2.weight [8]
	// down_blocks.0.resnets.0.norm2.bias [8]
	// down_blocks.0.resnets.0.conv2.weight [8 8 3 3]
	// down_blocks.0.resnets.0.conv2.bias [8]
	// down_blocks.0.resnets.0.conv_shortcut.weight [8 4 1 1]
	// down_blocks.0.resnets.0.conv_shortcut.bias [8]
	// down_blocks.0.resnets.0.conv_shortcut Linear [1 16 16 8]
	// down_blocks.0.resnets.0.norm1 GroupNorm [1 16 16 4]
	// down_blocks.0.resnets.0.conv1 Conv2D [1 16 16 8]
	// down_blocks.0.resnets.0.norm2 GroupNorm [1 16 16 8]
	// down_blocks.0.resnets.0.conv2 Conv2D [1 16 16 8]
}
