package unet_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/unet"
)

func TestParseConfig(t *testing.T) {
	for _, c := range []struct {
		name, json string
		want       func(c *unet.Config) // what differs from SD15
	}{
		{"no file", ``, func(*unet.Config) {}},
		{"empty", `{}`, func(*unet.Config) {}},
		{"null is absent", `{"sample_size": null, "cross_attention_dim": null, "attention_head_dim": null}`, func(*unet.Config) {}},
		{"unknown fields", `{"_diffusers_version": "9.9", "something": {"new": [1]}}`, func(*unet.Config) {}},
		{"stock values", `{"mid_block_scale_factor": 1.0, "act_fn": "silu", "upcast_attention": true, "only_cross_attention": false}`, func(*unet.Config) {}},
		{"one number of heads", `{"attention_head_dim": 5}`, func(c *unet.Config) { c.AttentionHeads = []int{5, 5, 5, 5} }},
		{"heads of each level", `{"attention_head_dim": [5, 10, 20, 40]}`, func(c *unet.Config) { c.AttentionHeads = []int{5, 10, 20, 40} }},
		{"heads by their right name", `{"attention_head_dim": 8, "num_attention_heads": 4}`, func(c *unet.Config) { c.AttentionHeads = []int{4, 4, 4, 4} }},
		{"two levels", `{"block_out_channels": [32, 64], "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"]}`,
			func(c *unet.Config) {
				c.BlockOutChannels, c.AttentionHeads = []int{32, 64}, []int{8, 8}
				c.DownBlockTypes, c.UpBlockTypes = []string{"DownBlock2D", "CrossAttnDownBlock2D"}, []string{"CrossAttnUpBlock2D", "UpBlock2D"}
			}},
		{"the rest", `{"sample_size": 8, "in_channels": 3, "out_channels": 5, "layers_per_block": 1, "cross_attention_dim": 32,
			"norm_num_groups": 8, "norm_eps": 1e-6, "use_linear_projection": true, "flip_sin_to_cos": false, "freq_shift": 1}`,
			func(c *unet.Config) {
				c.SampleSize, c.InChannels, c.OutChannels, c.LayersPerBlock, c.CrossAttentionDim = 8, 3, 5, 1, 32
				c.NormNumGroups, c.NormEps, c.UseLinearProjection, c.FlipSinToCos, c.FreqShift = 8, 1e-6, true, false, 1
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := unet.ParseConfig([]byte(c.json))
			if err != nil {
				t.Fatal(err)
			}
			want := unet.SD15()
			if c.want(&want); !reflect.DeepEqual(got, want) {
				t.Errorf("have %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		name, json string
		say        []string // what the error has to name
	}{
		{"not JSON", `sample_size: 64`, []string{"config.json"}},
		{"not an object", `[1, 2]`, []string{"config.json"}},
		{"truncated", `{"sample_size": 6`, []string{"config.json"}},
		{"wrong type", `{"sample_size": "big"}`, []string{"sample_size", `"big"`}},
		{"fraction", `{"in_channels": 4.5}`, []string{"in_channels"}},
		{"zero", `{"in_channels": 0}`, []string{"in_channels is 0"}},
		{"negative", `{"layers_per_block": -1}`, []string{"layers_per_block is -1"}},
		{"too large", `{"cross_attention_dim": 1000000000}`, []string{"cross_attention_dim"}},
		{"too many layers", `{"layers_per_block": 1000000}`, []string{"layers_per_block"}},
		{"layers of each level", `{"layers_per_block": [2, 2, 2, 2]}`, []string{"layers_per_block"}},
		{"groups", `{"norm_num_groups": 7}`, []string{"320", "norm_num_groups 7"}},
		{"no groups", `{"norm_num_groups": 0}`, []string{"norm_num_groups is 0"}},
		{"epsilon", `{"norm_eps": 0}`, []string{"norm_eps"}},
		{"heads", `{"attention_head_dim": 7}`, []string{"attention_head_dim"}},
		{"no heads", `{"attention_head_dim": 0}`, []string{"attention_head_dim"}},
		{"negative heads", `{"attention_head_dim": -8}`, []string{"attention_head_dim"}},
		{"heads of some levels", `{"attention_head_dim": [8, 8]}`, []string{"2 attention_head_dim"}},
		{"no levels", `{"block_out_channels": [], "down_block_types": [], "up_block_types": []}`, []string{"block_out_channels"}},
		{"levels disagree", `{"block_out_channels": [320, 640]}`, []string{"2 block_out_channels", "4 down_block_types"}},
		{"foreign block", `{"down_block_types": ["AttnDownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D"]}`, []string{"down_block_types", "AttnDownBlock2D"}},
		{"foreign up block", `{"up_block_types": ["UpBlock2D", "UpBlock2D", "UpBlock2D", "X"]}`, []string{"up_block_types", `"X"`}},
		{"odd time encoding", `{"block_out_channels": [33, 66, 66, 66], "norm_num_groups": 33, "attention_head_dim": 1}`, []string{"33 channels of time encoding"}},
		{"shift beyond the encoding", `{"freq_shift": 160}`, []string{"freq_shift"}},
		{"SDXL", `{"addition_embed_type": "text_time", "transformer_layers_per_block": [1, 2, 10]}`, []string{"addition_embed_type", "transformer_layers_per_block"}},
		{"class conditioned", `{"num_class_embeds": 1000}`, []string{"num_class_embeds"}},
		{"all at once", `{"in_channels": 0, "out_channels": -4, "sample_size": 0}`, []string{"in_channels", "out_channels", "sample_size"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := unet.ParseConfig([]byte(c.json))
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range append(c.say, "unet: ") {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
		})
	}
}

// FuzzParseConfig records the network of whatever configuration is accepted.
func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"attention_head_dim": [5, 10, 20, 20], "use_linear_projection": true}`, `{"freq_shift": -1, "flip_sin_to_cos": false}`,
		`{"block_out_channels": [2], "down_block_types": ["CrossAttnDownBlock2D"], "up_block_types": ["UpBlock2D"], "norm_num_groups": 1, "attention_head_dim": 1}`,
		`{"layers_per_block": 16, "in_channels": 16384, "out_channels": 16384, "cross_attention_dim": 16384, "sample_size": 4096}`,
		`{"block_out_channels": [16384, 16384, 16384, 16384], "norm_num_groups": 16384}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := unet.ParseConfig(data)
		if err != nil {
			return
		}
		m, err := unet.New(c, nil)
		if err != nil {
			t.Fatalf("ParseConfig accepts what New refuses: %v", err)
		}
		var b compute.Builder
		b.Output(m.Apply(&b, b.Input("sample", compute.F32, 1, 3, 5, c.InChannels), b.Input("timestep", compute.F32, 1),
			b.Input("encoder_hidden_states", compute.F32, 1, 2, c.CrossAttentionDim)))
		p, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.Shape(p.Outputs[0]), (compute.Shape{1, 3, 5, c.OutChannels}); !got.Equal(want) {
			t.Errorf("the result is %v, want %v", got, want)
		}
	})
}
