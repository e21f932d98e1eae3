package picture_test

import (
	"fmt"
	"image"
	"testing"

	"github.com/atelier-go/atelier/internal/picture"
)

// TestResample compares with Pillow (lanczos and box, exact) and OpenCV (the rest, which rounds its weights to 11 bits, so that
// one step of 255 is allowed, two for the negative lobes of cubic).
func TestResample(t *testing.T) {
	source, _ := decode(t, "testdata/resample/source.png")
	for filter, tolerance := range map[picture.Filter]int{picture.Lanczos: 0, picture.Box: 0, picture.Nearest: 0, picture.Linear: 1, picture.Cubic: 1, picture.Area: 1} {
		for _, size := range []image.Point{{48, 30}, {37, 41}, {131, 77}, {150, 20}} {
			t.Run(fmt.Sprintf("%s/%v", filter, size), func(t *testing.T) {
				want, _ := decode(t, fmt.Sprintf("testdata/resample/%s_%dx%d.png", filter, size.X, size.Y))
				got := picture.Resample(source, size, want.Rect, filter, 3)
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
						worst, at/4%size.X, at/4/size.X, at%4, got.Pix[at], want.Pix[at], tolerance, differ, len(want.Pix))
				}
			})
		}
	}
}

// TestResampleWindow: a window is the same as cutting it out of the whole.
func TestResampleWindow(t *testing.T) {
	source, _ := decode(t, "testdata/resample/source.png")
	for _, filter := range []picture.Filter{picture.Lanczos, picture.Box, picture.Nearest, picture.Linear, picture.Cubic, picture.Area} {
		for _, size := range []image.Point{{48, 30}, {131, 77}, {96, 60}} {
			whole := picture.Resample(source, size, image.Rect(0, 0, size.X, size.Y), filter, 4)
			window := image.Rect(7, 5, 40, 29)
			part := picture.Resample(source, size, window, filter, 4)
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

func BenchmarkResample(b *testing.B) {
	source := image.NewNRGBA(image.Rect(0, 0, 3024, 4032))
	window := image.Rect(0, 10, 448, 586)
	for _, filter := range []picture.Filter{picture.Area, picture.Lanczos} {
		b.Run("filter="+string(filter), func(b *testing.B) {
			for b.Loop() {
				picture.Resample(source, image.Point{448, 597}, window, filter, 3)
			}
		})
	}
}
