package esrgan

// grid is a picture or features, channels last.
type grid struct {
	height, width, channels int
	data                    []float32 // [height,width,channels]
}

func newGrid(height, width, channels int) grid {
	return grid{height, width, channels, make([]float32, height*width*channels)}
}

// row is a row's values.
func (g grid) row(y int) []float32 { return g.data[y*g.width*g.channels:][:g.width*g.channels] }

// at is the values of a pixel.
func (g grid) at(y, x int) []float32 { return g.data[(y*g.width+x)*g.channels:][:g.channels] }

// unshuffle makes channels of r×r pixels, in PyTorch's order: those of one channel side by side, row by row.
func (g grid) unshuffle(r int) grid {
	if r == 1 {
		return g
	}
	out := newGrid(g.height/r, g.width/r, g.channels*r*r)
	for y := range out.height * r {
		for x := range out.width * r {
			to := out.at(y/r, x/r)
			for c, v := range g.at(y, x) {
				to[(c*r+y%r)*r+x%r] = v
			}
		}
	}
	return out
}

// shuffle is the reverse of unshuffle.
func (g grid) shuffle(r int) grid {
	out := newGrid(g.height*r, g.width*r, g.channels/(r*r))
	for y := range out.height {
		for x := range out.width {
			from, to := g.at(y/r, x/r), out.at(y, x)
			for c := range to {
				to[c] = from[(c*r+y%r)*r+x%r]
			}
		}
	}
	return out
}

// addNearest adds small, enlarged by nearest neighbour to the size of g.
func (g grid) addNearest(small grid) {
	r := g.height / small.height
	for y := range g.height {
		for x := range g.width {
			to := g.at(y, x)
			for c, v := range small.at(y/r, x/r) {
				to[c] += v
			}
		}
	}
}

// mirrored extends g at its right and bottom to multiples of r, by its own mirror image without the border itself.
func (g grid) mirrored(r int) grid {
	height, width := (g.height+r-1)/r*r, (g.width+r-1)/r*r
	if height == g.height && width == g.width {
		return g
	}
	out := newGrid(height, width, g.channels)
	for y := range height {
		for x := range width {
			copy(out.at(y, x), g.at(mirror(y, g.height), mirror(x, g.width)))
		}
	}
	return out
}

// mirror is the place that i stands for in n.
func mirror(i, n int) int {
	if i < n {
		return i
	}
	return max(2*(n-1)-i, 0)
}

// crop copies a rectangle.
func (g grid) crop(y, x, height, width int) grid {
	out := newGrid(height, width, g.channels)
	for row := range height {
		copy(out.row(row), g.row(y + row)[x*g.channels:])
	}
	return out
}
