package sd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/internal/engine"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/vae"
	"github.com/atelier-go/atelier/weights"
)

// Autoencoder names what makes pictures of latents, as the web UI's settings have it.
type Autoencoder string

// The autoencoders.
const (
	FullVAE     Autoencoder = "Full"         // the checkpoint's VAE, or the one that Request.VAE names
	TAESD       Autoencoder = "TAESD"        // the tiny autoencoder in Options.VAEDirs: some twenty times as fast, with less detail
	ApproxCheap Autoencoder = "Approx cheap" // no network, an eighth of the size: for previews alone
)

// vaeFile is a VAE that requests choose by its name.
type vaeFile struct {
	name, path string // "" are those of the checkpoint's own
	engine.Variant
	checkpoint *weights.Checkpoint // that is closed with the pipeline
}

// autoencoder is what makes the pictures of a request, and the latents of those that it begins with.
type autoencoder struct {
	vaeFile
	scale            float64      // latents as the UNet has them are those of the VAE times this
	encoder, decoder *engine.Tiny // nil for the VAE
}

// decode makes a picture of scaled latents.
func (a autoencoder) decode(ctx context.Context, c *engine.Cache, latents vae.Grid, tiled bool) (vae.Grid, error) {
	if a.decoder != nil {
		return a.decoder.Decode(ctx, c, latents, tiled)
	}
	scaled := latents.Data
	latents.Data = make([]float32, len(scaled))
	for i, v := range scaled {
		latents.Data[i] = float32(float64(v) / a.scale)
	}
	return c.Decode(ctx, a.Variant, latents, tiled)
}

// encode makes scaled latents of a picture: the mean of what the VAE finds likely.
func (a autoencoder) encode(ctx context.Context, c *engine.Cache, picture vae.Grid, tiled bool) (vae.Grid, error) {
	if a.encoder != nil {
		return a.encoder.Encode(ctx, c, picture, tiled)
	}
	latents, err := c.Encode(ctx, a.Variant, picture, nil, tiled)
	for i := range latents.Data {
		latents.Data[i] *= float32(a.scale)
	}
	return latents, err
}

// decodeKey is the decoder on latents of a size.
func (a autoencoder) decodeKey(height, width int) engine.Key {
	if a.decoder != nil {
		return a.decoder.DecodeKey(height, width)
	}
	return engine.DecodeKey{Height: height, Width: width}
}

// encodeKey is the encoder on pictures of a size.
func (a autoencoder) encodeKey(height, width int) engine.Key {
	if a.encoder != nil {
		return a.encoder.EncodeKey(height, width)
	}
	return engine.EncodeKey{Height: height, Width: width}
}

// params are the parameters of a network, which for an autoencoder are its own.
func (a autoencoder) params(n *engine.Networks, kind weights.Kind) (compute.ParamSource, error) {
	switch {
	case kind == engine.KindTinyDecoder:
		return a.decoder.Params(), nil
	case kind == engine.KindTinyEncoder:
		return a.encoder.Params(), nil
	case kind == weights.KindVAE && a.Source != nil:
		return a.Source()
	}
	return n.Components[kind], nil
}

// autoencoder finds the one of a resolved request.
func (p *Pipeline) autoencoder(r Request) (a autoencoder, err error) {
	if a.vaeFile, err = p.vae(r.VAE); err != nil {
		return a, fmt.Errorf("sd: %w", err)
	}
	a.scale = p.networks.VAE.Config().ScalingFactor
	if r.Encoder == TAESD {
		if a.encoder, err = p.tiny("taesd_encoder", func(t *engine.Tiny) bool { return t.Encodes }); err != nil {
			return a, err
		}
	}
	if r.Decoder == TAESD {
		a.decoder, err = p.tiny("taesd_decoder", func(t *engine.Tiny) bool { return t.Decodes })
	}
	return a, err
}

