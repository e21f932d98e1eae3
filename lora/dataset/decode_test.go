package dataset

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writePNG writes a picture whose pixels are all c.
func writePNG(t testing.TB, path string, w, h int, c color.NRGBA) {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := 0; i < len(img.Pix); i += 4 {
		copy(img.Pix[i:], []uint8{c.R, c.G, c.B, c.A})
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, b.String())
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// pngHeader is a PNG that ends after saying how large it is.
func pngHeader(w, h uint32) string {
	var ihdr []byte
	ihdr = append(ihdr, "IHDR"...)
	ihdr = binary.BigEndian.AppendUint32(ihdr, w)
	ihdr = binary.BigEndian.AppendUint32(ihdr, h)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), ihdr...)
	return string(binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(ihdr)))
}

func TestOrientations(t *testing.T) {
	for _, name := range []string{"turned.jpg", "turned.png", "turned.webp", "turned.tiff"} {
		t.Run(name, func(t *testing.T) {
			h, err := readHeader(filepath.Join("testdata", name))
			if err != nil || h != (header{Size{24, 16}, 6}) {
				t.Fatalf("%+v, %v, want 24x16 with orientation 6", h, err)
			}
			// The stored left half is red; turned clockwise it is above.
			img := orient(mustRead(t, filepath.Join("testdata", name)), 6)
			if img.Rect.Dx() != 16 || img.Rect.Dy() != 24 {
				t.Fatalf("turned picture is %v", img.Rect)
			}
			above, below := img.NRGBAAt(8, 3), img.NRGBAAt(8, 20)
			if above.R < 200 || above.B > 50 || below.B < 200 || below.R > 50 {
				t.Errorf("above %v, below %v, want red and blue", above, below)
			}
		})
	}
	if h, err := readHeader("testdata/plain.bmp"); err != nil || h != (header{Size{24, 16}, 1}) {
		t.Errorf("plain.bmp: %+v, %v", h, err)
	}
}

// TestWebPPadding: a chunk of odd length before EXIF is padded by a byte.
func TestWebPPadding(t *testing.T) {
	tiff := "II*\x00\x08\x00\x00\x00" + "\x01\x00" + "\x12\x01\x03\x00\x01\x00\x00\x00\x08\x00\x00\x00"
	chunk := func(name, data string) string {
		return name + string([]byte{byte(len(data)), 0, 0, 0}) + data + strings.Repeat("\x00", len(data)%2)
	}
	file := "RIFF\x00\x00\x00\x00WEBP" + chunk("VP8 ", "odd") + chunk("EXIF", "Exif\x00\x00"+tiff)
	if got := readOrientation(strings.NewReader(file), "webp"); got != 8 {
		t.Errorf("orientation %d, want 8", got)
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
		img := orient(src, orientation)
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

func TestPixelConversions(t *testing.T) {
	bounds := image.Rect(3, 5, 19, 15)
	at := func(x, y int) color.NRGBA { return color.NRGBA{uint8(x * 10), uint8(y * 10), 77, 255} }
	for name, img := range map[string]interface {
		image.Image
		Set(x, y int, c color.Color)
	}{
		"RGBA": image.NewRGBA(bounds), "NRGBA with an offset": image.NewNRGBA(bounds), "NRGBA64": image.NewNRGBA64(bounds), "RGBA64": image.NewRGBA64(bounds),
	} {
		for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
			for x := bounds.Min.X; x < bounds.Max.X; x++ {
				img.Set(x, y, at(x, y))
			}
		}
		if got, want := nrgba(img).NRGBAAt(2, 4), at(5, 9); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	palette := image.NewPaletted(image.Rect(0, 0, 2, 1), color.Palette{color.NRGBA{1, 2, 3, 0}, color.NRGBA{9, 8, 7, 255}})
	palette.Pix = []uint8{0, 200} // the second lies beyond the palette
	got := nrgba(palette)
	if c := got.NRGBAAt(0, 0); c.A != 0 {
		t.Errorf("transparent palette entry became %v", c)
	}
	if c := got.NRGBAAt(1, 0); c != (color.NRGBA{}) {
		t.Errorf("an index beyond the palette became %v", c)
	}
	ycc := image.NewYCbCr(image.Rect(0, 0, 2, 2), image.YCbCrSubsampleRatio420)
	ycc.Y = []uint8{10, 20, 30, 40}
	ycc.Cb[0], ycc.Cr[0] = 128, 128
	if c := nrgba(ycc).NRGBAAt(1, 1); c != (color.NRGBA{40, 40, 40, 255}) {
		t.Errorf("YCbCr: %v, want grey 40", c)
	}
}

// TestHiddenColours: dropping alpha shows what is stored under it, compositing does not.
func TestHiddenColours(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	writePNG(t, path, 16, 16, color.NRGBA{200, 100, 50, 0})
	img := mustRead(t, path)
	if c := img.NRGBAAt(3, 3); c != (color.NRGBA{200, 100, 50, 0}) || !transparent(img) {
		t.Fatalf("%v, want the stored colour and no opacity", c)
	}
	if overWhite(img); img.NRGBAAt(3, 3) != (color.NRGBA{255, 255, 255, 0}) {
		t.Errorf("over white: %v", img.NRGBAAt(3, 3))
	}
}

func TestBadPictures(t *testing.T) {
	dir := t.TempDir()
	jpeg := readFile(t, "../../tinyportrait/photos/12_personname man/001.jpg")
	for _, c := range []struct{ name, content, want string }{
		{"one.png", pngHeader(1, 1), "1x1 pixels, too small"},
		{"line.png", pngHeader(3000, 1), "3000x1 pixels, too small"},
		{"huge.png", pngHeader(20000, 20000), "20000x20000 pixels are more than 178 million"},
		{"overflow.png", pngHeader(1<<31-1, 1<<31-1), "dimension overflow; save it as an ordinary JPEG or PNG"},
		{"header.png", pngHeader(64, 64), "damaged"},
		{"cut.jpg", jpeg[:len(jpeg)/2], "damaged"},
		{"text.jpg", "this is no picture", "no JPEG, PNG, WebP, BMP or TIFF"},
		{"empty.webp", "", "no JPEG, PNG, WebP, BMP or TIFF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, c.name)
			writeFile(t, path, c.content)
			_, err := readPicture(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error with %q and the path", err, c.want)
			}
		})
	}
}

// FuzzOrientation feeds hostile metadata to the EXIF reader; the format is chosen by the first byte.
func FuzzOrientation(f *testing.F) {
	for i, name := range []string{"turned.jpg", "turned.png", "turned.webp", "turned.tiff"} {
		f.Add(uint8(i), []byte(readFile(f, filepath.Join("testdata", name))))
	}
	f.Fuzz(func(t *testing.T, format uint8, data []byte) {
		name := []string{"jpeg", "png", "webp", "tiff"}[format%4]
		if o := readOrientation(bytes.NewReader(data), name); o < 1 || o > 8 {
			t.Errorf("orientation %d", o)
		}
	})
}
