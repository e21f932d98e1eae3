package face

import (
	"cmp"
	"context"
	_ "embed"
	"image"
	"math"
	"slices"
	"sync"

	pigo "github.com/esimov/pigo/core"
	"golang.org/x/sync/errgroup"
)

//go:embed cascade/facefinder
var faceFile []byte

//go:embed cascade/puploc
var pupilFile []byte

var (
	faceCascade = sync.OnceValues(func() (*pigo.Pigo, error) { return pigo.NewPigo().Unpack(faceFile) })
	pupilTrees  = sync.OnceValue(func() *pupils { return readPupils(pupilFile) })
)

// Cascades is the Detector for photos of people: pigo's, after N. Markuš et al., "Object detection with pixel intensity
// comparisons organized in decision trees" (2013). It finds faces that look at the camera or a little past it, from a
// sixteenth of a photo's longer side, turned by up to 55° either way; where none of these is sure, also those that lie on
// their side or stand on their head. The zero value is ready for use, by several goroutines at once.
type Cascades struct {
	// MinScore is the least Score of a face that is returned. 0 means 60.
	MinScore float64
}

// upright and lying are the angles at which faces are looked for, in 32nds of a turn, counterclockwise.
var (
	upright = []int{0, 2, 4, 28, 30}
	lying   = []int{6, 8, 10, 14, 16, 18, 22, 24, 26}
)

// Find implements Detector.
func (c Cascades) Find(ctx context.Context, img *image.NRGBA) ([]Face, error) {
	if img.Rect.Empty() {
		return nil, nil
	}
	const longerSide = 640 // of the copy that is searched
	g := newGrey(img, longerSide)
	faces, err := c.search(ctx, g, upright)
	if err == nil && !slices.ContainsFunc(faces, func(f Face) bool { return f.Score >= 100 }) {
		var more []Face
		more, err = c.search(ctx, g, lying)
		faces = append(faces, more...)
	}
	if err != nil {
		return nil, err
	}
	return surest(faces), nil
}

// Boxes are the boxes of the faces in a picture, as package sd asks for them to draw faces anew; see the function Boxes for confidence,
// which takes the place of MinScore.
func (c Cascades) Boxes(ctx context.Context, img *image.NRGBA, confidence float64) ([]image.Rectangle, error) {
	c.MinScore = max(scoreOf(confidence), 1) // 0 would be the default
	faces, err := c.Find(ctx, img)
	return Boxes(faces, confidence), err
}

// search looks for faces at several angles.
func (c Cascades) search(ctx context.Context, g *grey, turns []int) ([]Face, error) {
	cascade, err := faceCascade()
	if err != nil {
		return nil, err
	}
	found := make([][]Face, len(turns))
	var group errgroup.Group
	for i, turn := range turns {
		group.Go(func() error {
			inner := g.side - 2*g.margin
			for _, coarse := range g.search(cascade, image.Rect(0, 0, g.side, g.side), max(20, inner/16), inner, 0.12, 1.15, turn) {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				fine := g.refine(cascade, coarse, turn)
				if s := score(fine, turn); s >= cmp.Or(c.MinScore, 60) {
					found[i] = append(found[i], newFace(g, fine, turn, s))
				}
			}
			return ctx.Err()
		})
	}
	err = group.Wait()
	return slices.Concat(found...), err
}

// surest sorts faces and keeps the surest of those that lie over each other.
func surest(all []Face) (faces []Face) {
	slices.SortStableFunc(all, func(a, b Face) int { return cmp.Compare(b.Score, a.Score) })
	for _, f := range all {
		if !slices.ContainsFunc(faces, func(surer Face) bool { return surer.overlap(f) > 0.3 }) {
			faces = append(faces, f)
		}
	}
	return faces
}

// search looks for faces in a part of the square, which must be one too, with windows from one size to another that move by a
// share of their size and grow by a factor. They are turned counterclockwise by 32nds of a turn.
func (g *grey) search(cascade *pigo.Pigo, part image.Rectangle, least, most int, shift, grow float64, turn int) []pigo.Detection {
	windows := cascade.RunCascade(pigo.CascadeParams{MinSize: least, MaxSize: most, ShiftFactor: shift, ScaleFactor: grow,
		ImageParams: pigo.ImageParams{Pixels: g.pixels[part.Min.Y*g.side+part.Min.X:], Rows: part.Dy(), Cols: part.Dx(), Dim: g.side}},
		float64(turn)/32)
	for i := range windows {
		windows[i].Row += part.Min.Y
		windows[i].Col += part.Min.X
	}
	return cascade.ClusterDetections(windows, 0.2)
}

// refine looks closely at where a face may be. The sum over many windows that nearly agree tells faces from what looks like one
// by accident.
func (g *grey) refine(cascade *pigo.Pigo, coarse pigo.Detection, turn int) (best pigo.Detection) {
	side := min(2*coarse.Scale, g.side)
	corner := image.Pt(min(max(coarse.Col-side/2, 0), g.side-side), min(max(coarse.Row-side/2, 0), g.side-side))
	part := image.Rectangle{corner, corner.Add(image.Pt(side, side))}
	for _, fine := range g.search(cascade, part, coarse.Scale*3/4, coarse.Scale*4/3, 0.06, 1.08, turn) {
		if fine.Q > best.Q {
			best = fine
		}
	}
	return best
}

// score is how sure a window at an angle is, counted half where few heads are turned so far and as much else looks like one.
func score(window pigo.Detection, turn int) float64 {
	if math.Cos(angle(turn)) < 0.9 {
		return float64(window.Q) / 2
	}
	return float64(window.Q)
}

// angle is a number of 32nds of a turn.
func angle(turn int) float64 { return 2 * math.Pi * float64(turn) / 32 }

// newFace looks for the eyes of a face that was found at an angle, and takes its roll from them where they agree with it.
func newFace(g *grey, window pigo.Detection, turn int, score float64) Face {
	sin, cos := math.Sincos(angle(turn))
	row, column, size := float64(window.Row), float64(window.Col), float64(window.Scale)
	f := Face{Centre: g.point(row, column), Size: size * g.scale, Score: score}
	for i, right := range []float64{-0.18, 0.18} {
		down, right := -0.075*size, right*size
		f.Eyes[i] = g.point(pupilTrees().find(g, row+cos*down-sin*right, column+sin*down+cos*right, 0.25*size, sin, cos))
	}
	f.Roll = math.Atan2(f.Eyes[1].Y-f.Eyes[0].Y, f.Eyes[1].X-f.Eyes[0].X) * 180 / math.Pi
	if found := -360 * float64(turn) / 32; math.Abs(math.Remainder(f.Roll-found, 360)) > 20 {
		f.Roll = math.Remainder(found, 360)
	}
	return f
}
