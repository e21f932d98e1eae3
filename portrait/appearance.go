package portrait

import (
	"context"
	"image"
	"math"

	"github.com/atelier-go/atelier/face"
)

// Embedding is a vector of length 1 that says what a face looks like.
type Embedding []float64

// Similarity is the cosine between two: 1 for the same.
func (e Embedding) Similarity(to Embedding) float64 { return correlation(e, to) }

// Embedder says what a face looks like. A model trained to tell people apart is one; Appearance needs none.
type Embedder interface {
	// Embed looks at a face in an upright picture.
	Embed(ctx context.Context, img *image.NRGBA, f face.Face) (Embedding, error)
}

// Appearance is the Embedder that compares heads by their looks: how light and how coloured each part of the head is, with the
// eyes brought to the same places. It tells hair, beard, glasses and skin, and so tells apart people who look unlike each
// other in like light. It does not know what makes a face somebody's: other light, another haircut or a turned head make a
// person look like a stranger, and two men with short brown hair look like one.
type Appearance struct{}

// Embed implements Embedder.
func (a Appearance) Embed(ctx context.Context, img *image.NRGBA, f face.Face) (Embedding, error) {
	return a.embed(img, f), ctx.Err()
}

// appearanceSide is the number of parts of a head along a side.
const appearanceSide = 12

func (Appearance) embed(img *image.NRGBA, f face.Face) Embedding {
	apart := math.Hypot(f.Eyes[1].X-f.Eyes[0].X, f.Eyes[1].Y-f.Eyes[0].Y)
	sin, cos := math.Sincos(f.Roll * math.Pi / 180)
	x0, y0 := (f.Eyes[0].X+f.Eyes[1].X)/2, (f.Eyes[0].Y+f.Eyes[1].Y)/2
	var e Embedding
	for row := range appearanceSide {
		for column := range appearanceSide {
			if !inAppearance(row, column) {
				continue
			}
			right, down := appearancePlace(row, column)
			right, down = right*apart, down*apart
			c := around(img, x0+cos*right-sin*down, y0+sin*right+cos*down, 0.1*apart)
			e = append(e, 0.5*(c[0]+c[1]+c[2])/3, c[0]-c[1], c[1]-c[2])
		}
	}
	return e.unit()
}

// around is the mean colour of a square with a half side about a place.
func around(img *image.NRGBA, x, y, half float64) (mean [3]float64) {
	const n = 4
	for i := range n * n {
		px := int(x + half*(float64(i%n)-1.5)/2)
		py := int(y + half*(float64(i/n)-1.5)/2)
		p := img.Pix[min(max(py, 0), img.Rect.Dy()-1)*img.Stride+4*min(max(px, 0), img.Rect.Dx()-1):]
		for c := range 3 {
			mean[c] += float64(p[c]) / (n * n)
		}
	}
	return mean
}

// inAppearance reports whether a part of a head, by row and column, is within the ellipse that leaves out the background.
func inAppearance(row, column int) bool {
	right, down := appearancePlace(row, column)
	return math.Hypot(right/1.1, (down-0.3)/1.4) <= 1
}

// appearancePlace is where a part of a head is, in eye distances right of the middle of the eyes and below it: from 1.1 above them to
// 1.7 below.
func appearancePlace(row, column int) (right, down float64) {
	return 2.2*(float64(column)+0.5)/appearanceSide - 1.1, 2.8*(float64(row)+0.5)/appearanceSide - 1.1
}

// mirrored is the embedding by Appearance of the same face with left and right swapped.
func (e Embedding) mirrored() (m Embedding) {
	at := 0
	for row := range appearanceSide {
		begin := at
		for column := range appearanceSide {
			if inAppearance(row, column) {
				at += 3
			}
		}
		for i := at - 3; i >= begin; i -= 3 {
			m = append(m, e[i:i+3]...)
		}
	}
	return m
}

// unit takes the mean luma out and scales to length 1.
func (e Embedding) unit() Embedding {
	mean, square := 0.0, 0.0
	for i := 0; i < len(e); i += 3 {
		mean += 3 * e[i] / float64(len(e))
	}
	for i := range e {
		if i%3 == 0 {
			e[i] -= mean
		}
		square += e[i] * e[i]
	}
	for i := range e {
		e[i] /= math.Sqrt(max(1e-9, square))
	}
	return e
}

// strangers are the faces among several that are unlike most, by number, each with how like most it is. Most are those who are
// like a common face: the one to which half of all are nearest.
func strangers(all []Embedding) map[int]float64 {
	if len(all) < 5 {
		return nil
	}
	common, most := 0, -1.0
	similar := make([]numbers, len(all))
	for i, e := range all {
		for _, other := range all {
			similar[i] = append(similar[i], e.Similarity(other))
		}
		if half := similar[i].quantile(0.5); half > most {
			common, most = i, half
		}
	}
	found := make(map[int]float64)
	for i, s := range similar[common] {
		if s < most-unlike {
			found[i] = s
		}
	}
	return found
}
