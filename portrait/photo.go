package portrait

import (
	"fmt"
	"image"
	"slices"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/picture"
)

// Photo is a photo that was looked at.
type Photo struct {
	Name     string      // of the file, in its folder
	Size     image.Point // upright, in pixels; zero if it could not be read
	Face     face.Face   // the person's, in the upright picture; zero if there is none
	Faces    []face.Face // all that were found
	Findings []Finding   // the worst first

	whole numbers   // lumas of a small copy
	thumb []float64 // by which duplicates are found
	looks []look    // of the faces
	at    int       // the person's among the faces
}

// look is what is measured of a face.
type look struct {
	appearance        Embedding
	sharpness         float64
	luma              float64 // 0 to 255, the mean of the face
	bright            float64 // 0 to 255, what a twentieth of the face exceeds
	burnt             float64 // the share of the face that is white
	backdrop, clothes [3]float64
}

// Verdict is the most severe one of the findings, or that of the option that overrules them.
func (p Photo) Verdict() (v Verdict) {
	for _, f := range p.Findings {
		if f.Kind == Overruled {
			return f.Verdict
		}
		v = max(v, f.Verdict)
	}
	return v
}

// Has reports whether there is a finding of a kind.
func (p Photo) Has(kind Kind) bool {
	return slices.ContainsFunc(p.Findings, func(f Finding) bool { return f.Kind == kind })
}

// find adds a finding.
func (p *Photo) find(kind Kind, v Verdict, value float64, mend, text string, args ...any) {
	p.Findings = append(p.Findings, Finding{Kind: kind, Verdict: v, Value: value, Text: fmt.Sprintf(text, args...), Mend: mend})
}

// head is where the whole head is, hair and chin included, without its roll.
func head(f face.Face) image.Rectangle {
	b, s := f.Box(), f.Size
	return image.Rect(b.Min.X-int(0.1*s), b.Min.Y-int(0.3*s), b.Max.X+int(0.1*s), b.Max.Y+int(0.1*s))
}

// measure takes the looks of all faces from a picture.
func (p *Photo) measure(img *image.NRGBA) {
	side := image.Rect(0, 0, thumbSide, thumbSide)
	small := picture.Resample(img, side.Max, side, picture.Area, 3)
	p.whole, p.thumb = lumas(small), normalised(small)
	for _, f := range p.Faces {
		n := lumas(crop(img, f.Box(), faceSide))
		l := look{appearance: Appearance{}.embed(img, f), sharpness: sharpness(n), luma: n.mean(), bright: n.quantile(0.95), burnt: n.above(250)}
		l.backdrop, l.clothes = surroundings(img, f)
		p.looks = append(p.looks, l)
	}
}

// choose takes one of the faces for the person's.
func (p *Photo) choose(at int) { p.at, p.Face = at, p.Faces[at] }

// look is that of the person's face.
func (p *Photo) look() look { return p.looks[p.at] }

// surroundings are the colours of the background on both sides of the head, and of the clothes below it.
func surroundings(img *image.NRGBA, f face.Face) (backdrop, clothes [3]float64) {
	b, s := f.Box(), int(f.Size)
	left := image.Rect(b.Min.X-s, b.Min.Y-s/2, b.Min.X-s/2, b.Min.Y+s/2)
	right := left.Add(image.Pt(3*s-s/2, 0))
	below := image.Rect(b.Min.X, b.Max.Y+s/2, b.Max.X, b.Max.Y+s)
	l, r := colour(crop(img, left, 8)), colour(crop(img, right, 8))
	for c := range 3 {
		backdrop[c] = (l[c] + r[c]) / 2
	}
	return backdrop, colour(crop(img, below, 8))
}
