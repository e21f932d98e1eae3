package canvas

import (
	"image"
	"image/color"
	"math"
)

// Mask is the mask that a picture says: its alpha where that is not opaque everywhere, cut at the middle if round is set, else
// its brightness.
func Mask(img *image.NRGBA, round bool) *image.Gray {
	out, opaque := image.NewGray(image.Rectangle{Max: img.Rect.Size()}), img.Opaque()
	for i := range out.Pix {
		p := img.Pix[img.PixOffset(img.Rect.Min.X+i%out.Stride, img.Rect.Min.Y+i/out.Stride):][:4]
		switch {
		case opaque:
			out.Pix[i] = luma(p)
		case !round:
			out.Pix[i] = p[3]
		case p[3] > 128:
			out.Pix[i] = 255
		}
	}
	return out
}

// luma is Pillow's brightness, that of ITU-R 601.
func luma(p []uint8) uint8 {
	return uint8((19595*uint32(p[0]) + 38470*uint32(p[1]) + 7471*uint32(p[2]) + 1<<15) >> 16)
}

// Flatten lays a picture over a colour, in its own memory: a large one would take as much again otherwise.
func Flatten(img *image.NRGBA, background color.NRGBA) *image.NRGBA {
	below := []uint8{background.R, background.G, background.B}
	for y := range img.Rect.Dy() {
		line := img.Pix[y*img.Stride:][:4*img.Rect.Dx()]
		for i := 0; i < len(line); i += 4 {
			p := line[i:][:4]
			for c := range below {
				p[c] = mix(below[c], p[c], p[3])
			}
			p[3] = 255
		}
	}
	return img
}

// mix is below where share is 0 and above where it is 255, rounded as Pillow does.
func mix(below, above, share uint8) uint8 {
	v := uint32(below)*(255-uint32(share)) + uint32(above)*uint32(share) + 128
	return uint8((v + v>>8) >> 8)
}

// Overlay composites a picture with an overlay of the same size, by Pillow's integers: where the overlay is transparent the
// picture's bytes stay, where it is opaque they are the overlay's.
func Overlay(img, overlay *image.NRGBA) *image.NRGBA {
	out := image.NewNRGBA(img.Rect)
	for i := 0; i < len(out.Pix); i += 4 {
		composite(out.Pix[i:][:4], img.Pix[i:][:4], overlay.Pix[i:][:4])
		out.Pix[i+3] = 255
	}
	return out
}

// composite lays above over below, neither premultiplied.
func composite(to, below, above []uint8) {
	const bits = 7
	if above[3] == 0 {
		copy(to, below)
		return
	}
	a := uint32(above[3])
	sum := a*255 + uint32(below[3])*(255-a)
	first := a * 255 * 255 * (1 << bits) / sum
	second := 255*(1<<bits) - first
	for c := range 3 {
		v := uint32(above[c])*first + uint32(below[c])*second + 0x80<<bits
		to[c] = uint8((v + v>>8) >> 8 >> bits)
	}
	sum += 0x80
	to[3] = uint8((sum + sum>>8) >> 8)
}

// Uncrop lays a picture, brought to a rectangle by covering it, on a transparent canvas.
func Uncrop(img *image.NRGBA, to image.Rectangle, size image.Point) *image.NRGBA {
	out, part := image.NewNRGBA(image.Rectangle{Max: size}), Resize(img, to.Size(), Cover, Lanczos)
	for y := range to.Dy() {
		for x := range to.Dx() {
			if p := to.Min.Add(image.Pt(x, y)); p.In(out.Rect) {
				copy(out.Pix[out.PixOffset(p.X, p.Y):][:4], part.Pix[part.PixOffset(x, y):])
			}
		}
	}
	return out
}

// Blur blurs a mask by Gaussian kernels of sigma x and y pixels, first along rows, as OpenCV does it for bytes: in fixed point, with
// mirrored borders.
func Blur(mask *image.Gray, x, y float64) *image.Gray {
	out, size := image.NewGray(image.Rectangle{Max: mask.Rect.Size()}), mask.Rect.Size()
	for row := range size.Y {
		copy(out.Pix[row*out.Stride:][:size.X], mask.Pix[row*mask.Stride:])
	}
	for row := range size.Y {
		blurLine(out.Pix[row*out.Stride:], 1, size.X, x)
	}
	for column := range size.X {
		blurLine(out.Pix[column:], out.Stride, size.Y, y)
	}
	return out
}

// blurLine blurs n bytes that are step apart.
func blurLine(pix []uint8, step, n int, sigma float64) {
	if !(sigma > 0) {
		return
	}
	kernel, line := gaussian(sigma), make([]uint32, n)
	for i := range line {
		sum := uint32(0)
		for k, weight := range kernel {
			sum += weight * uint32(pix[reflect(i+k-len(kernel)/2, n)*step])
		}
		line[i] = (sum + 128) >> 8
	}
	for i, v := range line {
		pix[i*step] = uint8(min(v, 255))
	}
}

// gaussian is OpenCV's kernel of 2⌊2.5σ+½⌋+1 weights in 256ths: the rounding error of each weight is given to the next, and the
// middle one gets what is left.
func gaussian(sigma float64) []uint32 {
	n := 2*int(2.5*sigma+0.5) + 1
	exact, sum := make([]float64, n), 0.0
	for i := range exact {
		d := float64(i - n/2)
		exact[i] = math.Exp(-d * d / (2 * sigma * sigma))
		sum += exact[i]
	}
	kernel, left, carry := make([]uint32, n), uint32(256), 0.0
	for i := range n / 2 {
		v := exact[i]/sum*256 + carry
		rounded := math.RoundToEven(v)
		carry = v - rounded
		kernel[i], kernel[n-1-i] = uint32(rounded), uint32(rounded)
		left -= 2 * uint32(rounded)
	}
	kernel[n/2] = left
	return kernel
}

// reflect is the place that i stands for in a line of n whose end is its mirror, not repeated itself.
func reflect(i, n int) int {
	if n == 1 {
		return 0
	}
	for i < 0 || i >= n {
		if i < 0 {
			i = -i
		} else {
			i = 2*(n-1) - i
		}
	}
	return i
}
