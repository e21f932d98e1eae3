package train

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/internal/rng"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// encoder turns pictures into latents.
type encoder struct {
	networks *engine.Networks
	*engine.Cache
}

// newEncoder encodes with the VAE of the networks; its weights are read when the first picture is encoded. Pictures come in the order of their
// sizes, so that one program at a time will do.
func newEncoder(dev compute.Device, n *engine.Networks) *encoder {
	return &encoder{n, engine.NewCache(dev, n, 1)}
}

// source holds the VAE's parameters.
func (e *encoder) source() *weights.Component { return e.networks.Components[weights.KindVAE] }

// identity tells this encoder and a seed of its noise from others.
func (e *encoder) identity(seed uint64) (int64, error) {
	h, sums := fnv.New64a(), crc32.MakeTable(crc32.Castagnoli)
	fmt.Fprint(h, seed)
	names := e.source().Names()
	slices.Sort(names)
	for _, name := range names {
		data, err := e.source().ParamData(name)
		if err != nil {
			return 0, err
		}
		fmt.Fprint(h, name, crc32.Checksum(data, sums))
	}
	return int64(h.Sum64()), nil
}

// encode draws a sample of a picture's latents, [h,w,C], not scaled. Pixels are [H,W,3] of the given size.
func (e *encoder) encode(ctx context.Context, pixels []float32, size dataset.Size, r *rng.Torch) ([]float32, error) {
	c := e.networks.VAE.Config()
	noise := normal(r, size.H/c.ScaleFactor()*(size.W/c.ScaleFactor())*c.LatentChannels)
	latents, err := e.Encode(ctx, engine.Variant{}, vae.Grid{Height: size.H, Width: size.W, Channels: c.InChannels, Data: pixels}, noise, false)
	if err != nil {
		return nil, fmt.Errorf("lora: encoding pictures of %v: %w", size, err)
	}
	return latents.Data, nil
}

// encoded is one version of a picture: its latents, [h,w,C], not scaled, and the mask of its loss over them, [h,w], or nil.
type encoded struct{ latents, mask []float32 }

// latents are pictures as they are and mirrored.
type latents map[*dataset.Picture][2]encoded

// cacheLatents encodes every picture once, those kept for validation too, and the mirrored ones of those that are flipped. With
// CacheLatentsToDisk what is on disk is read instead, and what is not is written there. done is told of every picture.
func (e *encoder) cacheLatents(ctx context.Context, ds *dataset.Dataset, done func(n, total int)) (latents, error) {
	all, disk, seed := make(latents), ds.Config().CacheLatentsToDisk, ds.Config().Seed
	var id int64
	if disk {
		var err error
		if id, err = e.identity(seed); err != nil {
			return nil, err
		}
	}
	pictures := append(ds.Pictures(), ds.ValidationPictures()...)
	place := make(map[*dataset.Picture]uint64)
	for i, p := range pictures {
		place[p] = uint64(i)
	}
	slices.SortStableFunc(pictures, func(a, b *dataset.Picture) int { // so that each size is compiled once
		return cmpSize(a.Bucket, b.Bucket)
	})
	for i, p := range pictures {
		versions, err := [2]encoded{}, dataset.ErrStale
		if disk {
			versions, err = e.read(ctx, p, id)
		}
		if errors.Is(err, dataset.ErrStale) {
			draw := func(flip uint64) *rng.Torch { return stream(seed, latentStream, place[p], flip) }
			versions, err = e.encodePicture(ctx, p, draw, disk, id)
		}
		if err != nil {
			return nil, err
		}
		all[p] = versions
		done(i+1, len(pictures))
	}
	return all, nil
}

