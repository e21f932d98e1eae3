package picture

import (
	"image"
	"math"
)

// Filter is a way to scale a picture.
type Filter string

// The filters. Lanczos, Keys and Box widen when they shrink, as Pillow's; the others are those of OpenCV.
const (
	Lanczos Filter = "lanczos" // windowed sinc, a = 3
	Keys    Filter = "keys"    // cubic, a = −0.5: what Pillow calls bicubic
	Box     Filter = "box"     // mean of the covered pixels whose centres lie inside
	Nearest Filter = "nearest" // the pixel under the centre, without mixing
	Linear  Filter = "linear"  // two taps a side, also called bilinear
	Cubic   Filter = "cubic"   // four taps a side, a = −0.75, also called bicubic
	Area    Filter = "area"    // mean over the covered area
)

// taps are the weights of source pixels first, first+1, … in one target pixel.
type taps struct {
	first   int
	weights []float64
}

// add gives weight to source pixel at, which is moved onto the border if it lies beyond.
func (t *taps) add(at, source int, weight float64) {
	at = min(max(at, 0), source-1)
	if len(t.weights) == 0 {
		t.first = at
	}
	for at-t.first >= len(t.weights) {
		t.weights = append(t.weights, 0)
	}
	t.weights[at-t.first] += weight
}

// Part is what of a picture lies in a rectangle of it, with the same pixels in memory.
func Part(img *image.NRGBA, part image.Rectangle) *image.NRGBA {
	cut := img.SubImage(part.Add(img.Rect.Min)).(*image.NRGBA)
	cut.Rect = cut.Rect.Sub(cut.Rect.Min)
	return cut
}

// Resample scales src to the size resized and returns the part of it inside window, with the first channels of four bytes
// computed and the rest opaque. Only what the window needs is looked at.
func Resample(src *image.NRGBA, resized image.Point, window image.Rectangle, filter Filter, channels int) *image.NRGBA {
	source := src.Rect.Size()
	dst := image.NewNRGBA(image.Rect(0, 0, window.Dx(), window.Dy()))
	if channels == 3 {
		defer setOpaque(dst)
	}
	if resized == source {
		for y := range window.Dy() {
			copy(dst.Pix[y*dst.Stride:][:dst.Stride], src.Pix[src.PixOffset(window.Min.X, window.Min.Y+y):])
		}
		return dst
	}
	shrinks := resized.X <= source.X && resized.Y <= source.Y
	// Pillow rounds to bytes between its two passes and OpenCV does not.
	between := func(v float64) float64 { return v }
	round := math.RoundToEven
	if filter == Lanczos || filter == Keys || filter == Box {
		round = func(v float64) float64 { return math.Floor(v + 0.5) }
		between = func(v float64) float64 { return clampByte(round(v)) }
	}
	columns := filterTaps(filter, source.X, resized.X, window.Min.X, window.Max.X, shrinks)
	rows := filterTaps(filter, source.Y, resized.Y, window.Min.Y, window.Max.Y, shrinks)
	low, high := source.Y, 0
	for _, t := range rows {
		low, high = min(low, t.first), max(high, t.first+len(t.weights))
	}
	width := len(columns) * channels
	wide := make([]float32, (high-low)*width) // scaled horizontally
	for y := low; y < high; y++ {
		line := src.Pix[y*src.Stride:][:4*source.X]
		for x, t := range columns {
			var sum [4]float64
			for i, weight := range t.weights {
				p := line[4*(t.first+i):][:4]
				for c := range channels {
					sum[c] += weight * float64(p[c])
				}
			}
			for c := range channels {
				wide[(y-low)*width+x*channels+c] = float32(between(sum[c]))
			}
		}
	}
	sum := make([]float64, width)
	for y, t := range rows {
		clear(sum)
		for i, weight := range t.weights {
			for j, v := range wide[(t.first+i-low)*width:][:width] {
				sum[j] += weight * float64(v)
			}
		}
		line := dst.Pix[y*dst.Stride:]
		for x := range columns {
			for c := range channels {
				line[4*x+c] = uint8(clampByte(round(sum[x*channels+c])))
			}
		}
	}
	return dst
}

func clampByte(v float64) float64 { return min(max(v, 0), 255) }

