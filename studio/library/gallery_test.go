package library_test

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atelier-go/atelier/studio/library"
)

// fill puts pictures among outputs, one a minute before the next, over days of so many.
func fill(t testing.TB, dir string, n, aDay int) {
	t.Helper()
	var file bytes.Buffer
	if err := picture("PROMPT", 7).Encode(&file); err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 11, 1, 8, 0, 0, 0, time.Local)
	for i := range n {
		day := begin.AddDate(0, 0, i/aDay)
		folder := filepath.Join(dir, "outputs", "txt2img-images", day.Format(time.DateOnly))
		if i%aDay == 0 {
			if err := os.MkdirAll(folder, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(folder, fmt.Sprintf("%05d-7.png", i%aDay))
		at := day.Add(time.Duration(i%aDay) * time.Minute)
		prompt := fmt.Sprintf("%06d", i) // of the length of what it replaces; its checksum counts to nobody
		if err := errors.Join(os.WriteFile(path, bytes.Replace(file.Bytes(), []byte("PROMPT"), []byte(prompt), 1), 0o666), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPictures pages through the outputs and searches in what they say.
func TestPictures(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 60, 25)
	l := open(t, library.Options{DataDir: dir})
	page, total, err := l.Pictures(t.Context(), library.Query{Limit: 20, Offset: 5})
	if err != nil || total != 60 || len(page) != 20 || page[0].Name != "txt2img-images/2026-11-03/00004-7.png" || page[19].Name != "txt2img-images/2026-11-02/00010-7.png" || page[0].Day() != "2026-11-03" {
		t.Errorf("the page is %v of %d, %v", page, total, err)
	}
	for search, want := range map[string]int{"": 60, "000042": 1, "0000 EULER": 60, "nothing": 0, "2026-11-02": 25, "blurred 000001": 1} {
		if page, total, err := l.Pictures(t.Context(), library.Query{Search: search}); err != nil || total != want || len(page) != want {
			t.Errorf("%q finds %d, %v; want %d", search, total, err, want)
		}
	}
	if _, total, err := l.Pictures(t.Context(), library.Query{Folder: "img2img-images"}); err != nil || total != 0 {
		t.Errorf("another folder has %d, %v", total, err)
	}
	path, err := l.SavePicture(library.Img2Img, picture("late", 9))
	if err != nil {
		t.Fatal(err)
	}
	page, total, err = l.Pictures(t.Context(), library.Query{Limit: 1})
	if err != nil || total != 61 || len(page) != 1 {
		t.Fatalf("after one more there are %d, %v", total, err)
	}
	name := page[0].Name
	if where, err := l.PicturePath(name); err != nil || where != path {
		t.Errorf("the newest is %s, %v; want %s", where, err, path)
	}
	if text, err := l.Infotext(name); err != nil || !strings.HasPrefix(text, "late\n") {
		t.Errorf("it says %q, %v", text, err)
	}
	f, p, err := l.OpenPicture(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil || int64(len(data)) != p.Size {
		t.Errorf("%d bytes of %d, %v", len(data), p.Size, err)
	}
	if err := l.DeletePicture(name); err != nil {
		t.Error(err)
	}
	if _, total, err := l.Pictures(t.Context(), library.Query{}); err != nil || total != 60 {
		t.Errorf("after it was deleted there are %d, %v", total, err)
	}
}

// TestPicturesStayInside asks for what is no picture of the gallery in every way that leads there.
func TestPicturesStayInside(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 1, 1)
	lay(t, dir, "secret.png", "outputs/notes.txt", "outputs/.hidden/a.png", "outputs/empty.png")
	if err := os.Truncate(filepath.Join(dir, "outputs", "empty.png"), 0); err != nil {
		t.Fatal(err)
	}
	l := open(t, library.Options{DataDir: dir})
	if _, total, err := l.Pictures(t.Context(), library.Query{}); err != nil || total != 1 {
		t.Fatalf("%d, %v", total, err)
	}
	for _, name := range []string{
		"", ".", "..", "../secret.png", filepath.Join(dir, "secret.png"), "txt2img-images/../../secret.png", `..\secret.png`, "txt2img-images/2026-11-01/../2026-11-01/00000-7.png",
		"/txt2img-images/2026-11-01/00000-7.png", "notes.txt", ".hidden/a.png", "empty.png", "txt2img-images", "txt2img-images/2026-11-01/00000-7.png\x00",
	} {
		_, _, openErr := l.OpenPicture(name)
		_, thumbErr := l.Thumbnail(t.Context(), name, 64)
		_, textErr := l.Infotext(name)
		for _, err := range []error{openErr, thumbErr, textErr, l.DeletePicture(name)} {
			if _, ok := errors.AsType[*library.NotFoundError](err); !ok {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "secret.png")); err != nil {
		t.Error(err)
	}
}

// TestThumbnail makes small pictures, and refuses sizes that are none.
func TestThumbnail(t *testing.T) {
	dir := t.TempDir()
	l := open(t, library.Options{DataDir: dir})
	if _, err := l.SavePicture(library.Txt2Img, wide(300, 200)); err != nil {
		t.Fatal(err)
	}
	page, _, err := l.Pictures(t.Context(), library.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for side, want := range map[int][2]int{64: {64, 42}, 1024: {300, 200}} {
		file, err := l.Thumbnail(t.Context(), page[0].Name, side)
		if err != nil {
			t.Fatal(err)
		}
		c, err := jpeg.DecodeConfig(bytes.NewReader(file))
		if err != nil || c.Width != want[0] || c.Height != want[1] {
			t.Errorf("a thumbnail of %d is %d×%d, %v; want %v", side, c.Width, c.Height, err, want)
		}
		again, err := l.Thumbnail(t.Context(), page[0].Name, side)
		if err != nil || &again[0] != &file[0] {
			t.Errorf("it is made again: %v", err)
		}
	}
	for _, side := range []int{0, -1, 100000} {
		if _, err := l.Thumbnail(t.Context(), page[0].Name, side); err == nil {
			t.Errorf("a side of %d", side)
		}
	}
}

// BenchmarkPictures shows the first page of ten thousand pictures, and searches them.
func BenchmarkPictures(b *testing.B) {
	dir := b.TempDir()
	fill(b, dir, 10000, 500)
	l, err := library.Open(library.Options{DataDir: dir})
	if err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]library.Query{"page": {}, "search": {Search: "009999"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if page, _, err := l.Pictures(b.Context(), q); err != nil || len(page) == 0 {
					b.Fatal(page, err)
				}
			}
		})
	}
}
