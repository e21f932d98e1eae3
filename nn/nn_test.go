package nn_test

import (
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/nn"
)

// record runs a recording function and returns the program or the error.
func record(f func(b *compute.Builder) compute.Value) (*compute.Program, error) {
	var b compute.Builder
	b.Output(f(&b))
	return b.Build()
}

// TestPaths compares the paths of recorded ops with the names of the parameters that they read.
func TestPaths(t *testing.T) {
	root := nn.Root(nil).Sub("m")
	for _, c := range []struct {
		name   string
		record func(b *compute.Builder) compute.Value
	}{
		{"ResnetBlock2D", func(b *compute.Builder) compute.Value {
			m := nn.NewResnetBlock2D(root, nn.ResnetConfig{In: 8, Out: 4, Time: 6, Groups: 2, Eps: 1e-5})
			time := m.Time(b, b.Input("time", compute.F32, 1, 6))
			return m.Forward(b, time, b.Input("x", compute.F32, 2, 3, 3, 5), b.Input("skip", compute.F32, 2, 3, 3, 3))
		}},
		{"Transformer2D", func(b *compute.Builder) compute.Value {
			m := nn.NewTransformer2D(root, nn.TransformerConfig{Channels: 8, ContextDim: 6, Heads: 2, Groups: 4})
			kv := m.Context(b, b.Input("context", compute.F32, 2, 5, 6))
			return m.Forward(b, b.Input("x", compute.F32, 2, 3, 3, 8), kv, nil)
		}},
		{"Transformer2D, linear projections", func(b *compute.Builder) compute.Value {
			m := nn.NewTransformer2D(root, nn.TransformerConfig{Channels: 8, ContextDim: 6, Heads: 2, Groups: 4, Linear: true})
			kv := m.Context(b, b.Input("context", compute.F32, 2, 5, 6))
			return m.Forward(b, b.Input("x", compute.F32, 2, 3, 3, 8), kv, nil)
		}},
		{"Downsample2D", func(b *compute.Builder) compute.Value {
			return nn.NewDownsample2D(root, 8, compute.SamePadding(1)).Forward(b, b.Input("x", compute.F32, 2, 3, 3, 8))
		}},
		{"Upsample2D", func(b *compute.Builder) compute.Value {
			return nn.NewUpsample2D(root, 8).Forward(b, b.Input("x", compute.F32, 2, 3, 3, 8), 5, 6)
		}},
		{"TimestepEmbedding", func(b *compute.Builder) compute.Value {
			return nn.NewTimestepEmbedding(root, 8, 32).Forward(b, b.Input("x", compute.F32, 2, 8))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := record(c.record)
			if err != nil {
				t.Fatal(err)
			}
			params := 0
			for _, n := range p.Nodes {
				for _, v := range n.Op.Operands() {
					info := p.Values[v.Index()]
					if info.Kind != compute.ParamKind {
						continue
					}
					params++
					if module := info.Name[:strings.LastIndexByte(info.Name, '.')]; module != n.Path {
						t.Errorf("%s at %q reads %q", compute.OpName(n.Op), n.Path, info.Name)
					}
				}
			}
			if params == 0 {
				t.Error("no op reads a parameter")
			}
		})
	}
}

func TestSpreadBatch(t *testing.T) {
	for _, c := range []struct {
		name       string
		have, want int
		times      int // 0: v itself
	}{
		{"alike", 2, 2, 0},
		{"one for three", 1, 3, 3},
		{"two for six", 2, 6, 3},
		{"two for three", 2, 3, 0}, // left to the op that cannot use it
		{"more than there are", 4, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b compute.Builder
			v, like := b.Input("v", compute.F32, c.have, 5), b.Input("like", compute.F32, c.want, 7, 9)
			got := nn.SpreadBatch(&b, v, like)
			b.Output(b.Op(compute.Activate{X: got, Activation: compute.SiLU}))
			p, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			if c.times == 0 {
				if got != v {
					t.Error("something is recorded, want the value itself")
				}
				return
			}
			if op, ok := p.Nodes[0].Op.(compute.Repeat); !ok || op.X != v || op.Times != c.times {
				t.Errorf("recorded is %+v, want %d repetitions", p.Nodes[0].Op, c.times)
			}
		})
	}
}

// TestErrors gives layers what they cannot use; none may panic.
func TestErrors(t *testing.T) {
	root := nn.Root(nil)
	x := func(b *compute.Builder) compute.Value { return b.Input("x", compute.F32, 1, 4, 4, 8) }
	for _, c := range []struct {
		name   string
		record func(b *compute.Builder) compute.Value
		say    string
	}{
		{"no features", func(b *compute.Builder) compute.Value {
			return nn.NewGroupNorm(root.Sub("norm"), 8, 2, 1e-5).Forward(b, compute.SiLU)
		}, "nn: features in 0 parts"},
		{"features in three parts", func(b *compute.Builder) compute.Value {
			v := x(b)
			return nn.NewResnetBlock2D(root.Sub("resnets.0"), nn.ResnetConfig{In: 24, Out: 8, Groups: 2, Eps: 1e-5}).Forward(b, compute.Value{}, v, v, v)
		}, "nn: features in 3 parts"},
		{"two parts without a shortcut", func(b *compute.Builder) compute.Value {
			return nn.NewResnetBlock2D(root.Sub("resnets.0"), nn.ResnetConfig{In: 8, Out: 8, Groups: 2, Eps: 1e-5}).Forward(b, compute.Value{},
				b.Input("x", compute.F32, 1, 4, 4, 4), b.Input("skip", compute.F32, 1, 4, 4, 4))
		}, "resnets.0.conv2: Conv2D: residual is F32[1 4 4 4]"},
		{"context of another width", func(b *compute.Builder) compute.Value {
			m := nn.NewTransformer2D(root.Sub("attentions.0"), nn.TransformerConfig{Channels: 8, ContextDim: 6, Heads: 2, Groups: 4})
			return m.Forward(b, x(b), m.Context(b, b.Input("context", compute.F32, 1, 5, 7)), nil)
		}, "attentions.0.transformer_blocks.0.attn2.to_k: Linear: weight is [8 6]"},
		{"no context", func(b *compute.Builder) compute.Value {
			return nn.NewTransformer2D(root.Sub("attentions.0"), nn.TransformerConfig{Channels: 8, ContextDim: 6, Heads: 2, Groups: 4}).Forward(b, x(b), nn.KV{}, nil)
		}, "attentions.0.transformer_blocks.0.attn2: Attention: key"},
		{"tokens for an image", func(b *compute.Builder) compute.Value {
			return nn.NewConv3x3(root.Sub("conv_in"), 8, 8).Forward(b, compute.Epilogue{}, b.Input("x", compute.F32, 1, 4, 8))
		}, "conv_in: Conv2D: input [1 4 8]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := record(c.record); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error is %v\nwant %q in it", err, c.say)
			}
		})
	}
}
