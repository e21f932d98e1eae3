package picture_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/internal/picture"
)

func open(data []byte) (*picture.File, error) {
	return picture.New(bytes.NewReader(data), int64(len(data)), picture.Limits{})
}

// pngHeader is a PNG that ends after saying how large it is.
func pngHeader(w, h uint32) string {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	ihdr = append(binary.BigEndian.AppendUint32(ihdr, h), 8, 2, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), ihdr...)
	return string(binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(ihdr)))
}

// TestSixteenBitGrey: Pillow clips them to white; here they keep their higher bytes, as sixteen bits of colours do there.
func TestSixteenBitGrey(t *testing.T) {
	want, _ := decode(t, "testdata/rgb16.png")
	for _, name := range []string{"testdata/grey16.png", "testdata/grey16.tif"} {
		got, _ := decode(t, name)
		for i := 0; i < len(want.Pix); i += 4 {
			if grey := want.Pix[i+2]; [4]uint8(got.Pix[i:]) != [4]uint8{grey, grey, grey, 255} { // OpenCV's first channel is blue
				t.Fatalf("%s: pixel %d is %v, want %d", name, i/4, got.Pix[i:][:4], grey)
			}
		}
	}
}

func TestOrientations(t *testing.T) {
	for _, name := range []string{"turned.jpg", "turned.png", "turned.webp", "turned.tiff"} {
		t.Run(name, func(t *testing.T) {
			img, f := decode(t, filepath.Join("testdata", name))
			if f.Width != 24 || f.Height != 16 || f.Orientation != 6 {
				t.Fatalf("%+v, want 24×16 with orientation 6", f.Header)
			}
			// The stored left half is red; turned clockwise it is above.
			img = picture.Orient(img, 6)
			if img.Rect.Dx() != 16 || img.Rect.Dy() != 24 {
				t.Fatalf("turned picture is %v", img.Rect)
			}
			above, below := img.NRGBAAt(8, 3), img.NRGBAAt(8, 20)
			if above.R < 200 || above.B > 50 || below.B < 200 || below.R > 50 {
				t.Errorf("above %v, below %v, want red and blue", above, below)
			}
		})
	}
	if _, f := decode(t, "testdata/plain.bmp"); f.Width != 24 || f.Height != 16 || f.Orientation != 1 {
		t.Errorf("plain.bmp: %+v", f.Header)
	}
}

// exif is a directory of one entry: the orientation with a type of numbers.
func exif(order binary.AppendByteOrder, mark string, kind uint16, count uint32, value ...byte) string {
	b := order.AppendUint16([]byte(mark), 42)
	b = order.AppendUint16(order.AppendUint32(b, 8), 1)
	b = order.AppendUint16(order.AppendUint16(b, 0x0112), kind)
	return string(append(order.AppendUint32(b, count), append(value, 0, 0, 0, 0)...))
}

func segment(marker byte, data string) string {
	return string(append(binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(data)+2)), data...))
}

