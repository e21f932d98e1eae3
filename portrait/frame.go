package portrait

import (
	"image"
	"math"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/picture"
)

// Frame is how a portrait is cropped: by the head, from the hair to the chin, and the line of the eyes.
type Frame struct {
	Size image.Point // in pixels
	Head float64     // the head's share of the height
	Eyes float64     // where the eyes are, as a share of the height from the top
}

// Frames that people look for a job with. LinkedIn shows a circle, in which the whole head fits.
var (
	LinkedIn = Frame{Size: image.Pt(1024, 1024), Head: 0.55, Eyes: 0.42}
	CV       = Frame{Size: image.Pt(1024, 1280), Head: 0.45, Eyes: 0.40}
)

// headHeights is how high a head is, with its hair, in sizes of a face.
const headHeights = 1.6

// Place is the part of an upright picture that the frame shows: with the eyes' middle in the frame's and on their line, moved into
// the picture where it would reach beyond, and made smaller where it would still do so.
func (f Frame) Place(picture image.Point, person face.Face) image.Rectangle {
	ratio := float64(f.Size.X) / float64(f.Size.Y)
	height := min(headHeights*person.Size/f.Head, float64(picture.Y), float64(picture.X)/ratio)
	width := height * ratio
	x := (person.Eyes[0].X+person.Eyes[1].X)/2 - width/2
	y := (person.Eyes[0].Y+person.Eyes[1].Y)/2 - f.Eyes*height
	x = max(0, min(x, float64(picture.X)-width))
	y = max(0, min(y, float64(picture.Y)-height))
	at := image.Pt(int(x), int(y))
	return image.Rectangle{at, at.Add(image.Pt(max(1, int(width)), max(1, int(height))))}
}

// Crop is the part of an upright picture that the frame shows, at the frame's size.
func (f Frame) Crop(img *image.NRGBA, person face.Face) *image.NRGBA {
	part := f.Place(img.Rect.Size(), person)
	return picture.Resample(picture.Part(img, part), f.Size, image.Rectangle{Max: f.Size}, picture.Lanczos, 4)
}

// Enlarges is how much Crop enlarges: above 1.5 or so it shows, and the picture wants to be drawn larger.
func (f Frame) Enlarges(picture image.Point, person face.Face) float64 {
	return float64(f.Size.Y) / float64(f.Place(picture, person).Dy())
}

// TrainingBox is the part of a photo to train on: a square around head and shoulders, three and a half times the face, as far as
// the photo reaches, with the face above its middle.
func TrainingBox(photo image.Point, person face.Face) image.Rectangle {
	side := int(math.Round(3.5 * person.Size))
	f := Frame{Size: image.Pt(side, side), Head: headHeights / 3.5, Eyes: 0.40}
	return f.Place(photo, person)
}
