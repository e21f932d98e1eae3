package canvas

import (
	"image"
	"math"
)

// GridSize is how many columns and rows n pictures are laid out in: in rows many if that is positive, in batch many if it is 0, else
// about square, if whole is set without empty places.
func GridSize(n, batch, rows int, whole bool) (columns, lines int) {
	if n < 1 {
		return 0, 0
	}
	switch {
	case rows > 0:
		lines = rows
	case rows == 0:
		lines = batch
	case whole:
		for lines = int(math.Sqrt(float64(n))); n%lines != 0; lines-- {
		}
	default:
		lines = int(math.RoundToEven(math.Sqrt(float64(n))))
	}
	lines = min(max(lines, 1), n)
	return (n + lines - 1) / lines, lines
}

// Tiles are parts of one size that a picture is cut into, such that neighbours share at least Overlap pixels.
type Tiles struct{ Width, Height, Overlap int }

// Places are where the tiles of a picture lie, row by row. They are spread evenly; a tile that is larger than the picture
// begins before it.
func (t Tiles) Places(width, height int) (places []image.Rectangle) {
	for _, y := range evenly(height, t.Height, t.Overlap) {
		for _, x := range evenly(width, t.Width, t.Overlap) {
			places = append(places, image.Rect(x, y, x+t.Width, y+t.Height))
		}
	}
	return places
}

// evenly is where parts of a side begin.
func evenly(side, part, overlap int) []int {
	n := max(1, (side-overlap+part-overlap-1)/(part-overlap))
	starts := make([]int, n)
	for i := range starts {
		if n > 1 {
			starts[i] = int(float64(i) * float64(side-part) / float64(n-1))
		}
		if starts[i]+part >= side {
			starts[i] = side - part
		}
	}
	return starts
}

// Join puts the tiles of a picture together, in the order of Places. Each fades in over Overlap pixels: first within the
// rows, then the rows from above to below.
func (t Tiles) Join(width, height int, tiles []*image.NRGBA) *image.NRGBA {
	joined := image.NewNRGBA(image.Rect(0, 0, width, height))
	var row *image.NRGBA
	places := t.Places(width, height)
	for i, place := range places {
		if i == 0 || place.Min.Y != places[i-1].Min.Y {
			row = image.NewNRGBA(image.Rect(0, 0, width, t.Height))
		}
		t.lay(row, tiles[i], place.Min.X, 0)
		if i == len(places)-1 || places[i+1].Min.Y != place.Min.Y {
			t.lay(joined, row, 0, place.Min.Y)
		}
	}
	return joined
}

// lay fades a picture in over another, from its left where it does not begin there and from above likewise.
func (t Tiles) lay(dst, src *image.NRGBA, left, top int) {
	in := src.Rect.Add(image.Pt(left, top)).Intersect(dst.Rect)
	for y := in.Min.Y; y < in.Max.Y; y++ {
		to, from := dst.Pix[dst.PixOffset(in.Min.X, y):], src.Pix[src.PixOffset(in.Min.X-left, y-top):]
		for x := range in.Dx() {
			part := uint8(255)
			if left != 0 {
				part = t.part(in.Min.X - left + x)
			}
			if top != 0 {
				part = t.part(y - top)
			}
			for c := 4 * x; c < 4*x+4; c++ {
				to[c] = mix(to[c], from[c], part)
			}
		}
	}
}

// part is how much of 255 a tile has at a distance from its edge.
func (t Tiles) part(distance int) uint8 {
	if distance >= t.Overlap {
		return 255
	}
	return uint8(distance * 255 / t.Overlap)
}
