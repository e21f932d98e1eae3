package infotext

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	ascii  = "a man, hat\nSteps: 20, Sampler: Euler, Seed: 1"
	latin  = "café\nSteps: 20"
	beyond = "猫 👓, a cat\nNegative prompt: 犬\nSteps: 20, Sampler: Euler a, Seed: 5"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestExtract reads files that Pillow wrote.
func TestExtract(t *testing.T) {
	for name, want := range map[string]string{
		"text.png": ascii, "latin1.png": latin, "ztxt.png": ascii, "itxt.png": beyond, "itxt-zip.png": beyond, "other.png": ascii, "exif.png": beyond,
		"exif.jpg": beyond, "exif-little.jpg": beyond, "exif-ascii.jpg": ascii, "exif-ascii-little.jpg": ascii, "comment-ascii.jpg": ascii,
		"exif.webp": beyond, "exif-ascii.webp": ascii,
		"none.png": "", "none.jpg": "", "none.webp": "", "lossless.webp": "",
	} {
		m, err := Extract(bytes.NewReader(read(t, name)))
		if err != nil || m.Infotext() != want {
			t.Errorf("%s: %q, %v, want %q", name, m.Infotext(), err, want)
		}
	}
	m, err := Extract(bytes.NewReader(read(t, "other.png")))
	if text, _ := m.Get("Software"); err != nil || text != "x" || len(m.Entries) != 3 {
		t.Errorf("all entries: %v, %v", m, err)
	}
	if _, err := Extract(strings.NewReader("GIF89a, or so")); !errors.Is(err, ErrFormat) {
		t.Errorf("another file: %v, want %v", err, ErrFormat)
	}
}

// TestInsert writes texts and reads them again.
func TestInsert(t *testing.T) {
	for _, name := range []string{"none.png", "none.jpg", "none.webp", "lossless.webp", "alpha.webp"} {
		for _, text := range []string{"", ascii, latin, beyond, "odd"} {
			file, err := Insert(read(t, name), text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if m, err := Extract(bytes.NewReader(file)); err != nil || m.Infotext() != text {
				t.Errorf("%s: %q, %v, want %q", name, m.Infotext(), err, text)
			}
			switch filepath.Ext(name) {
			case ".png":
				_, err = png.Decode(bytes.NewReader(file))
			case ".jpg":
				_, err = jpeg.Decode(bytes.NewReader(file))
			case ".webp":
				if size := binary.LittleEndian.Uint32(file[4:]); int(size)+8 != len(file) {
					t.Errorf("%s: the RIFF file says %d bytes, and has %d", name, size+8, len(file))
				}
			}
			if err != nil {
				t.Errorf("%s cannot be read any more: %v", name, err)
			}
		}
	}
	if _, err := Insert(read(t, "none.jpg"), strings.Repeat("x", 40000)); err == nil || !strings.Contains(err.Error(), "PNG") {
		t.Errorf("a text that no JPEG file can have: %v", err)
	}
	if _, err := Insert([]byte("no picture"), "x"); !errors.Is(err, ErrFormat) {
		t.Errorf("another file: %v, want %v", err, ErrFormat)
	}
}

// TestInsertLikePillow compares the container with the one that Pillow writes.
func TestInsertLikePillow(t *testing.T) {
	got, err := Insert(read(t, "none.webp"), beyond)
	if err != nil {
		t.Fatal(err)
	}
	want := read(t, "exif.webp")
	if !bytes.Equal(got[:30], want[:30]) {
		t.Errorf("header\n%x, want\n%x", got[:30], want[:30])
	}
	for _, c := range []struct{ text, kind, body string }{
		{"a man\nSteps: 20", "tEXt", "parameters\x00a man\nSteps: 20"},
		{"café", "tEXt", "parameters\x00caf\xe9"},
		{"猫, 👓", "iTXt", "parameters\x00\x00\x00\x00\x00猫, 👓"},
	} {
		file, err := Insert(read(t, "none.png"), c.text)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(file, pngChunk(c.kind, []byte(c.body))) {
			t.Errorf("%q is not written as %s", c.text, c.kind)
		}
	}
}

// TestRead reads texts from files of all kinds.
func TestRead(t *testing.T) {
	for name, want := range map[string]string{
		"text.png": ascii, "exif.jpg": beyond, "exif.webp": beyond, "none.png": "",
		"novelai.png": "a cat, masterpiece\nNegative prompt: lowres\nSteps: 28, Sampler: Euler a, CFG scale: 11.0, Seed: 5, Size: 3x2, Clip skip: 2, ENSD: 31337",
	} {
		if text, err := Read(bytes.NewReader(read(t, name))); err != nil || text.String() != want {
			t.Errorf("%s: %q, %v, want %q", name, text, err, want)
		}
	}
	if text, err := Read(strings.NewReader("\ufeff" + beyond + "\n")); err != nil || text.String() != beyond {
		t.Errorf("a text file: %q, %v", text, err)
	}
	for name, program := range map[string]string{"comfyui.png": "ComfyUI", "invokeai.png": "InvokeAI"} {
		_, err := Read(bytes.NewReader(read(t, name)))
		if e, ok := errors.AsType[*ForeignError](err); !ok || e.Program != program {
			t.Errorf("%s: the error is %v, want one that names %s", name, err, program)
		}
	}
	for _, bad := range []string{"\x00\x01\x02", "caf\xe9", strings.Repeat("x", maxText+1)} {
		if _, err := Read(strings.NewReader(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%.10q: the error is %v, want %v", bad, err, ErrFormat)
		}
	}
}

func pngChunk(kind string, body []byte) []byte {
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	chunk = append(append(chunk, kind...), body...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
}

// TestExtractBounds reads texts that are too long, and files that are damaged.
func TestExtractBounds(t *testing.T) {
	head := read(t, "none.png")[:pngHeader]
	var bomb bytes.Buffer
	bomb.WriteString("parameters\x00\x00")
	z := zlib.NewWriter(&bomb)
	for range 1 << 6 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := append(bytes.Clone(head), pngChunk("zTXt", bomb.Bytes())...)
	for range 20 {
		file = append(file, pngChunk("tEXt", append([]byte("x\x00"), make([]byte, 1<<20)...))...)
	}
	m, err := Extract(bytes.NewReader(file))
	size := 0
	for _, e := range m.Entries {
		size += len(e.Text)
	}
	if err != nil || size > maxTexts || len(m.Entries) < 10 {
		t.Errorf("%d entries with %d bytes, %v", len(m.Entries), size, err)
	}
	for _, name := range []string{"text.png", "ztxt.png", "itxt.png", "exif.jpg", "exif.webp"} {
		whole := read(t, name)
		for n := range whole {
			if _, err := Extract(bytes.NewReader(whole[:n])); err != nil && !errors.Is(err, ErrFormat) {
				t.Errorf("%s cut to %d bytes: %v", name, n, err)
			}
		}
	}
}

func FuzzExtract(f *testing.F) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		if file, err := os.ReadFile(filepath.Join("testdata", e.Name())); err == nil && !e.IsDir() {
			f.Add(file)
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := Extract(bytes.NewReader(file))
		if err != nil {
			return
		}
		Parse(m.Infotext())
		with, err := Insert(file, "a, b")
		if err != nil {
			return
		}
		if _, err := Extract(bytes.NewReader(with)); err != nil {
			t.Errorf("with a text the file cannot be read: %v", err)
		}
	})
}
