package unet

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Config is what Stable Diffusion 1.x models vary of diffusers' UNet2DConditionModel, in the words of its
// config.json.
type Config struct {
	SampleSize          int      // height and width of the latents it was trained on
	InChannels          int      // of the latents
	OutChannels         int      //
	DownBlockTypes      []string // CrossAttnDownBlock2D or DownBlock2D, from the input inwards
	UpBlockTypes        []string // UpBlock2D or CrossAttnUpBlock2D, from the middle outwards
	BlockOutChannels    []int    // of each level
	LayersPerBlock      int      // resnets in a down block; an up block has one more
	AttentionHeads      []int    // of each level: what config.json calls attention_head_dim, by an old mistake
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
// a network this package does not build is an error; all of them are reported together.
func ParseConfig(data []byte) (Config, error) {
	c := SD15()
	if len(data) == 0 {
		return c, nil
	}
	var heads, headDim perLevel
	fields := map[string]any{
		"sample_size": &c.SampleSize, "in_channels": &c.InChannels, "out_channels": &c.OutChannels,
		"down_block_types": &c.DownBlockTypes, "up_block_types": &c.UpBlockTypes,
		"block_out_channels": &c.BlockOutChannels, "layers_per_block": &c.LayersPerBlock,
		"attention_head_dim": &headDim, "num_attention_heads": &heads,
		"cross_attention_dim": &c.CrossAttentionDim, "norm_num_groups": &c.NormNumGroups, "norm_eps": &c.NormEps,
		"use_linear_projection": &c.UseLinearProjection, "flip_sin_to_cos": &c.FlipSinToCos, "freq_shift": &c.FreqShift,
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return Config{}, fmt.Errorf("unet: config.json: %w", err)
	}
	var errs []error
	for name, field := range fields {
		value := raw[name]
		if isNull(value) {
			continue
		}
		if err := json.Unmarshal(value, field); err != nil {
			errs = append(errs, fmt.Errorf("unet: config.json: %s is %.40s: %w", name, value, err))
		}
	}
	switch {
	case heads != nil:
		c.AttentionHeads = heads
	case headDim != nil:
		c.AttentionHeads = headDim
	default:
		c.AttentionHeads = []int{8}
	}
	errs = append(errs, unsupported(raw)...)
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	if len(c.AttentionHeads) == 1 {
		c.AttentionHeads = slices.Repeat(c.AttentionHeads, min(len(c.BlockOutChannels), maxLevels))
	}
	return c, c.validate()
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

func isNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }

// only lists settings with the one value that this network has; absent and null mean it too.
var only = map[string]string{
	"act_fn": `"silu"`, "addition_embed_type": "null", "attention_type": `"default"`, "center_input_sample": "false",
	"class_embed_type": "null", "conv_in_kernel": "3", "conv_out_kernel": "3", "cross_attention_norm": "null",
	"downsample_padding": "1", "dual_cross_attention": "false", "encoder_hid_dim": "null", "encoder_hid_dim_type": "null",
	"mid_block_only_cross_attention": "false", "mid_block_scale_factor": "1", "mid_block_type": `"UNetMidBlock2DCrossAttn"`,
	"num_class_embeds": "null", "only_cross_attention": "false", "resnet_out_scale_factor": "1", "resnet_skip_time_act": "false",
	"resnet_time_scale_shift": `"default"`, "reverse_transformer_layers_per_block": "null", "time_cond_proj_dim": "null",
	"time_embedding_act_fn": "null", "time_embedding_dim": "null", "time_embedding_type": `"positional"`,
	"timestep_post_act": "null", "transformer_layers_per_block": "1",
}

// unsupported reports settings of other networks.
func unsupported(raw map[string]json.RawMessage) (errs []error) {
	for name, want := range only {
		have := raw[name]
		if isNull(have) || strings.TrimSuffix(string(have), ".0") == want {
			continue
		}
		errs = append(errs, fmt.Errorf("unet: config.json: %s is %.40s, want %s: this is not a Stable Diffusion 1.x UNet", name, have, want))
	}
	return errs
}

// Bounds that keep a hostile configuration from asking for a network nobody could hold.
const (
	maxLevels   = 8
	maxChannels = 16384
	maxLayers   = 16
)

func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("unet: config.json: "+format, args...)) }
	between := func(name string, n, low, high int) {
		if n < low || n > high {
			bad("%s is %d, want %d to %d", name, n, low, high)
		}
	}
	between("sample_size", c.SampleSize, 1, 4096)
	between("in_channels", c.InChannels, 1, maxChannels)
	between("out_channels", c.OutChannels, 1, maxChannels)
	between("layers_per_block", c.LayersPerBlock, 1, maxLayers)
	between("cross_attention_dim", c.CrossAttentionDim, 1, maxChannels)
	between("norm_num_groups", c.NormNumGroups, 1, maxChannels)
	between("number of block_out_channels", len(c.BlockOutChannels), 1, maxLevels)
	if !(c.NormEps > 0 && c.NormEps < 1) {
		bad("norm_eps is %g, want a small positive number", c.NormEps)
	}
	levels := len(c.BlockOutChannels)
	if len(c.DownBlockTypes) != levels || len(c.UpBlockTypes) != levels || len(c.AttentionHeads) != levels {
		bad("%d block_out_channels, %d down_block_types, %d up_block_types, %d attention_head_dim: want as many of each",
			levels, len(c.DownBlockTypes), len(c.UpBlockTypes), len(c.AttentionHeads))
		return errors.Join(errs...)
	}
	for i, channels := range c.BlockOutChannels {
		between("block_out_channels", channels, 2, maxChannels)
		if c.NormNumGroups > 0 && channels%c.NormNumGroups != 0 {
			bad("%d channels do not divide into norm_num_groups %d", channels, c.NormNumGroups)
		}
		if heads := c.AttentionHeads[i]; heads < 1 || channels%heads != 0 {
			bad("%d channels do not divide into %d heads (attention_head_dim)", channels, heads)
		}
		if t := c.DownBlockTypes[i]; t != "CrossAttnDownBlock2D" && t != "DownBlock2D" {
			bad("down_block_types has %.40q, want CrossAttnDownBlock2D or DownBlock2D", t)
		}
		if t := c.UpBlockTypes[i]; t != "CrossAttnUpBlock2D" && t != "UpBlock2D" {
			bad("up_block_types has %.40q, want CrossAttnUpBlock2D or UpBlock2D", t)
		}
	}
	if first := c.BlockOutChannels[0]; first%2 != 0 || float64(first/2) <= c.FreqShift {
		bad("%d channels of time encoding with freq_shift %g, want an even number whose half exceeds the shift", first, c.FreqShift)
	}
	return errors.Join(errs...)
}
