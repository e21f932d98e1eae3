package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// The networks of a tiny autoencoder, which no checkpoint has.
const (
	KindTinyEncoder weights.Kind = "tiny encoder"
	KindTinyDecoder weights.Kind = "tiny decoder"
)

// Tiny is a tiny autoencoder or half of one, as a file has it. It is valid until it is closed.
type Tiny struct {
	config           vae.TinyConfig
	file             *weights.File
	params           *weights.Component
	Decodes, Encodes bool
}

// OpenTiny opens the file of a tiny autoencoder: by diffusers' names, or one half by those of its authors. It reads no weights.
func OpenTiny(path string) (_ *Tiny, err error) {
	t := &Tiny{config: vae.TAESD()}
	if t.file, err = weights.OpenFile(path); err != nil {
		return nil, err
	}
	if err := t.claim(); err != nil {
		return nil, errors.Join(err, t.file.Close())
	}
	return t, nil
}

// claim compares the halves that the file has with what it holds of them.
func (t *Tiny) claim() (err error) {
	decoder := vae.IsTinyDecoder(t.file.Names())
	if t.params, err = t.file.Component("tiny autoencoder", func(key string) string { return vae.TinyName(key, decoder) }); err != nil {
		return err
	}
	names := t.params.Names()
	t.Decodes, t.Encodes = slices.Contains(names, tinyDecoderFirst), slices.Contains(names, tinyEncoderFirst)
	for _, half := range []struct {
		has   bool
		first string
	}{{t.Decodes, tinyDecoderFirst}, {t.Encodes, tinyEncoderFirst}} {
		if typ, err := t.params.ParamType(half.first); half.has && err == nil && len(typ.Shape) > 0 {
			t.config.Channels = min(max(typ.Shape[0], 1), maxTinyChannels)
		}
	}
	if t.Decodes {
		vae.NewTinyDecoder(t.config, t.params)
	}
	if t.Encodes {
		vae.NewTinyEncoder(t.config, t.params)
	}
	if !t.Decodes && !t.Encodes {
		return fmt.Errorf("engine: %s: no tiny autoencoder, such as TAESD's taesd_decoder.pth", t.file.Path())
	}
	return t.params.Err()
}

// The first layers of the halves, by which they are told, and the most channels that features can have.
const (
	tinyDecoderFirst = "decoder.layers.0.weight"
	tinyEncoderFirst = "encoder.layers.0.weight"
	maxTinyChannels  = 1024
)

// Close closes the file.
func (t *Tiny) Close() error { return t.file.Close() }

// variant is what the cache loads the parameters from.
func (t *Tiny) variant() Variant {
	return Variant{ID: t.file.Path(), Source: func() (compute.ParamSource, error) { return t.params, nil }}
}

// Decode is the picture of latents as the UNet has them, [h,w,4]: [8h,8w,3] in about [-1,1]. In tiles it needs less memory and
// differs a little.
func (t *Tiny) Decode(ctx context.Context, c *Cache, latents vae.Grid, tiled bool) (vae.Grid, error) {
	latents.Data = slices.Clone(latents.Data)
	vae.BoundLatents(latents.Data)
	run := func(tile vae.Grid) (vae.Grid, error) {
		return c.convert(ctx, t.DecodeKey(tile.Height, tile.Width), t.variant(), "latents", tile, "image")
	}
	if tiled {
		return c.networks.VAE.Config().DecodeTiling().Tiled(latents, run)
	}
	return run(latents)
}

// Encode is the reverse of Decode.
func (t *Tiny) Encode(ctx context.Context, c *Cache, picture vae.Grid, tiled bool) (vae.Grid, error) {
	run := func(tile vae.Grid) (vae.Grid, error) {
		return c.convert(ctx, t.EncodeKey(tile.Height, tile.Width), t.variant(), "image", tile, "latents")
	}
	if tiled {
		return c.networks.VAE.Config().EncodeTiling().Tiled(picture, run)
	}
	return run(picture)
}

// Params are the parameters, for estimates of memory.
func (t *Tiny) Params() compute.ParamSource { return t.params }

// DecodeKey is the decoder on latents of a size.
func (t *Tiny) DecodeKey(height, width int) Key { return tinyKey{t.config, height, width, false} }

// EncodeKey is the encoder on pictures of a size.
func (t *Tiny) EncodeKey(height, width int) Key { return tinyKey{t.config, height, width, true} }

// tinyKey is half of a tiny autoencoder: "latents", [1,height,width,4], become "image", [1,8·height,8·width,3], or, if it encodes, the
// other way round.
type tinyKey struct {
	config        vae.TinyConfig
	height, width int // of what goes in
	encodes       bool
}

// Network implements Key.
func (k tinyKey) Network() weights.Kind {
	if k.encodes {
		return KindTinyEncoder
	}
	return KindTinyDecoder
}

// Record implements Key.
func (k tinyKey) Record(r *Recorder, _ *Networks) {
	if k.encodes {
		image := r.Input("image", compute.F32, 1, k.height, k.width, 3)
		r.Output("latents", vae.NewTinyEncoder(k.config, nil).Encode(&r.Builder, image))
		return
	}
	latents := r.Input("latents", compute.F32, 1, k.height, k.width, k.config.LatentChannels)
	r.Output("image", vae.NewTinyDecoder(k.config, nil).Decode(&r.Builder, latents))
}
