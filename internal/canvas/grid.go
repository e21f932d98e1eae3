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

// Split is where tiles of a size begin that overlap by at least so many pixels and cover a picture: evenly spread, the last at the
// border. A picture smaller than a tile has negative places.
func Split(size, tile image.Point, overlap int) (columns, rows []int) {
	return places(size.X, tile.X, overlap), places(size.Y, tile.Y, overlap)
}

func places(n, tile, overlap int) (starts []int) {
	count := int(math.Ceil(float64(n-overlap) / float64(tile-overlap)))
	step := 0.0
	if count > 1 {
		step = float64(n-tile) / float64(count-1)
	}
	for i := range count {
		at := int(float64(i) * step)
		if at+tile >= n {
			at = n - tile
		}
		starts = append(starts, at)
	}
	return starts
}

// Combine puts tiles of one size together that begin at these places, row by row, blending overlap pixels of each with those before.
func Combine(size image.Point, columns, rows []int, tiles []*image.NRGBA, overlap int) *image.NRGBA {
	out := image.NewNRGBA(image.Rectangle{Max: size})
	for j, y := range rows {
		height := tiles[0].Rect.Dy()
		row := image.NewNRGBA(image.Rect(0, 0, size.X, height))
		for i, x := range columns {
			paste(row, tiles[j*len(columns)+i], image.Pt(x, 0), func(p image.Point) int { return ramp(p.X, x, overlap) })
		}
		paste(out, row, image.Pt(0, y), func(p image.Point) int { return ramp(p.Y, y, overlap) })
	}
	return out
}

// ramp is the share, of 255, that a pixel at i has in a tile that begins at start.
func ramp(i, start, overlap int) int {
	if start == 0 || i >= overlap {
		return 255
	}
	return i * 255 / overlap
}

// paste lays a picture over another at a place, each pixel with its share.
func paste(to, from *image.NRGBA, at image.Point, share func(p image.Point) int) {
	for y := range from.Rect.Dy() {
		for x := range from.Rect.Dx() {
			if !at.Add(image.Pt(x, y)).In(to.Rect) {
				continue
			}
			below, above := to.Pix[to.PixOffset(at.X+x, at.Y+y):][:4], from.Pix[from.PixOffset(x, y):]
			for c := range 3 {
				below[c] = mix(below[c], above[c], uint8(share(image.Pt(x, y))))
			}
			below[3] = 255
		}
	}
}
