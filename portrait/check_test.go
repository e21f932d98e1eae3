package portrait_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atelier-go/atelier/face"
	"github.com/atelier-go/atelier/internal/picture"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
)

// open reads the portrait of a person, enlarged: 800 pixels, of which the face has 330.
func open(t *testing.T) *image.NRGBA {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "face", "testdata", "astronaut.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := picture.Decode(t.Context(), data, picture.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return picture.Resample(img, image.Pt(1536, 1536), image.Rect(300, 0, 1100, 800), picture.Lanczos, 3)
}

// scaled has another size.
func scaled(img *image.NRGBA, side int) *image.NRGBA {
	size, filter := image.Pt(side, side), picture.Area
	if side > img.Rect.Dx() {
		filter = picture.Linear
	}
	return picture.Resample(img, size, image.Rectangle{Max: size}, filter, 3)
}

// on lies on a grey picture.
func on(width, height int, at image.Point, img *image.NRGBA) *image.NRGBA {
	canvas := image.NewNRGBA(image.Rect(0, 0, width, height))
	draw.Draw(canvas, canvas.Rect, image.NewUniform(color.NRGBA{120, 140, 160, 255}), image.Point{}, draw.Src)
	draw.Draw(canvas, img.Rect.Add(at), img, image.Point{}, draw.Src)
	return canvas
}

// cut is a part.
func cut(img *image.NRGBA, part image.Rectangle) *image.NRGBA {
	return picture.Resample(img, img.Rect.Size(), part, picture.Linear, 3)
}

// mapped has every pixel changed.
func mapped(img *image.NRGBA, change func(r, g, b float64) (float64, float64, float64)) *image.NRGBA {
	dst := image.NewNRGBA(img.Rect)
	for i := 0; i < len(img.Pix); i += 4 {
		r, g, b := change(float64(img.Pix[i]), float64(img.Pix[i+1]), float64(img.Pix[i+2]))
		dst.Pix[i], dst.Pix[i+1], dst.Pix[i+2], dst.Pix[i+3] = uint8(min(255, r)), uint8(min(255, g)), uint8(min(255, b)), 255
	}
	return dst
}

// lit is a picture with its light multiplied.
func lit(img *image.NRGBA, gain float64) *image.NRGBA {
	return mapped(img, func(r, g, b float64) (float64, float64, float64) { return gain * r, gain * g, gain * b })
}

// mirror is a picture with left and right swapped.
func mirror(img *image.NRGBA) *image.NRGBA { return picture.Orient(img, 2) }

// encoded is the file of a picture.
func encoded(t *testing.T, name string, img *image.NRGBA) []byte {
	t.Helper()
	var b bytes.Buffer
	err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, img)
	if filepath.Ext(name) == ".jpg" {
		b.Reset()
		err = jpeg.Encode(&b, img, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oriented is a JPEG with an EXIF orientation.
func oriented(jpg []byte, orientation byte) []byte {
	exif := append([]byte("Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00"), orientation, 0, 0, 0, 0, 0, 0, 0)
	head := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, 0xe1}, uint16(len(exif)+2))
	return slices.Concat(head, exif, jpg[2:])
}