// TestEXIFForms are ways to write an orientation, each with what Pillow reads.
func TestEXIFForms(t *testing.T) {
	jpeg := string(readFile(t, "testdata/444.jpg"))[2:]
	le, be := binary.LittleEndian, binary.BigEndian
	app1 := func(tiff string) string { return segment(0xe1, "Exif\x00\x00"+tiff) }
	short := app1(exif(be, "MM", 3, 1, 0, 6))
	xmp := "http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta><rdf:Description "
	for _, c := range []struct {
		name, before string
		want         int
	}{
		{"little-endian short", app1(exif(le, "II", 3, 1, 6, 0)), 6},
		{"big-endian short", short, 6},
		{"little-endian long", app1(exif(le, "II", 4, 1, 6, 0, 0, 0)), 6},
		{"big-endian long", app1(exif(be, "MM", 4, 1, 0, 0, 0, 6)), 6},
		{"signed short", app1(exif(be, "MM", 8, 1, 0, 3)), 3},
		{"byte", app1(exif(be, "MM", 1, 1, 6, 0)), 1},
		{"signed byte", app1(exif(be, "MM", 6, 1, 6, 0)), 6},
		{"undefined", app1(exif(be, "MM", 7, 1, 6, 0)), 1},
		{"two of them", app1(exif(be, "MM", 3, 2, 0, 6, 0, 6)), 1},
		{"nine", app1(exif(be, "MM", 3, 1, 0, 9)), 1},
		{"fill bytes", "\xff\xff\xff" + short, 6},
		{"after comments and XMP", segment(0xfe, "hello") + segment(0xe1, xmp+">") + short, 6},
		{"XMP alone", segment(0xe1, xmp+`tiff:Orientation="8">`), 8},
		{"XMP as an element", segment(0xe1, xmp+`><tiff:Orientation>3</tiff:Orientation>`), 3},
		{"EXIF before XMP", segment(0xe1, xmp+`tiff:Orientation="8">`) + short, 6},
		{"cut off", segment(0xe1, "Exif\x00\x00MM\x00*\x00\x00"), 1},
		{"none", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := open([]byte("\xff\xd8" + c.before + jpeg))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.Orientation != c.want {
				t.Errorf("orientation %d, want %d", f.Orientation, c.want)
			}
			if _, err := f.Decode(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPNGOrientation are the places of a PNG that Pillow looks at.
func TestPNGOrientation(t *testing.T) {
	file := string(readFile(t, "testdata/rgb.png"))
	const ihdr = 33 // where the first chunk ends
	tiff := exif(binary.BigEndian, "MM", 3, 1, 0, 6)
	profile := fmt.Sprintf("\nexif\n    %d\n%x\n%x\n", len(tiff)+6, "Exif\x00\x00", tiff)
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := io.WriteString(z, profile); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, kind, data string
		want             int
	}{
		{"EXIF", "eXIf", tiff, 6},
		{"ImageMagick's", "tEXt", "Raw profile type exif\x00" + profile, 6},
		{"compressed", "zTXt", "Raw profile type exif\x00\x00" + packed.String(), 6},
		{"no digits", "tEXt", "Raw profile type exif\x00\nexif\n  3\nxyz\n", 1},
		{"no lines", "tEXt", "Raw profile type exif\x00", 1},
		{"cut off", "zTXt", "Raw profile type exif\x00\x00" + packed.String()[:10], 1},
		{"XMP", "iTXt", "XML:com.adobe.xmp\x00\x00\x00\x00\x00<rdf:Description tiff:Orientation=\"8\"/>", 8},
		{"a comment", "tEXt", "Comment\x00hello", 1},
	} {
		chunk := string(binary.BigEndian.AppendUint32(nil, uint32(len(c.data)))) + c.kind + c.data
		chunk += string(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(c.kind+c.data))))
		f, err := open([]byte(file[:ihdr] + chunk + file[ihdr:]))
		if err != nil {
			t.Fatal(err)
		}
		if f.Orientation != c.want {
			t.Errorf("%s: orientation %d, want %d", c.name, f.Orientation, c.want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOrient turns a picture of 2×3 distinct pixels each of the eight ways, as the EXIF standard draws them.
func TestOrient(t *testing.T) {
	src := image.NewNRGBA(image.Rect(0, 0, 2, 3))
	for i, letter := range "abcdef" {
		src.SetNRGBA(i%2, i/2, color.NRGBA{uint8(letter), 0, 0, 255})
	}
	for orientation, want := range map[int]string{
		1: "ab cd ef", 2: "ba dc fe", 3: "fe dc ba", 4: "ef cd ab",
		5: "ace bdf", 6: "eca fdb", 7: "fdb eca", 8: "bdf ace",
	} {
		img := picture.Orient(src, orientation)
		var rows []string
		for y := range img.Rect.Dy() {
			row := ""
			for x := range img.Rect.Dx() {
				row += string(rune(img.NRGBAAt(x, y).R))
			}
			rows = append(rows, row)
		}
		if got := strings.Join(rows, " "); got != want {
			t.Errorf("orientation %d: %s, want %s", orientation, got, want)
		}
	}
}

// TestHiddenColours: what is stored under transparent pixels is kept, and compositing covers it.
func TestHiddenColours(t *testing.T) {
	src := image.NewNRGBA(image.Rect(0, 0, 4, 4))
	for i := 0; i < len(src.Pix); i += 4 {
		copy(src.Pix[i:], []uint8{200, 100, 50, 0})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, src); err != nil {
		t.Fatal(err)
	}
	img, err := picture.Decode(t.Context(), b.Bytes(), picture.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if c := img.NRGBAAt(3, 3); c != (color.NRGBA{200, 100, 50, 0}) {
		t.Fatalf("%v, want the stored colour and no opacity", c)
	}
	if picture.OverWhite(img); img.NRGBAAt(3, 3) != (color.NRGBA{255, 255, 255, 0}) {
		t.Errorf("over white: %v", img.NRGBAAt(3, 3))
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct {
		name string
		want bool
	}{{"moving.webp", true}, {"moving-alpha.webp", true}, {"moving.png", true}, {"moving.gif", true}, {"still.gif", false}, {"lossy.webp", false}, {"rgb.png", false}} {
		if _, f := decode(t, "testdata/"+c.name); len(f.Notes) > 0 != c.want {
			t.Errorf("%s: notes %q", c.name, f.Notes)
		}
	}
}

func TestBadPictures(t *testing.T) {
	jpeg, webp, tiff := string(readFile(t, "testdata/420.jpg")), string(readFile(t, "testdata/lossy.webp")), string(readFile(t, "testdata/rgb.tif"))
	for _, c := range []struct{ name, content, want string }{
		{"huge.png", pngHeader(20000, 20000), "20000x20000 pixels, which take 1525 MB to decode, more than the limit of 512 MB: scale it down"},
		{"overflow.png", pngHeader(1<<31-1, 1<<31-1), "dimension overflow; save it as an ordinary JPEG or PNG"},
		{"header.png", pngHeader(64, 64), "damaged or cut off"},
		{"cut.jpg", jpeg[:len(jpeg)/2], "damaged or cut off"},
		{"head.jpg", jpeg[:100], "damaged or cut off"},
		{"cut.webp", webp[:len(webp)/2], "damaged or cut off"},
		{"head.webp", webp[:22], "damaged or cut off"},
		{"cut.tif", tiff[:len(tiff)/2], "damaged or cut off"},
		{"cut.bmp", string(readFile(t, "testdata/rgb.bmp")[:400]), "damaged or cut off"},
		{"cut.gif", string(readFile(t, "testdata/still.gif")[:1000]), "damaged or cut off"},
		{"text.jpg", "this is no picture", "it is no JPEG, PNG, WebP, BMP, TIFF or GIF, whatever its name says"},
		{"empty.webp", "", "the file is empty"},
		{"page.jpg", "\ufeff\r\n<!DOCTYPE html><html>", "it is a web page, not a format that is read: its download or copy failed; get it again"},
		{"answer.png", `{"error":"Unauthorized"}`, "it is a JSON answer"},
		{"pointer.jpg", "version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "it is a Git LFS pointer"},
		{"zeros.jpg", strings.Repeat("\x00", 5000), "it is nothing but zeros"},
		{"drawing.png", "<svg xmlns", "convert or remove it"},
		{"photo.jpg", "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "it is HEIC"},
		{"photo.png", "\x00\x00\x00\x18ftypavif\x00\x00\x00\x00", "it is AVIF"},
		{"gray12.tif", "II*\x00\x08\x00\x00\x00\x03\x00\x00\x01\x03\x00\x01\x00\x00\x00\x09\x00\x00\x00\x01\x01\x03\x00\x01\x00\x00\x00\x09\x00\x00\x00\x02\x01\x03\x00\x01\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00", "save it as an ordinary JPEG or PNG"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.name)
			if err := os.WriteFile(path, []byte(c.content), 0o666); err != nil {
				t.Fatal(err)
			}
			f, err := picture.Open(path, picture.Limits{})
			if err == nil {
				defer f.Close()
				_, err = f.Decode(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("got %v, want an error with %q and the path", err, c.want)
			}
		})
	}
}

// TestWrongExtension: contents decide.
func TestWrongExtension(t *testing.T) {
	path := filepath.Join(t.TempDir(), "really-a.png")
	if err := os.WriteFile(path, readFile(t, "testdata/lossy.webp"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, f := decode(t, path); f.Format != "webp" {
		t.Errorf("format %s", f.Format)
	}
}

func TestLimits(t *testing.T) {
	data := readFile(t, "testdata/444.jpg")
	_, err := picture.New(bytes.NewReader(data), int64(len(data)), picture.Limits{Memory: 1000})
	if e, ok := errors.AsType[*picture.TooLargeError](err); !ok || e.Width != 45 || e.Height != 37 || e.Limit != 1000 || e.Need < 45*37*7 {
		t.Errorf("%v", err)
	}
}

// slow serves a file that, once blocked, comes no further.
type slow struct {
	*bytes.Reader
	blocked       bool
	reached, stop chan struct{}
}

func (s *slow) ReadAt(b []byte, at int64) (int, error) {
	if s.blocked {
		close(s.reached)
		<-s.stop
		return 0, io.ErrUnexpectedEOF
	}
	return s.Reader.ReadAt(b, at)
}

// TestDecodeStops: the end of a context ends decoding at once, and its memory comes back when the decoder has ended.
func TestDecodeStops(t *testing.T) {
	data := []byte(pngHeader(10000, 10000))
	reached, stop := make(chan struct{}), make(chan struct{})
	in := &slow{bytes.NewReader(data), false, reached, stop}
	f, err := picture.New(in, int64(len(data)), picture.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	in.blocked = true
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-reached
		cancel(reason)
	}()
	if _, err := f.Decode(ctx); !errors.Is(err, reason) {
		t.Errorf("%v, want the cause", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	// Another of that size has no room while the first decoder runs.
	other, err := open(data)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, cancel2 := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel2()
	if _, err := other.Decode(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while memory is held: %v", err)
	}
	close(stop)
	if _, err := other.Decode(t.Context()); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after it came back: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	for _, name := range []string{"turned.jpg", "turned.png", "turned.webp", "turned.tiff", "plain.bmp", "size2x2.jpg", "tiny.webp", "size4x5.jpg"} {
		f.Add(readFile(f, filepath.Join("testdata", name)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<12 {
			return
		}
		in, err := picture.New(bytes.NewReader(data), int64(len(data)), picture.Limits{Memory: 16 << 20})
		if err != nil {
			return
		}
		defer in.Close()
		if in.Orientation < 1 || in.Orientation > 8 {
			t.Errorf("orientation %d", in.Orientation)
		}
		img, err := in.Decode(t.Context())
		if err == nil && (img.Rect.Dx() != in.Width || img.Rect.Dy() != in.Height) {
			t.Errorf("%v, the header says %d×%d", img.Rect, in.Width, in.Height)
		}
	})
}
