package lora_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// fill is n times v.
func fill(n int, v float64) []float64 { return slices.Repeat([]float64{v}, n) }

func TestParseBlockLRWeights(t *testing.T) {
	for _, c := range []struct {
		name          string
		down, mid, up string
		threshold     float64
		want          map[int]float64 // by block; all others are 1
	}{
		{"sine down", "sine", "", "", 0, map[int]float64{0: 0, 1: 0.142315, 2: 0.281733, 3: 0.415415, 4: 0.540641, 5: 0.654861, 6: 0.755750, 7: 0.841254, 8: 0.909632, 9: 0.959493, 10: 0.989821}},
		{"cosine up", "", "", "cosine", 0, map[int]float64{14: 0.989821, 15: 0.959493, 16: 0.909632, 17: 0.841254, 18: 0.755750, 19: 0.654861, 20: 0.540641, 21: 0.415415, 22: 0.281733, 23: 0.142315, 24: 0}},
		{"linear with base", "linear+0.25", "", "", 0, map[int]float64{
			0: 0.25, 1: 0.340909, 2: 0.431818, 3: 0.522727, 4: 0.613636, 5: 0.704545, 6: 0.795455, 7: 0.886364, 8: 0.977273, 9: 1.068182, 10: 1.159091, 11: 1.25,
		}},
		{"reverse linear", "", "", "reverse_linear", 0.5, map[int]float64{
			14: 0.909091, 15: 0.818182, 16: 0.727273, 17: 0.636364, 18: 0.545455, 19: 0, 20: 0, 21: 0, 22: 0, 23: 0, 24: 0, // up to the threshold
		}},
		{"middle", "", "0.5", "", 0, map[int]float64{12: 0.5}},
		{"numbers", "0.5,,0.25", "", "2", 0, map[int]float64{0: 0.5, 1: 0, 2: 0.25, 13: 2}},
		{"too many", "0,0,0,0,0,0,0,0,0,0,0,0,7,7", "", "", 0, map[int]float64{0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0}},
		{"zeros with base", "zeros+0.3", "", "", 0.3, map[int]float64{0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0}},
		{"negative", "", "-1", "", 0, map[int]float64{12: 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := lora.ParseBlockLRWeights(c.down, c.mid, c.up, c.threshold)
			if err != nil || len(got) != 25 {
				t.Fatalf("%d weights, error %v; want 25", len(got), err)
			}
			for i, w := range got {
				want, ok := c.want[i]
				if !ok {
					want = 1
				}
				if !(math.Abs(w-want) <= 1e-6) {
					t.Errorf("block %d has weight %.6f, want %.6f", i, w, want)
				}
			}
		})
	}
	if got, err := lora.ParseBlockLRWeights("", "", "", 1); got != nil || err != nil {
		t.Errorf("without options there are weights %v, error %v", got, err)
	}
	for _, c := range []struct{ down, mid, up, say string }{
		{"sin", "", "", `down_lr_weight is "sin": "sin" is no number; want numbers between commas, or sine`},
		{"", "sine", "", `mid_lr_weight is "sine"`}, {"", "", "1,x", `up_lr_weight`}, {"sine+x", "", "", "down_lr_weight"}, {"NaN", "", "", "down_lr_weight"},
	} {
		if _, err := lora.ParseBlockLRWeights(c.down, c.mid, c.up, 0); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%q %q %q: the error is %v\nwant %q in it", c.down, c.mid, c.up, err, c.say)
		}
	}
}

