package portrait

import (
	"cmp"
	"context"
	"image"
	"math"
	"slices"

	"github.com/atelier-go/atelier/face"
)

// Likeness says how near faces are to a person's. It is as good as its Embedder: with Appearance it sees that hair, beard,
// glasses or skin are not the person's, and does not see that somebody else has the like.
type Likeness struct {
	embedder Embedder
	person   []Embedding
	// Usual is how near the person's own photos are to each other, each to the nearer half of the others, on average, and
	// Spread how far they stray from it (a standard deviation). A drawn picture within Usual ± 2·Spread cannot be told from a photo.
	Usual, Spread float64
}

// Example is a picture with the face that is meant.
type Example struct {
	Image *image.NRGBA
	Face  face.Face
}

// NewLikeness looks at the photos of a person, of which at least two are wanted; with fewer Usual and Spread are 0.
func NewLikeness(ctx context.Context, embedder Embedder, photos []Example) (*Likeness, error) {
	l := &Likeness{embedder: embedder}
	for _, p := range photos {
		e, err := embedder.Embed(ctx, p.Image, p.Face)
		if err != nil {
			return nil, err
		}
		l.person = append(l.person, e)
	}
	if len(l.person) < 2 {
		return l, nil
	}
	var own numbers
	for i, e := range l.person {
		own = append(own, nearness(e, slices.Delete(slices.Clone(l.person), i, i+1)))
	}
	l.Usual, l.Spread = own.mean(), math.Sqrt(own.variance())
	return l, nil
}

// Of is how near a face is to the person's, −1 to 1: its mean similarity to the nearer half of the photos, because nobody looks
// the same in all of them.
func (l *Likeness) Of(ctx context.Context, e Example) (float64, error) {
	embedding, err := l.embedder.Embed(ctx, e.Image, e.Face)
	if err != nil {
		return 0, err
	}
	return nearness(embedding, l.person), nil
}

// Judge implements Judge.
func (l *Likeness) Judge(ctx context.Context, drawn []Example) (all []float64, err error) {
	for _, e := range drawn {
		of, err := l.Of(ctx, e)
		if err != nil {
			return nil, err
		}
		all = append(all, of)
	}
	return all, nil
}

// Judge says of drawn pictures how like the person each is, the more the greater: a *Likeness by looks, a *DrawnLikeness by what
// a LoRA knows of the person, and Together by several.
type Judge interface {
	Judge(ctx context.Context, drawn []Example) ([]float64, error)
}

// Together is the Judge that follows several: each has its say by how far a picture is from the mean of those that are judged, in standard
// deviations, and Together is the mean of what they say.
type Together []Judge

// Judge implements Judge.
func (t Together) Judge(ctx context.Context, drawn []Example) ([]float64, error) {
	all := make([]float64, len(drawn))
	for _, j := range t {
		says, err := j.Judge(ctx, drawn)
		if err != nil {
			return nil, err
		}
		mean, deviation := numbers(says).mean(), math.Sqrt(numbers(says).variance())
		for i, s := range says {
			all[i] += (s - mean) / max(deviation, 1e-9) / float64(len(t))
		}
	}
	return all, nil
}

// nearness is the mean similarity to the nearer half of others, 0 if there are none.
func nearness(e Embedding, others []Embedding) float64 {
	var s numbers
	for _, other := range others {
		s = append(s, e.Similarity(other))
	}
	slices.Sort(s)
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2:].mean()
}

// Candidate is a drawn picture in the running.
type Candidate struct {
	Index     int // of the picture among those that are ranked
	Face      face.Face
	Faults    []Kind  // NoFace, SeveralFaces, SmallFace, CutFace, Tilted, Blurred, Burnt or Dark
	Likeness  float64 // as the Judge says
	Sharpness float64 // of the face, in percent of its contrast
}

// Rank puts drawn pictures in order, the best first: those with the fewest faults, then those most like the person, and of those
// equally like the sharper ones. Pictures without a face come last, in the order in which they were drawn.
func Rank(ctx context.Context, pictures []*image.NRGBA, detector face.Detector, judge Judge) (ranked []Candidate, err error) {
	var faces []Example
	for i, img := range pictures {
		c, err := candidate(ctx, img, detector)
		if err != nil {
			return nil, err
		}
		c.Index = i
		ranked = append(ranked, c)
		if c.faces() > 0 {
			faces = append(faces, Example{img, c.Face})
		}
	}
	says, err := judge.Judge(ctx, faces)
	if err != nil {
		return nil, err
	}
	for i := range ranked {
		if ranked[i].faces() > 0 {
			ranked[i].Likeness, says = says[0], says[1:]
		}
	}
	slices.SortStableFunc(ranked, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.faces(), a.faces()), cmp.Compare(len(a.Faults), len(b.Faults)), cmp.Compare(b.Likeness, a.Likeness), cmp.Compare(b.Sharpness, a.Sharpness))
	})
	return ranked, nil
}

// faces is 1 for pictures with a face and 0 for those without.
func (c Candidate) faces() int { return min(1, int(c.Face.Size)) }

// candidate looks at one picture, by the rules for photos.
func candidate(ctx context.Context, img *image.NRGBA, detector face.Detector) (c Candidate, err error) {
	p := Photo{Size: img.Rect.Size()}
	if p.Faces, err = detector.Find(ctx, img); err != nil {
		return c, err
	}
	p.measure(img)
	if len(p.Faces) > 0 {
		largest := slices.MaxFunc(p.Faces, func(a, b face.Face) int { return cmp.Compare(a.Size, b.Size) })
		p.choose(slices.Index(p.Faces, largest))
	}
	p.checkFace(min(p.Size.X, p.Size.Y)) // a face may be as small as in a photo that is made as large as the model draws
	for _, f := range p.Findings {
		if f.Verdict == Drop || f.Kind == CutFace || f.Kind == Tilted {
			c.Faults = append(c.Faults, f.Kind)
		}
	}
	if len(p.Faces) == 0 {
		return c, nil
	}
	c.Face, c.Sharpness = p.Face, p.look().sharpness
	return c, nil
}
