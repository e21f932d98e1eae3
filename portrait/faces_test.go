package portrait_test

import (
	"image"
	"testing"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/sd"
)

// TestPhotoFaces draws a photo of a real person a little anew, as the best candidates are refined, with the detector of photos: the face
// that it finds in the picture, and nothing else, is drawn anew after that.
func TestPhotoFaces(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: it draws")
	}
	c := smallJob(t)
	pipe, err := sd.New(t.Context(), c.Checkpoint, c.Device, sd.Options{Faces: face.Cascades{}})
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	const side = 256
	r := sd.Request{
		Prompt: "photo of a woman", Image: encoded(t, ".png", scaled(open(t), side)), Width: side, Height: side, Strength: new(0.01),
		Steps: 4, Seed: 1,
	}
	draw := func() *image.NRGBA {
		result, err := pipe.Generate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return result.Pictures[0].Image
	}
	plain := draw()
	faces, err := face.Cascades{}.Find(t.Context(), plain)
	if err != nil || len(faces) != 1 {
		t.Fatalf("%+v, %v", faces, err)
	}
	r.Faces = &sd.FacePass{Strength: new(0.3), Largest: 1, Steps: 4} // as Config.Pictures has them
	refined := draw()
	changed, box := unlike(plain, refined), faces[0].Box()
	t.Logf("the face is at %v, %v is drawn anew", box, changed)
	if edge := 24; !changed.In(box.Inset(-edge)) || !box.Inset(edge).In(changed) {
		t.Errorf("%v is drawn anew, the face is at %v", changed, box)
	}
}

// unlike is the smallest rectangle with all pixels that differ.
func unlike(a, b *image.NRGBA) (r image.Rectangle) {
	for y := range a.Rect.Dy() {
		for x := range a.Rect.Dx() {
			if a.NRGBAAt(x, y) != b.NRGBAAt(x, y) {
				r = r.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return r
}