// check puts files into a folder and looks at them.
func check(t *testing.T, files map[string][]byte, detector face.Detector, o portrait.CheckOptions) portrait.Report {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	r, err := portrait.Check(t.Context(), dir, detector, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCheck makes a good photo bad in every way, and hears what is wrong with it.
func TestCheck(t *testing.T) {
	img := open(t)
	two := on(1600, 800, image.Pt(800, 0), img)
	draw.Draw(two, img.Rect, img, image.Point{}, draw.Src)
	luma := func(r, g, b float64) float64 { return 0.3*r + 0.6*g + 0.1*b }
	for _, c := range []struct {
		name    string
		data    []byte
		verdict portrait.Verdict
		kind    portrait.Kind // of the worst finding
	}{
		{"good.jpg", encoded(t, ".jpg", img), portrait.Keep, portrait.NoCaption},
		{"soft.png", encoded(t, ".png", scaled(scaled(img, 130), 800)), portrait.Warn, portrait.Blurred},
		{"blurred.png", encoded(t, ".png", scaled(scaled(img, 80), 800)), portrait.Drop, portrait.Blurred},
		{"dark.png", encoded(t, ".png", lit(img, 0.2)), portrait.Drop, portrait.Dark},
		{"bright.png", encoded(t, ".png", lit(img, 1.35)), portrait.Drop, portrait.Burnt},
		{"tiny.jpg", encoded(t, ".jpg", scaled(img, 200)), portrait.Drop, portrait.Thumbnail},
		{"far.png", encoded(t, ".png", on(900, 900, image.Pt(300, 200), scaled(img, 150))), portrait.Drop, portrait.SmallFace},
		{"smaller.png", encoded(t, ".png", scaled(img, 465)), portrait.Warn, portrait.SmallFace},
		{"lying.png", encoded(t, ".png", picture.Orient(img, 6)), portrait.Drop, portrait.Tilted},
		{"two.png", encoded(t, ".png", two), portrait.Drop, portrait.SeveralFaces},
		{"cut.png", encoded(t, ".png", cut(img, image.Rect(0, 240, 800, 800))), portrait.Drop, portrait.CutFace},
		{"grey.png", encoded(t, ".png", mapped(img, func(r, g, b float64) (float64, float64, float64) {
			l := luma(r, g, b)
			return l, l, l
		})), portrait.Warn, portrait.Grey},
		{"sepia.png", encoded(t, ".png", mapped(img, func(r, g, b float64) (float64, float64, float64) {
			l := luma(r, g, b)
			return l + 25, l, l - min(l, 25)
		})), portrait.Warn, portrait.Grey},
		{"turned.jpg", oriented(encoded(t, ".jpg", picture.Orient(img, 8)), 6), portrait.Keep, portrait.Turned},
		{"nobody.png", encoded(t, ".png", on(800, 800, image.Point{}, cut(img, image.Rect(0, 600, 100, 700)))), portrait.Drop, portrait.NoFace},
		{"phone.heic", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), portrait.Drop, portrait.Unreadable},
		{"video.jpg", []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00"), portrait.Drop, portrait.Unreadable},
		{"empty.png", nil, portrait.Drop, portrait.Unreadable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := check(t, map[string][]byte{c.name: c.data}, face.Cascades{}, portrait.CheckOptions{})
			p := r.Photos[0]
			if p.Verdict() != c.verdict || !p.Has(c.kind) {
				t.Errorf("want %v for %s:\n%s", c.verdict, c.kind, r)
			}
			if c.verdict == portrait.Keep && (p.Face.Centre.X < 300 || p.Face.Centre.X > 500 || p.Face.Centre.Y < 200 || p.Face.Centre.Y > 500) {
				t.Errorf("the face is at %+v", p.Face)
			}
		})
	}
}

// TestDuplicates keeps the better one of two photos of one shot, and does not train on mirror images.
func TestDuplicates(t *testing.T) {
	img := open(t)
	for kind, again := range map[portrait.Kind]*image.NRGBA{portrait.Duplicate: scaled(img, 640), portrait.Mirrored: scaled(mirror(img), 640)} {
		r := check(t, map[string][]byte{"a.jpg": encoded(t, ".jpg", again), "b.png": encoded(t, ".png", img)}, face.Cascades{}, portrait.CheckOptions{})
		a, b := r.Photos[0], r.Photos[1]
		if a.Verdict() != portrait.Drop || !a.Has(kind) || b.Verdict() != portrait.Keep || a.Findings[0].Other != "b.png" {
			t.Errorf("want a.jpg to be a %s of b.png:\n%s", kind, r)
		}
	}
}

// shifted is a picture moved within itself, as no two shots are the same.
func shifted(img *image.NRGBA, by image.Point) *image.NRGBA {
	return cut(img, image.Rect(by.X, by.Y, by.X+700, by.Y+700))
}

// TestMirroredSelfie finds the photo of another shot in which left and right are swapped.
func TestMirroredSelfie(t *testing.T) {
	img := open(t)
	files := make(map[string][]byte)
	for i, light := range []float64{1, 0.75, 1.15, 0.65, 0.9, 0.8} {
		name := string(rune('a'+i)) + ".png"
		shot := lit(shifted(img, image.Pt(15*i, 90-16*i)), light)
		if i == 3 {
			shot = mirror(shot)
		}
		files[name] = encoded(t, name, shot)
	}
	r := check(t, files, face.Cascades{}, portrait.CheckOptions{})
	for _, p := range r.Photos {
		if want := p.Name == "d.png"; p.Has(portrait.Mirrored) != want {
			t.Errorf("%s is mirrored: want %v\n%s", p.Name, want, r)
		}
	}
	if !strings.Contains(strings.Join(r.Remarks, "\n"), "same clothes") {
		t.Errorf("nothing is said of the clothes: %q", r.Remarks)
	}
}

// TestManyPhotos looks at 500 photos, of which 200 are prepared, in less memory than half of them would take, and keeps of each up to 32 KiB.
func TestManyPhotos(t *testing.T) {
	if testing.Short() {
		t.Skip("left out with -short: it reads 500 photos")
	}
	dir, random := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	const side = 192
	const taken, keep = 500 * 4 * side * side, 500 * 32 << 10 // bytes
	for i := range 500 {
		img := image.NewNRGBA(image.Rect(0, 0, side, side))
		colours := random.Perm(256)
		for j := range img.Pix { // squares, of which no two photos have the same
			x, y := j/4%side/16, j/4/side/16
			img.Pix[j] = uint8(colours[(16*y+x+j&3)%256]) | uint8(j&3/3*255)
		}
		name := fmt.Sprintf("%03d.png", i)
		if err := os.WriteFile(filepath.Join(dir, name), encoded(t, name, img), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // so that the most is what is in use, and little of what waits to be collected
	begin := liveHeap()
	peak := watchHeap(t)
	r, err := portrait.Check(t.Context(), dir, oneFace{}, portrait.CheckOptions{Resolution: 64})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Kept()); n != 500 || !strings.Contains(strings.Join(r.Remarks, "\n"), "500 are more than are needed") {
		t.Fatalf("%d are kept, %q", n, r.Remarks)
	}
	kept := liveHeap() - begin
	set, err := portrait.Prepare(t.Context(), filepath.Join(t.TempDir(), "data"), r, portrait.PrepareOptions{Resolution: 64})
	if err != nil || len(set.Training)+len(set.HeldOut) != 200 || set.Uses() < 1200 || set.Uses() > 2400 || !strings.Contains(strings.Join(set.Warnings, "\n"), "500 photos are more than can be used") {
		t.Errorf("%d trained, %d held out, %d uses, %q, %v", len(set.Training), len(set.HeldOut), set.Uses(), set.Warnings, err)
	}
	most := peak() - begin
	t.Logf("of photos of %d bytes %d are in memory at most, and %d are kept", taken, most, kept)
	if most > taken/2 || kept > keep {
		t.Errorf("%d bytes at most, want %d; %d kept of the photos, want %d", most, taken/2, kept, keep)
	}
	runtime.KeepAlive(r)
}

// TestLargePhotoMemory looks at a large photo in the memory that its decoder takes, and little besides: no copy of it is made.
func TestLargePhotoMemory(t *testing.T) {
	const side = 2400
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.png"), encoded(t, "a.png", on(side, side, image.Point{}, image.NewNRGBA(image.Rect(0, 0, 8, 8)))), 0o666); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := portrait.Check(t.Context(), dir, drawn.Detector{}, portrait.CheckOptions{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4*side*side*3/2 {
		t.Errorf("%d bytes for a photo of %d", took, 4*side*side)
	}
}

// liveHeap is how much of the heap is in use.
func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// watchHeap looks at the heap every other millisecond, and the function that it gives tells the most that was in it, rubbish included.
func watchHeap(t *testing.T) (most func() int64) {
	end, told := make(chan struct{}), make(chan int64)
	go func() {
		heap, most := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}, int64(0)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				metrics.Read(heap)
				most = max(most, int64(heap[0].Value.Uint64()))
			case <-end:
				told <- most
				return
			}
		}
	}()
	stop := sync.OnceValue(func() int64 { close(end); return <-told })
	t.Cleanup(func() { stop() })
	return stop
}

