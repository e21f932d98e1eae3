package portrait

import (
	"image"
	"math"
	"slices"

	"github.com/atelier-go/atelier/internal/picture"
)

// crop is a part of a picture, scaled to a square. What lies beyond the edge repeats the pixels at it.
func crop(img *image.NRGBA, part image.Rectangle, side int) *image.NRGBA {
	square := image.Rect(0, 0, side, side)
	if part.In(img.Rect) && !part.Empty() {
		return picture.Resample(picture.Part(img, part), square.Max, square, picture.Area, 3)
	}
	size := part.Size()
	whole := image.NewNRGBA(image.Rectangle{Max: image.Pt(max(1, size.X), max(1, size.Y))})
	for y := range whole.Rect.Dy() {
		row := img.Pix[min(max(part.Min.Y+y, 0), img.Rect.Dy()-1)*img.Stride:]
		for x := range whole.Rect.Dx() {
			copy(whole.Pix[y*whole.Stride+4*x:][:4], row[4*min(max(part.Min.X+x, 0), img.Rect.Dx()-1):])
		}
	}
	return picture.Resample(whole, square.Max, square, picture.Area, 3)
}

// numbers are lumas from 0 to 255.
type numbers []float64

// lumas are those of a picture, row by row.
func lumas(img *image.NRGBA) (n numbers) {
	for i := 0; i < len(img.Pix); i += 4 {
		n = append(n, 0.299*float64(img.Pix[i])+0.587*float64(img.Pix[i+1])+0.114*float64(img.Pix[i+2]))
	}
	return n
}

func (n numbers) mean() (sum float64) {
	for _, v := range n {
		sum += v
	}
	return sum / float64(len(n))
}

func (n numbers) variance() (sum float64) {
	mean := n.mean()
	for _, v := range n {
		sum += (v - mean) * (v - mean)
	}
	return sum / float64(len(n))
}

// quantile is the value below which a share of them lies.
func (n numbers) quantile(share float64) float64 {
	sorted := slices.Sorted(slices.Values(n))
	return sorted[int(share*float64(len(n)-1))]
}

// above is the share of them from a value.
func (n numbers) above(value float64) float64 {
	count := 0
	for _, v := range n {
		if v >= value {
			count++
		}
	}
	return float64(count) / float64(len(n))
}

// faceSide is the size at which faces are compared: about that of a face in a picture of 512 pixels that shows head and shoulders.
const faceSide = 96

// sharpness is the fine detail of a face's lumas at the size at which it is trained: the variance of its Laplacian in percent of the
// variance of its lumas, so that contrast does not count.
func sharpness(n numbers) float64 {
	var detail numbers
	for y := 1; y < faceSide-1; y++ {
		for x := 1; x < faceSide-1; x++ {
			i := y*faceSide + x
			detail = append(detail, 4*n[i]-n[i-1]-n[i+1]-n[i-faceSide]-n[i+faceSide])
		}
	}
	return 100 * detail.variance() / max(1, n.variance())
}

// colour is the mean of a picture's red, green and blue.
func colour(img *image.NRGBA) (mean [3]float64) {
	for i := 0; i < len(img.Pix); i += 4 {
		for c := range 3 {
			mean[c] += float64(img.Pix[i+c]) / float64(len(img.Pix)/4)
		}
	}
	return mean
}

// colourfulness is how far pixels are from grey, or from the one tone of a sepia picture, on average, as at a mean luma of 128.
func colourfulness(img *image.NRGBA) (sum float64) {
	small := crop(img, img.Rect, 64)
	mean := colour(small)
	grey := (mean[0] + mean[1] + mean[2]) / 3
	for i := 0; i < len(small.Pix); i += 4 {
		p := small.Pix[i:]
		luma := (float64(p[0]) + float64(p[1]) + float64(p[2])) / 3
		for c := range 3 {
			sum += math.Abs(float64(p[c]) - luma - (mean[c] - grey))
		}
	}
	return sum / float64(3*len(small.Pix)/4) * 128 / max(1, grey)
}

// thumbSide is the size of the copies by which duplicates are found.
const thumbSide = 24

// normalised is a picture's channels without their means, of length 1.
func normalised(img *image.NRGBA) []float64 {
	mean, square := colour(img), 0.0
	var v []float64
	for i := 0; i < len(img.Pix); i += 4 {
		for c := range 3 {
			d := float64(img.Pix[i+c]) - mean[c]
			v = append(v, d)
			square += d * d
		}
	}
	for i := range v {
		v[i] /= math.Sqrt(max(1, square))
	}
	return v
}

// correlation is how alike two normalised pictures are: 1 for the same.
func correlation(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// mirrored is a normalised thumb with left and right swapped.
func mirrored(thumb []float64) []float64 {
	m := make([]float64, len(thumb))
	for i := 0; i < len(thumb); i += 3 {
		row, column := i/3/thumbSide, i/3%thumbSide
		copy(m[3*(row*thumbSide+thumbSide-1-column):][:3], thumb[i:])
	}
	return m
}

// distance is how far two colours are apart.
func distance(a, b [3]float64) float64 {
	return math.Hypot(math.Hypot(a[0]-b[0], a[1]-b[1]), a[2]-b[2])
}
