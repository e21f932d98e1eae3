package vae_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/vae"
)

func TestParseConfig(t *testing.T) {
	for _, c := range []struct {
		name, json string
		want       func(c *vae.Config) // what differs from SD15
	}{
		{"no file", ``, func(*vae.Config) {}},
		{"empty", `{}`, func(*vae.Config) {}},
		{"null is absent", `{"sample_size": null, "latents_mean": null, "scaling_factor": null}`, func(*vae.Config) {}},
		{"unknown fields", `{"_class_name": "AutoencoderKL", "force_upcast": true, "new": {}}`, func(*vae.Config) {}},
		{"stock values", `{"act_fn": "silu", "use_quant_conv": true, "mid_block_add_attention": true}`, func(*vae.Config) {}},
		{"all", `{"latent_channels": 16, "block_out_channels": [8, 16, 24], "layers_per_block": 1, "norm_num_groups": 4, "scaling_factor": 0.5, "sample_size": 64,
			"down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
			"up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}`,
			func(c *vae.Config) {
				*c = vae.Config{InChannels: 3, OutChannels: 3, LatentChannels: 16, BlockOutChannels: []int{8, 16, 24},
					LayersPerBlock: 1, NormNumGroups: 4, ScalingFactor: 0.5, SampleSize: 64}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := vae.ParseConfig([]byte(c.json))
			if err != nil {
				t.Fatal(err)
			}
			want := vae.SD15()
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
		{"not JSON", `scaling_factor: 1`, []string{"config.json"}},
		{"not an object", `"vae"`, []string{"config.json"}},
		{"truncated", `{"sample_size": 6`, []string{"config.json"}},
		{"wrong type", `{"block_out_channels": 128}`, []string{"block_out_channels", "128"}},
		{"grey pictures", `{"in_channels": 1}`, []string{"in_channels is 1"}},
		{"alpha", `{"out_channels": 4}`, []string{"out_channels is 4"}},
		{"no latents", `{"latent_channels": 0}`, []string{"latent_channels is 0"}},
		{"too many layers", `{"layers_per_block": 1000000}`, []string{"layers_per_block"}},
		{"no levels", `{"block_out_channels": []}`, []string{"block_out_channels"}},
		{"too many levels", `{"block_out_channels": [32, 32, 32, 32, 32, 32, 32, 32, 32]}`, []string{"block_out_channels"}},
		{"too many channels", `{"block_out_channels": [32, 1048576]}`, []string{"block_out_channels is 1048576"}},
		{"groups", `{"norm_num_groups": 7}`, []string{"128", "norm_num_groups 7"}},
		{"no groups", `{"norm_num_groups": 0}`, []string{"norm_num_groups is 0"}},
		{"no scale", `{"scaling_factor": 0}`, []string{"scaling_factor"}},
		{"negative scale", `{"scaling_factor": -0.18215}`, []string{"scaling_factor"}},
		{"shifted latents", `{"shift_factor": 0.1159}`, []string{"shift_factor"}},
		{"no quant_conv", `{"use_quant_conv": false, "use_post_quant_conv": false}`, []string{"use_quant_conv", "use_post_quant_conv"}},
		{"foreign block", `{"down_block_types": ["AttnDownEncoderBlock2D"]}`, []string{"down_block_types", "AttnDownEncoderBlock2D"}},
		{"foreign up block", `{"up_block_types": ["UpBlock2D"]}`, []string{"up_block_types", "UpBlock2D"}},
		{"all at once", `{"latent_channels": 0, "sample_size": 0, "scaling_factor": -1}`, []string{"latent_channels", "sample_size", "scaling_factor"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := vae.ParseConfig([]byte(c.json))
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range append(c.say, "vae: ") {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
		})
	}
}

// FuzzParseConfig records both directions of whatever configuration is accepted.
func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"block_out_channels": [1], "norm_num_groups": 1, "layers_per_block": 1}`,
		`{"block_out_channels": [32, 32, 32, 32, 32, 32, 32, 64], "layers_per_block": 16, "latent_channels": 64, "sample_size": 32768}`,
		`{"block_out_channels": [16384, 16384], "norm_num_groups": 16384, "scaling_factor": 1e-5}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := vae.ParseConfig(data)
		if err != nil {
			return
		}
		m, err := vae.New(c, nil)
		if err != nil {
			t.Fatalf("ParseConfig accepts what New refuses: %v", err)
		}
		const height, width = 2, 3 // of the latents
		side := c.ScaleFactor()
		var b compute.Builder
		b.Output(m.Encode(&b, b.Input("image", compute.F32, 1, side*height, side*width, c.InChannels)))
		b.Output(m.Decode(&b, b.Input("latent", compute.F32, 1, height, width, c.LatentChannels)))
		p, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []compute.Shape{{1, height, width, 2 * c.LatentChannels}, {1, side * height, side * width, c.OutChannels}} {
			if got := p.Shape(p.Outputs[i]); !got.Equal(want) {
				t.Errorf("result %d is %v, want %v", i, got, want)
			}
		}
	})
}
