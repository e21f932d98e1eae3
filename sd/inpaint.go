package sd

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"

	"github.com/atelier-go/atelier/internal/canvas"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/vae"
)

// MaskedContent is what a masked part is drawn over.
type MaskedContent string

// The contents, by the web UI's names.
const (
	FillContent     MaskedContent = "fill"           // the colours around it
	OriginalContent MaskedContent = "original"       // what is there
	LatentNoise     MaskedContent = "latent noise"   // noise in place of latents
	LatentNothing   MaskedContent = "latent nothing" // latents of zero
)

// MaskedContents are all of them, in the web UI's order.
var MaskedContents = []MaskedContent{FillContent, OriginalContent, LatentNoise, LatentNothing}

// Inpaint says which part of Request.Image is drawn anew. The rest stays, to the byte where the picture has the request's size or
// Only is set. The zero value of every field but Mask is a sensible default.
type Inpaint struct {
	Mask    []byte        `json:"mask_image,omitempty"`              // a file with a picture as Request.Image: what is white is drawn; if it is transparent anywhere, what is opaque. One of another size is resized as Image, and refused with Only
	Invert  bool          `json:"inpainting_mask_invert,omitzero"`   // the rest is drawn
	Blur    *float64      `json:"mask_blur,omitzero"`                // of the mask's edge, pixels of the mask, 0 to 64; nil is 4
	BlurX   *float64      `json:"mask_blur_x,omitzero"`              // from left to right; nil is Blur
	BlurY   *float64      `json:"mask_blur_y,omitzero"`              // from top to bottom; nil is Blur
	Content MaskedContent `json:"masked_content,omitzero"`           // "" is OriginalContent
	Only    bool          `json:"inpaint_full_res,omitzero"`         // the masked part is cut out, drawn at the request's size and put back: "Only masked"
	Padding *int          `json:"inpaint_full_res_padding,omitzero"` // pixels around it that are cut out too, 0 to 256; nil is 32
	Soft    *Soft         `json:"soft_inpainting,omitzero"`          // lets the edge go over softly; nil is a hard edge
	Bare    bool          `json:"no_overlay,omitzero"`               // what was drawn stays as it is: nothing is put over it, and with Only it is the part alone, of the request's size
	Weight  *float64      `json:"conditional_mask_weight,omitzero"`  // how well the mask hides its part from checkpoints made for inpainting, 0 to 1; nil is 1
}

// Soft is the web UI's soft inpainting: grey in the mask is drawn in part, more so the later in the run. With DDIM, PLMS and UniPC, too,
// it is what an evaluation estimates that is blended with what stays; the web UI lets these see what stays without noise, so that in its
// pictures noise is left there. The zero value of every field is a sensible default.
type Soft struct {
	ScheduleBias        *float64 `json:"schedule_bias,omitzero"`             // how much earlier what stays has its way, 0 to 8; nil is 1
	Preservation        *float64 `json:"preservation_strength,omitzero"`     // how much of it stays where the mask is grey, 0 to 8; nil is 0.5
	Contrast            float64  `json:"transition_contrast_boost,omitzero"` // that mixing must not take away, 1 to 32; 0 is 4
	MaskInfluence       float64  `json:"mask_influence,omitzero"`            // of the mask on what is seen of the drawing in the end, 0 to 1
	DifferenceThreshold *float64 `json:"difference_threshold,omitzero"`      // by how much latents differ where half of it is seen, 0 to 8; nil is 0.5
	DifferenceContrast  *float64 `json:"difference_contrast,omitzero"`       // how sharply that is decided, 0 to 8; nil is 2
}

// resolve fills in the defaults.
func (in Inpaint) resolve() Inpaint {
	setDefault(&in.Content, OriginalContent)
	for _, field := range []struct {
		value  **float64
		preset float64
	}{{&in.Blur, 4}, {&in.Weight, 1}} {
		if *field.value == nil {
			*field.value = new(field.preset)
		}
	}
	for _, along := range []**float64{&in.BlurX, &in.BlurY} {
		if *along == nil {
			*along = in.Blur
		}
	}
	if in.Padding == nil {
		in.Padding = new(32)
	}
	if in.Soft != nil {
		in.Soft = new(in.Soft.resolve())
	}
	return in
}

func (s Soft) resolve() Soft {
	setDefault(&s.Contrast, 4)
	for _, field := range []struct {
		value  **float64
		preset float64
	}{{&s.ScheduleBias, 1}, {&s.Preservation, 0.5}, {&s.DifferenceThreshold, 0.5}, {&s.DifferenceContrast, 2}} {
		if *field.value == nil {
			*field.value = new(field.preset)
		}
	}
	return s
}

