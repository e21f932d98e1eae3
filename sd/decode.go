package sd

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/vae"
)

// tiledAbove is the number of pixels above which pictures are always decoded in tiles: a whole decode needs about two
// kilobytes a pixel.
const tiledAbove = 1024 * 1024

// tiled tells whether a picture of a size is decoded and encoded in tiles.
func tiled(r Request, size image.Point) bool { return r.TiledVAE || size.X*size.Y > tiledAbove }

// decode turns the scaled latents of a request's batch into pictures, one at a time to bound the memory.
func (p *Pipeline) decode(ctx context.Context, r Request, latents []float32) ([]*image.NRGBA, error) {
	c := p.networks.VAE.Config()
	height, width := r.Height/c.ScaleFactor(), r.Width/c.ScaleFactor()
	size := height * width * c.LatentChannels
	var images []*image.NRGBA
	for i := range r.BatchSize {
		grid := vae.Grid{Height: height, Width: width, Channels: c.LatentChannels, Data: make([]float32, size)}
		for j, v := range latents[i*size:][:size] {
			grid.Data[j] = float32(float64(v) / c.ScalingFactor)
		}
		picture, err := p.cache.Decode(ctx, engine.Variant{}, grid, tiled(r, image.Pt(r.Width, r.Height)))
		if err != nil {
			return nil, err
		}
		for j, v := range picture.Data {
			if math.IsNaN(float64(v)) {
				return nil, fmt.Errorf("sd: element %d of picture %d is not a number; try fp32 precision or another VAE", j, i)
			}
		}
		images = append(images, vae.ToImage(picture.Data, picture.Height, picture.Width))
	}
	return images, nil
}
