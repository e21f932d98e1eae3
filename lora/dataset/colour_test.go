package dataset

import (
	"image"
	"math"
	"testing"

	"github.com/atelier-go/atelier/internal/picture"
)

// TestDefaultFilter: area where nothing grows, else Lanczos.
func TestDefaultFilter(t *testing.T) {
	for _, c := range []struct {
		name Interpolation
		to   image.Point
		want picture.Filter
	}{
		{"", image.Pt(48, 30), picture.Area}, {"", image.Pt(96, 30), picture.Area}, {"", image.Pt(131, 77), picture.Lanczos}, {"", image.Pt(150, 20), picture.Lanczos},
		{"bilinear", image.Pt(48, 30), picture.Linear}, {Nearest, image.Pt(131, 77), picture.Nearest},
	} {
		if got := c.name.filter(image.Pt(96, 60), c.to); got != c.want {
			t.Errorf("%q to %v: %s, want %s", c.name, c.to, got, c.want)
		}
	}
}

func TestRotateHue(t *testing.T) {
	for _, c := range []struct {
		name    string
		rgb     [3]uint8
		degrees float64
		want    [3]uint8
	}{
		{"grey stays", [3]uint8{90, 90, 90}, 16, [3]uint8{90, 90, 90}},
		{"red to green", [3]uint8{200, 0, 0}, 120, [3]uint8{0, 200, 0}},
		{"red to magenta", [3]uint8{200, 0, 0}, -60, [3]uint8{200, 0, 200}},
		{"a quarter of the way to yellow", [3]uint8{200, 100, 100}, 15, [3]uint8{200, 125, 100}},
		{"all the way round", [3]uint8{12, 200, 77}, 360, [3]uint8{12, 200, 77}},
	} {
		got := c.rgb
		if rotateHue(got[:], c.degrees); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestGamma is the reference's quirk: the power acts on 0…255.
func TestGamma(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 1, 1))
	copy(img.Pix, []uint8{100, 250, 1, 255})
	colourShift{gamma: 1.05}.apply(img)
	if want := [4]uint8{uint8(math.Pow(100, 1.05)), 255, 1, 255}; [4]uint8(img.Pix) != want {
		t.Errorf("%v, want %v", img.Pix, want)
	}
}

func TestColourShiftOdds(t *testing.T) {
	const draws = 30000
	hue, gamma := 0, 0
	for seed := range uint64(draws) {
		c := drawColourShift(fixedRand(seed))
		if c.hue != 0 {
			hue++
		}
		if c.gamma != 0 {
			gamma++
		}
		if math.Abs(c.hue) > 16 || c.gamma != 0 && math.Abs(c.gamma-1) > 0.05 {
			t.Fatalf("%+v", c)
		}
	}
	// Five standard deviations of a binomial are 322.
	const want = draws * 0.33 / 2
	if math.Abs(float64(hue)-want) > 322 || math.Abs(float64(gamma)-want) > 322 {
		t.Errorf("%d hue shifts and %d gammas of %d, want %v of each", hue, gamma, draws, want)
	}
}
