package sd

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
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
	a, err := p.autoencoder(r)
	if err != nil {
		return nil, err
	}
	factor := p.networks.VAE.Config().ScaleFactor()
	grid := vae.Grid{Height: r.Height / factor, Width: r.Width / factor, Channels: p.networks.LatentChannels()}
	inTiles := tiled(r, image.Pt(r.Width, r.Height))
	var images []*image.NRGBA
	for grid.Data = range slices.Chunk(latents, grid.Height*grid.Width*grid.Channels) {
		picture, err := a.decode(ctx, p.cache, grid, inTiles)
		if err == nil && slices.ContainsFunc(picture.Data, isNaN) && p.inexact() {
			picture, err = p.decodeExactly(ctx, a, grid, inTiles)
		}
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(picture.Data, isNaN); i >= 0 {
			return nil, fmt.Errorf("sd: element %d of picture %d is not a number; try another VAE", i, len(images))
		}
		images = append(images, vae.ToImage(picture.Data, picture.Height, picture.Width))
	}
	return images, nil
}

func isNaN(v float32) bool { return math.IsNaN(float64(v)) }

// inexact reports whether the device computes in less than float32, and could do better.
func (p *Pipeline) inexact() bool {
	_, can := p.device.(compute.Exacter)
	real, known := p.device.(compute.Preciser)
	return can && known && real.Precision() != compute.PrecisionFP32
}

// decodeExactly decodes latents in float32, on a device that is inexact.
func (p *Pipeline) decodeExactly(ctx context.Context, a autoencoder, latents vae.Grid, tiled bool) (picture vae.Grid, err error) {
	p.log.Warn("a picture has values that are no numbers, and is decoded again in float32", "device", p.device.Name())
	dev, err := p.device.(compute.Exacter).Exact()
	if err != nil {
		return picture, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	cache := engine.NewCache(dev, p.networks, 1)
	defer func() { err = errors.Join(err, cache.Close()) }()
	return a.decode(ctx, cache, latents, tiled)
}

// cheapPreviews are pictures of latents without a network.
func (p *Pipeline) cheapPreviews(latents []float32, height, width int) (images []*image.NRGBA, err error) {
	grid := vae.Grid{Height: height, Width: width, Channels: p.networks.LatentChannels()}
	for grid.Data = range slices.Chunk(latents, height*width*grid.Channels) {
		picture, err := vae.CheapPreview(grid)
		if err != nil {
			return nil, err
		}
		images = append(images, vae.ToImage(picture.Data, height, width))
	}
	return images, nil
}
