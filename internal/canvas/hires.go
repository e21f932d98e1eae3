package canvas

import (
	"image"
	"math"
)

// Hires is what a request says of the second pass's size. Zero sizes are not given.
type Hires struct {
	Width, Height           int // of the first pass
	Scale                   float64
	ResizeX, ResizeY        int
	FirstWidth, FirstHeight int  // of the first pass, where old programs have the final size in Width and Height
	Old                     bool // Width and Height are the final size, and that of the first pass is to be found
}

// HiresTarget is the sizes that follow from it.
type HiresTarget struct {
	First    image.Point // of the first pass
	Upscaled image.Point // that the first pass's result is scaled to
	Truncate image.Point // columns and rows of latents that are cut off it: half on each side, the rest at the right and bottom
}

// latent is the pixels along a side of one latent.
const latent = 8

// Target finds the sizes of both passes. Both of ResizeX and ResizeY mean a box to cover, one of them keeps the shape.
func (h Hires) Target() HiresTarget {
	if h.FirstWidth != 0 || h.FirstHeight != 0 {
		h.Width, h.Height = h.FirstWidth, h.FirstHeight
	}
	if h.Old {
		h.ResizeX, h.ResizeY = h.Width, h.Height
		first := OldFirstPass(h.Width, h.Height)
		h.Width, h.Height = first.X, first.Y
	}
	t := HiresTarget{First: image.Pt(h.Width, h.Height)}
	switch x, y := h.ResizeX, h.ResizeY; {
	case x == 0 && y == 0:
		t.Upscaled = image.Pt(int(float64(h.Width)*h.Scale), int(float64(h.Height)*h.Scale))
	case y == 0:
		t.Upscaled = image.Pt(x, x*h.Height/h.Width)
	case x == 0:
		t.Upscaled = image.Pt(y*h.Width/h.Height, y)
	default:
		t.Upscaled = image.Pt(y*h.Width/h.Height, y)
		if float64(h.Width)/float64(h.Height) < float64(x)/float64(y) {
			t.Upscaled = image.Pt(x, x*h.Height/h.Width)
		}
		t.Truncate = image.Pt((t.Upscaled.X-x)/latent, (t.Upscaled.Y-y)/latent)
	}
	return t
}

// OldFirstPass is the first pass's size that old versions choose for a final size: about 512×512, in steps of 64.
func OldFirstPass(width, height int) image.Point {
	scale := math.Sqrt(512 * 512 / float64(width*height))
	side := func(n int) int { return int(math.Ceil(scale*float64(n)/64)) * 64 }
	return image.Pt(side(width), side(height))
}
