package vae

import "fmt"

// Grid is a picture or latents, channels last.
type Grid struct {
	Height, Width, Channels int
	Data                    []float32 // [Height,Width,Channels]
}

// crop copies the rectangle of at most height × width at y, x.
func (g Grid) crop(y, x, height, width int) Grid {
	height, width = min(height, g.Height-y), min(width, g.Width-x)
	out := Grid{height, width, g.Channels, make([]float32, 0, height*width*g.Channels)}
	for row := y; row < y+height; row++ {
		out.Data = append(out.Data, g.Data[(row*g.Width+x)*g.Channels:][:width*g.Channels]...)
	}
	return out
}

// check reports a grid whose data does not have its shape.
func (g Grid) check() error {
	if g.Height < 1 || g.Width < 1 || g.Channels < 1 || len(g.Data) != g.Height*g.Width*g.Channels {
		return fmt.Errorf("vae: %d values for a grid of %d×%d with %d channels", len(g.Data), g.Height, g.Width, g.Channels)
	}
	return nil
}

// Tiling describes how a grid is cut into overlapping tiles and put together again, in the units of the input and of
// the output.
type Tiling struct {
	Tile, Step  int // side of a tile and distance between two, of the input
	Blend, Keep int // overlap that is blended and side that is kept of each tile, of the output
}

// quarter is what a tile shares with the next, in latents: a quarter of the tile, diffusers' tile_overlap_factor. Tiles
// are as large as the pictures the model was trained on, but for sizes that have no such quarter.
func (c Config) quarter() int { return max(c.SampleSize/c.ScaleFactor()/4, 1) }

// DecodeTiling is diffusers' tiling of latents for the decoder: 64 by 64 latents, a new tile every 48, for SD 1.5.
func (c Config) DecodeTiling() Tiling {
	q, pixels := c.quarter(), c.quarter()*c.ScaleFactor()
	return Tiling{Tile: 4 * q, Step: 3 * q, Blend: pixels, Keep: 3 * pixels}
}

// EncodeTiling is diffusers' tiling of pictures for the encoder: 512 by 512 pixels, a new tile every 384, for SD 1.5.
func (c Config) EncodeTiling() Tiling {
	q, pixels := c.quarter(), c.quarter()*c.ScaleFactor()
	return Tiling{Tile: 4 * pixels, Step: 3 * pixels, Blend: q, Keep: 3 * q}
}

// Tiled runs a decoder or encoder tile by tile and blends the results where they overlap, exactly as diffusers'
// AutoencoderKL does: a tile is blended with the one above it and then with the one to its left, which have been
// blended before, and its top left part is kept. Since every tile has its own group statistics, the result differs a
// little from that of the whole. Of an encoder the moments are blended, before anything is sampled.
//
// run owns the tile it is given and hands over its result, which is written to. Its errors are returned as they are.
func (t Tiling) Tiled(in Grid, run func(tile Grid) (Grid, error)) (Grid, error) {
	if err := in.check(); err != nil {
		return Grid{}, err
	}
	if t.Tile < 1 || t.Step < 1 || t.Blend < 0 || t.Keep < 1 {
		return Grid{}, fmt.Errorf("vae: tiling %+v, want positive extents", t)
	}
	var above []Grid // the row of tiles before, blended
	var out Grid
	for y := 0; y < in.Height; y += t.Step {
		var row []Grid
		var strip Grid
		for x := 0; x < in.Width; x += t.Step {
			tile, err := run(in.crop(y, x, t.Tile, t.Tile))
			if err != nil {
				return Grid{}, err
			}
			if err := fits(tile, above, row); err != nil {
				return Grid{}, err
			}
			if y > 0 {
				tile.blendVertically(above[len(row)], t.Blend)
			}
			if x > 0 {
				tile.blendHorizontally(row[len(row)-1], t.Blend)
			}
			row = append(row, tile)
			strip = beside(strip, tile.crop(0, 0, t.Keep, t.Keep))
		}
		out = Grid{out.Height + strip.Height, strip.Width, strip.Channels, append(out.Data, strip.Data...)}
		above = row
	}
	return out, nil
}

// fits checks the result for the next tile of row against its neighbours.
func fits(tile Grid, above, row []Grid) error {
	if err := tile.check(); err != nil {
		return err
	}
	n := len(row)
	if n > 0 && (row[n-1].Height != tile.Height || row[n-1].Channels != tile.Channels) ||
		above != nil && (above[n].Width != tile.Width || above[n].Channels != tile.Channels) {
		return fmt.Errorf("vae: the result of tile %d in its row, %d×%d with %d channels, does not fit its neighbours", n, tile.Height, tile.Width, tile.Channels)
	}
	return nil
}

// beside puts right to the right of left, which is as high or empty.
func beside(left, right Grid) Grid {
	if left.Width == 0 {
		return right
	}
	out := Grid{right.Height, left.Width + right.Width, right.Channels, make([]float32, 0, len(left.Data)+len(right.Data))}
	for y := range right.Height {
		out.Data = append(out.Data, left.Data[y*left.Width*left.Channels:][:left.Width*left.Channels]...)
		out.Data = append(out.Data, right.Data[y*right.Width*right.Channels:][:right.Width*right.Channels]...)
	}
	return out
}

// blendVertically fades the bottom rows of above into the top rows of g.
func (g Grid) blendVertically(above Grid, extent int) {
	extent = min(extent, above.Height, g.Height)
	for y := range extent {
		from := above.Data[(above.Height-extent+y)*above.Width*g.Channels:]
		to := g.Data[y*g.Width*g.Channels:][:g.Width*g.Channels]
		fade(to, from, float64(y)/float64(extent))
	}
}

// blendHorizontally fades the right columns of left into the left columns of g.
func (g Grid) blendHorizontally(left Grid, extent int) {
	extent = min(extent, left.Width, g.Width)
	for y := range g.Height {
		from := left.Data[(y*left.Width+left.Width-extent)*g.Channels:]
		to := g.Data[y*g.Width*g.Channels:]
		for x := range extent {
			fade(to[x*g.Channels:][:g.Channels], from[x*g.Channels:], float64(x)/float64(extent))
		}
	}
}

// fade is to = from·(1-w) + to·w, each product and the sum rounded once, as PyTorch does it.
func fade(to, from []float32, w float64) {
	keep, add := float32(w), float32(1-w)
	for i := range to {
		to[i] = float32(from[i]*add) + float32(to[i]*keep)
	}
}
