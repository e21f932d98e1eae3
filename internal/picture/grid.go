package picture

import (
	"image"
	"math"
)

// Arrange divides a number of pictures into the rows and columns of a sheet, as the web UI does: as many rows as asked for,
// or -1 for about as many as columns, with full a number that leaves no cell empty.
func Arrange(count, rows int, full bool) (columns, inRows int) {
	if rows < 0 {
		root := math.Sqrt(float64(count))
		rows = int(math.RoundToEven(root))
		if full {
			for rows = max(1, int(root)); count%rows != 0; rows-- {
			}
		}
	}
	rows = max(1, min(rows, count))
	return (count + rows - 1) / rows, rows
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
			part := 255
			if left != 0 {
				part = t.part(in.Min.X - left + x)
			}
			if top != 0 {
				part = t.part(y - top)
			}
			for c := 4 * x; c < 4*x+4; c++ {
				to[c] = mixed(to[c], from[c], part)
			}
		}
	}
}

// part is how much of 255 a tile has at a distance from its edge.
func (t Tiles) part(distance int) int {
	if distance >= t.Overlap {
		return 255
	}
	return distance * 255 / t.Overlap
}

// mixed is old and new, of which part of 255 is new, rounded as Pillow does.
func mixed(old, new byte, part int) byte {
	v := int(old)*(255-part) + int(new)*part + 128
	return byte((v + v>>8) >> 8)
}
