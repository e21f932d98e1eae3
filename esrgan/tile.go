package esrgan

// tiling cuts a picture into tiles of one size that overlap.
type tiling struct {
	side, overlap int // pixels
	step          int // what positions are multiples of
}

// places are where the tiles along a side of n pixels begin, evenly spread, and their length.
func (t tiling) places(n int) (starts []int, length int) {
	if n <= t.side {
		return []int{0}, n
	}
	count := (n - t.overlap + t.side - t.overlap - 1) / (t.side - t.overlap)
	for i := range count {
		starts = append(starts, i*(n-t.side)/(count-1)/t.step*t.step)
	}
	return starts, t.side
}

// blend fades from the end of one tile, which begins at from[first], into the beginning of the next: of their overlap, of which
// the outer quarters see too little of what is beside them, the middle is mixed. each is called for the places of the second tile
// with the share that it has.
func blend(overlap int, each func(at int, share float32)) {
	margin := overlap / 4
	for at := range overlap {
		share := (float32(at-margin) + 0.5) / float32(overlap-2*margin)
		each(at, min(max(share, 0), 1))
	}
}

// beside lays tile over strip, which is as high, from column x on; what is left of column end is covered already.
func (g grid) beside(tile grid, x, end int) {
	covered := end - x
	for y := range tile.height {
		to, from := g.row(y)[x*g.channels:], tile.row(y)
		blend(covered, func(at int, share float32) {
			mix(to[at*g.channels:][:g.channels], from[at*g.channels:], share)
		})
		copy(to[covered*g.channels:], from[covered*g.channels:])
	}
}

// below mixes the last rows of above into the first ones of g.
func (g grid) below(above grid, overlap int) {
	blend(overlap, func(at int, share float32) {
		mix(g.row(at), above.row(above.height-overlap+at), 1-share)
	})
}

// mix is to = to·(1-share) + from·share.
func mix(to, from []float32, share float32) {
	for i := range to {
		to[i] += (from[i] - to[i]) * share
	}
}
