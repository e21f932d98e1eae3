package vae_test

import (
	"image"
	"image/color"
	"math"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/vae"
)

func TestToImageRounds(t *testing.T) {
	for _, c := range []struct {
		name string
		v    float32
		want uint8
	}{
		{"black", -1, 0},
		{"white", 1, 255},
		{"half to even, down", 0.572549, 200}, // 200.5 in float32
		{"half to even, up", 0.5803921, 202},  // 201.5 in float32
		{"half to even, the middle", 0, 128},  // 127.5
		{"just below the middle", -1e-6, 127},
		{"overshoot", 1.7, 255},
		{"undershoot", -3, 0},
		{"infinity", float32(math.Inf(1)), 255},
		{"minus infinity", float32(math.Inf(-1)), 0},
		{"not a number", float32(math.NaN()), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := vae.ToImage([]float32{c.v, 1, -1}, 1, 1).NRGBAAt(0, 0)
			if want := (color.NRGBA{c.want, 255, 0, 255}); got != want {
				t.Errorf("%v becomes %v, want %v", c.v, got, want)
			}
		})
	}
}

// TestImageRoundTrip converts every 8-bit value to a tensor and back.
func TestImageRoundTrip(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	for i := range 256 {
		img.SetNRGBA(i%16, i/16, color.NRGBA{uint8(i), uint8(255 - i), uint8(i * 7), 255})
	}
	x := vae.FromImage(img)
	if lo, hi := slices.Min(x), slices.Max(x); lo != -1 || hi != 1 {
		t.Errorf("values from %v to %v, want -1 to 1", lo, hi)
	}
	if got := vae.ToImage(x, 16, 16); !slices.Equal(got.Pix, img.Pix) {
		t.Error("the picture changes on the way to a tensor and back")
	}
}

// TestFromSubImage converts a picture whose pixels lie inside a larger one.
func TestFromSubImage(t *testing.T) {
	whole := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	whole.SetNRGBA(3, 2, color.NRGBA{255, 0, 255, 0})
	whole.SetNRGBA(4, 3, color.NRGBA{0, 255, 0, 9})
	got := vae.FromImage(whole.SubImage(image.Rect(3, 2, 5, 4)).(*image.NRGBA))
	want := []float32{1, -1, 1, -1, -1, -1, -1, -1, -1, -1, 1, -1}
	if !slices.Equal(got, want) {
		t.Errorf("have %v\nwant %v", got, want)
	}
}

func TestMoments(t *testing.T) {
	mean, std := vae.Moments([]float32{1, 2, 0, float32(2 * math.Ln2), 3, 4, -1000, 1000, 5}, 2)
	if want := []float32{1, 2, 3, 4}; !slices.Equal(mean, want) {
		t.Errorf("mean is %v, want %v", mean, want)
	}
	if want := []float32{1, 2, float32(math.Exp(-15)), float32(math.Exp(10))}; !slices.Equal(std, want) {
		t.Errorf("standard deviation is %v, want %v", std, want)
	}
	if mean, std := vae.Moments([]float32{1}, 0); mean != nil || std != nil {
		t.Errorf("no channels have moments %v and %v", mean, std)
	}
}
