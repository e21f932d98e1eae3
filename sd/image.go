package sd

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"slices"

	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/vae"
)

// ResizeMode is how the picture that a request begins with is brought to the request's size.
type ResizeMode string

// The ways to do it, by the web UI's names.
const (
	JustResize    ResizeMode = "Just resize"                  // its shape is lost
	CropAndResize ResizeMode = "Crop and resize"              // what does not fit is cut off, half on each side
	ResizeAndFill ResizeMode = "Resize and fill"              // its outermost rows or columns fill what it does not cover
	ResizeLatents ResizeMode = "Just resize (latent upscale)" // its latents are stretched
)

// ResizeModes are all of them, in the web UI's order.
var ResizeModes = []ResizeMode{JustResize, CropAndResize, ResizeAndFill, ResizeLatents}

// picture decodes the picture that the request begins with, nil if there is none, and gives the request its shape if it has no size: the
// model's side for the shorter one.
func (r *Request) picture(ctx context.Context, side int) (*image.NRGBA, error) {
	if len(r.Image) == 0 {
		return nil, nil
	}
	img, err := picture.Decode(ctx, r.Image, picture.Limits{})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, &invalid.FieldError{Field: "Request.Image", Err: fmt.Errorf("the picture cannot be read: %w", err)}
	}
	if size := img.Rect.Size(); r.Width == 0 && r.Height == 0 {
		fit := func(n, shorter int) int { return min(max((n*side/shorter+4)/8*8, 8), MaxSide) }
		r.Width, r.Height = fit(size.X, min(size.X, size.Y)), fit(size.Y, min(size.X, size.Y))
	}
	return canvas.Flatten(img, color.NRGBA{255, 255, 255, 255}), nil
}

// begin makes the latents of the picture that a request begins with: the same for each picture of its batch.
func (p *Pipeline) begin(ctx context.Context, r Request, img *image.NRGBA) ([]float32, error) {
	size, factor := image.Pt(r.Width, r.Height), p.networks.VAE.Config().ScaleFactor()
	if r.ResizeMode != ResizeLatents {
		return p.encodePictures(ctx, r, slices.Repeat([]*image.NRGBA{p.resize(img, size, r.ResizeMode)}, r.BatchSize))
	}
	whole := img.Rect.Size().Div(factor)
	if whole.X == 0 || whole.Y == 0 {
		return nil, fmt.Errorf("sd: %w", invalid.Field("Request.Image", img.Rect.Size(), "a picture of at least %d pixels a side", factor))
	}
	cut := picture.Part(img, image.Rectangle{Max: whole.Mul(factor)})
	one, err := p.encodePictures(ctx, r, []*image.NRGBA{canvas.Lanczos(cut, cut.Rect.Size())})
	if err != nil {
		return nil, err
	}
	one, err = p.resizeLatents("Latent", one, whole, size.Div(factor))
	return slices.Repeat(one, r.BatchSize), err
}

// resize brings a picture to a size in one of the ways that keep pixels.
func (p *Pipeline) resize(img *image.NRGBA, size image.Point, mode ResizeMode) *image.NRGBA {
	if img.Rect.Size() == size {
		return img
	}
	return canvas.Resize(img, size, canvas.Mode(slices.Index(ResizeModes, mode)), canvas.Lanczos)
}

// encodePictures makes scaled latents of pictures of one size, [N,h,w,C]: the means of what the VAE finds likely. Pictures that are the
// same are encoded once.
func (p *Pipeline) encodePictures(ctx context.Context, r Request, pictures []*image.NRGBA) ([]float32, error) {
	var all, last []float32
	for i, img := range pictures {
		if i == 0 || img != pictures[i-1] {
			var err error
			if last, err = p.encodeGrid(ctx, r, vae.Grid{Height: img.Rect.Dy(), Width: img.Rect.Dx(), Channels: 3, Data: vae.FromImage(img)}); err != nil {
				return nil, err
			}
		}
		all = append(all, last...)
	}
	return all, nil
}

// encodeGrid is encodePictures for one picture, [H,W,3] in [-1,1].
func (p *Pipeline) encodeGrid(ctx context.Context, r Request, img vae.Grid) ([]float32, error) {
	a, err := p.autoencoder(r)
	if err != nil {
		return nil, err
	}
	latents, err := a.encode(ctx, p.cache, img, tiled(r, image.Pt(img.Width, img.Height)))
	return latents.Data, err
}

// resizeLatents brings latents of pictures, [N,h,w,C], to another size.
func (p *Pipeline) resizeLatents(name string, latents []float32, from, to image.Point) ([]float32, error) {
	channels := p.networks.LatentChannels()
	plane := make([]float32, from.X*from.Y*channels)
	var all []float32
	for one := range slices.Chunk(latents, len(plane)) {
		channelsFirst(plane, one, channels)
		scaled, err := canvas.UpscaleLatents(name, plane, channels, from.Y, from.X, to.Y, to.X)
		if err != nil {
			return nil, fmt.Errorf("sd: %w", err)
		}
		last := make([]float32, len(scaled))
		channelsLast(last, scaled, channels)
		all = append(all, last...)
	}
	return all, nil
}
