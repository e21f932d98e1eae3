package nn_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/compute/ref"
	"github.com/atelier-go/atelier/nn"
)

// params are random parameters of the shapes that are claimed.
type params map[string]compute.Type

func (p params) Claim(name string, shape ...int) {
	p[name] = compute.Type{DType: compute.F32, Shape: shape}
}

func (p params) ParamType(name string) (compute.Type, error) { return p[name], nil }

func (p params) ParamData(name string) ([]byte, error) {
	return bytesOf(random(name, p[name].Shape.Elements())), nil
}

// changed is a source with one parameter replaced.
type changed struct {
	compute.ParamSource
	name string
	data []byte
}

func (c changed) ParamData(name string) ([]byte, error) {
	if name == c.name {
		return c.data, nil
	}
	return c.ParamSource.ParamData(name)
}

// random are n numbers that follow from a name.
func random(name string, n int) []float64 {
	seed := uint64(1)
	for _, c := range name {
		seed = seed*31 + uint64(c)
	}
	r := rand.New(rand.NewPCG(seed, 2))
	v := make([]float64, n)
	for i := range v {
		v[i] = float64(float32(r.NormFloat64()))
	}
	return v
}

func bytesOf(v []float64) []byte {
	var data []byte
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(x)))
	}
	return data
}

// evaluate runs what is recorded on random inputs, but for those given by name.
func evaluate(t *testing.T, src compute.ParamSource, given map[string][]float64, record func(b *compute.Builder) compute.Value) []float64 {
	t.Helper()
	var b compute.Builder
	b.Output(record(&b))
	p, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	var in []any
	for _, v := range p.Inputs {
		info := p.Values[v.Index()]
		data := given[info.Name]
		if data == nil {
			data = random(info.Name, info.Shape.Elements())
		}
		in = append(in, data)
	}
	out, err := ref.Evaluate(p, src, in...)
	if err != nil {
		t.Fatal(err)
	}
	return out[0].([]float64)
}

func worst(got, want []float64) (difference float64) {
	for i := range want {
		difference = max(difference, math.Abs(got[i]-want[i]))
	}
	return difference
}

