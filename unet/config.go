package unet

import (
	"encoding/json"

	"github.com/atelier-go/atelier/internal/configjson"
)

// Config is what Stable Diffusion 1.x models vary of diffusers' UNet2DConditionModel, in the words of its
// config.json.
type Config struct {
	SampleSize          int      // height and width of the latents it was trained on
	InChannels          int      // latents, and what is shown beside them
	OutChannels         int      //
	DownBlockTypes      []string // CrossAttnDownBlock2D or DownBlock2D, from the input inwards
	UpBlockTypes        []string // UpBlock2D or CrossAttnUpBlock2D, from the middle outwards
	BlockOutChannels    []int    // for each level
	LayersPerBlock      int      // resnets in a down block; an up block has one more
	AttentionHeads      []int    // for each level: what config.json calls attention_head_dim, by an old mistake
	CrossAttentionDim   int      // channels of the text context
	NormNumGroups       int
	NormEps             float64
	UseLinearProjection bool
	FlipSinToCos        bool
	FreqShift           float64
}

// SD15 is the configuration of Stable Diffusion 1.1 to 1.5.
func SD15() Config {
	return Config{
		SampleSize: 64, InChannels: 4, OutChannels: 4,
		DownBlockTypes:   []string{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"},
		UpBlockTypes:     []string{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"},
		BlockOutChannels: []int{320, 640, 1280, 1280},
		LayersPerBlock:   2,
		AttentionHeads:   []int{8, 8, 8, 8},

		CrossAttentionDim: 768, NormNumGroups: 32, NormEps: 1e-5, FlipSinToCos: true,
	}
}

// ParseConfig reads a config.json. No data means SD15, and so do fields that are absent or null. A field that asks for
// a network this package does not build is an error; fields it does not know are ignored. All complaints are reported
// together.
func ParseConfig(data []byte) (Config, error) {
	c := SD15()
	r := configjson.New("unet", data)
	r.Read("sample_size", &c.SampleSize)
	r.Read("in_channels", &c.InChannels)
	r.Read("out_channels", &c.OutChannels)
	r.Read("down_block_types", &c.DownBlockTypes)
	r.Read("up_block_types", &c.UpBlockTypes)
	r.Read("block_out_channels", &c.BlockOutChannels)
	r.Read("layers_per_block", &c.LayersPerBlock)
	r.Read("cross_attention_dim", &c.CrossAttentionDim)
	r.Read("norm_num_groups", &c.NormNumGroups)
	r.Read("norm_eps", &c.NormEps)
	r.Read("use_linear_projection", &c.UseLinearProjection)
	r.Read("flip_sin_to_cos", &c.FlipSinToCos)
	r.Read("freq_shift", &c.FreqShift)
	heads := perLevel{8}
	if r.Has("num_attention_heads") {
		r.Read("num_attention_heads", &heads)
	} else {
		r.Read("attention_head_dim", &heads)
	}
	c.AttentionHeads = heads
	for len(heads) == 1 && len(c.AttentionHeads) < min(len(c.BlockOutChannels), maxLevels) {
		c.AttentionHeads = append(c.AttentionHeads, heads[0])
	}
	for _, f := range only {
		r.Only(f.name, f.value, "this is not a Stable Diffusion 1.x UNet")
	}
	if err := r.Err(); err != nil {
		return Config{}, err
	}
	if err := c.validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// perLevel is a number for every level, or one for all.
type perLevel []int

// UnmarshalJSON reads a number or a list of them.
func (p *perLevel) UnmarshalJSON(data []byte) error {
	var one int
	if err := json.Unmarshal(data, &one); err == nil {
		*p = perLevel{one}
		return nil
	}
	return json.Unmarshal(data, (*[]int)(p))
}

// only lists settings with the one value that this network has; absent and null mean it too.
var only = []struct{ name, value string }{
	{"act_fn", `"silu"`}, {"addition_embed_type", "null"}, {"attention_type", `"default"`}, {"center_input_sample", "false"},
	{"class_embed_type", "null"}, {"conv_in_kernel", "3"}, {"conv_out_kernel", "3"}, {"cross_attention_norm", "null"},
	{"downsample_padding", "1"}, {"dual_cross_attention", "false"}, {"encoder_hid_dim", "null"}, {"encoder_hid_dim_type", "null"},
	{"mid_block_only_cross_attention", "false"}, {"mid_block_scale_factor", "1"}, {"mid_block_type", `"UNetMidBlock2DCrossAttn"`},
	{"num_class_embeds", "null"}, {"only_cross_attention", "false"}, {"resnet_out_scale_factor", "1"}, {"resnet_skip_time_act", "false"},
	{"resnet_time_scale_shift", `"default"`}, {"reverse_transformer_layers_per_block", "null"}, {"time_cond_proj_dim", "null"},
	{"time_embedding_act_fn", "null"}, {"time_embedding_dim", "null"}, {"time_embedding_type", `"positional"`},
	{"timestep_post_act", "null"}, {"transformer_layers_per_block", "1"},
}

// The block types with cross-attention.
const (
	crossAttnDown = "CrossAttnDownBlock2D"
	crossAttnUp   = "CrossAttnUpBlock2D"
)

// Bounds that keep a hostile configuration from asking for a network nobody could hold.
const (
	maxLevels   = 8
	maxChannels = 16384
	maxLayers   = 16
)

func (c Config) validate() error {
	r := configjson.New("unet", nil)
	r.Between("sample_size", c.SampleSize, 1, 4096)
	r.Between("in_channels", c.InChannels, 1, maxChannels)
	r.Between("out_channels", c.OutChannels, 1, maxChannels)
	r.Between("layers_per_block", c.LayersPerBlock, 1, maxLayers)
	r.Between("cross_attention_dim", c.CrossAttentionDim, 1, maxChannels)
	r.Between("norm_num_groups", c.NormNumGroups, 1, maxChannels)
	if !(c.NormEps > 0 && c.NormEps < 1) {
		r.Errorf("norm_eps is %g, want a small positive number", c.NormEps)
	}
	levels := len(c.BlockOutChannels)
	r.Between("number of block_out_channels", levels, 1, maxLevels)
	if len(c.DownBlockTypes) != levels || len(c.UpBlockTypes) != levels || len(c.AttentionHeads) != levels {
		r.Errorf("%d block_out_channels, %d down_block_types, %d up_block_types, %d attention_head_dim: want as many of each",
			levels, len(c.DownBlockTypes), len(c.UpBlockTypes), len(c.AttentionHeads))
	}
	if err := r.Err(); err != nil {
		return err
	}
	for i, channels := range c.BlockOutChannels {
		r.Between("block_out_channels", channels, 2, maxChannels)
		if channels%c.NormNumGroups != 0 {
			r.Errorf("%d channels do not divide into norm_num_groups %d", channels, c.NormNumGroups)
		}
		if heads := c.AttentionHeads[i]; heads < 1 || channels%heads != 0 {
			r.Errorf("%d channels do not divide into %d heads (attention_head_dim)", channels, heads)
		}
		if t := c.DownBlockTypes[i]; t != crossAttnDown && t != "DownBlock2D" {
			r.Errorf("down_block_types has %.40q, want CrossAttnDownBlock2D or DownBlock2D", t)
		}
		if t := c.UpBlockTypes[i]; t != crossAttnUp && t != "UpBlock2D" {
			r.Errorf("up_block_types has %.40q, want CrossAttnUpBlock2D or UpBlock2D", t)
		}
	}
	if first := c.BlockOutChannels[0]; first%2 != 0 || float64(first/2) <= c.FreqShift {
		r.Errorf("%d channels of time encoding with freq_shift %g, want an even number whose half exceeds the shift", first, c.FreqShift)
	}
	return r.Err()
}
