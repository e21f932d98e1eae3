package face_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/picture"
)

// pupils are those of the portrait, measured by eye.
var pupils = [2]face.Point{{X: 203, Y: 101}, {X: 246.5, Y: 104}}

// open reads the portrait: astronaut Eileen Collins, by NASA.
func open(tb testing.TB) *image.NRGBA {
	tb.Helper()
	f, err := picture.Open("testdata/astronaut.jpg", picture.Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	img, err := f.Decode(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return img
}

// turned draws a picture turned clockwise by degrees about its centre, on grey, and tells where a point of it goes.
func turned(src *image.NRGBA, degrees float64) (*image.NRGBA, func(face.Point) face.Point) {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	cx, cy := float64(src.Rect.Dx())/2, float64(src.Rect.Dy())/2
	dst := image.NewNRGBA(src.Rect)
	for y := range src.Rect.Dy() {
		for x := range src.Rect.Dx() {
			right, down := float64(x)+0.5-cx, float64(y)+0.5-cy
			at := image.Pt(int(math.Floor(cx+cos*right+sin*down)), int(math.Floor(cy-sin*right+cos*down)))
			if at.In(src.Rect) {
				dst.Set(x, y, src.At(at.X, at.Y))
			} else {
				dst.Set(x, y, color.Gray{128})
			}
		}
	}
	return dst, func(p face.Point) face.Point {
		return face.Point{X: cx + cos*(p.X-cx) - sin*(p.Y-cy), Y: cy + sin*(p.X-cx) + cos*(p.Y-cy)}
	}
}

// surest is the first face.
func surest(t *testing.T, img *image.NRGBA) face.Face {
	t.Helper()
	faces, err := face.Cascades{}.Find(t.Context(), img)
	if err != nil || len(faces) == 0 {
		t.Fatalf("%d faces, %v", len(faces), err)
	}
	return faces[0]
}

// check compares a face with where the portrait's eyes must be.
func check(t *testing.T, f face.Face, eyes [2]face.Point) {
	t.Helper()
	apart := math.Hypot(eyes[1].X-eyes[0].X, eyes[1].Y-eyes[0].Y)
	for i, eye := range f.Eyes {
		if off := math.Hypot(eye.X-eyes[i].X, eye.Y-eyes[i].Y); off > 0.12*apart {
			t.Errorf("eye %d is at %.1f, want %.1f", i, eye, eyes[i])
		}
	}
	roll := math.Atan2(eyes[1].Y-eyes[0].Y, eyes[1].X-eyes[0].X) * 180 / math.Pi
	if off := math.Remainder(f.Roll-roll, 360); math.Abs(off) > 5 {
		t.Errorf("it is turned by %.1f°, want %.1f", f.Roll, roll)
	}
	if f.Size < 2*apart || f.Size > 2.8*apart {
		t.Errorf("its size is %.1f, and the eyes are %.1f apart", f.Size, apart)
	}
	if centre := (image.Point{int(f.Centre.X), int(f.Centre.Y)}); !centre.In(f.Box()) {
		t.Errorf("the box %v does not hold the centre %v", f.Box(), centre)
	}
}

// TestTurned finds the face however it is turned.
func TestTurned(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: searches picture after picture")
	}
	img := open(t)
	for _, degrees := range []float64{0, 8, -8, 20, -20, 30, -30, 40, -40, 50, -50, 90, -90, 180} {
		t.Run(fmt.Sprint(degrees), func(t *testing.T) {
			img, to := turned(img, degrees)
			check(t, surest(t, img), [2]face.Point{to(pupils[0]), to(pupils[1])})
		})
	}
}

// TestOrientation finds it again at the same place in a photo that EXIF turns upright.
func TestOrientation(t *testing.T) {
	img := open(t)
	inverse := map[int]int{1: 1, 3: 3, 6: 8, 8: 6}
	for orientation, stored := range inverse {
		check(t, surest(t, picture.Orient(picture.Orient(img, stored), orientation)), pupils)
	}
}

// TestSizes finds it small and large, in wide pictures and in high ones.
func TestSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: searches picture after picture")
	}
	img := open(t)
	for _, c := range []struct {
		width, height int
		at            image.Point
		side          int
	}{
		{256, 256, image.Point{}, 256},
		{1500, 500, image.Pt(900, 0), 500},
		{400, 900, image.Pt(0, 450), 400},
		{4000, 3000, image.Pt(500, 0), 3000},
		{4000, 3000, image.Pt(2000, 1200), 1300}, // 280 pixels of 4000
	} {
		t.Run(fmt.Sprintf("%d×%d", c.width, c.height), func(t *testing.T) {
			canvas, scale := pasted(img, c.width, c.height, c.at, c.side), float64(c.side)/float64(img.Rect.Dx())
			var eyes [2]face.Point
			for i, p := range pupils {
				eyes[i] = face.Point{X: float64(c.at.X) + scale*p.X, Y: float64(c.at.Y) + scale*p.Y}
			}
			check(t, surest(t, canvas), eyes)
		})
	}
}