// masked reports whether only a part of a picture is drawn.
func (r Request) masked() bool { return r.Inpaint != nil && len(r.Inpaint.Mask) > 0 }

// check complains about what a request with an Inpaint cannot be.
func (in Inpaint) check(r Request) error {
	var errs []error
	check := func(ok bool, field string, value any, want string, args ...any) {
		if !ok {
			errs = append(errs, invalid.Field("Request.Inpaint."+field, value, want, args...))
		}
	}
	check(len(r.Image) > 0, "Mask", "a mask", "none without Request.Image, of which it says what is drawn anew")
	check(r.Hires == nil, "Mask", "a mask", "none with Request.Hires, whose pass would draw anew what the mask keeps; enlarge the picture afterwards")
	blur := func(name string, pixels float64) { check(pixels >= 0 && pixels <= 64, name, pixels, "0 to 64 pixels") }
	if blur("Blur", *in.Blur); in.BlurX != in.Blur {
		blur("BlurX", *in.BlurX)
	}
	if in.BlurY != in.Blur {
		blur("BlurY", *in.BlurY)
	}
	check(slices.Contains(MaskedContents, in.Content), "Content", string(in.Content), "one of %q", MaskedContents)
	check(*in.Padding >= 0 && *in.Padding <= 256, "Padding", *in.Padding, "0 to 256 pixels")
	check(*in.Weight >= 0 && *in.Weight <= 1, "Weight", *in.Weight, "0 to 1")
	if s := in.Soft; s != nil {
		for _, f := range []struct {
			name             string
			value, low, high float64
		}{
			{"ScheduleBias", *s.ScheduleBias, 0, 8}, {"Preservation", *s.Preservation, 0, 8}, {"Contrast", s.Contrast, 1, 32},
			{"MaskInfluence", s.MaskInfluence, 0, 1}, {"DifferenceThreshold", *s.DifferenceThreshold, 0, 8}, {"DifferenceContrast", *s.DifferenceContrast, 0, 8},
		} {
			check(f.value >= f.low && f.value <= f.high, "Soft."+f.name, f.value, "%v to %v", f.low, f.high)
		}
	}
	return errors.Join(errs...)
}

// source is the picture that a pass begins with, and what of it is drawn.
type source struct {
	canvas.Prepared
	in   Inpaint   // resolved
	mask []float32 // how much of each latent is drawn, 0 to 1; nil is all
}

// drawn is the mask of what is drawn, in the finished picture; nil is all.
func (s *source) drawn() *image.Gray {
	if s == nil || s.in.Bare && !s.PasteTo.Empty() {
		return nil
	}
	return s.OverlayMask
}

// source prepares a picture for a resolved request.
func (p *Pipeline) source(r Request, img *image.NRGBA, mask *image.Gray) *source {
	s := canvas.Setup{Size: image.Pt(r.Width, r.Height), Mode: canvas.Mode(slices.Index(ResizeModes, r.ResizeMode)), Mask: mask}
	in := Inpaint{}.resolve()
	if mask != nil {
		in = *r.Inpaint
		s.Invert, s.BlurX, s.BlurY, s.OnlyMasked, s.Padding = in.Invert, *in.BlurX, *in.BlurY, in.Only, *in.Padding
		s.Content = canvas.Content(slices.Index(MaskedContents, in.Content))
	}
	made := &source{Prepared: canvas.Prepare(img, s), in: in}
	switch {
	case made.Mask != nil:
		made.mask = made.LatentMask(s.Size.Div(p.networks.VAE.Config().ScaleFactor()), in.Soft == nil)
	case mask != nil:
		p.log.Warn("the mask is empty: all of the picture is drawn")
	}
	return made
}

// mask decodes the mask of a resolved request, nil if it has none.
func (r Request) mask(ctx context.Context) (*image.Gray, error) {
	if !r.masked() {
		return nil, nil
	}
	in := *r.Inpaint
	img, err := picture.Decode(ctx, in.Mask, picture.Limits{})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, &invalid.FieldError{Field: "Request.Inpaint.Mask", Err: fmt.Errorf("the picture cannot be read: %w", err)}
	}
	return canvas.Mask(img, in.Soft == nil), nil
}

