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
	"runtime"
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
	// sd-scripts reads the plain names for SD 1.5.
	shapes := arrayShapes(t, p.LatentsPath())
	for name, shape := range map[string][]int{"latents": {4, 72, 56}, "latents_flipped": {4, 72, 56}, "original_size": {2}, "crop_ltrb": {4}, "alpha_mask": {576, 448}} {
		if !slices.Equal(shapes[name], shape) {
			t.Errorf("array %s has shape %v, want %v", name, shapes[name], shape)
		}
	}
	if _, err := p.ReadLatents(8); !errors.Is(err, ErrStale) {
		t.Errorf("with another encoder: %v, want ErrStale", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(p.Path), ".atelier*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// arrayShapes lists what is in a file.
func arrayShapes(t testing.TB, path string) map[string][]int {
	t.Helper()
	a, err := openArchive(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	shapes := make(map[string][]int)
	for name := range a.places {
		err := a.open(name, func(_ string, shape []int, _ io.Reader) error {
			shapes[name] = shape
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return shapes
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
	shapes := arrayShapes(t, small.LatentsPath())
	if !slices.Equal(shapes["latents"], []int{4, 96, 96}) || !slices.Equal(shapes["latents_64x64"], []int{4, 64, 64}) || shapes["original_size_64x64"] == nil || len(shapes) != 8 {
		t.Errorf("the file holds %v", shapes)
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
	writeArchive(t, p.LatentsPath(), []array{{"latents", []int{4, 64, 64}, l.Sample}})
	if _, err := p.ReadLatents(1); err == nil || errors.Is(err, ErrStale) || !strings.Contains(err.Error(), p.Path) {
		t.Errorf("reading: %v, want an error that names the picture and does not ask for encoding again", err)
	}
	l.Sample = l.Sample[1:]
	if err := p.WriteLatents(l, 1); err == nil {
		t.Error("latents of a wrong length are written")
	}
}

func writeArchive(t testing.TB, path string, arrays []array) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if err := errors.Join(writeArrays(z, arrays), z.Close()); err != nil {
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
		{"pickle.npz", Subset{}, "shape [1], want [4 8 16]"},
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
		{"cut off", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "123")), "fewer numbers"},
		{"no npy", archive("a.npy", "hello world"), "no NumPy array"},
		{"other member", archive("evil.pkl", good), "no .npy"},
		{"twice", archive("a.npy", good, "a.npy", good), "there twice"},
		{"short", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "1234")), "shape [2], want [1]"},
		{"long", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "12345")), "more numbers than"},
		{"huge", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999, 99999999), }", "")), "want [1]"},
		{"overflow", archive("a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "")), "want [1]"},
		{"negative", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "")), "not understood"},
		{"Fortran", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "1234")), "Fortran"},
		{"big endian", archive("a.npy", npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "1234")), "numbers of type"},
		{"header length", archive("a.npy", npyMagic+"\x02\x00\xff\xff\xff\xff"), "header of"},
		{"no shape", archive("a.npy", npy("{'descr': '<f4', 'fortran_order': False}", "1234")), "not understood"},
		{"no brace", archive("a.npy", npy("'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "1234")), "not understood"},
		{"pickled", archive("a.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "1234")), "numbers of type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := newArchive(strings.NewReader(c.file), int64(len(c.file)))
			if err == nil {
				_, err = readArray[float32](a, "a", 1)
			}
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

// TestNPZMemory: a file that unpacks to much more than the latents of the picture costs no more than these.
func TestNPZMemory(t *testing.T) {
	p := latentPicture(t, "a.png", 512, 512, at512, Subset{})
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"latents", "latents_1000x1000", "original_size"} {
		w, err := z.Create(name + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		if err := writeNPY(w, array{"", []int{4, 1000, 1000}, make([]float32, 4e6)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	writeFile(t, p.LatentsPath(), b.String())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := p.ReadLatents(1)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ErrStale) || took > 1<<20 {
		t.Errorf("%v, after taking %d bytes", err, took)
	}
}

// TestNPZOverlap: entries that share their bytes are not written out one by one.
func TestNPZOverlap(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if err := errors.Join(writeArrays(z, []array{{"latents_9x9", []int{1000}, make([]float32, 1000)}}), z.Close()); err != nil {
		t.Fatal(err)
	}
	a, err := newArchive(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	a.members = slices.Repeat(a.members, 200)
	var copied bytes.Buffer
	z = zip.NewWriter(&copied)
	if err := errors.Join(a.copyOthers(z, "_8x8"), z.Close()); err != nil || copied.Len() > 2*b.Len() {
		t.Errorf("%d bytes became %d, %v", b.Len(), copied.Len(), err)
	}
}

func FuzzNPZ(f *testing.F) {
	for _, method := range []uint16{zip.Store, zip.Deflate} { // small ones: fuzzing minimises what it keeps
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.CreateHeader(&zip.FileHeader{Name: "latents.npy", Method: method})
		if err != nil {
			f.Fatal(err)
		}
		if err := errors.Join(writeNPY(w, array{"", []int{1, 1, 2}, make([]float32, 2)}), z.Close()); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := newArchive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for name := range a.places {
			numbers, err := readArray[float32](a, name, 1, 1, 2)
			if err == nil && len(numbers) != 2 {
				t.Errorf("%q: %d numbers", name, len(numbers))
			}
		}
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		if err := errors.Join(a.copyOthers(z, "_8x16"), z.Close()); err == nil && b.Len() > 2*len(data)+len(a.members)*200 {
			t.Errorf("a copy of %d bytes for %d", b.Len(), len(data))
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
