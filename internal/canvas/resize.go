package canvas

import (
	"image"
	"image/draw"
	"math"

	"github.com/atelier-go/atelier/internal/picture"
)

// Mode is how a picture is brought to another size, with the web UI's numbers.
type Mode int

// The modes.
const (
	Stretch Mode = iota // just resize
	Cover               // crop and resize
	Contain             // resize and fill
	Latents             // just resize, but the latents; what is no latent is contained
)

// Scaler brings a picture to a size without regard to its shape.
type Scaler func(img *image.NRGBA, size image.Point) *image.NRGBA

// Lanczos is the Scaler of Pillow's filter of that name.
func Lanczos(img *image.NRGBA, size image.Point) *image.NRGBA {
	return picture.Resample(img, size, image.Rectangle{Max: size}, picture.Lanczos, 4)
}

// Resize brings an opaque picture to a size. Contain fills what is left over by stretching the outermost rows or columns; where
// the bands' sizes do not add up a black line stays, as in the web UI.
func Resize(img *image.NRGBA, size image.Point, mode Mode, scale Scaler) *image.NRGBA {
	from := img.Rect.Size()
	if mode == Stretch {
		return scale(img, size)
	}
	ratio, source := float64(size.X)/float64(size.Y), float64(from.X)/float64(from.Y)
	wide := ratio < source // beside the target
	inner := image.Pt(from.X*size.Y/from.Y, size.Y)
	if mode != Cover && wide || mode == Cover && ratio > source {
		inner = image.Pt(size.X, from.Y*size.X/from.X)
	}
	resized := scale(img, inner)
	out := image.NewNRGBA(image.Rectangle{Max: size})
	draw.Draw(out, out.Rect, image.Black, image.Point{}, draw.Src)
	at := image.Pt(size.X/2-inner.X/2, size.Y/2-inner.Y/2)
	draw.Draw(out, resized.Rect.Add(at), resized, image.Point{}, draw.Src)
	if mode != Cover && ratio != source {
		fillBands(out, resized, at, wide)
	}
	return out
}

// fillBands stretches the borders of the resized picture over what is left of out above and below it, or beside it.
func fillBands(out, resized *image.NRGBA, at image.Point, above bool) {
	size := resized.Rect.Size()
	length, other := size.X, size.Y
	pixel := func(i, depth int) []uint8 { return resized.Pix[resized.PixOffset(depth, i):] }
	band, end := at.X, at.X+size.X
	if above {
		pixel = func(i, depth int) []uint8 { return resized.Pix[resized.PixOffset(i, depth):] }
		band, end = at.Y, at.Y+size.Y
	} else {
		length, other = size.Y, size.X
	}
	for i := range length {
		first := edge(pixel(i, 0), pixel(i, min(1, other-1)))
		last := edge(pixel(i, other-1), pixel(i, max(other-2, 0)))
		for b := range band {
			for _, side := range []struct {
				at     int
				colour [3]uint8
			}{{b, first}, {end + b, last}} {
				p := image.Pt(side.at, i)
				if above {
					p = image.Pt(i, side.at)
				}
				if p.In(out.Rect) {
					copy(out.Pix[out.PixOffset(p.X, p.Y):], side.colour[:])
				}
			}
		}
	}
}

// edge is Pillow's bicubic filter on the very border of a picture, of which it sees the last two pixels.
func edge(last, next []uint8) (colour [3]uint8) {
	for c := range colour {
		v := 1.125*float64(last[c]) - 0.125*float64(next[c])
		colour[c] = uint8(min(max(math.Floor(v+0.5), 0), 255))
	}
	return colour
}