// TestNetworkBlocks counts the UNet's modules under options for its blocks.
func TestNetworkBlocks(t *testing.T) {
	targets := loratest.SD15Targets(t)
	weight := func(down, mid, up string) []float64 {
		w, err := lora.ParseBlockLRWeights(down, mid, up, 0)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	only := func(dim int, blocks ...int) []int {
		dims := make([]int, 25)
		for _, b := range blocks {
			dims[b] = dim
		}
		return dims
	}
	for _, c := range []struct {
		name    string
		network lora.Network
		unet    int
		ranks   map[string]int // of modules
	}{
		{"nothing down", lora.Network{BlockLRWeight: weight("zeros", "", "")}, 120, nil},
		{"nothing up", lora.Network{BlockLRWeight: weight("", "", "zeros")}, 84, nil},
		{"no middle", lora.Network{BlockLRWeight: weight("", "0", "")}, 180, nil},
		{"sine down", lora.Network{BlockLRWeight: weight("sine", "", "")}, 192, nil},
		{"ranks", lora.Network{Dim: 4, BlockDims: only(8, 1, 12, 24)}, 36, map[string]int{
			"down_blocks.0.attentions.0.proj_in": 8, "mid_block.attentions.0.proj_in": 8, "up_blocks.3.attentions.2.proj_out": 8, "text_model.encoder.layers.0.mlp.fc1": 4,
		}},
		{"one block of transformers", lora.Network{BlockDims: only(8, 8)}, 12, map[string]int{"down_blocks.2.attentions.1.proj_in": 8}},
		{"blocks without transformers", lora.Network{BlockDims: only(8, 0, 3, 6, 9, 10, 11, 13, 14, 15)}, 0, nil},
		// Block 3 is the first downsampler, 9 the third; 10 and 11 are resnets without change of width, 15 the third resnet
		// and the upsampler of the first block up. A resnet has two convolutions and a projection of the time.
		{"ranks of convolutions", lora.Network{Dim: 2, BlockDims: make([]int, 25), ConvBlockDims: only(3, 3, 9, 10, 11, 15)}, 1 + 1 + 2 + 2 + 3, map[string]int{
			"down_blocks.0.downsamplers.0.conv": 3, "down_blocks.3.resnets.1.conv2": 3, "up_blocks.0.upsamplers.0.conv": 3,
		}},
		{"convolutions with ranks of the others", lora.Network{Dim: 2, ConvDim: 1, BlockDims: only(5, 10)}, 51, map[string]int{"down_blocks.3.resnets.0.time_emb_proj": 5, "conv_in": 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			modules, err := c.network.New(targets, 1)
			if err != nil {
				t.Fatal(err)
			}
			count, ranks := map[weights.Kind]int{}, map[string]int{}
			for _, m := range modules {
				count[m.Kind]++
				ranks[m.Name] = m.Rank()
			}
			if count[weights.KindUNet] != c.unet || count[weights.KindTextEncoder] != 72 {
				t.Errorf("%d modules of the UNet and %d of the text encoder, want %d and 72", count[weights.KindUNet], count[weights.KindTextEncoder], c.unet)
			}
			for name, want := range c.ranks {
				if ranks[name] != want {
					t.Errorf("%s has rank %d, want %d", name, ranks[name], want)
				}
			}
		})
	}

	alphas := lora.Network{Dim: 4, Alpha: 2, BlockDims: slices.Repeat([]int{8}, 25), BlockAlphas: fill(25, 16)}
	modules, err := alphas.New(targets, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		want := 2.0
		if m.Kind == weights.KindTextEncoder {
			want = 0.5
		}
		if loratest.LowRank(m).Scale() != want {
			t.Fatalf("%s has scale %v, want %v", m.Name, loratest.LowRank(m).Scale(), want)
		}
	}
	for _, c := range []struct {
		network lora.Network
		say     string
	}{
		{lora.Network{BlockDims: []int{4}}, "Network.BlockDims, want 25 values, not 1"},
		{lora.Network{BlockDims: only(-1, 3)}, "Network.BlockDims[3] is -1"},
		{lora.Network{ConvBlockDims: make([]int, 26)}, "Network.ConvBlockDims, want 25 values, not 26"},
		{lora.Network{BlockAlphas: fill(25, 1)}, "Network.BlockDims, want ranks to the alphas of Network.BlockAlphas"},
		{lora.Network{BlockLRWeight: fill(12, 1)}, "Network.BlockLRWeight, want 25 values, not 12"},
		{lora.Network{BlockLRWeight: fill(25, -1)}, "Network.BlockLRWeight[0] is -1"},
		{lora.Network{Dropout: 1}, "Network.Dropout is 1"},
	} {
		if err := c.network.Check(); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("the error is %v\nwant %q in it", err, c.say)
		}
	}
}

// FuzzParseBlockLRWeights reads weights as a config file may hold them: what is read must be a valid network's.
func FuzzParseBlockLRWeights(f *testing.F) {
	f.Add("sine+0.5", "0.5", "1,,0", 0.0)
	f.Add("zeros", "", "1e308,+", 1e300)
	f.Fuzz(func(t *testing.T, down, mid, up string, threshold float64) {
		w, err := lora.ParseBlockLRWeights(down, mid, up, threshold)
		if err == nil && threshold >= 0 {
			if err := (lora.Network{BlockLRWeight: w}).Check(); err != nil {
				t.Errorf("%q %q %q: %v", down, mid, up, err)
			}
		}
	})
}
