package vae

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Config is what Stable Diffusion 1.x models vary of diffusers' AutoencoderKL, in the words of its config.json.
type Config struct {
	InChannels, OutChannels int     // of pictures
	LatentChannels          int     //
	BlockOutChannels        []int   // of each level, from the picture inwards
	LayersPerBlock          int     // resnets in an encoder block; a decoder block has one more
	NormNumGroups           int     //
	ScalingFactor           float64 // latents the UNet sees are those of the encoder times this
	SampleSize              int     // height and width of the pictures it was trained on, and of tiles
}

// SD15 is the configuration of Stable Diffusion 1.1 to 1.5.
func SD15() Config {
	return Config{
		InChannels: 3, OutChannels: 3, LatentChannels: 4, BlockOutChannels: []int{128, 256, 512, 512},
		LayersPerBlock: 2, NormNumGroups: 32, ScalingFactor: 0.18215, SampleSize: 512,
	}
}

// ScaleFactor is the number of pixels along a side of one latent: 8 for SD 1.5.
func (c Config) ScaleFactor() int { return 1 << (len(c.BlockOutChannels) - 1) }

// only lists settings with the one value that this network has; absent and null mean it too.
var only = map[string]string{
	"act_fn": `"silu"`, "latents_mean": "null", "latents_std": "null", "mid_block_add_attention": "true",
	"shift_factor": "null", "use_post_quant_conv": "true", "use_quant_conv": "true",
}

// ParseConfig reads a config.json. No data means SD15, and so do fields that are absent or null. A field that asks for
// a network this package does not build is an error; all of them are reported together.
func ParseConfig(data []byte) (Config, error) {
	c := SD15()
	if len(data) == 0 {
		return c, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return Config{}, fmt.Errorf("vae: config.json: %w", err)
	}
	var down, up []string
	fields := map[string]any{
		"in_channels": &c.InChannels, "out_channels": &c.OutChannels, "latent_channels": &c.LatentChannels,
		"block_out_channels": &c.BlockOutChannels, "layers_per_block": &c.LayersPerBlock,
		"norm_num_groups": &c.NormNumGroups, "scaling_factor": &c.ScalingFactor, "sample_size": &c.SampleSize,
		"down_block_types": &down, "up_block_types": &up,
	}
	var errs []error
	for name, field := range fields {
		if value := raw[name]; len(value) > 0 && string(value) != "null" {
			if err := json.Unmarshal(value, field); err != nil {
				errs = append(errs, fmt.Errorf("vae: config.json: %s is %.40s: %w", name, value, err))
			}
		}
	}
	for name, want := range only {
		if have := raw[name]; len(have) > 0 && string(have) != "null" && strings.TrimSuffix(string(have), ".0") != want {
			errs = append(errs, fmt.Errorf("vae: config.json: %s is %.40s, want %s: this is not a Stable Diffusion 1.x VAE", name, have, want))
		}
	}
	for _, t := range down {
		if t != "DownEncoderBlock2D" {
			errs = append(errs, fmt.Errorf("vae: config.json: down_block_types has %.40q, want DownEncoderBlock2D", t))
		}
	}
	for _, t := range up {
		if t != "UpDecoderBlock2D" {
			errs = append(errs, fmt.Errorf("vae: config.json: up_block_types has %.40q, want UpDecoderBlock2D", t))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	return c, c.validate()
}

// validate bounds the network, so that a hostile configuration cannot ask for one nobody could hold.
func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("vae: config.json: "+format, args...))
	}
	between := func(name string, n, low, high int) {
		if n < low || n > high {
			bad("%s is %d, want %d to %d", name, n, low, high)
		}
	}
	const maxLevels, maxChannels, maxLayers = 8, 16384, 16
	between("in_channels", c.InChannels, 3, 3)
	between("out_channels", c.OutChannels, 3, 3)
	between("latent_channels", c.LatentChannels, 1, 64)
	between("layers_per_block", c.LayersPerBlock, 1, maxLayers)
	between("norm_num_groups", c.NormNumGroups, 1, maxChannels)
	between("sample_size", c.SampleSize, 1, 1<<15)
	between("number of block_out_channels", len(c.BlockOutChannels), 1, maxLevels)
	for _, channels := range c.BlockOutChannels {
		between("block_out_channels", channels, 1, maxChannels)
		if c.NormNumGroups > 0 && channels%c.NormNumGroups != 0 {
			bad("%d channels do not divide into norm_num_groups %d", channels, c.NormNumGroups)
		}
	}
	if !(c.ScalingFactor > 1e-6 && c.ScalingFactor < 1e6) {
		bad("scaling_factor is %g, want a positive number", c.ScalingFactor)
	}
	return errors.Join(errs...)
}
