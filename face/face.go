// Package face finds faces in photos: where they are, how large, how they are turned in the picture's plane, and where
// their eyes look from.
//
// Cascades searches with pigo's cascades, which are embedded: no model is needed. What finds other faces, such as drawn
// ones, is another Detector.
//
//	faces, err := face.Cascades{}.Find(ctx, img)
//	…
//	largest := faces[0].Box()
package face

import (
	"context"
	"image"
	"math"
)

// Detector finds faces.
type Detector interface {
	// Find returns the faces in a picture, the surest first, none if there are none. The picture is searched as it lies in
	// memory: one with an EXIF orientation is turned upright before. The error is that of a context that ended.
	Find(ctx context.Context, img *image.NRGBA) ([]Face, error)
}

// Point is a place in a picture, in pixels, right and down from its upper left corner.
type Point struct{ X, Y float64 }

// Face is a face that was found.
type Face struct {
	Centre Point   // between the eyes and the mouth
	Size   float64 // side of the square from the brows to the chin and from ear to ear, in pixels
	Roll   float64 // how far it is turned clockwise, in degrees from −180 to 180: 0 is upright
	// Eyes are the pupils: first the one on the left of a face that is upright, the person's right.
	Eyes [2]Point
	// Score says how sure it is: with Cascades, 100 and more are hardly ever no face. Scores of different detectors do not
	// compare.
	Score float64
}

// Box is the square of the face, without its roll. It can reach beyond a picture that cuts the face.
func (f Face) Box() image.Rectangle {
	half := f.Size / 2
	return image.Rect(int(math.Round(f.Centre.X-half)), int(math.Round(f.Centre.Y-half)),
		int(math.Round(f.Centre.X+half)), int(math.Round(f.Centre.Y+half)))
}

// Boxes are the boxes of the faces of which a detector is as sure as confidence, 0 to 1: 0.3 stands for a Score of 60, 0.5 for 100.
func Boxes(faces []Face, confidence float64) (boxes []image.Rectangle) {
	for _, f := range faces {
		if f.Score >= scoreOf(confidence) {
			boxes = append(boxes, f.Box())
		}
	}
	return boxes
}

func scoreOf(confidence float64) float64 { return 200 * confidence }

// overlap is the share of the smaller of two faces' squares that lies in the other.
func (f Face) overlap(g Face) float64 {
	reach := (f.Size + g.Size) / 2
	smaller := min(f.Size, g.Size)
	side := func(a, b float64) float64 { return min(smaller, max(0, reach-math.Abs(a-b))) }
	return side(f.Centre.X, g.Centre.X) * side(f.Centre.Y, g.Centre.Y) / (smaller * smaller)
}
