package portrait

import (
	"fmt"
	"math"
)

// turned is from where on a head is turned to the side, see turn.
const turned = 0.06

// turn is how far the eyes are beside the middle of the face, to its left or right, in sizes of it: what a head turned to the side shows.
func (p Photo) turn() float64 {
	if p.Face.Size == 0 {
		return 0
	}
	sin, cos := math.Sincos(p.Face.Roll * math.Pi / 180)
	x, y := (p.Face.Eyes[0].X+p.Face.Eyes[1].X)/2-p.Face.Centre.X, (p.Face.Eyes[0].Y+p.Face.Eyes[1].Y)/2-p.Face.Centre.Y
	return (cos*x + sin*y) / p.Face.Size
}

// remark says what is to be said of the photos that are kept, together.
func (r *Report) remark() {
	kept := r.Kept()
	say := func(text string, args ...any) { r.Remarks = append(r.Remarks, fmt.Sprintf(text, args...)) }
	switch n := len(kept); {
	case n == 0:
		say("No photo can be trained on: 10 to 30 sharp ones of the person alone are wanted.")
		return
	case n < 8:
		say("%d are few: with less than 8 the photos themselves are learned more than the person; 15 to 20 are good.", n)
	case n > 40:
		say("%d are more than are needed: the 20 best and most different ones teach as much in less time.", n)
	}
	if n := count(kept, func(p Photo) bool { return p.Has(Stranger) }); n > 0 {
		say("%d look unlike most of the others: are two people in the photos?", n)
	}
	if len(kept) < 5 {
		return
	}
	same := func(what string, of func(look) [3]float64) {
		if n := largestGroup(kept, of); 10*n > 6*len(kept) {
			say("%d of %d have about the same %s, which will be learned as the person's: others help, or name it in the captions.", n, len(kept), what)
		}
	}
	same("background", func(l look) [3]float64 { return l.backdrop })
	same("clothes", func(l look) [3]float64 { return l.clothes })
	if count(kept, func(p Photo) bool { return p.Face.Size > 0 && p.Face.Size < 0.22*float64(p.Size.Y) }) == 0 {
		say("None shows more than head and shoulders: one or two down to the hips help.")
	}
	if count(kept, func(p Photo) bool { return math.Abs(p.turn()) > turned }) == 0 {
		say("All look straight at the camera: one or two with the head turned to either side help.")
	}
	var light numbers
	for _, p := range kept {
		if len(p.Faces) > 0 {
			light = append(light, p.look().luma)
		}
	}
	if len(light) > 0 && light.quantile(0.9)-light.quantile(0.1) < 15 {
		say("All are in about the same light: some outdoors or by a window help.")
	}
}

func count(photos []Photo, is func(Photo) bool) (n int) {
	for _, p := range photos {
		if is(p) {
			n++
		}
	}
	return n
}

// largestGroup is how many photos at most have about one colour somewhere.
func largestGroup(photos []Photo, of func(look) [3]float64) (most int) {
	const near = 40
	for _, p := range photos {
		if len(p.Faces) > 0 {
			most = max(most, count(photos, func(q Photo) bool { return len(q.Faces) > 0 && distance(of(p.look()), of(q.look())) < near }))
		}
	}
	return most
}