// TestAdapter lays the change of an adapter into the weight by hand: the layer must give the same, whatever its kind, its
// input and its epilogue. With up = 0 it must give what it gives without adapter.
func TestAdapter(t *testing.T) {
	const rank, scale = 3, 0.5
	type forward = func(b *compute.Builder) compute.Value
	tokens := func(b *compute.Builder, name string, c int) compute.Value { return b.Input(name, compute.F32, 2, 5, c) }
	image := func(b *compute.Builder, name string, c int) compute.Value {
		return b.Input(name, compute.F32, 2, 5, 6, c)
	}
	epilogue := func(b *compute.Builder) compute.Epilogue {
		return compute.Epilogue{PerChannel: b.Input("time", compute.F32, 2, 8), Activation: compute.SiLU, Residual: image(b, "y", 8)}
	}
	for _, c := range []struct {
		name   string
		weight compute.Shape
		build  func(s nn.Scope) forward
	}{
		{"linear", compute.Shape{8, 6}, func(s nn.Scope) forward {
			m := nn.NewLinear(s, 6, 8)
			return func(b *compute.Builder) compute.Value { return m.Forward(b, compute.Epilogue{}, tokens(b, "x", 6)) }
		}},
		{"linear without bias, residual", compute.Shape{8, 6}, func(s nn.Scope) forward {
			m := nn.NewLinearNoBias(s, 6, 8)
			return func(b *compute.Builder) compute.Value {
				return m.Forward(b, compute.Epilogue{Residual: tokens(b, "y", 8)}, tokens(b, "x", 6))
			}
		}},
		{"linear, activation", compute.Shape{8, 6}, func(s nn.Scope) forward {
			m := nn.NewLinear(s, 6, 8)
			return func(b *compute.Builder) compute.Value {
				return m.Forward(b, compute.Epilogue{Activation: compute.QuickGELU}, tokens(b, "x", 6))
			}
		}},
		{"1×1 convolution of two parts, whole epilogue", compute.Shape{8, 6, 1, 1}, func(s nn.Scope) forward {
			m := nn.NewConv1x1(s, 6, 8)
			return func(b *compute.Builder) compute.Value {
				return m.Forward(b, epilogue(b), image(b, "x", 4), image(b, "skip", 2))
			}
		}},
		{"3×3 convolution of two parts, whole epilogue", compute.Shape{8, 6, 3, 3}, func(s nn.Scope) forward {
			m := nn.NewConv3x3(s, 6, 8)
			return func(b *compute.Builder) compute.Value {
				return m.Forward(b, epilogue(b), image(b, "x", 4), image(b, "skip", 2))
			}
		}},
		{"downsampler", compute.Shape{8, 8, 3, 3}, func(s nn.Scope) forward {
			m := nn.NewDownsample2D(s, 8, compute.SamePadding(1))
			return func(b *compute.Builder) compute.Value { return m.Forward(b, image(b, "x", 8)) }
		}},
		{"upsampler", compute.Shape{8, 8, 3, 3}, func(s nn.Scope) forward {
			m := nn.NewUpsample2D(s, 8)
			return func(b *compute.Builder) compute.Value { return m.Forward(b, image(b, "x", 8), 10, 12) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := params{}
			layers := &nn.Layers{Claimer: src}
			record := c.build(nn.Root(layers).Sub("m"))
			module := layers.Names()[0]
			out, columns := c.weight[0], c.weight[1:].Elements()
			attached := func(b *compute.Builder) compute.Value {
				down, up := slices.Clone(c.weight), compute.Shape{out, rank, 1, 1}[:len(c.weight)]
				down[0] = rank
				if err := layers.Attach(module, &nn.Adapter{
					Down: b.Input("down", compute.F32, down...), Up: b.Input("up", compute.F32, up...), Scale: scale,
				}); err != nil {
					t.Fatal(err)
				}
				return record(b)
			}
			detached := func(b *compute.Builder) compute.Value {
				if err := layers.Attach(module, nil); err != nil {
					t.Fatal(err)
				}
				return record(b)
			}

			plain := evaluate(t, src, nil, detached)
			changes := evaluate(t, src, nil, attached)
			if d := worst(evaluate(t, src, map[string][]float64{"up": make([]float64, out*rank)}, attached), plain); d != 0 {
				t.Errorf("with up = 0 the layer is off by %g, want exactly the layer alone", d)
			}
			if d := worst(changes, plain); d < 0.1 {
				t.Errorf("the adapter changes the layer by %g only", d)
			}

			weight := random(module+".weight", out*columns)
			down, up := random("down", rank*columns), random("up", out*rank)
			for o := range out {
				for i := range columns {
					for k := range rank {
						weight[o*columns+i] += scale * up[o*rank+k] * down[k*columns+i]
					}
				}
			}
			merged := evaluate(t, changed{src, module + ".weight", bytesOf(weight)}, nil, detached)
			if d := worst(changes, merged); d > 1e-5 {
				t.Errorf("attached and merged differ by %g, want no more than the rounding of the merged weight to float32", d)
			}
		})
	}
}

// TestAdapterMask drops a rank: the layer must be that of the ranks that are left.
func TestAdapterMask(t *testing.T) {
	src := params{}
	layers := &nn.Layers{Claimer: src}
	m := nn.NewLinear(nn.Root(layers).Sub("m"), 6, 8)
	record := func(masked bool) func(b *compute.Builder) compute.Value {
		return func(b *compute.Builder) compute.Value {
			m.Adapter = &nn.Adapter{Down: b.Input("down", compute.F32, 2, 6), Up: b.Input("up", compute.F32, 8, 2), Scale: 1}
			if masked {
				m.Adapter.Mask = b.Input("mask", compute.F32, 1, 2)
			}
			return m.Forward(b, compute.Epilogue{}, b.Input("x", compute.F32, 2, 5, 6))
		}
	}
	up := random("up", 16)
	for o := range 8 {
		up[2*o+1] = 0
	}
	got := evaluate(t, src, map[string][]float64{"mask": {1, 0}}, record(true))
	want := evaluate(t, src, map[string][]float64{"up": up}, record(false))
	if d := worst(got, want); d > 1e-12 {
		t.Errorf("the masked adapter differs from the one without its second rank by %g", d)
	}
}

// TestAdapterDropout drops numbers of Down·x: of a linear layer and of a convolution with stride, whose shapes it must be
// told. The layer must be what the formula gives with the same numbers dropped.
func TestAdapterDropout(t *testing.T) {
	src := params{}
	layers := &nn.Layers{Claimer: src}
	linear := nn.NewLinear(nn.Root(layers).Sub("linear"), 6, 8)
	down := nn.NewDownsample2D(nn.Root(layers).Sub("down"), 4, compute.SamePadding(1))
	const linearRows, imageRows = 2 * 5, 2 * 3 * 3
	drop := func(n int) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(i%3) / 2
		}
		return v
	}
	for _, c := range []struct {
		name   string
		layer  string
		weight compute.Shape // of the down factor
		out    int
		rows   int
		shape  compute.Shape // of Down·x
		record func(b *compute.Builder) compute.Value
	}{
		{"linear", "linear", compute.Shape{2, 6}, 8, linearRows, compute.Shape{2, 5, 2}, func(b *compute.Builder) compute.Value {
			return linear.Forward(b, compute.Epilogue{}, b.Input("x", compute.F32, 2, 5, 6))
		}},
		{"convolution", "down.conv", compute.Shape{2, 4, 3, 3}, 4, imageRows, compute.Shape{2, 3, 3, 2}, func(b *compute.Builder) compute.Value {
			return down.Forward(b, b.Input("x", compute.F32, 2, 6, 6, 4))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told compute.Shape
			record := func(mask func(b *compute.Builder) func(compute.Shape) compute.Value) func(b *compute.Builder) compute.Value {
				return func(b *compute.Builder) compute.Value {
					up := compute.Shape{c.out, 2, 1, 1}[:len(c.weight)]
					a := &nn.Adapter{Down: b.Input("down", compute.F32, c.weight...), Up: b.Input("up", compute.F32, up...), Dropout: mask(b)}
					if err := layers.Attach(c.layer, a); err != nil {
						t.Fatal(err)
					}
					return c.record(b)
				}
			}
			dropped := record(func(b *compute.Builder) func(compute.Shape) compute.Value {
				return func(shape compute.Shape) compute.Value {
					told = slices.Clone(shape)
					return b.Input("drop", compute.F32, shape...)
				}
			})
			masks := drop(c.rows * 2)
			got := evaluate(t, src, map[string][]float64{"drop": masks}, dropped)
			if !told.Equal(c.shape) {
				t.Fatalf("it is told the shape %v, want %v", told, c.shape)
			}
			// The change of row r is Σ mask[r,k]·up[·,k]·h[r,k]: of each k alone it follows from layers with one column of up left.
			none := func(*compute.Builder) func(compute.Shape) compute.Value { return nil }
			zero := make([]float64, c.out*2)
			base := evaluate(t, src, map[string][]float64{"up": zero}, record(none))
			want := slices.Clone(base)
			for k := range 2 {
				up := random("up", c.out*2)
				for o := range c.out {
					up[2*o+1-k] = 0
				}
				alone := evaluate(t, src, map[string][]float64{"up": up}, record(none))
				for i := range want {
					want[i] += masks[i/c.out*2+k] * (alone[i] - base[i])
				}
			}
			if d := worst(got, want); d > 1e-9 {
				t.Errorf("the layer is off by %g", d)
			}
		})
	}
}

