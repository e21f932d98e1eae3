package dataset

import (
	"fmt"
	"image"
	"math"
	"testing"
)

func mustRead(t testing.TB, path string) *image.NRGBA {
	t.Helper()
	img, err := readPicture(path)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestResample compares with Pillow (lanczos and box, exact) and OpenCV (the rest, which rounds its weights to 11 bits, so that
// one step of 255 is allowed, two for the negative lobes of cubic).
func TestResample(t *testing.T) {
	source := mustRead(t, "testdata/source.png")
	for filter, tolerance := range map[Interpolation]int{Lanczos: 0, Box: 0, Nearest: 0, Linear: 1, Cubic: 1, Area: 1} {
		for _, size := range []Size{{48, 30}, {37, 41}, {131, 77}, {150, 20}} {
			t.Run(fmt.Sprintf("%s/%v", filter, size), func(t *testing.T) {
				want := mustRead(t, fmt.Sprintf("testdata/%s_%v.png", filter, size))
				got := resample(source, size, want.Rect, filter, 3)
				worst, at, differ := 0, 0, 0
				for i := range want.Pix {
					d := int(got.Pix[i]) - int(want.Pix[i])
					if d != 0 {
						differ++
					}
					if d = max(d, -d); d > worst {
						worst, at = d, i
					}
				}
				if worst > tolerance {
					t.Errorf("worst difference %d at (%d,%d) channel %d: got %d, want %d; tolerance %d, %d of %d differ",
						worst, at/4%size.W, at/4/size.W, at%4, got.Pix[at], want.Pix[at], tolerance, differ, len(want.Pix))
				}
			})
		}
	}
}

// TestResampleWindow: a window is the same as cutting it out of the whole.
func TestResampleWindow(t *testing.T) {
	source := mustRead(t, "testdata/source.png")
	for _, filter := range interpolations {
		for _, size := range []Size{{48, 30}, {131, 77}, {96, 60}} {
			whole := resample(source, size, image.Rect(0, 0, size.W, size.H), filter, 4)
			window := image.Rect(7, 5, 40, 29)
			part := resample(source, size, window, filter, 4)
			for y := range window.Dy() {
				for x := range window.Dx() {
					if got, want := part.NRGBAAt(x, y), whole.NRGBAAt(x+7, y+5); got != want {
						t.Fatalf("%q to %v: (%d,%d) is %v, want %v", filter, size, x, y, got, want)
					}
				}
			}
		}
	}
}

// TestDefaultFilter: area where nothing grows, else Lanczos.
func TestDefaultFilter(t *testing.T) {
	source := mustRead(t, "testdata/source.png")
	for _, c := range []struct {
		size Size
		want Interpolation
	}{{Size{48, 30}, Area}, {Size{96, 30}, Area}, {Size{131, 77}, Lanczos}, {Size{150, 20}, Lanczos}} {
		window := image.Rect(0, 0, c.size.W, c.size.H)
		got, want := resample(source, c.size, window, "", 3), resample(source, c.size, window, c.want, 3)
		if string(got.Pix) != string(want.Pix) {
			t.Errorf("to %v: not what %s gives", c.size, c.want)
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

func BenchmarkResample(b *testing.B) {
	source := image.NewNRGBA(image.Rect(0, 0, 3024, 4032))
	window := image.Rect(0, 10, 448, 586)
	for _, filter := range []Interpolation{Area, Lanczos} {
		b.Run("filter="+string(filter), func(b *testing.B) {
			for b.Loop() {
				resample(source, Size{448, 597}, window, filter, 3)
			}
		})
	}
}