// oneFace finds a face in the middle of every picture.
type oneFace struct{}

func (oneFace) Find(_ context.Context, img *image.NRGBA) ([]face.Face, error) {
	x, y := float64(img.Rect.Dx())/2, float64(img.Rect.Dy())/2
	return []face.Face{{Centre: face.Point{X: x, Y: y}, Size: x, Score: 100, Eyes: [2]face.Point{{X: 0.8 * x, Y: 0.9 * y}, {X: 1.2 * x, Y: 0.9 * y}}}}, nil
}

// TestOverruled does as asked.
func TestOverruled(t *testing.T) {
	img := open(t)
	two := on(1600, 800, image.Pt(800, 0), img)
	draw.Draw(two, img.Rect, mirror(img), image.Point{}, draw.Src)
	files := map[string][]byte{"a.png": encoded(t, ".png", lit(img, 0.2)), "b.png": encoded(t, ".png", img), "c.png": encoded(t, ".png", two)}
	r := check(t, files, face.Cascades{}, portrait.CheckOptions{Keep: []string{"a.png"}, Drop: []string{"b.png"},
		Person: map[string]image.Rectangle{"c.png": image.Rect(900, 0, 1600, 800)}})
	if r.Photos[0].Verdict() != portrait.Keep || r.Photos[1].Verdict() != portrait.Drop || r.Photos[2].Face.Centre.X < 900 {
		t.Errorf("a.png is to be kept, b.png to be dropped, the person of c.png is on the right:\n%s", r)
	}
}

