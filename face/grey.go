package face

import "image"

// grey is a smaller copy of a picture, in grey, in the middle of a square with a margin: the cascades look for faces in it that
// the picture's edge cuts, and turned windows reach beyond it.
type grey struct {
	pixels []uint8
	side   int     // of the square
	margin int     // to the left of the picture and above it
	scale  float64 // pixels of the picture that one of these stands for
}

// newGrey makes a copy whose longer side has most pixels at most, each the mean of a square of the picture. Transparent parts
// count as white. The margin continues the pixels at the picture's edge.
func newGrey(img *image.NRGBA, most int) *grey {
	size := img.Rect.Size()
	step := max(1, (max(size.X, size.Y)+most-1)/most)
	columns, rows := max(1, size.X/step), max(1, size.Y/step)
	longer := max(columns, rows)
	g := &grey{margin: longer / 10, scale: float64(step)}
	g.side = longer + 2*g.margin
	g.pixels = make([]uint8, g.side*g.side)
	sums := make([]int, columns)
	for y := range rows {
		clear(sums)
		for dy := range min(step, size.Y) {
			addLuma(sums, img.Pix[(y*step+dy)*img.Stride:][:4*size.X], step)
		}
		line := g.line(y)
		for x, sum := range sums {
			line[g.margin+x] = uint8(sum / (step * step * 255 * 1000))
		}
		stretch(line, g.margin, g.margin+columns)
	}
	for y := range g.margin {
		copy(g.line(y-g.margin), g.line(0))
	}
	for y := rows; y < g.side-g.margin; y++ {
		copy(g.line(y), g.line(rows-1))
	}
	return g
}

// line is a row of the square, 0 for the picture's first.
func (g *grey) line(y int) []uint8 { return g.pixels[(y+g.margin)*g.side:][:g.side] }

// addLuma adds the lumas of a row of pixels, in 255·1000 steps, to the sums of the squares they belong to.
func addLuma(sums []int, row []uint8, step int) {
	for x := range sums {
		square := row[4*x*step:]
		for i := range min(step, len(square)/4) {
			p := square[4*i:][:4]
			alpha := int(p[3])
			sums[x] += alpha*(299*int(p[0])+587*int(p[1])+114*int(p[2])) + (255-alpha)*255*1000
		}
	}
}

// stretch continues a row from its part between two places to its ends.
func stretch(row []uint8, from, to int) {
	for x := range from {
		row[x] = row[from]
	}
	for x := to; x < len(row); x++ {
		row[x] = row[to-1]
	}
}

// at is the pixel at a place, or the one nearest to it.
func (g *grey) at(row, column int) uint8 {
	return g.pixels[min(max(row, 0), g.side-1)*g.side+min(max(column, 0), g.side-1)]
}

// point is where a place of the square is in the picture.
func (g *grey) point(row, column float64) Point {
	return Point{(column - float64(g.margin) + 0.5) * g.scale, (row - float64(g.margin) + 0.5) * g.scale}
}
