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

// ToImage converts [height,width,3] in [-1,1] to an opaque picture: v/2+1/2, clamped, times 255, rounded half to even,
// as diffusers does: the nearest value. The web UI takes the next lower one instead, so that half of the bytes of its pictures are
// one less. What is not a number becomes black.
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

// quantize rounds in float32 throughout, as the reference does.
func quantize(v float32) uint8 {
	x := v/2 + 0.5
	if !(x > 0) {
		return 0
	}
	return uint8(math.RoundToEven(float64(min(x, 1) * 255)))
}

// Moments splits the encoder's output, [...,2·channels], into the mean and the standard deviation of the latents,
// [...,channels] each: a sample of the latents is mean + std·ε with ε from the unit normal distribution. The logarithm
// of the variance is clamped to [-30,20], as in the reference. Values beyond a whole number of rows are left out.
func Moments(moments []float32, channels int) (mean, std []float32) {
	if channels < 1 {
		return nil, nil
	}
	for ; len(moments) >= 2*channels; moments = moments[2*channels:] {
		mean = append(mean, moments[:channels]...)
		for _, logvar := range moments[channels : 2*channels] {
			std = append(std, float32(math.Exp(0.5*min(max(float64(logvar), -30), 20))))
		}
	}
	return mean, std
}
