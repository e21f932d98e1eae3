// Package drawn finds the people whom the tiny portrait model draws, in its pictures and in the sample photos: no detector of real
// faces knows them. Like the model it is for examples and tests.
package drawn

import (
	"cmp"
	"context"
	"image"
	"math"
	"slices"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/picture"
)

// Detector is a face.Detector of drawn people who look at the viewer, upright. Scores are 0 to 100.
type Detector struct{}

// Find implements face.Detector.
func (Detector) Find(ctx context.Context, img *image.NRGBA) (faces []face.Face, err error) {
	heads, err := Heads(ctx, img)
	for _, h := range heads {
		faces = append(faces, h.face())
	}
	return faces, err
}

// Boxes are the boxes of the faces, as package sd asks for them; see face.Boxes for confidence.
func (d Detector) Boxes(ctx context.Context, img *image.NRGBA, confidence float64) ([]image.Rectangle, error) {
	faces, err := d.Find(ctx, img)
	return face.Boxes(faces, confidence), err
}

// Head is the outline of a head: the ellipse that would be a bald one, with centre and half axes in pixels.
type Head struct {
	X, Y, W, H float64
	Score      float64 // how clear its edge and its eyes are, 0 to 100
}

// Where the pupils are, in half axes from the centre.
const eyeX, eyeY = 0.42, -0.08

func (h Head) face() face.Face {
	eyes := h.Y + eyeY*h.H
	return face.Face{
		Centre: face.Point{X: h.X, Y: eyes + 0.15*h.W}, Size: 2 * h.W, Score: h.Score,
		Eyes: [2]face.Point{{X: h.X - eyeX*h.W, Y: eyes}, {X: h.X + eyeX*h.W, Y: eyes}},
	}
}

// Heads finds the heads in a picture, the clearest first. The error is that of a context that ended.
func Heads(ctx context.Context, img *image.NRGBA) (heads []Head, err error) {
	const longerSide = 128 // of the copy that is searched
	size := img.Rect.Size()
	if size.X < 32 || size.Y < 32 {
		return nil, ctx.Err()
	}
	unit := float64(max(size.X, size.Y)) / longerSide
	small := image.Pt(max(1, int(float64(size.X)/unit)), max(1, int(float64(size.Y)/unit)))
	found, err := newSearch(picture.Resample(img, small, image.Rectangle{Max: small}, picture.Area, 3)).heads(ctx)
	for _, h := range clearest(found) {
		heads = append(heads, Head{h.X * unit, h.Y * unit, h.W * unit, h.H * unit, h.Score})
	}
	return heads, err
}

// clearest sorts heads and keeps the clearest of those that lie over each other.
func clearest(all []Head) (heads []Head) {
	slices.SortStableFunc(all, func(a, b Head) int { return cmp.Compare(b.Score, a.Score) })
	for _, h := range all {
		if !slices.ContainsFunc(heads, func(g Head) bool { return math.Abs(g.X-h.X) < g.W+h.W && math.Abs(g.Y-h.Y) < g.H+h.H }) {
			heads = append(heads, h)
		}
	}
	return heads
}

// search looks for heads in a small picture.
type search struct {
	*image.NRGBA
	lumas []float64 // of its pixels
}

func newSearch(img *image.NRGBA) search {
	s := search{NRGBA: img}
	for i := 0; i < len(img.Pix); i += 4 {
		s.lumas = append(s.lumas, 0.299*float64(img.Pix[i])+0.587*float64(img.Pix[i+1])+0.114*float64(img.Pix[i+2]))
	}
	return s
}

// What eyes, and a head, have at least: less than any of the sample photos.
const (
	leastWhite, leastContrast = 130, 40 // lumas
	mostBlack                 = 45      // of an eye patch
	leastScore                = 60
)

// heads are all ellipses that have eyes and an edge.
func (s search) heads(ctx context.Context) (heads []Head, err error) {
	width, height := float64(s.Rect.Dx()), float64(s.Rect.Dy())
	for w := 10.0; w <= min(36, width/2); w++ {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		for y := w / 2; y < height-w/2; y++ {
			for x := w / 2; x < width-w/2; x++ {
				if eyes := s.eyes(x, y, w); eyes > 0 {
					heads = append(heads, s.around(x, y, w, eyes))
				}
			}
		}
	}
	return slices.DeleteFunc(heads, func(h Head) bool { return h.Score < leastScore || !s.bare(h) }), nil
}

