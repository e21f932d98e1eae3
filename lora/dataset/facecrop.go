package dataset

import (
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
)

// face is the centre and the size of a face in a picture, in pixels.
type face struct{ x, y, w, h int }

// maxCoordinate bounds places in pictures, far beyond any.
const maxCoordinate = 1 << 28

// parseFace reads a face from a file name that ends in "_cx_cy_w_h", as face-cropping scripts write it.
func parseFace(path string) (f face, ok bool) {
	base := filepath.Base(path)
	pieces := strings.Split(strings.TrimSuffix(base, filepath.Ext(base)), "_")
	if len(pieces) < 5 {
		return face{}, false
	}
	for i, n := range []*int{&f.x, &f.y, &f.w, &f.h} {
		var err error
		if *n, err = strconv.Atoi(pieces[len(pieces)-4+i]); err != nil || *n < 0 || *n > maxCoordinate {
			return face{}, false
		}
	}
	return f, f.x > 0 && f.y > 0 && f.w > 0 && f.h > 0
}

// place draws a placement of a picture in the bucket target around the face: the target's shorter side is zoom[0] to zoom[1]
// times the face, as far as the picture allows without being enlarged. With random crops the face wanders, mostly near the
// middle; else it is moved a little. ok is false for a picture that would have to be enlarged.
func (f face) place(picture, target Size, zoom [2]float64, randomCrop bool, r *rand.Rand) (p Placement, ok bool) {
	cover := max(float64(target.W)/float64(picture.W), float64(target.H)/float64(picture.H))
	if cover > 1 {
		return Placement{}, false
	}
	side, shorter := max(f.w, f.h), min(target.W, target.H)
	least := min(1, max(cover, float64(shorter)/(float64(side)*zoom[1])))
	most := min(1, max(least, float64(shorter)/(float64(side)*zoom[0])))
	scale := least + r.Float64()*(most-least)
	scaled := func(n int) int { return roundHalfUp(float64(n) * scale) }
	p = Placement{Bucket: target, Resized: Size{max(target.W, scaled(picture.W)), max(target.H, scaled(picture.H))}}
	jitter := 0
	if side = scaled(side); zoom[0] != zoom[1] && side >= 40 && side > shorter/10 {
		jitter = side / 20
	}
	offset := func(centre, length, window int) int {
		at := centre - window/2
		if randomCrop {
			reach := max(length-centre, centre)
			at += r.IntN(reach+1) + r.IntN(reach+1) - reach // triangular
		} else {
			at += r.IntN(2*jitter+1) - jitter
		}
		return max(0, min(at, length-window))
	}
	p.Crop.X = offset(scaled(f.x), p.Resized.W, target.W)
	p.Crop.Y = offset(scaled(f.y), p.Resized.H, target.H)
	return p, true
}