// pasted is a grey picture with a square one scaled into it.
func pasted(img *image.NRGBA, width, height int, at image.Point, side int) *image.NRGBA {
	canvas := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range canvas.Pix {
		canvas.Pix[i] = 128 | uint8(i&3/3*255)
	}
	small := picture.Resample(img, image.Pt(side, side), image.Rect(0, 0, side, side), picture.Linear, 3)
	for y := range side {
		copy(canvas.Pix[canvas.PixOffset(at.X, at.Y+y):], small.Pix[y*small.Stride:][:4*side])
	}
	return canvas
}

// TestCut finds a face that the picture's edge cuts, and its box reaches beyond the edge.
func TestCut(t *testing.T) {
	img := open(t)
	cut := picture.Resample(img, img.Rect.Size(), image.Rect(150, 85, 512, 512), picture.Lanczos, 3)
	f := surest(t, cut)
	if f.Box().In(cut.Rect) || f.Box().Min.Y >= 0 {
		t.Errorf("the box %v is inside %v", f.Box(), cut.Rect)
	}
}

// TestTwo finds two people, the same ones each time and in the same order.
func TestTwo(t *testing.T) {
	img := open(t)
	both := pasted(img, 1024, 512, image.Pt(512, 0), 512)
	for y := range 512 {
		copy(both.Pix[y*both.Stride:], img.Pix[y*img.Stride:][:4*512])
	}
	first, err := face.Cascades{}.Find(t.Context(), both)
	if err != nil || len(first) != 2 {
		t.Fatalf("%d faces, %v, want two", len(first), err)
	}
	for range 3 {
		if again, _ := (face.Cascades{}).Find(t.Context(), both); !reflect.DeepEqual(again, first) {
			t.Errorf("%v, then %v", first, again)
		}
	}
}

// TestBoxes finds the box that Find does, as long as no more confidence is wanted than its score stands for.
func TestBoxes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: searches picture after picture")
	}
	img := open(t)
	f := surest(t, img)
	for confidence, want := range map[float64]bool{0: true, 0.3: true, 0.99 * f.Score / 200: true, 1.01 * f.Score / 200: false} {
		got, err := face.Cascades{MinScore: 1e9}.Boxes(t.Context(), img, confidence)
		if err != nil || slices.Contains(got, f.Box()) != want {
			t.Errorf("confidence %v: %v, %v; there is %v with a score of %v", confidence, got, err, f.Box(), f.Score)
		}
	}
}

// TestNone finds none where there is none, in pictures of any size and stride.
func TestNone(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: searches picture after picture")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []image.Point{{}, {1, 1}, {1, 3000}, {3000, 1}, {7, 5}, {641, 3}, {300, 200}} {
		for name, value := range map[string]func() uint8{
			"black": func() uint8 { return 0 }, "white": func() uint8 { return 255 }, "noise": func() uint8 { return uint8(random.Uint32()) },
		} {
			img := image.NewNRGBA(image.Rectangle{Max: size})
			for i := range img.Pix {
				img.Pix[i] = value()
			}
			if faces, err := (face.Cascades{}).Find(t.Context(), img); len(faces) > 0 || err != nil {
				t.Errorf("%v of %s: %v, %v", size, name, faces, err)
			}
		}
	}
	sub := open(t).SubImage(image.Rect(0, 300, 130, 500)).(*image.NRGBA)
	if faces, err := (face.Cascades{}).Find(t.Context(), sub); len(faces) > 0 || err != nil {
		t.Errorf("sleeve: %v, %v", faces, err)
	}
}

// TestStops ends with its context.
func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (face.Cascades{}).Find(ctx, open(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// BenchmarkFind searches a picture of 12 megapixels.
func BenchmarkFind(b *testing.B) {
	large := pasted(open(b), 4000, 3000, image.Pt(500, 0), 3000)
	for b.Loop() {
		if faces, err := (face.Cascades{}).Find(b.Context(), large); err != nil || len(faces) != 1 {
			b.Fatal(faces, err)
		}
	}
}

func ExampleCascades() {
	f, err := picture.Open("testdata/astronaut.jpg", picture.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	ctx := context.Background()
	img, err := f.Decode(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	faces, err := face.Cascades{}.Find(ctx, picture.Orient(img, f.Orientation))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range faces {
		fmt.Printf("a face of about %.0f pixels, turned by %.0f°\n", math.Round(f.Size/20)*20, math.Round(f.Roll/5)*5)
	}
	// Output: a face of about 100 pixels, turned by 5°
}
