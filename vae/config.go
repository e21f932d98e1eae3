package vae

import "github.com/atelier-go/atelier/internal/configjson"

// Config is what Stable Diffusion 1.x models vary of diffusers' AutoencoderKL, in the words of its config.json.
type Config struct {
	InChannels, OutChannels int     // a picture's
	LatentChannels          int     //
	BlockOutChannels        []int   // for each level, from the picture inwards
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

// ParseConfig reads a config.json. No data means SD15, and so do fields that are absent or null. A field that asks for
// a network this package does not build is an error; fields it does not know are ignored. All complaints are reported
// together.
func ParseConfig(data []byte) (Config, error) {
	c := SD15()
	r := configjson.New("vae", data)
	r.Read("in_channels", &c.InChannels)
	r.Read("out_channels", &c.OutChannels)
	r.Read("latent_channels", &c.LatentChannels)
	r.Read("block_out_channels", &c.BlockOutChannels)
	r.Read("layers_per_block", &c.LayersPerBlock)
	r.Read("norm_num_groups", &c.NormNumGroups)
	r.Read("scaling_factor", &c.ScalingFactor)
	r.Read("sample_size", &c.SampleSize)
	for _, f := range [][2]string{
		{"act_fn", `"silu"`}, {"latents_mean", "null"}, {"latents_std", "null"}, {"mid_block_add_attention", "true"},
		{"shift_factor", "null"}, {"use_post_quant_conv", "true"}, {"use_quant_conv", "true"},
	} {
		r.Only(f[0], f[1], "this is not a Stable Diffusion 1.x VAE")
	}
	readBlockTypes(r, "down_block_types", "DownEncoderBlock2D", len(c.BlockOutChannels))
	readBlockTypes(r, "up_block_types", "UpDecoderBlock2D", len(c.BlockOutChannels))
	if err := r.Err(); err != nil {
		return Config{}, err
	}
	if err := c.validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// readBlockTypes demands that every level, if levels are listed, has the one type there is.
func readBlockTypes(r *configjson.Reader, name, want string, levels int) {
	var types []string
	r.Read(name, &types)
	if len(types) > 0 && len(types) != levels {
		r.Errorf("%d %s and %d block_out_channels, want as many of each", len(types), name, levels)
	}
	for _, t := range types {
		if t != want {
			r.Errorf("%s has %.40q, want %s", name, t, want)
			return
		}
	}
}

// validate bounds the network, so that a hostile configuration cannot ask for one nobody could hold.
func (c Config) validate() error {
	const maxLevels, maxChannels, maxLayers = 8, 16384, 16
	r := configjson.New("vae", nil)
	r.Between("in_channels", c.InChannels, 3, 3)
	r.Between("out_channels", c.OutChannels, 3, 3)
	r.Between("latent_channels", c.LatentChannels, 1, 64)
	r.Between("layers_per_block", c.LayersPerBlock, 1, maxLayers)
	r.Between("norm_num_groups", c.NormNumGroups, 1, maxChannels)
	r.Between("sample_size", c.SampleSize, 1, 1<<15)
	r.Between("number of block_out_channels", len(c.BlockOutChannels), 1, maxLevels)
	for _, channels := range c.BlockOutChannels[:min(len(c.BlockOutChannels), maxLevels)] {
		r.Between("block_out_channels", channels, 1, maxChannels)
		if c.NormNumGroups > 0 && channels%c.NormNumGroups != 0 {
			r.Errorf("%d channels do not divide into norm_num_groups %d", channels, c.NormNumGroups)
		}
	}
	if !(c.ScalingFactor > 1e-6 && c.ScalingFactor < 1e6) {
		r.Errorf("scaling_factor is %g, want a positive number", c.ScalingFactor)
	}
	return r.Err()
}
