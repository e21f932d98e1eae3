package dataset

import (
	"archive/zip"
	"bytes"
	"errors"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// latentPicture opens a dataset of one picture, w×h pixels, in a folder of its own.
func latentPicture(t testing.TB, name string, w, h int, set Set, subset Subset) *Picture {
	t.Helper()
	dir := t.TempDir()
	writePNG(t, filepath.Join(dir, name), w, h, color.NRGBA{9, 9, 9, 255})
	subset.ImageDir = dir
	set.Subsets = []Subset{subset}
	d, err := Open(t.Context(), Config{Sets: []Set{set}, CacheLatentsToDisk: true})
	if err != nil {
		t.Fatal(err)
	}
	return d.Pictures()[0]
}

func countingLatents(p *Picture, from float32) *Latents {
	l := &Latents{H: p.Bucket.H / 8, W: p.Bucket.W / 8}
	ramp := func(n int) []float32 {
		data := make([]float32, n)
		for i := range data {
			data[i] = from + float32(i)/8
		}
		return data
	}
	l.Sample = ramp(4 * l.H * l.W)
	if p.FlipAug() {
		l.Flipped = ramp(4 * l.H * l.W)
	}
	if p.subset.AlphaMask {
		l.AlphaMask = make([]float32, p.Bucket.W*p.Bucket.H)
	}
	return l
}

var at512 = Set{Resolution: Size{512, 512}, Bucketing: Bucketing{Enable: true}}

// TestLatentsRoundTrip is case 47: name, keys, shape and size of the file of a picture of 3024×4032 pixels.
func TestLatentsRoundTrip(t *testing.T) {
	p := latentPicture(t, "dog.png", 3024, 4032, at512, Subset{FlipAug: true, AlphaMask: true})
	if got := filepath.Base(p.LatentsPath()); got != "dog_3024x4032_sd.npz" {
		t.Errorf("file %s, want dog_3024x4032_sd.npz", got)
	}
	if _, err := p.ReadLatents(7); !errors.Is(err, ErrStale) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before writing: %v, want ErrStale", err)
	}
	want := countingLatents(p, -3)
	want.Flipped[5] = 99
	want.AlphaMask[6] = 0.5
	if err := p.WriteLatents(want, 7); err != nil {
		t.Fatal(err)
	}
	got, err := p.ReadLatents(7)
	if err != nil {
		t.Fatal(err)
	}
	if got.H != 72 || got.W != 56 || !slices.Equal(got.Sample, want.Sample) || !slices.Equal(got.Flipped, want.Flipped) || !slices.Equal(got.AlphaMask, want.AlphaMask) {
		t.Errorf("latents %d×%d came back changed", got.H, got.W)
	}
	arrays, err := readArrays(p.LatentsPath())
	if err != nil {
		t.Fatal(err)
	}
	for name, shape := range map[string][]int{"latents_72x56": {4, 72, 56}, "latents_flipped_72x56": {4, 72, 56}, "original_size_72x56": {2}, "crop_ltrb_72x56": {4}, "alpha_mask_72x56": {576, 448}} {
		i := slices.IndexFunc(arrays, func(a array) bool { return a.name == name })
		if i < 0 || !slices.Equal(arrays[i].shape, shape) {
			t.Errorf("array %s of shape %v is not there", name, shape)
			continue
		}
		if name == "original_size_72x56" && !slices.Equal(arrays[i].data.([]int64), []int64{3024, 4032}) {
			t.Errorf("original_size %v", arrays[i].data)
		}
	}
	if _, err := p.ReadLatents(8); !errors.Is(err, ErrStale) {
		t.Errorf("with another encoder: %v, want ErrStale", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(p.Path), ".atelier*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestLatentsOfTwoResolutions is case 49: latents made at 512 are not used at 768, and the file then serves both.
func TestLatentsOfTwoResolutions(t *testing.T) {
	small := latentPicture(t, "a.png", 512, 512, at512, Subset{})
	if err := small.WriteLatents(countingLatents(small, 0), 1); err != nil {
		t.Fatal(err)
	}
	d, err := Open(t.Context(), Config{Sets: []Set{{Resolution: Size{768, 768}, Bucketing: up, Subsets: []Subset{{ImageDir: filepath.Dir(small.Path)}}}}})
	if err != nil {
		t.Fatal(err)
	}
	large := d.Pictures()[0]
	if _, err := large.ReadLatents(1); !errors.Is(err, ErrStale) {
		t.Errorf("at 768: %v, want ErrStale", err)
	}
	if err := large.WriteLatents(countingLatents(large, 1), 1); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Picture{small, large} {
		if l, err := p.ReadLatents(1); err != nil || len(l.Sample) != 4*p.Bucket.W*p.Bucket.H/64 {
			t.Errorf("%v: %v", p.Bucket, err)
		}
	}
}

func TestLatentsGoStale(t *testing.T) {
	p := latentPicture(t, "a.png", 512, 512, at512, Subset{})
	if err := p.WriteLatents(countingLatents(p, 0), 1); err != nil {
		t.Fatal(err)
	}
	changed := *p
	changed.source.modified++
	if _, err := changed.ReadLatents(1); !errors.Is(err, ErrStale) {
		t.Errorf("edited picture: %v, want ErrStale", err)
	}
	changed.skipCheck = true
	if _, err := changed.ReadLatents(1); err != nil {
		t.Errorf("edited picture, skip_cache_check: %v", err)
	}
	flipped := *p
	flipped.subset = &Subset{FlipAug: true}
	if _, err := flipped.ReadLatents(1); !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "latents_flipped is missing") {
		t.Errorf("flip_aug switched on: %v, want ErrStale", err)
	}
}

func TestLatentsMustBeFinite(t *testing.T) {
	p := latentPicture(t, "a.png", 512, 512, at512, Subset{})
	l := countingLatents(p, 0)
	l.Sample[77] = float32(math.NaN())
	if err := p.WriteLatents(l, 1); err == nil || !strings.Contains(err.Error(), "element 77 is NaN") || !strings.Contains(err.Error(), p.Path) {
		t.Errorf("writing: %v, want an error naming picture and element", err)
	}
	writeArrays(t, p.LatentsPath(), []array{{"latents", []int{4, 64, 64}, l.Sample}})
	if _, err := p.ReadLatents(1); err == nil || errors.Is(err, ErrStale) || !strings.Contains(err.Error(), p.Path) {
		t.Errorf("reading: %v, want an error that names the picture and does not ask for encoding again", err)
	}
	l.Sample = l.Sample[1:]
	if err := p.WriteLatents(l, 1); err == nil {
		t.Error("latents of a wrong length are written")
	}
}

func writeArrays(t testing.TB, path string, arrays []array) {
	t.Helper()
	var b bytes.Buffer
	if err := writeNPZ(&b, arrays); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, b.String())
}

// TestNumPyArchives reads what NumPy wrote: older keys, newer keys, compressed.
func TestNumPyArchives(t *testing.T) {
	set := Set{Resolution: Size{128, 64}}
	for _, c := range []struct {
		name   string
		subset Subset
		want   string // in the error; empty for none
	}{
		{"older.npz", Subset{}, ""},
		{"compressed.npz", Subset{}, ""},
		{"newer.npz", Subset{FlipAug: true}, ""},
		{"older.npz", Subset{FlipAug: true}, "latents_flipped is missing"},
		{"pickle.npz", Subset{}, "numbers of type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := latentPicture(t, "cat.png", 24, 16, set, c.subset)
			writeFile(t, p.LatentsPath(), readFile(t, filepath.Join("testdata", c.name)))
			l, err := p.ReadLatents(3)
			if c.want != "" {
				if !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range l.Sample {
				if v != float32(i)/8 || l.Flipped != nil && l.Flipped[i] != -v {
					t.Fatalf("element %d is %v, want %v", i, v, float32(i)/8)
				}
			}
		})
	}
}

func TestLegacyName(t *testing.T) {
	p := latentPicture(t, "cat.png", 24, 16, Set{Resolution: Size{128, 64}}, Subset{})
	legacy := filepath.Join(filepath.Dir(p.Path), "cat.npz")
	writeFile(t, legacy, readFile(t, "testdata/older.npz"))
	if got := p.LatentsPath(); got != legacy {
		t.Errorf("%s, want %s", got, legacy)
	}
	if _, err := p.ReadLatents(0); err != nil {
		t.Error(err)
	}
}

func TestHostileNPZ(t *testing.T) {
	npy := func(header string, data string) string {
		return npyMagic + "\x01\x00" + string([]byte{byte(len(header)), byte(len(header) >> 8)}) + header + data
	}
	archive := func(names ...string) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for i := 0; i < len(names); i += 2 {
			w, err := z.Create(names[i])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(names[i+1])); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	good := npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "1234")
	for _, c := range []struct{ name, file, want string }{
		{"no zip", "PK\x03\x04 nothing", "not a valid zip"},
		{"no npy", archive("latents.npy", "hello world"), "no NumPy array"},
		{"other member", archive("evil.pkl", good), "no .npy"},
		{"twice", archive("a.npy", good, "a.npy", good), "there twice"},
		{"short", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "1234")), "wants 8 bytes"},
		{"long", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "12345")), "wants 4 bytes"},
		{"huge", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999, 99999999), }", "")), "more than"},
		{"overflow", archive("a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "")), "more than"},
		{"negative", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "")), "not understood"},
		{"Fortran", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "1234")), "Fortran"},
		{"big endian", archive("a.npy", npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "1234")), "numbers of type"},
		{"header length", archive("a.npy", npyMagic+"\x02\x00\xff\xff\xff\xff"), "header of"},
		{"no shape", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False}", "1234")), "not understood"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readNPZ(strings.NewReader(c.file), int64(len(c.file)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestLatentsSurviveFailure: when writing fails, the old file is there and nothing else.
func TestLatentsSurviveFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.npz")
	writeFile(t, path, "old")
	full := errors.New("no space left")
	err := replaceFile(path, func(w io.Writer) error {
		w.Write(make([]byte, 1<<16))
		return full
	})
	entries, _ := os.ReadDir(filepath.Dir(path))
	if !errors.Is(err, full) || readFile(t, path) != "old" || len(entries) != 1 {
		t.Errorf("%v; %q, %d files", err, readFile(t, path), len(entries))
	}
	if err := replaceFile(filepath.Join(t.TempDir(), "missing", "a.npz"), nil); err == nil || !strings.Contains(err.Error(), "writable") {
		t.Errorf("in a missing folder: %v", err)
	}
}

func FuzzNPZ(f *testing.F) {
	for _, name := range []string{"older.npz", "compressed.npz", "pickle.npz"} {
		f.Add([]byte(readFile(f, filepath.Join("testdata", name))))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		arrays, err := readNPZ(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := writeNPZ(&b, arrays); err != nil {
			t.Fatal(err)
		}
		again, err := readNPZ(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil || len(again) != len(arrays) {
			t.Fatalf("%d arrays came back as %d: %v", len(arrays), len(again), err)
		}
		for i := range arrays {
			if again[i].name != arrays[i].name || !slices.Equal(again[i].shape, arrays[i].shape) {
				t.Errorf("array %q %v came back as %q %v", arrays[i].name, arrays[i].shape, again[i].name, again[i].shape)
			}
		}
	})
}

func TestNPYHeaderErrors(t *testing.T) {
	for _, text := range []string{
		"",
		"'descr': '<f4', 'fortran_order': False, 'shape': (4, 72, 56)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 72, 56)",
		"{'fortran_order': False, 'shape': (4, 72, 56)}",
		"{'descr': '<f4', 'fortran_order': True, 'shape': (4, 72, 56)}",
		"{'descr': '<f4, 'fortran_order': False, 'shape': (4, 72, 56}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (4, -72)}",
	} {
		if descr, shape, err := parseNPYHeader(text); err == nil {
			t.Errorf("%q is read as %s %v", text, descr, shape)
		}
	}
}

func FuzzNPYHeader(f *testing.F) {
	f.Add("{'descr': '<f4', 'fortran_order': False, 'shape': (4, 72, 56), }")
	f.Add("{'shape': (), 'descr': '<i8', 'fortran_order': False}")
	f.Fuzz(func(t *testing.T, text string) {
		_, shape, err := parseNPYHeader(text)
		if err == nil && slices.ContainsFunc(shape, func(n int) bool { return n < 0 }) {
			t.Errorf("shape %v", shape)
		}
	})
}
