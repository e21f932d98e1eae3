package portrait_test

import (
	"context"
	"image"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
)

// photos reads sample photos with the face in each.
func photos(t *testing.T, folder string) (examples []portrait.Example) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(samples(folder), "*.[jpw]*"))
	if err != nil || len(paths) < 12 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		img, err := picture.Decode(t.Context(), data, picture.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		faces, err := drawn.Detector{}.Find(t.Context(), img)
		if err != nil || len(faces) != 1 {
			t.Fatal(path, faces, err)
		}
		examples = append(examples, portrait.Example{Image: img, Face: faces[0]})
	}
	return examples
}

// TestLikeness tells photos of the person that it has not seen from those of others, and pictures without a fault and of the person
// come first.
func TestLikeness(t *testing.T) {
	own, others := photos(t, "12_personname man"), photos(t, "1_man")
	likeness, err := portrait.NewLikeness(t.Context(), portrait.Appearance{}, own[:8])
	if err != nil {
		t.Fatal(err)
	}
	t.Run("curve", func(t *testing.T) { testCurve(t, likeness, own[8:], others) })
	t.Run("rank", func(t *testing.T) { testRank(t, likeness, own, others) })
}

func testCurve(t *testing.T, likeness *portrait.Likeness, own, others []portrait.Example) {
	of := func(examples []portrait.Example) (all []float64) {
		for _, e := range examples {
			l, err := likeness.Of(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, l)
		}
		return all
	}
	unseen, strange := of(own), of(others)
	above := 0
	for _, u := range unseen {
		for _, s := range strange {
			if u > s {
				above++
			}
		}
	}
	area := float64(above) / float64(len(unseen)*len(strange))
	t.Logf("usual %.3f ± %.3f; unseen photos %.3f; others %.3f; area under the curve %.3f", likeness.Usual, likeness.Spread, unseen, strange, area)
	if area < 0.95 {
		t.Errorf("the area under the curve is %.3f", area)
	}
}

// testRank puts the person before others, sound pictures before faulty ones, and those without a face last.
func testRank(t *testing.T, likeness *portrait.Likeness, own, others []portrait.Example) {
	two := image.NewNRGBA(image.Rect(0, 0, 768, 512))
	for i, e := range []portrait.Example{own[0], others[5]} {
		for y := range 512 {
			copy(two.Pix[y*two.Stride+4*384*i:][:4*384], e.Image.Pix[y*e.Image.Stride+4*64:])
		}
	}
	pictures := []*image.NRGBA{image.NewNRGBA(image.Rect(0, 0, 512, 512)), two, others[3].Image, own[11].Image, others[5].Image, own[12].Image}
	ranked, err := portrait.Rank(t.Context(), pictures, drawn.Detector{}, likeness)
	if err != nil {
		t.Fatal(err)
	}
	place := make(map[int]int)
	for i, c := range ranked {
		place[c.Index] = i
		t.Logf("%d: picture %d, %v, likeness %.3f, sharpness %.1f", i, c.Index, c.Faults, c.Likeness, c.Sharpness)
	}
	if place[0] != 5 || place[1] != 4 || max(place[3], place[5]) != 1 {
		t.Errorf("the places are %v: want the person's 3 and 5 first, then 2 and 4, the two people of 1, and nobody in 0", place)
	}
}

// flat is the Judge that says the same of all.
type flat struct{}

func (flat) Judge(_ context.Context, drawn []portrait.Example) ([]float64, error) {
	return make([]float64, len(drawn)), nil
}

// TestRankSmallFace has a candidate whose face is too small for a portrait.
func TestRankSmallFace(t *testing.T) {
	img := open(t)
	far := on(900, 900, image.Pt(300, 200), scaled(img, 220))
	ranked, err := portrait.Rank(t.Context(), []*image.NRGBA{far, img}, face.Cascades{}, flat{})
	if err != nil || len(ranked) != 2 || ranked[0].Index != 1 || len(ranked[0].Faults) != 0 || !slices.Contains(ranked[1].Faults, portrait.SmallFace) {
		t.Errorf("%+v, %v", ranked, err)
	}
}
