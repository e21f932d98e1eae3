package unet_test

import (
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/unet"
)

// TestOptions compares what testdata/options.py recorded of diffusers' UNet and of what changes it.
func TestOptions(t *testing.T) {
	want := golden.LoadFile(t, "testdata/options.safetensors")
	golden.ForEach(t, func(t *testing.T, k golden.Kit, dev compute.Device) {
		if k.Name != "tiny-random" {
			return
		}
		n := load(t, k, dev)
		n.sample, n.timestep, n.context = want.Tensor(t, "sample").ChannelsLast(), want.Tensor(t, "timestep"), want.Tensor(t, "encoder_hidden_states")
		plain := n.Model
		for name, o := range map[string]unet.Options{
			"plain":          {},
			"freeu":          {FreeU: unet.FreeU{B1: 1.5, B2: 1.6, S1: 0.9, S2: 0.2}},
			"freeu backbone": {FreeU: unet.FreeU{B1: 1.2, B2: 1.4, S1: 1}},
			"hypertile":      {HyperTile: unet.HyperTile{Side: 6}},
			"hypertile deep": {HyperTile: unet.HyperTile{Side: 4, Depth: 1}},
			"merged 0.3":     {TokenMerging: 0.3},
			"merged 0.5":     {TokenMerging: 0.5},
			"merged 0.75":    {TokenMerging: 1},
		} {
			n.Model = plain.With(o)
			golden.Check(t, name, n.apply(t, n.sample, n.timestep, n.context), want.Tensor(t, name))
		}
		n.Model = plain
		earlier := want.Tensor(t, "earlier").ChannelsLast()
		for name, layer := range map[string]int{"cached 0": 1, "cached 1": 2, "cached 4": 5, "cached 11": 12} {
			golden.Check(t, name, n.applyCut(t, earlier, layer), want.Tensor(t, name))
		}
	})
}

// applyCut runs the whole network on an earlier sample and then the part above a layer on the network's own.
func (n network) applyCut(t *testing.T, earlier golden.Tensor, layer int) []float32 {
	t.Helper()
	inputs := func(b *compute.Builder) (x compute.Value, c unet.Conditioning) {
		x = b.Input("sample", compute.F32, earlier.Shape...)
		time := b.Input("timestep", compute.F32, n.timestep.Shape...)
		context := b.Input("encoder_hidden_states", compute.F32, n.context.Shape...)
		return x, unet.Conditioning{Time: n.TimeProjections(b, time), Context: n.ContextProjections(b, context)}
	}
	var whole, rest compute.Builder
	x, c := inputs(&whole)
	y, deep := n.ForwardDeep(&whole, x, c, layer)
	whole.Output(y)
	whole.Output(deep)
	kept := golden.Run(t, n.dev, n.params, &whole, earlier.Float32, n.timestep.Float32, n.context.Float32)

	x, c = inputs(&rest)
	h, w, channels := n.DeepShape(layer, earlier.Shape[1], earlier.Shape[2])
	deep = rest.Input("deep", compute.F32, earlier.Shape[0], h, w, channels)
	rest.Output(n.ForwardShallow(&rest, x, deep, c, layer))
	return golden.Run(t, n.dev, n.params, &rest, n.sample.Float32, n.timestep.Float32, n.context.Float32, kept[1])[0]
}

// TestCutErrors cuts where there is nothing to cut.
func TestCutErrors(t *testing.T) {
	m := sd15(t)
	for _, layer := range []int{-1, 0, 13} {
		var b compute.Builder
		m.ForwardDeep(&b, b.Input("x", compute.F32, 1, 8, 8, 4), unet.Conditioning{}, layer)
		if b.Err() == nil {
			t.Errorf("layer %d: no error", layer)
		}
	}
}