// TestLayers finds the layers of a block by the names of their modules, and none by others.
func TestLayers(t *testing.T) {
	var layers nn.Layers
	m := nn.NewResnetBlock2D(nn.Root(&layers).Sub("down_blocks.1.resnets.0"), nn.ResnetConfig{In: 4, Out: 8, Time: 16, Groups: 2, Eps: 1e-5})
	want := []string{
		"down_blocks.1.resnets.0.conv1", "down_blocks.1.resnets.0.conv2", "down_blocks.1.resnets.0.conv_shortcut",
		"down_blocks.1.resnets.0.time_emb_proj",
	}
	if got := layers.Names(); !slices.Equal(got, want) {
		t.Errorf("layers are %q\nwant %q", got, want)
	}
	a := &nn.Adapter{}
	if err := layers.Attach("down_blocks.1.resnets.0.conv2", a); err != nil || m.Conv2.Adapter != a {
		t.Errorf("conv2 has adapter %p, error %v; want %p", m.Conv2.Adapter, err, a)
	}
	if err := layers.Attach("down_blocks.1.resnets.0.norm1", a); err == nil || !strings.Contains(err.Error(), `"down_blocks.1.resnets.0.norm1"`) {
		t.Errorf("attaching to a norm gives error %v, want one that names it", err)
	}
}
