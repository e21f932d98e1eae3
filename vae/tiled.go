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

// Tiling describes how a grid is cut into overlapping tiles and put together again, in the units of the input and of
// the output.
type Tiling struct {
	Tile, Step  int // side of a tile and distance between two, of the input
	Blend, Keep int // overlap that is blended and side that is kept of each tile, of the output
}

// overlap is the fraction of a tile that it shares with the next, diffusers' tile_overlap_factor.
const overlap = 0.25

// DecodeTiling is diffusers' tiling of latents for the decoder: tiles as large as the latents of the pictures the
// model was trained on.
func (c Config) DecodeTiling() Tiling {
	latent := max(c.SampleSize/c.ScaleFactor(), 1)
	blend := int(float64(c.SampleSize) * overlap)
	return Tiling{Tile: latent, Step: max(int(float64(latent)*(1-overlap)), 1), Blend: blend, Keep: c.SampleSize - blend}
}

// EncodeTiling is diffusers' tiling of pictures for the encoder.
func (c Config) EncodeTiling() Tiling {
	latent := max(c.SampleSize/c.ScaleFactor(), 1)
	blend := int(float64(latent) * overlap)
	return Tiling{Tile: c.SampleSize, Step: max(int(float64(c.SampleSize)*(1-overlap)), 1), Blend: blend, Keep: latent - blend}
}

// Tiled runs a decoder or encoder tile by tile and blends the results where they overlap, exactly as diffusers'
// AutoencoderKL does: a tile is blended with the one above it and then with the one to its left, which have been
// blended before, and its top left part is kept. Since every tile has its own group statistics, the result differs a
// little from that of the whole.
func (t Tiling) Tiled(in Grid, run func(tile Grid) (Grid, error)) (Grid, error) {
	var above []Grid // the row of tiles before, blended
	var out Grid
	for y := 0; y < in.Height; y += t.Step {
		var row []Grid
		for x := 0; x < in.Width; x += t.Step {
			tile, err := run(in.crop(y, x, t.Tile, t.Tile))
			if err != nil {
				return Grid{}, err
			}
			if y > 0 {
				tile.blendVertically(above[len(row)], t.Blend)
			}
			if x > 0 {
				tile.blendHorizontally(row[len(row)-1], t.Blend)
			}
			row = append(row, tile)
		}
		var strip Grid
		for _, tile := range row {
			strip = strip.beside(tile.crop(0, 0, t.Keep, t.Keep))
		}
		if out.Height > 0 && strip.Width != out.Width {
			return Grid{}, fmt.Errorf("vae: tiles of row %d make %d pixels, those before %d", y/t.Step, strip.Width, out.Width)
		}
		out = Grid{out.Height + strip.Height, strip.Width, strip.Channels, append(out.Data, strip.Data...)}
		above = row
	}
	return out, nil
}

// beside appends the columns of g to those of left.
func (left Grid) beside(g Grid) Grid {
	if left.Width == 0 {
		return g
	}
	out := Grid{g.Height, left.Width + g.Width, g.Channels, make([]float32, 0, len(left.Data)+len(g.Data))}
	for y := range g.Height {
		out.Data = append(out.Data, left.Data[y*left.Width*g.Channels:][:left.Width*g.Channels]...)
		out.Data = append(out.Data, g.Data[y*g.Width*g.Channels:][:g.Width*g.Channels]...)
	}
	return out
}

// blendVertically fades the bottom rows of above into the top rows of g.
func (g Grid) blendVertically(above Grid, extent int) {
	extent = min(extent, above.Height, g.Height)
	for y := range extent {
		w := float32(y) / float32(extent)
		from := above.Data[(above.Height-extent+y)*above.Width*g.Channels:]
		to := g.Data[y*g.Width*g.Channels:][:g.Width*g.Channels]
		for i := range to {
			to[i] = from[i]*(1-w) + to[i]*w
		}
	}
}

// blendHorizontally fades the right columns of left into the left columns of g.
func (g Grid) blendHorizontally(left Grid, extent int) {
	extent = min(extent, left.Width, g.Width)
	for y := range g.Height {
		from := left.Data[(y*left.Width+left.Width-extent)*g.Channels:]
		to := g.Data[y*g.Width*g.Channels:]
		for x := range extent {
			w := float32(x) / float32(extent)
			for c := range g.Channels {
				i := x*g.Channels + c
				to[i] = from[i]*(1-w) + to[i]*w
			}
		}
	}
}
