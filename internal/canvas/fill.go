package canvas

import (
	"image"
	"math"
)

// Fill replaces what a mask of the same size covers by the colours around it: blurred copies of the rest, from very soft to
// sharp, are laid over each other.
func Fill(img *image.NRGBA, mask *image.Gray) *image.NRGBA {
	out, rest := image.NewNRGBA(img.Rect), image.NewRGBA(img.Rect)
	for i := 0; i < len(img.Pix); i += 4 {
		keep := 255 - mask.Pix[i/4]
		for c := range 3 {
			rest.Pix[i+c] = mix(0, img.Pix[i+c], keep)
		}
		rest.Pix[i+3] = mix(0, 255, keep)
	}
	for _, layer := range []struct{ radius, repeats int }{{256, 1}, {64, 1}, {16, 2}, {4, 4}, {2, 2}, {0, 1}} {
		blurred := unmultiply(softened(rest, float32(layer.radius)))
		for range layer.repeats {
			for i := 0; i < len(out.Pix); i += 4 {
				composite(out.Pix[i:][:4], out.Pix[i:][:4], blurred.Pix[i:][:4])
			}
		}
	}
	for i := 3; i < len(out.Pix); i += 4 {
		out.Pix[i] = 255
	}
	return out
}

// unmultiply divides colours by their alpha, as Pillow does.
func unmultiply(img *image.RGBA) *image.NRGBA {
	out := image.NewNRGBA(img.Rect)
	copy(out.Pix, img.Pix)
	for i := 0; i < len(out.Pix); i += 4 {
		if a := int(out.Pix[i+3]); a != 0 && a != 255 {
			for c := range 3 {
				out.Pix[i+c] = uint8(min(255*int(out.Pix[i+c])/a, 255))
			}
		}
	}
	return out
}

// softened is Pillow's Gaussian blur: three box blurs along rows, then three along columns, of bytes.
func softened(img *image.RGBA, radius float32) *image.RGBA {
	const passes = 3
	out, size := image.NewRGBA(img.Rect), img.Rect.Size()
	copy(out.Pix, img.Pix)
	box := boxRadius(radius, passes)
	line := make([]uint8, max(size.X, size.Y))
	for c := range 4 {
		for y := range size.Y {
			for range passes {
				boxBlur(out.Pix[y*out.Stride+c:], 4, line[:size.X], box)
			}
		}
		for x := range size.X {
			for range passes {
				boxBlur(out.Pix[4*x+c:], out.Stride, line[:size.Y], box)
			}
		}
	}
	return out
}

// boxRadius is the radius of boxes that, applied so many times, come near a Gaussian kernel of a radius. See Gwosdek et al., "Theoretical
// foundations of Gaussian convolution by extended box filtering" (2011).
func boxRadius(radius, passes float32) float32 {
	variance := radius * radius / passes
	length := float32(math.Sqrt(12*float64(variance) + 1))
	l := float32(math.Floor((float64(length) - 1) / 2))
	return l + (2*l+1)*(l*(l+1)-variance*3)/(6*(variance-(l+1)*(l+1)))
}

// boxBlur takes the mean of the places within a radius, of which a fraction counts at both ends, for the bytes of a line that are step
// apart. line is memory for it, as long as the line; places beyond the ends are those of the ends.
func boxBlur(pix []uint8, step int, line []uint8, radius float32) {
	const one = 1 << 24
	whole, last := int(radius), len(line)-1
	inner := uint32(float32(one) / (radius*2 + 1))
	outer := (one - uint32(whole*2+1)*inner) / 2
	for i := range line {
		line[i] = pix[i*step]
	}
	at := func(i int) uint32 { return uint32(line[min(max(i, 0), last)]) }
	sum := uint32(0)
	for i := -whole - 1; i < whole; i++ {
		sum += at(i)
	}
	for i := range line {
		sum += at(i+whole) - at(i-whole-1)
		v := sum*inner + (at(i-whole-1)+at(i+whole+1))*outer
		pix[i*step] = uint8((v + one/2) >> 24)
	}
}
