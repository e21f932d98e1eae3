package vae

import (
	"image"
	"math"
)

// FromImage converts a picture to [H,W,3] in [-1,1]: 8-bit red, green and blue, v/255·2-1. Transparency is ignored.
func FromImage(img *image.NRGBA) []float32 {
	size := img.Bounds().Size()
	out := make([]float32, 0, size.X*size.Y*3)
	for y := range size.Y {
		row := img.Pix[y*img.Stride:][:4*size.X]
		for i := 0; i < len(row); i += 4 {
			for _, v := range row[i : i+3] {
				out = append(out, float32(v)/255*2-1)
			}
		}
	}
	return out
}

// ToImage converts [height,width,3] in [-1,1] to an opaque picture: v/2+1/2, clamped, times 255, rounded half to even.
// What is not a number becomes black.
func ToImage(data []float32, height, width int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range height * width {
		pixel := img.Pix[4*i:][:4]
		for c, v := range data[3*i:][:3] {
			pixel[c] = quantize(v)
		}
		pixel[3] = 255
	}
	return img
}

func quantize(v float32) uint8 {
	x := math.RoundToEven(float64(v/2+0.5) * 255)
	if !(x > 0) {
		return 0
	}
	return uint8(min(x, 255))
}

// Moments splits the encoder's output, [...,2·channels], into the mean and the standard deviation of the latents,
// [...,channels] each. The logarithm of the variance is clamped to [-30,20], as in the reference.
func Moments(moments []float32, channels int) (mean, std []float32) {
	for i := 0; i < len(moments); i += 2 * channels {
		mean = append(mean, moments[i:][:channels]...)
		for _, logvar := range moments[i+channels:][:channels] {
			std = append(std, float32(math.Exp(0.5*min(max(float64(logvar), -30), 20))))
		}
	}
	return mean, std
}
