package drawn_test

import (
	"context"
	"errors"
	"image"
	"image/draw"
	"io/fs"
	"math"
	"path"
	"testing"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
)

// open reads a sample photo.
func open(t *testing.T, name string) *image.NRGBA {
	t.Helper()
	data, err := fs.ReadFile(tinyportrait.Photos(), name)
	if err != nil {
		t.Fatal(err)
	}
	img, err := picture.Decode(t.Context(), data, picture.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// find looks for faces.
func find(t *testing.T, img *image.NRGBA) []face.Face {
	t.Helper()
	faces, err := drawn.Detector{}.Find(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	return faces
}

// TestSamples finds one face in each sample photo, the eyes in the middle of the upper half.
func TestSamples(t *testing.T) {
	names, err := fs.Glob(tinyportrait.Photos(), "*/*.[jpw]*")
	if err != nil || len(names) != 28 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		img := open(t, name)
		faces := find(t, img)
		if len(faces) != 1 {
			t.Errorf("%s: %d faces", name, len(faces))
			continue
		}
		if boxes, err := (drawn.Detector{}).Boxes(t.Context(), img, 0.3); err != nil || len(boxes) != 1 || boxes[0] != faces[0].Box() {
			t.Errorf("%s: boxes %v, %v", name, boxes, err)
		}
		f, w, h := faces[0], float64(img.Rect.Dx()), float64(img.Rect.Dy())
		if f.Size < 0.25*w || f.Size > 0.55*w || f.Eyes[0].X < 0.25*w || f.Eyes[1].X > 0.8*w || f.Eyes[0].Y < 0.2*h || f.Eyes[0].Y > 0.55*h {
			t.Errorf("%s of %v: %+v", name, img.Rect.Size(), f)
		}
	}
}

// TestCovered finds the face with an eye patch, or with something painted on a cheek or around the forehead.
func TestCovered(t *testing.T) {
	alone := find(t, open(t, path.Join("12_personname man", "001.jpg")))[0]
	apart := alone.Eyes[1].X - alone.Eyes[0].X
	for name, cover := range map[string]struct{ x, y, w, h float64 }{"patch": {alone.Eyes[1].X, alone.Eyes[1].Y, 0.6 * apart, 0.6 * apart}, "cheek": {alone.Eyes[0].X, alone.Eyes[0].Y + 0.55*apart, 0.5 * apart, 0.5 * apart}, "forehead": {alone.Centre.X, alone.Eyes[0].Y - 0.75*apart, 2.2 * apart, 0.25 * apart}} {
		img := open(t, path.Join("12_personname man", "001.jpg"))
		box := image.Rect(int(cover.x-cover.w/2), int(cover.y-cover.h/2), int(cover.x+cover.w/2), int(cover.y+cover.h/2))
		draw.Draw(img, box, image.Black, image.Point{}, draw.Src)
		if faces := find(t, img); len(faces) != 1 || math.Abs(faces[0].Centre.X-alone.Centre.X) > 12 || math.Abs(faces[0].Centre.Y-alone.Centre.Y) > 12 {
			t.Errorf("%s: %+v, want %+v", name, faces, alone)
		}
	}
}

// TestPlaces finds a face where it was put, and two where two were.
func TestPlaces(t *testing.T) {
	img := open(t, path.Join("12_personname man", "001.jpg"))
	alone := find(t, img)[0]
	both := image.NewNRGBA(image.Rect(0, 0, 768, 512))
	draw.Draw(both, image.Rect(0, 0, 384, 512), img, image.Pt(64, 0), draw.Src)
	draw.Draw(both, image.Rect(384, 0, 768, 512), open(t, path.Join("1_man", "006.jpg")), image.Pt(64, 0), draw.Src)
	faces := find(t, both)
	if len(faces) != 2 {
		t.Fatalf("%d faces, want two", len(faces))
	}
	for _, f := range faces {
		if f.Centre.X < 384 && (math.Abs(f.Centre.X+64-alone.Centre.X) > 12 || f.Size < 0.85*alone.Size || f.Size > 1.15*alone.Size) {
			t.Errorf("%+v beside another, %+v alone", f, alone)
		}
	}
}

// TestNone finds none in what is no picture of a drawn person, and ends with its context.
func TestNone(t *testing.T) {
	img := open(t, path.Join("12_personname man", "001.jpg"))
	for name, part := range map[string]image.Rectangle{"background": image.Rect(0, 0, 200, 300), "sweater": image.Rect(150, 380, 420, 512), "dot": image.Rect(0, 0, 1, 1), "none": {}} {
		cut := image.NewNRGBA(image.Rectangle{Max: part.Size()})
		draw.Draw(cut, cut.Rect, img, part.Min, draw.Src)
		if faces := find(t, cut); len(faces) > 0 {
			t.Errorf("%s: %+v", name, faces)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (drawn.Detector{}).Find(ctx, img); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}