// vae is the VAE of a name, by the web UI's rules. One with which the pipeline was opened goes before those that a checkpoint's name
// finds.
func (p *Pipeline) vae(name string) (vaeFile, error) {
	used := p.networks.Components[weights.KindVAE]
	builtIn, missing := p.checkpoint.BuiltIn(weights.KindVAE)
	if builtIn != used {
		given := vaeFile{name: vaeName(used.Path()), path: used.Path()}
		switch {
		case name == weights.BuiltInVAE && missing != nil:
			return given, invalid.Field("Request.VAE", name, "another: the checkpoint has no VAE of its own")
		case name == weights.BuiltInVAE:
			return p.adoptVAE(vaeFile{Variant: engine.Variant{ID: "built in"}}, builtIn)
		case name == "" || name == weights.AutomaticVAE || name == given.name || name == stem(given.name):
			return given, nil
		}
	}
	path, err := weights.FindVAE(name, p.path, p.vaeDirs...)
	if e, ok := errors.AsType[*weights.NoVAEError](err); ok {
		return vaeFile{}, &invalid.FieldError{Field: "Request.VAE", Err: e}
	}
	if err != nil {
		return vaeFile{}, &invalid.FieldError{Field: "Options.VAEDirs", Err: err}
	}
	if path == "" {
		return vaeFile{}, nil
	}
	return p.openVAE(path)
}

// vaeName is what infotexts call the VAE in a file, or in a folder of diffusers.
func vaeName(path string) string {
	if strings.HasPrefix(filepath.Base(path), "diffusion_pytorch_model") {
		path = filepath.Dir(path)
	}
	return filepath.Base(path)
}

// openVAE opens a file, once for as long as it stays the same.
func (p *Pipeline) openVAE(path string) (vaeFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return vaeFile{}, err
	}
	id := fmt.Sprintf("%q %d %d", path, info.Size(), info.ModTime().UnixNano())
	p.files.Lock()
	defer p.files.Unlock()
	if file, ok := p.vaes[id]; ok {
		return file, nil
	}
	file := vaeFile{name: vaeName(path), path: path, Variant: engine.Variant{ID: id}}
	if file.checkpoint, err = weights.Open(path, weights.Options{}); err != nil {
		return file, err
	}
	params, err := file.checkpoint.VAE()
	if err == nil {
		file, err = p.adoptVAE(file, params)
	}
	if err != nil {
		return file, errors.Join(err, file.checkpoint.Close())
	}
	p.vaes[id] = file
	p.log.Info("VAE opened", "file", path)
	return file, nil
}

// adoptVAE makes parameters those of a VAE that takes the place of the checkpoint's, which has the same layers.
func (p *Pipeline) adoptVAE(file vaeFile, params *weights.Component) (vaeFile, error) {
	want := p.networks.VAE.Config()
	if data := params.Config(); data != nil {
		config, err := vae.ParseConfig(data)
		if err != nil {
			return file, fmt.Errorf("%s: %w", params.Path(), err)
		}
		if config.SampleSize = want.SampleSize; !reflect.DeepEqual(config, want) {
			return file, fmt.Errorf("%s: its configuration is of another kind of model than the checkpoint's VAE; take one for Stable Diffusion 1.x", params.Path())
		}
	}
	if _, err := vae.New(want, params); err != nil {
		return file, err
	}
	file.Source = func() (compute.ParamSource, error) { return params, nil }
	return file, params.Err()
}

// tiny opens the tiny autoencoder in Options.VAEDirs, of which the half that is wanted may be a file of its own.
func (p *Pipeline) tiny(half string, does func(*engine.Tiny) bool) (*engine.Tiny, error) {
	p.files.Lock()
	defer p.files.Unlock()
	if t := p.tinies[half]; t != nil {
		return t, nil
	}
	path, err := weights.FindTAESD(half, p.vaeDirs...)
	if err != nil {
		return nil, fmt.Errorf("sd: %w", &invalid.FieldError{Field: "Options.VAEDirs", Err: err})
	}
	t, err := engine.OpenTiny(path)
	if err != nil {
		return nil, fmt.Errorf("sd: %w", err)
	}
	if !does(t) {
		return nil, errors.Join(fmt.Errorf("sd: %s is the other half of the tiny autoencoder; put %s beside it", path, half), t.Close())
	}
	p.tinies[half] = t
	return t, nil
}