// samples is the folder of the sample photos.
func samples(name string) string { return filepath.Join("..", "tinyportrait", "photos", name) }

// TestSamples refuses none of the sample photos, nor those that ATELIER_PHOTOS names, a folder of folders laid out like them.
func TestSamples(t *testing.T) {
	folders := []string{samples("12_personname man"), samples("1_man")}
	if more := os.Getenv("ATELIER_PHOTOS"); more != "" {
		found, err := filepath.Glob(filepath.Join(more, "*_*"))
		if err != nil || len(found) == 0 {
			t.Fatal(found, err)
		}
		folders = append(folders, found...)
	}
	for _, dir := range folders {
		r, err := portrait.Check(t.Context(), dir, drawn.Detector{}, portrait.CheckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Kept()) != len(r.Photos) {
			t.Errorf("%s: not all are kept:\n%s", dir, r)
		}
	}
}

// TestTwoPeople says so where the photos of two people are mixed.
func TestTwoPeople(t *testing.T) {
	files := make(map[string][]byte)
	for folder, names := range map[string][]string{
		"12_personname man": {"001.jpg", "002.jpg", "004.png", "006.jpg", "009.jpg", "012.jpg", "014.jpg"},
		"1_man":             {"004.jpg", "006.jpg", "009.jpg"},
	} {
		for _, name := range names {
			data, err := os.ReadFile(filepath.Join(samples(folder), name))
			if err != nil {
				t.Fatal(err)
			}
			files[folder[:2]+name] = data
		}
	}
	r := check(t, files, drawn.Detector{}, portrait.CheckOptions{})
	for _, p := range r.Photos {
		if want := strings.HasPrefix(p.Name, "1_"); p.Has(portrait.Stranger) != want {
			t.Errorf("%s looks unlike the others: %v, want %v", p.Name, !want, want)
		}
	}
	if !strings.Contains(strings.Join(r.Remarks, "\n"), "two people") {
		t.Errorf("nothing is said of two people: %q", r.Remarks)
	}
}

// TestCheckErrors names folders that are none or empty, and photos that are not there.
func TestCheckErrors(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct {
		dir string
		o   portrait.CheckOptions
		say string
	}{
		{filepath.Join(empty, "nowhere"), portrait.CheckOptions{}, "nowhere"},
		{empty, portrait.CheckOptions{}, "holds no photos"},
		{samples("1_man"), portrait.CheckOptions{Keep: []string{"x.jpg"}}, `"x.jpg"`},
		{samples("1_man"), portrait.CheckOptions{Person: map[string]image.Rectangle{"y.jpg": {}}}, `"y.jpg"`},
	} {
		if _, err := portrait.Check(t.Context(), c.dir, drawn.Detector{}, c.o); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("the error %v does not say %q", err, c.say)
		}
	}
}