// read takes the versions of a picture from disk.
func (e *encoder) read(ctx context.Context, p *dataset.Picture, id int64) (versions [2]encoded, err error) {
	l, err := p.ReadLatents(id)
	if err != nil {
		return versions, fmt.Errorf("lora: %w", err)
	}
	mask := l.AlphaMask
	if mask == nil {
		if mask, err = p.Mask(ctx, false); err != nil {
			return versions, fmt.Errorf("lora: %w", err)
		}
	}
	channels := e.networks.VAE.Config().LatentChannels
	versions[0] = encoded{channelsLast(l.Sample, channels), e.shrink(mask, p.Bucket)}
	if l.Flipped != nil {
		versions[1] = encoded{channelsLast(l.Flipped, channels), e.shrink(mirrored(mask, p.Bucket.W), p.Bucket)}
	}
	return versions, nil
}

// encodePicture encodes the versions of a picture with the noise that draw makes for each, and keeps them if asked to.
func (e *encoder) encodePicture(ctx context.Context, p *dataset.Picture, draw func(flip uint64) *rng.Torch, keep bool, id int64) (versions [2]encoded, err error) {
	var mask []float32
	for flip := range versions {
		if flip == 1 && !p.FlipAug() {
			continue
		}
		s, err := p.Load(ctx, flip == 1)
		if err != nil {
			return versions, fmt.Errorf("lora: %w", err)
		}
		z, err := e.encode(ctx, vae.FromImage(s.Image), p.Bucket, draw(uint64(flip)))
		if err != nil {
			return versions, err
		}
		for _, v := range z {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return versions, fmt.Errorf("lora: %s: its latents are not finite; the VAE of %s is damaged, use another", p.Path, e.source().Path())
			}
		}
		if flip == 0 {
			mask = s.Mask
		}
		versions[flip] = encoded{z, e.shrink(s.Mask, p.Bucket)}
	}
	if keep {
		err = e.write(p, versions, mask, id)
	}
	return versions, err
}

// write keeps the latents of a picture on disk, with the mask of its loss in pixels if that is its alpha.
func (e *encoder) write(p *dataset.Picture, versions [2]encoded, mask []float32, id int64) error {
	f, channels := e.networks.VAE.Config().ScaleFactor(), e.networks.VAE.Config().LatentChannels
	l := &dataset.Latents{H: p.Bucket.H / f, W: p.Bucket.W / f, Sample: channelsFirst(versions[0].latents, channels), Flipped: channelsFirst(versions[1].latents, channels)}
	if p.AlphaMask() {
		l.AlphaMask = mask
	}
	if err := p.WriteLatents(l, id); err != nil {
		return fmt.Errorf("lora: %w", err)
	}
	return nil
}

// shrink averages a mask in pixels over the squares that become latents; nil stays nil.
func (e *encoder) shrink(mask []float32, size dataset.Size) []float32 {
	if mask == nil {
		return nil
	}
	factor := e.networks.VAE.Config().ScaleFactor()
	return shrink(mask, size.H/factor, size.W/factor, factor)
}

// mirrored swaps left and right in rows of a width.
func mirrored(mask []float32, width int) []float32 {
	out := slices.Clone(mask)
	for row := range slices.Chunk(out, width) {
		slices.Reverse(row)
	}
	return out
}

func cmpSize(a, b dataset.Size) int {
	if a.W != b.W {
		return a.W - b.W
	}
	return a.H - b.H
}

// channelsLast makes [h,w,C] of [C,h,w], nil of nil.
func channelsLast(v []float32, channels int) []float32 {
	return transpose(v, channels, len(v)/channels)
}

// channelsFirst is the reverse.
func channelsFirst(v []float32, channels int) []float32 {
	return transpose(v, len(v)/channels, channels)
}

// transpose makes [columns,rows] of [rows,columns].
func transpose(v []float32, rows, columns int) []float32 {
	if v == nil {
		return nil
	}
	out := make([]float32, len(v))
	for i := range rows {
		for j := range columns {
			out[j*rows+i] = v[i*columns+j]
		}
	}
	return out
}

// The random streams of a training, beside each other.
const (
	latentStream = iota + 1
	batchStream
	networkStream
	validationStream
)
