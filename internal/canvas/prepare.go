package canvas

import (
	"image"
	"image/draw"
	"math"

	"github.com/atelier-go/atelier/internal/picture"
)

// Content is what a mask's inside begins from, with the web UI's numbers.
type Content int

// The contents.
const (
	Filled        Content = iota // the colours around it
	Original                     // what is there
	LatentNoise                  // noise in place of the latents
	LatentNothing                // latents of zero
)

// Setup is how a picture is prepared to be painted over.
type Setup struct {
	Size  image.Point // that is painted
	Mode  Mode        // how the picture comes to it
	Scale Scaler      // brings the picture to it; nil is Lanczos

	Mask         *image.Gray // white is to be painted; nil is all of it
	Invert       bool        // black is
	BlurX, BlurY float64     // the mask's, in pixels
	Content      Content
	OnlyMasked   bool // what the mask covers is cut out and painted at Size
	Padding      int  // pixels around it that are cut out too
}

// Prepared is a picture that is ready to be painted over.
type Prepared struct {
	Picture     *image.NRGBA    // for the VAE: of Setup.Size, but for Latents of its own
	Mask        *image.Gray     // of Setup.Size; nil if all is painted
	Overlay     *image.NRGBA    // what stays, to be laid over what was painted; nil without a mask
	OverlayMask *image.Gray     // what does not stay, as large as the overlay
	PasteTo     image.Rectangle // where in the overlay's picture that which was painted belongs; empty is all of it
}

// Prepare makes an opaque picture ready. A mask that is black everywhere, of which only the masked area should be painted, is no mask.
func Prepare(img *image.NRGBA, s Setup) Prepared {
	if s.Scale == nil {
		s.Scale = Lanczos
	}
	var p Prepared
	if s.Mask != nil {
		p.mask(s)
	}
	p.Picture = img
	if p.PasteTo.Empty() && s.Mode != Latents {
		p.Picture = Resize(img, s.Size, s.Mode, s.Scale)
	}
	if p.Mask == nil {
		return p
	}
	p.OverlayMask = resizeMask(p.OverlayMask, p.Picture.Rect.Size(), s.Mode)
	p.Overlay = Keep(p.Picture, p.OverlayMask)
	if !p.PasteTo.Empty() {
		p.Picture = Resize(crop(p.Picture, p.PasteTo), s.Size, Contain, s.Scale)
	}
	if s.Content != Original {
		p.Picture = Fill(p.Picture, resizeMask(p.Mask, p.Picture.Rect.Size(), s.Mode))
	}
	return p
}

// mask finds what is painted, and where.
func (p *Prepared) mask(s Setup) {
	mask := s.Mask
	if s.Invert {
		mask = inverted(mask)
	}
	mask = Blur(mask, s.BlurX, s.BlurY)
	if !s.OnlyMasked {
		p.Mask = resizeMask(mask, s.Size, s.Mode)
		p.OverlayMask = image.NewGray(p.Mask.Rect)
		for i, v := range p.Mask.Pix {
			p.OverlayMask.Pix[i] = uint8(min(2*int(v), 255))
		}
		return
	}
	size := mask.Rect.Size()
	if p.PasteTo = Expand(Pad(Bounds(mask), s.Padding, size), s.Size, size); p.PasteTo.Empty() {
		return
	}
	p.OverlayMask, p.Mask = mask, fromColour(Resize(crop(toColour(mask), p.PasteTo), s.Size, Contain, Lanczos))
}

// LatentMask is the share of what is painted in each latent, row by row; round makes it all or nothing.
func (p *Prepared) LatentMask(size image.Point, round bool) []float32 {
	small := picture.Resample(toColour(p.Mask), size, image.Rectangle{Max: size}, picture.Keys, 3)
	return shares(fromColour(small), round)
}

// Shown is what checkpoints made for inpainting are shown besides latents: the mask, a share for each latent, and the picture, [H,W,3] in
// [-1,1], in which what is painted is grey as far as weight says. Without a mask all of it is painted.
func (p *Prepared) Shown(size image.Point, round bool, weight float64) (mask, colours []float32) {
	from := p.Picture.Rect.Size()
	painted := make([]float32, from.X*from.Y)
	for i := range painted {
		painted[i] = 1
	}
	if p.Mask != nil {
		painted = shares(p.Mask, round)
	}
	for i, share := range painted {
		for _, v := range p.Picture.Pix[4*i:][:3] {
			colour := float32(v)/255*2 - 1
			grey := colour * (1 - share)
			colours = append(colours, grey-(grey-colour)*float32(1-weight))
		}
	}
	for y := range size.Y {
		for x := range size.X {
			mask = append(mask, painted[y*from.Y/size.Y*from.X+x*from.X/size.X])
		}
	}
	return mask, colours
}

// Finish puts what was painted back into the picture: what stays is laid over it.
func (p *Prepared) Finish(painted *image.NRGBA) *image.NRGBA {
	if p.Overlay == nil {
		return painted
	}
	if !p.PasteTo.Empty() {
		painted = Uncrop(painted, p.PasteTo, p.Overlay.Rect.Size())
	}
	return Overlay(painted, p.Overlay)
}

// Keep is what of a picture a mask of the same size does not cover.
func Keep(img *image.NRGBA, mask *image.Gray) *image.NRGBA {
	out := image.NewRGBA(image.Rectangle{Max: img.Rect.Size()})
	for i := 0; i < len(out.Pix); i += 4 {
		keep, alpha := 255-mask.Pix[i/4], img.Pix[i+3]
		for c := range 3 {
			out.Pix[i+c] = mix(0, mix(0, img.Pix[i+c], alpha), keep)
		}
		out.Pix[i+3] = mix(0, alpha, keep)
	}
	return unmultiply(out)
}

// shares are a mask's bytes as parts of one.
func shares(mask *image.Gray, round bool) []float32 {
	all := make([]float32, len(mask.Pix))
	for i, v := range mask.Pix {
		all[i] = float32(v) / 255
		if round {
			all[i] = float32(math.RoundToEven(float64(all[i])))
		}
	}
	return all
}

// resizeMask brings a mask to a size as Resize does.
func resizeMask(mask *image.Gray, size image.Point, mode Mode) *image.Gray {
	if mask.Rect.Size() == size {
		return mask
	}
	return fromColour(Resize(toColour(mask), size, mode, Lanczos))
}

func inverted(mask *image.Gray) *image.Gray {
	out := image.NewGray(image.Rectangle{Max: mask.Rect.Size()})
	for i, v := range mask.Pix {
		out.Pix[i] = 255 - v
	}
	return out
}

// toColour and fromColour go between a mask and the grey picture of it.
func toColour(mask *image.Gray) *image.NRGBA {
	out := image.NewNRGBA(image.Rectangle{Max: mask.Rect.Size()})
	for i, v := range mask.Pix {
		copy(out.Pix[4*i:], []uint8{v, v, v, 255})
	}
	return out
}

func fromColour(img *image.NRGBA) *image.Gray {
	out := image.NewGray(image.Rectangle{Max: img.Rect.Size()})
	for i := range out.Pix {
		out.Pix[i] = img.Pix[4*i]
	}
	return out
}

func crop(img *image.NRGBA, to image.Rectangle) *image.NRGBA {
	out := image.NewNRGBA(image.Rectangle{Max: to.Size()})
	draw.Draw(out, out.Rect, img, to.Min, draw.Src)
	return out
}
