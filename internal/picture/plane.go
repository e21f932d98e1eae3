package picture

import "image"

// plane is one component of a picture, stored at a fraction of its size.
type plane struct {
	pix           []uint8
	stride        int
	width, height int // as stored, without padding
	fx, fy        int // how many pixels a stored sample covers
}

// newPlane is the plane of a picture of width × height whose samples cover fx × fy pixels.
func newPlane(pix []uint8, stride, width, height, fx, fy int) plane {
	return plane{pix, stride, (width + fx - 1) / fx, (height + fy - 1) / fy, fx, fy}
}

func (p *plane) stored(y int) []uint8 {
	return p.pix[min(max(y, 0), p.height-1)*p.stride:][:p.width]
}

// around are the stored rows that row y lies in and next to.
func (p *plane) around(y int) (near, far []uint8) {
	at := y / p.fy
	if y%2 == 0 {
		return p.stored(at), p.stored(at - 1)
	}
	return p.stored(at), p.stored(at + 1)
}

// jpegRow returns row y at full size, in row where that has to be made: halved sides are interpolated with a triangle filter
// of three quarters and one quarter, other fractions repeated, with the roundings of libjpeg.
func (p *plane) jpegRow(y int, row []uint8) []uint8 {
	switch {
	case p.fx == 1 && p.fy == 1:
		return p.stored(y)
	case p.fx == 1 && p.fy == 2:
		p.between(y, row)
	case p.fx == 2 && p.fy == 1 && p.width > 2:
		p.doubled(p.stored(y), row)
	case p.fx == 2 && p.fy == 2 && p.width > 2:
		p.quadrupled(y, row)
	default:
		from := p.stored(y / p.fy)
		for x := range row {
			row[x] = from[x/p.fx]
		}
	}
	return row
}

// between makes one row of two where only the height is halved.
func (p *plane) between(y int, row []uint8) {
	near, far := p.around(y)
	bias := 1 + y%2
	for x := range row {
		row[x] = uint8((3*int(near[x]) + int(far[x]) + bias) >> 2)
	}
}

// doubled widens a row.
func (p *plane) doubled(from, row []uint8) {
	for x := range row {
		near, far, bias := int(from[x/2]), 0, 1
		if x%2 == 0 {
			far = int(from[max(x/2-1, 0)])
		} else {
			far, bias = int(from[min(x/2+1, p.width-1)]), 2
		}
		row[x] = uint8((3*near + far + bias) >> 2)
	}
}

// quadrupled makes a row of both directions.
func (p *plane) quadrupled(y int, row []uint8) {
	near, far := p.around(y)
	column := func(x int) int { return 3*int(near[x]) + int(far[x]) }
	left, here := column(0), column(0)
	for x := range p.width {
		right := here
		if x+1 < p.width {
			right = column(x + 1)
		}
		row[2*x] = uint8((3*here + left + 8) >> 4)
		if 2*x+1 < len(row) {
			row[2*x+1] = uint8((3*here + right + 7) >> 4)
		}
		left, here = here, right
	}
}

// webpRow is row y of halved sides at full size, with the weights of nine, three, three and one sixteenth and the roundings of
// libwebp.
func (p *plane) webpRow(y int, row []uint8) []uint8 {
	near, far := p.around(y)
	row[0] = uint8((3*int(near[0]) + int(far[0]) + 2) >> 2)
	for x := 1; 2*x-1 < len(row); x++ {
		if x == p.width {
			row[2*x-1] = uint8((3*int(near[x-1]) + int(far[x-1]) + 2) >> 2)
			break
		}
		a, b, c, d := int(near[x-1]), int(near[x]), int(far[x-1]), int(far[x])
		sum := a + b + c + d + 8
		row[2*x-1] = uint8(((sum+2*(b+c))>>3 + a) >> 1)
		if 2*x < len(row) {
			row[2*x] = uint8(((sum+2*(a+d))>>3 + b) >> 1)
		}
	}
	return row
}

// opaque makes a picture row by row: fill gets the rows' bytes, of which every fourth is alpha and already 255.
func opaque(width, height int, fill func(y int, line []uint8)) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		line := img.Pix[y*img.Stride:][:4*width]
		for i := 3; i < len(line); i += 4 {
			line[i] = 255
		}
		fill(y, line)
	}
	return img
}
