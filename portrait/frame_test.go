package portrait_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/portrait"
)

// at is an upright face of a size with its eyes about a place.
func at(x, y, size float64) face.Face {
	return face.Face{Centre: face.Point{X: x, Y: y + 0.08*size}, Size: size, Eyes: [2]face.Point{{X: x - 0.2*size, Y: y}, {X: x + 0.2*size, Y: y}}}
}

// TestFrame puts eyes on their line and heads into the frame, in pictures with room, and stays inside those without.
func TestFrame(t *testing.T) {
	for _, c := range []struct {
		name    string
		picture image.Point
		person  face.Face
		room    bool // for the whole frame
	}{
		{"in the middle", image.Pt(1024, 1280), at(512, 560, 280), true},
		{"in a corner", image.Pt(1024, 1024), at(150, 180, 250), false},
		{"large", image.Pt(512, 512), at(256, 230, 400), false},
		{"small", image.Pt(4000, 3000), at(2000, 1400, 200), true},
	} {
		for name, f := range map[string]portrait.Frame{"LinkedIn": portrait.LinkedIn, "CV": portrait.CV} {
			part := f.Place(c.picture, c.person)
			if !part.In(image.Rectangle{Max: c.picture}) || part.Empty() {
				t.Errorf("%s, %s: %v of %v", c.name, name, part, c.picture)
			}
			if off := part.Dx()*f.Size.Y - part.Dy()*f.Size.X; off > 2*f.Size.Y || off < -2*f.Size.Y {
				t.Errorf("%s, %s: %v has not the frame's shape", c.name, name, part)
			}
			eyes := (c.person.Eyes[0].Y - float64(part.Min.Y)) / float64(part.Dy())
			head := 1.6 * c.person.Size / float64(part.Dy())
			if c.room && (eyes < f.Eyes-0.01 || eyes > f.Eyes+0.01 || head < f.Head-0.01 || head > f.Head+0.01) {
				t.Errorf("%s, %s: the eyes are at %.3f, the head is %.3f of the height", c.name, name, eyes, head)
			}
		}
	}
}

// TestCrop finds the face of the portrait in its crops, in the middle, and at the size that the frame has.
func TestCrop(t *testing.T) {
	img := open(t)
	faces, err := face.Cascades{}.Find(t.Context(), img)
	if err != nil || len(faces) != 1 {
		t.Fatal(faces, err)
	}
	for _, f := range []portrait.Frame{portrait.LinkedIn, portrait.CV} {
		out := f.Crop(img, faces[0])
		again, err := face.Cascades{}.Find(t.Context(), out)
		if err != nil || len(again) != 1 || out.Rect.Size() != f.Size {
			t.Fatal(out.Rect, again, err)
		}
		middle := (again[0].Eyes[0].X + again[0].Eyes[1].X) / 2 / float64(f.Size.X)
		if middle < 0.45 || middle > 0.55 {
			t.Errorf("the eyes' middle is at %.2f of the width", middle)
		}
	}
}

// TestTrainingBox is a square with the face in it.
func TestTrainingBox(t *testing.T) {
	for _, c := range []struct {
		photo  image.Point
		person face.Face
	}{{image.Pt(4000, 3000), at(2000, 1000, 400)}, {image.Pt(600, 900), at(300, 300, 250)}, {image.Pt(900, 600), at(90, 250, 160)}} {
		b := portrait.TrainingBox(c.photo, c.person)
		if d := b.Dx() - b.Dy(); d < -1 || d > 1 || !b.In(image.Rectangle{Max: c.photo}) || !c.person.Box().In(b) {
			t.Errorf("%v for a face in %v of %v", b, c.person.Box(), c.photo)
		}
	}
}

// TestJPEG is as good as fits.
func TestJPEG(t *testing.T) {
	noise := image.NewNRGBA(image.Rect(0, 0, 128, 128))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(random.Uint32()) | uint8(i&3/3*255)
	}
	best, err := portrait.JPEG(noise, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, most := range []int{len(best), len(best) - 1, len(best) / 3} {
		b, err := portrait.JPEG(noise, most)
		if err != nil || len(b) > most || len(b) < most/2 {
			t.Errorf("%d bytes for %d, %v", len(b), most, err)
		}
		if _, err := jpeg.Decode(bytes.NewReader(b)); err != nil {
			t.Error(err)
		}
	}
	if _, err := portrait.JPEG(noise, 100); err == nil || !strings.Contains(err.Error(), "128×128") {
		t.Errorf("100 bytes: %v", err)
	}
}
