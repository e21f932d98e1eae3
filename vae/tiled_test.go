package vae_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/vae"
)

func TestTilings(t *testing.T) {
	config := func(sampleSize int) vae.Config {
		c := vae.SD15()
		c.SampleSize = sampleSize
		return c
	}
	for _, c := range []struct {
		name           string
		config         vae.Config
		decode, encode vae.Tiling
	}{
		{"SD 1.5", config(512), vae.Tiling{Tile: 64, Step: 48, Blend: 128, Keep: 384}, vae.Tiling{Tile: 512, Step: 384, Blend: 16, Keep: 48}},
		{"trained at 768", config(768), vae.Tiling{Tile: 96, Step: 72, Blend: 192, Keep: 576}, vae.Tiling{Tile: 768, Step: 576, Blend: 24, Keep: 72}},
		{"no whole quarter", config(100), vae.Tiling{Tile: 12, Step: 9, Blend: 24, Keep: 72}, vae.Tiling{Tile: 96, Step: 72, Blend: 3, Keep: 9}},
		{"tiny", config(1), vae.Tiling{Tile: 4, Step: 3, Blend: 8, Keep: 24}, vae.Tiling{Tile: 32, Step: 24, Blend: 1, Keep: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.config.DecodeTiling(); got != c.decode {
				t.Errorf("decoding in %+v, want %+v", got, c.decode)
			}
			if got := c.config.EncodeTiling(); got != c.encode {
				t.Errorf("encoding in %+v, want %+v", got, c.encode)
			}
		})
	}
}

// enlarge stands for a decoder: it repeats every pixel factor times in both directions.
func enlarge(factor int) func(vae.Grid) (vae.Grid, error) {
	return func(in vae.Grid) (vae.Grid, error) {
		out := vae.Grid{Height: in.Height * factor, Width: in.Width * factor, Channels: in.Channels}
		for y := range out.Height {
			for x := range out.Width {
				out.Data = append(out.Data, in.Data[(y/factor*in.Width+x/factor)*in.Channels:][:in.Channels]...)
			}
		}
		return out, nil
	}
}

// ramp is a grid in which every element is different.
func ramp(height, width, channels int) vae.Grid {
	g := vae.Grid{Height: height, Width: width, Channels: channels, Data: make([]float32, height*width*channels)}
	for i := range g.Data {
		g.Data[i] = float32(i)
	}
	return g
}

// TestTilesOfALocalDecoder puts together what does not depend on where the tiles lie: blending then changes nothing
// but by rounding, and every pixel is at its place.
func TestTilesOfALocalDecoder(t *testing.T) {
	for _, c := range []struct {
		name          string
		height, width int
		tiles         int
	}{
		{"one tile", 10, 48, 1},
		{"exactly a tile, and a rest of a quarter", 64, 64, 4},
		{"128×128", 128, 128, 9},
		{"100, the last tile of 4", 100, 49, 6},
		{"one pixel", 1, 1, 1},
		{"a long strip", 1, 200, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			tiles := 0
			in, run := ramp(c.height, c.width, 2), enlarge(8)
			got, err := vae.SD15().DecodeTiling().Tiled(in, func(tile vae.Grid) (vae.Grid, error) {
				tiles++
				return run(tile)
			})
			if err != nil {
				t.Fatal(err)
			}
			want, _ := run(in)
			if got.Height != want.Height || got.Width != want.Width || got.Channels != want.Channels {
				t.Fatalf("the result is %d×%d with %d channels, want %d×%d with %d", got.Height, got.Width, got.Channels, want.Height, want.Width, want.Channels)
			}
			for i, w := range want.Data {
				if d := got.Data[i] - w; d > 0.01 || d < -0.01 {
					t.Fatalf("element %d is %v, want %v", i, got.Data[i], w)
				}
			}
			if tiles != c.tiles {
				t.Errorf("%d tiles, want %d", tiles, c.tiles)
			}
		})
	}
}

// TestBlendOrder puts constant tiles together by hand: tiles of 4 that overlap by 2, blended over 2.
func TestBlendOrder(t *testing.T) {
	n := float32(0)
	got, err := vae.Tiling{Tile: 4, Step: 2, Blend: 2, Keep: 2}.Tiled(ramp(4, 4, 1), func(tile vae.Grid) (vae.Grid, error) {
		n++
		for i := range tile.Data {
			tile.Data[i] = n // 1 2 above 3 4
		}
		return tile, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Tile 2 becomes 1, 1.5 beside tile 1; tile 3 becomes 1 over 2 below it. Tile 4 becomes 1, 1.5 over 2.5, 2.75 below the
	// blended tile 2, and then 1, 1.25 over 2, 2.375 beside the blended tile 3.
	want := []float32{
		1, 1, 1, 1.5,
		1, 1, 1, 1.5,
		1, 1, 1, 1.25,
		2, 2, 2, 2.375,
	}
	if !slices.Equal(got.Data, want) {
		t.Errorf("have %v\nwant %v", got.Data, want)
	}
}

func TestTiledErrors(t *testing.T) {
	failure := errors.New("no memory")
	tiling := vae.Tiling{Tile: 4, Step: 3, Blend: 1, Keep: 3}
	same := func(g vae.Grid) (vae.Grid, error) { return g, nil }
	calls := 0
	for _, c := range []struct {
		name   string
		tiling vae.Tiling
		in     vae.Grid
		run    func(vae.Grid) (vae.Grid, error)
		want   error // nil for any
	}{
		{"the decoder fails", tiling, ramp(8, 8, 1), func(vae.Grid) (vae.Grid, error) { return vae.Grid{}, failure }, failure},
		{"no data", tiling, vae.Grid{Height: 2, Width: 2, Channels: 1}, same, nil},
		{"nothing", tiling, vae.Grid{}, same, nil},
		{"no tiling", vae.Tiling{}, ramp(8, 8, 1), same, nil},
		{"result without data", tiling, ramp(8, 8, 1), func(g vae.Grid) (vae.Grid, error) { return vae.Grid{Height: 4, Width: 4, Channels: 1}, nil }, nil},
		{"results of different sizes", tiling, ramp(8, 8, 1), func(vae.Grid) (vae.Grid, error) {
			calls++
			return ramp(calls, calls, 1), nil
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.tiling.Tiled(c.in, c.run)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
