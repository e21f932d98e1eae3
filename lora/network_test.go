package lora_test

import (
	"math"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/lora/internal/loratest"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/weights"
)

// TestNetwork counts the modules and parameters that sd-scripts trains of Stable Diffusion 1.5.
func TestNetwork(t *testing.T) {
	targets := loratest.SD15Targets(t)
	for _, c := range []struct {
		name       string
		network    lora.Network
		text, unet int
		parameters int
	}{
		{"standard", lora.Network{Dim: 2}, 72, 192, 2 * 589824},
		{"default rank", lora.Network{}, 72, 192, 4 * 589824},
		{"UNet", lora.Network{Dim: 1, UNetOnly: true}, 0, 192, 423936},
		{"text encoder", lora.Network{Dim: 1, TextEncoderOnly: true}, 72, 0, 165888},
		{"convolutions", lora.Network{Dim: 1, ConvDim: 2}, 72, 278, 589824 + 82880 + 2*544000},
	} {
		t.Run(c.name, func(t *testing.T) {
			modules, err := c.network.New(targets, 1)
			if err != nil {
				t.Fatal(err)
			}
			count, parameters := map[weights.Kind]int{}, 0
			for _, m := range modules {
				count[m.Kind]++
				parameters += len(loratest.LowRank(m).Down.Data) + len(loratest.LowRank(m).Up.Data)
			}
			if text, unet := count[weights.KindTextEncoder], count[weights.KindUNet]; text != c.text || unet != c.unet || parameters != c.parameters {
				t.Errorf("%d modules of the text encoder, %d of the UNet, %d parameters; want %d, %d, %d", text, unet, parameters, c.text, c.unet, c.parameters)
			}
		})
	}
}

// TestNetworkModules looks at modules of one network: shapes, scales and first values.
func TestNetworkModules(t *testing.T) {
	modules, err := lora.Network{Dim: 8, Alpha: 16, ConvDim: 4}.New(loratest.SD15Targets(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	byKey := make(map[string]lora.Module)
	for _, m := range modules {
		byKey[m.Key()] = m
	}
	for _, c := range []struct {
		key      string
		down, up compute.Shape
		scale    float64
	}{
		{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", compute.Shape{8, 768}, compute.Shape{320, 8}, 2},
		{"lora_unet_down_blocks_0_attentions_0_proj_in", compute.Shape{8, 320, 1, 1}, compute.Shape{320, 8, 1, 1}, 2},
		{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_0_proj", compute.Shape{8, 320}, compute.Shape{2560, 8}, 2},
		{"lora_te_text_model_encoder_layers_11_mlp_fc2", compute.Shape{8, 3072}, compute.Shape{768, 8}, 2},
		{"lora_unet_down_blocks_0_downsamplers_0_conv", compute.Shape{4, 320, 3, 3}, compute.Shape{320, 4, 1, 1}, 1},
		{"lora_unet_down_blocks_1_resnets_0_conv_shortcut", compute.Shape{8, 320, 1, 1}, compute.Shape{640, 8, 1, 1}, 2},
	} {
		m, ok := byKey[c.key]
		if !ok || !loratest.LowRank(m).Down.Shape.Equal(c.down) || !loratest.LowRank(m).Up.Shape.Equal(c.up) || loratest.LowRank(m).Scale() != c.scale {
			t.Errorf("%s: %v·%v, scale %v; want %v·%v, scale %v", c.key, loratest.LowRank(m).Up.Shape, loratest.LowRank(m).Down.Shape, loratest.LowRank(m).Scale(), c.up, c.down, c.scale)
			continue
		}
		bound := 1 / math.Sqrt(float64(c.down[1:].Elements()))
		if s := loratest.Largest(loratest.LowRank(m).Down.Data); s > bound*(1+1e-6) || s < 0.9*bound {
			t.Errorf("%s: down is up to %g, want nearly %g", c.key, s, bound)
		}
		if s := loratest.Largest(loratest.LowRank(m).Up.Data); s != 0 {
			t.Errorf("%s: up is up to %g, want 0", c.key, s)
		}
	}
}

func TestNetworkErrors(t *testing.T) {
	for _, c := range []struct {
		network lora.Network
		say     string
	}{
		{lora.Network{Dim: -1}, "Network.Dim is -1"},
		{lora.Network{Dim: 5000}, "Network.Dim is 5000"},
		{lora.Network{ConvDim: -4}, "Network.ConvDim is -4"},
		{lora.Network{Alpha: math.NaN()}, "Network.Alpha is NaN"},
		{lora.Network{RankDropout: 1}, "Network.RankDropout is 1"},
		{lora.Network{UNetOnly: true, TextEncoderOnly: true}, "Network.TextEncoderOnly is true, want false, or Network.UNetOnly false"},
	} {
		if _, err := c.network.New(loratest.SD15Targets(t), 1); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%+v: error %v, want %q in it", c.network, err, c.say)
		}
	}
}