// masked puts what a mask's inside begins from into scaled latents, [N,h,w,C].
func (p *Pipeline) masked(one *pass, latents []float32) error {
	s := one.source
	if s == nil || s.mask == nil || s.in.Content != LatentNoise && s.in.Content != LatentNothing {
		return nil
	}
	size := len(latents) / one.request.BatchSize
	for i := range latents {
		latents[i] *= 1 - drawn(s.mask, i, size)
	}
	if s.in.Content == LatentNothing {
		return nil
	}
	r, c := one.request, p.networks.VAE.Config()
	r.Variation, r.ResizeFrom = Variation{}, Size{}
	height, width := p.size(one)
	n, err := newNoise(r, c.LatentChannels, height, width, c.ScaleFactor(), one.plan)
	if err != nil {
		return err
	}
	noise := make([]float32, len(latents))
	n.draw(noise)
	for i, v := range noise {
		latents[i] += v * drawn(s.mask, i, size)
	}
	return nil
}

// drawn is how much of element i of a batch's latents is drawn under a mask; each picture has size elements.
func drawn(mask []float32, i, size int) float32 { return mask[i%size/(size/len(mask))] }

// shown is what a checkpoint made for inpainting is shown besides latents in a pass, [N,h,w,1+C]; nil for others.
func (p *Pipeline) shown(ctx context.Context, one *pass) ([]float32, error) {
	if p.networks.Shown() == 0 {
		return nil, nil
	}
	height, width := p.size(one)
	s := one.source
	if s == nil || s.Picture.Rect.Size() != image.Pt(one.request.Width, one.request.Height) { // all is drawn: what was there is hidden
		s = &source{Prepared: canvas.Prepared{Picture: image.NewNRGBA(image.Rect(0, 0, one.request.Width, one.request.Height))}, in: Inpaint{}.resolve()}
	}
	mask, colours := s.Shown(image.Pt(width, height), s.in.Soft == nil, *s.in.Weight)
	latents, err := p.encodeGrid(ctx, one.request, vae.Grid{Height: one.request.Height, Width: one.request.Width, Channels: 3, Data: colours})
	if err != nil {
		return nil, err
	}
	channels := len(latents) / len(mask)
	var all []float32
	for i, m := range mask {
		all = append(append(all, m), latents[i*channels:][:channels]...)
	}
	return slices.Repeat(all, one.request.BatchSize), nil
}

// pictures decodes what a pass has drawn and puts it into the pictures that it began with.
func (p *Pipeline) pictures(ctx context.Context, one *pass, run *sampling) ([]*image.NRGBA, error) {
	latents, err := run.latents()
	if err != nil {
		return nil, err
	}
	if larger := one.larger; larger != nil {
		if latents, err = larger.enlarge(ctx, latents); err != nil {
			return nil, err
		}
		images, err := larger.pipe.decode(ctx, larger.request, latents)
		return larger.recoloured(images), err
	}
	run.keep(latents)
	images, err := p.decode(ctx, one.request, latents)
	images = one.recoloured(images)
	s := one.source
	if err != nil || s == nil || s.in.Bare {
		return images, err
	}
	size := len(latents) / len(images)
	for i, img := range images {
		put := s.Prepared
		if s.mask != nil && s.in.Soft != nil {
			put.Overlay = s.softOverlay(run.paint.clean[i*size:][:size], latents[i*size:][:size], run.width, img.Rect.Size())
		}
		images[i] = put.Finish(img)
	}
	return images, nil
}

// recoloured gives pictures the colours of what was begun with, if the request wants that.
func (one *pass) recoloured(images []*image.NRGBA) []*image.NRGBA {
	begun := one.begun
	if one.source != nil {
		begun = one.source.Picture
	}
	if begun == nil || !one.request.ColorCorrection {
		return images
	}
	for i, img := range images {
		images[i] = canvas.Recolour(img, begun)
	}
	return images
}

// softOverlay is what stays of the picture after soft inpainting: the more, the less the drawing, as latents, differs.
func (s *source) softOverlay(clean, drawn []float32, width int, size image.Point) *image.NRGBA {
	channels := len(drawn) / len(s.mask)
	first := func(latents []float32) []float32 {
		out := make([]float32, len(latents))
		channelsFirst(out, latents, channels)
		return out
	}
	soft := s.in.Soft
	c := canvas.Composite{MaskInfluence: soft.MaskInfluence, DifferenceThreshold: *soft.DifferenceThreshold, DifferenceContrast: *soft.DifferenceContrast}
	_, overlay := s.Overlaid(c.Mask(first(clean), first(drawn), s.mask, width, *soft.Preservation), size)
	return overlay
}