// bare reports whether forehead and cheeks are of one colour, as drawn skin is and what is woven or grown is not. An eye patch or what is
// painted on a cheek may cover one of them.
func (s search) bare(h Head) bool {
	var spots [6][]uint8
	for i, p := range [][2]float64{{-0.2, -0.4}, {0.2, -0.4}, {-0.4, 0.17}, {-0.45, 0.1}, {0.4, 0.17}, {0.45, 0.1}} {
		spots[i] = s.at(h.X+p[0]*h.W, h.Y+p[1]*h.H)
	}
	most := 0
	for _, a := range spots {
		alike := 0
		for _, b := range spots {
			if distance(a, b) <= 45 {
				alike++
			}
		}
		most = max(most, alike)
	}
	return most >= 4
}

// distance is the largest difference of a channel.
func distance(a, b []uint8) (most float64) {
	for c := range 3 {
		most = max(most, math.Abs(float64(a[c])-float64(b[c])))
	}
	return most
}

// around is the clearest ellipse of a width with its eyes on a line.
func (s search) around(x, eyes, w, clear float64) (best Head) {
	for h := w; h <= 1.6*w; h++ {
		head := Head{X: x, Y: eyes - eyeY*h, W: w, H: h}
		if head.Score = 0.42*clear + 0.58*s.edge(head); head.Score > best.Score {
			best = head
		}
	}
	return best
}

// eyes is how clearly there is white on both sides of a pupil where the eyes of a head are, 0 to 100. One of them may be under a black
// patch.
func (s search) eyes(x, y, w float64) (clear float64) {
	left, right := s.eye(x-eyeX*w, y, w), s.eye(x+eyeX*w, y, w)
	switch {
	case left > 0 && right > 0:
		return left + right
	case left > 0 && s.patched(x+eyeX*w, y, w):
		return 1.8 * left
	case right > 0 && s.patched(x-eyeX*w, y, w):
		return 1.8 * right
	}
	return 0
}

// eye is how clear one is, 0 to 50.
func (s search) eye(x, y, w float64) float64 {
	white := min(s.luma(x-0.12*w, y), s.luma(x+0.12*w, y))
	pupil := min(s.luma(x, y), s.luma(x-0.04*w, y), s.luma(x+0.04*w, y))
	if white < leastWhite || white-pupil < leastContrast {
		return 0
	}
	return min(120, white-pupil) / 2.4
}

// patched reports whether there is a black patch in place of an eye, with skin below it.
func (s search) patched(x, y, w float64) bool {
	black := max(s.luma(x-0.12*w, y), s.luma(x, y), s.luma(x+0.12*w, y), s.luma(x, y-0.12*w), s.luma(x, y+0.12*w))
	return black < mostBlack && s.luma(x, y+0.4*w)-black > leastContrast
}

// edge is how much the colours inside the outline differ from those outside, 0 to 100.
func (s search) edge(h Head) (clear float64) {
	for _, p := range outline {
		inside, outside := s.at(h.X+0.93*p[0]*h.W, h.Y+0.93*p[1]*h.H), s.at(h.X+1.07*p[0]*h.W, h.Y+1.07*p[1]*h.H)
		clear += min(30, distance(inside, outside)) / 30
	}
	return 100 * clear / float64(len(outline))
}

// outline is points of the unit circle, above the ears and below them as far as the jaw.
var outline = func() (points [][2]float64) {
	for degree := 200.0; degree <= 340; degree += 5 {
		points = append(points, [2]float64{math.Cos(degree * math.Pi / 180), math.Sin(degree * math.Pi / 180)})
	}
	for degree := 22.0; degree <= 50; degree += 4 {
		x, y := math.Cos(degree*math.Pi/180), math.Sin(degree*math.Pi/180)
		points = append(points, [2]float64{x, y}, [2]float64{-x, y})
	}
	return points
}()

// at is the pixel at a place, or the one nearest to it.
func (s search) at(x, y float64) []uint8 { return s.Pix[4*s.index(x, y):][:3] }

func (s search) luma(x, y float64) float64 { return s.lumas[s.index(x, y)] }

func (s search) index(x, y float64) int {
	return min(max(int(y), 0), s.Rect.Dy()-1)*s.Rect.Dx() + min(max(int(x), 0), s.Rect.Dx()-1)
}
