package canvas

import "image"

// Bounds is the smallest rectangle with everything of a mask that is not black, empty if there is nothing.
func Bounds(mask *image.Gray) image.Rectangle {
	var box image.Rectangle
	for y := mask.Rect.Min.Y; y < mask.Rect.Max.Y; y++ {
		for x := mask.Rect.Min.X; x < mask.Rect.Max.X; x++ {
			if mask.GrayAt(x, y).Y > 0 {
				box = box.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return box
}

// Pad grows what is not empty by pad pixels on every side, as far as the picture reaches.
func Pad(box image.Rectangle, pad int, size image.Point) image.Rectangle {
	if box.Empty() {
		return image.Rectangle{}
	}
	return box.Inset(-pad).Intersect(image.Rectangle{Max: size})
}

// Expand grows a rectangle to the shape of target, so that nothing is distorted: the shorter side to both ends, shifted where the
// picture ends, and clamped where it is too small.
func Expand(box image.Rectangle, target, size image.Point) image.Rectangle {
	if box.Empty() || target.X < 1 || target.Y < 1 {
		return box
	}
	ratio := float64(target.X) / float64(target.Y)
	if float64(box.Dx())/float64(box.Dy()) > ratio {
		box.Min.Y, box.Max.Y = expand(box.Min.Y, box.Max.Y, float64(box.Dx())/ratio, size.Y)
	} else {
		box.Min.X, box.Max.X = expand(box.Min.X, box.Max.X, float64(box.Dy())*ratio, size.X)
	}
	return box
}

func expand(low, high int, length float64, size int) (int, int) {
	more := int(length - float64(high-low))
	low, high = low-more/2, high+more-more/2
	if high >= size {
		low, high = low-(high-size), size
	}
	if low < 0 {
		low, high = 0, high-low
	}
	return low, min(high, size)
}
