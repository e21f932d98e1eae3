package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/atelier-go/atelier/vae"
)

// Decode is the picture of latents that are not scaled, [h,w,C]: [8h,8w,3], in [-1,1] and a little beyond, by a variant of the VAE. In
// tiles it needs less memory and differs a little.
func (c *Cache) Decode(ctx context.Context, v Variant, latents vae.Grid, tiled bool) (vae.Grid, error) {
	run := func(tile vae.Grid) (vae.Grid, error) {
		return c.convert(ctx, DecodeKey{tile.Height, tile.Width}, v, "latents", tile, "image")
	}
	if tiled {
		return c.networks.VAE.Config().DecodeTiling().Tiled(latents, run)
	}
	return run(latents)
}

// Encode draws latents, not scaled, by a variant of the VAE, of a picture, [H,W,3] in [-1,1], of which the sides are multiples of the VAE's factor: mean + e^(log
// variance/2)·noise. Noise is as large as the latents, [H/8,W/8,C]; without it they are the mean. Tiled is as in Decode.
func (c *Cache) Encode(ctx context.Context, v Variant, picture vae.Grid, noise []float32, tiled bool) (vae.Grid, error) {
	run := func(tile vae.Grid) (vae.Grid, error) {
		return c.convert(ctx, EncodeKey{tile.Height, tile.Width}, v, "image", tile, "moments")
	}
	moments, err := vae.Grid{}, error(nil)
	if tiled {
		moments, err = c.networks.VAE.Config().EncodeTiling().Tiled(picture, run)
	} else {
		moments, err = run(picture)
	}
	if err != nil {
		return vae.Grid{}, err
	}
	latents := vae.Grid{Height: moments.Height, Width: moments.Width, Channels: moments.Channels / 2}
	mean, std := vae.Moments(moments.Data, latents.Channels)
	if noise != nil && len(noise) != len(mean) {
		return vae.Grid{}, fmt.Errorf("engine: noise of %d numbers for %d latents", len(noise), len(mean))
	}
	for i, e := range noise {
		mean[i] += std[i] * e
	}
	latents.Data = mean
	return latents, nil
}

// convert runs a program of one input and one output.
func (c *Cache) convert(ctx context.Context, k Key, v Variant, in string, from vae.Grid, out string) (vae.Grid, error) {
	f, err := c.Frame(k, v)
	if err != nil {
		return vae.Grid{}, err
	}
	host := f.Mirror(in)
	result := f.Mirror(out)
	if err = f.Err(); err == nil && host.Len() != len(from.Data) {
		err = fmt.Errorf("engine: %d numbers for %q, want %d", len(from.Data), in, host.Len())
	}
	if err == nil {
		copy(host.F32, from.Data)
		err = f.Do(ctx)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return vae.Grid{}, err
	}
	d := result.Shape()
	return vae.Grid{Height: d[1], Width: d[2], Channels: d[3], Data: result.F32}, nil
}
