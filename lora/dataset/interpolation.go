package dataset

import (
	"fmt"
	"image"
	"slices"

	"github.com/atelier-go/atelier/internal/picture"
)

// Interpolation names the filter that pictures are scaled with, "resize_interpolation". The zero value chooses as sd-scripts
// does: Area where neither side grows, else Lanczos.
type Interpolation string

// The filters. Lanczos and Box widen when they shrink, as Pillow's; the others are those of OpenCV.
const (
	Lanczos Interpolation = "lanczos" // windowed sinc, a = 3
	Box     Interpolation = "box"     // mean of the covered pixels whose centres lie inside
	Nearest Interpolation = "nearest" // the pixel under the centre, without mixing
	Linear  Interpolation = "linear"  // two taps a side, also called bilinear
	Cubic   Interpolation = "cubic"   // four taps a side, a = −0.75, also called bicubic
	Area    Interpolation = "area"    // mean over the covered area
)

// interpolations is fixed in its order: cached latents record places in it.
var interpolations = []Interpolation{"", Lanczos, Box, Nearest, Linear, Cubic, Area}

func (i Interpolation) canonical() (Interpolation, error) {
	switch {
	case slices.Contains(interpolations, i):
		return i, nil
	case i == "bilinear":
		return Linear, nil
	case i == "bicubic":
		return Cubic, nil
	}
	return "", fmt.Errorf("resize_interpolation is %.40q, want lanczos, box, nearest, bilinear, bicubic or area", string(i))
}

// filter is the filter for scaling a picture from one size to another.
func (i Interpolation) filter(from, to image.Point) picture.Filter {
	i, _ = i.canonical() // validated by Open
	switch {
	case i != "":
		return picture.Filter(i)
	case to.X <= from.X && to.Y <= from.Y:
		return picture.Area
	}
	return picture.Lanczos
}