func setOpaque(img *image.NRGBA) {
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
}

// filterTaps are the taps of target pixels from to to−1 when source pixels become target pixels along one axis.
func filterTaps(filter Filter, source, target, from, to int, shrinks bool) []taps {
	scale := float64(source) / float64(target)
	all := make([]taps, to-from)
	for i := range all {
		t, x := &all[i], float64(from+i)
		switch filter {
		case Lanczos:
			*t = antialiased(x, scale, source, 3, lanczos3)
		case Keys:
			*t = antialiased(x, scale, source, 2, func(x float64) float64 { return cubic(x, -0.5) })
		case Box:
			*t = antialiased(x, scale, source, 0.5, box)
		case Nearest:
			t.add(nearest(from+i, source, target), source, 1)
		case Linear:
			at := (x+0.5)*scale - 0.5
			t.linear(math.Floor(at), at-math.Floor(at), source)
		case Cubic:
			at := (x+0.5)*scale - 0.5
			for tap := -1; tap <= 2; tap++ {
				p := math.Floor(at) + float64(tap)
				t.add(int(p), source, cubic(at-p, -0.75))
			}
		case Area:
			if shrinks {
				t.cover(x*scale, min((x+1)*scale, float64(source)), source)
				continue
			}
			// Where a side grows, OpenCV's area filter mixes two pixels only where their border is crossed.
			at := math.Floor(x * scale)
			t.linear(at, max(0, (x+1)-(at+1)/scale), source)
		}
	}
	return all
}

// nearest is the pixel under the centre of x, in OpenCV's fixed point of 16 bits, which decides where that is a border.
func nearest(x, source, target int) int {
	step := (source<<16 + target/2) / target
	return (step*x + step/2 - source%2) >> 16
}

func (t *taps) linear(at, fraction float64, source int) {
	_, fraction = math.Modf(fraction)
	t.add(int(at), source, 1-fraction)
	t.add(int(at)+1, source, fraction)
}

// cover weighs the pixels by how much of them lies between from and to.
func (t *taps) cover(from, to float64, source int) {
	for p := int(from); p < source && float64(p) < to; p++ {
		t.add(p, source, (min(to, float64(p+1))-max(from, float64(p)))/(to-from))
	}
}

// antialiased are Pillow's taps: the filter widened by the scale where it shrinks, cut off at the picture's borders,
// normalised, in fixed point with 22 fractional bits.
func antialiased(x, scale float64, source int, support float64, filter func(float64) float64) taps {
	wide := max(1, scale)
	centre := (x + 0.5) * scale
	first := max(0, int(centre-support*wide+0.5))
	last := min(source, int(centre+support*wide+0.5))
	t := taps{first, make([]float64, max(0, last-first))}
	sum := 0.0
	for i := range t.weights {
		t.weights[i] = filter((float64(first+i) - centre + 0.5) / wide)
		sum += t.weights[i]
	}
	const one = 1 << 22
	for i, w := range t.weights {
		t.weights[i] = math.Trunc(w/sum*one+math.Copysign(0.5, w)) / one
	}
	return t
}

func lanczos3(x float64) float64 {
	if x < -3 || x >= 3 {
		return 0
	}
	return sinc(x) * sinc(x/3)
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

func box(x float64) float64 {
	if x > -0.5 && x <= 0.5 {
		return 1
	}
	return 0
}

// cubic is Keys' kernel with the slope a at 1.
func cubic(x, a float64) float64 {
	switch x = math.Abs(x); {
	case x <= 1:
		return (a+2)*x*x*x - (a+3)*x*x + 1
	case x < 2:
		return a*x*x*x - 5*a*x*x + 8*a*x - 4*a
	}
	return 0
}

// Within is a picture with a longer side of so many pixels at most, made smaller by Resample if need be.
func Within(img *image.NRGBA, side int, filter Filter, channels int) *image.NRGBA {
	size := img.Rect.Size()
	longer := max(size.X, size.Y)
	if longer <= side {
		return img
	}
	size = image.Pt(max(1, size.X*side/longer), max(1, size.Y*side/longer))
	return Resample(img, size, image.Rectangle{Max: size}, filter, channels)
}
