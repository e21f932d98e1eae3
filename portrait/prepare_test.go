package portrait_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/tinyportrait/drawn"
)

// looked is the check of sample photos.
func looked(t *testing.T, dir string) portrait.Report {
	t.Helper()
	r, err := portrait.Check(t.Context(), dir, drawn.Detector{}, portrait.CheckOptions{Resolution: 128})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// few copies the first photos of a sample folder.
func few(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	paths, err := filepath.Glob(filepath.Join(samples("12_personname man"), "*.[jpw]*"))
	if err != nil || len(paths) < n {
		t.Fatal(paths, err)
	}
	for _, path := range paths[:n] {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// contents are the files below a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPrepare makes a data set that a training reads, twice the same, and keeps what is there as long as it is right.
func TestPrepare(t *testing.T) {
	before := contents(t, samples("12_personname man"))
	r := looked(t, samples("12_personname man"))
	dir := filepath.Join(t.TempDir(), "work", "data")
	o := portrait.PrepareOptions{Name: "personname", Class: "man", Resolution: 128}
	set, err := portrait.Prepare(t.Context(), dir, r, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d trained, %d held out, %d uses in %d epochs; %q", set.Folder(), len(set.Training), len(set.HeldOut), set.Uses(), set.Epochs, set.Warnings)
	if len(set.Training)+len(set.HeldOut) != len(r.Kept()) || len(set.HeldOut) != 3 || set.Uses() < 1200 || set.Uses() > 2400 {
		t.Errorf("%d trained, %d held out of %d, %d uses", len(set.Training), len(set.HeldOut), len(r.Kept()), set.Uses())
	}
	for _, c := range slices.Concat(set.Training, set.HeldOut) {
		e, err := set.Open(t.Context(), c)
		if err != nil || e.Image.Rect.Size() != image.Pt(128, 128) || c.Caption != "photo of personname man" {
			t.Fatalf("%+v: %v, %v", c, e.Image.Rect, err)
		}
		faces, err := drawn.Detector{}.Find(t.Context(), e.Image)
		if err != nil || len(faces) != 1 || distance(faces[0].Centre.X, c.Face.Centre.X) > 4 || distance(faces[0].Size, c.Face.Size) > 6 {
			t.Errorf("%s: the face is at %+v, not at %+v", c.Photo, faces, c.Face)
		}
	}
	testTrainable(t, set)
	files := contents(t, dir)
	testKept(t, set, r, o)
	again, err := portrait.Prepare(t.Context(), filepath.Join(t.TempDir(), "again"), r, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := contents(t, again.Dir); fmt.Sprint(got) != fmt.Sprint(files) {
		t.Error("the same photos gave other files")
	}
	if fmt.Sprint(contents(t, samples("12_personname man"))) != fmt.Sprint(before) {
		t.Error("the photos were touched")
	}
}

func distance(a, b float64) float64 { return max(a-b, b-a) }

// testTrainable hands the data set to what trainings read with.
func testTrainable(t *testing.T, set portrait.DataSet) {
	c := portrait.Recipe(set, nil)
	folder := &c.Dataset.Sets[0].Subsets[0]
	folder.ConditioningDataDir = filepath.Join(set.Dir, "masks")
	ds, err := dataset.Open(t.Context(), c.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	if w := ds.Report().Warnings; len(w) > 0 || len(ds.Pictures()) != len(set.Training) {
		t.Errorf("%d pictures, %q", len(ds.Pictures()), w)
	}
	s, err := ds.Pictures()[0].Load(t.Context(), false)
	if err != nil || len(s.Mask) != 128*128 || slices.Max(s.Mask) != 1 || slices.Min(s.Mask) > 0.2 {
		t.Errorf("the mask has %d numbers, %v", len(s.Mask), err)
	}
	kohya := dataset.Config{Sets: []dataset.Set{{TrainDataDir: filepath.Join(set.Dir, "training"), Resolution: dataset.Size{W: 128, H: 128}}}, MaxTrainEpochs: 1}
	if ds, err := dataset.Open(t.Context(), kohya); err != nil || ds.Pictures()[0].Repeats != set.Repeats {
		t.Errorf("as kohya reads it: %v", err)
	}
}

// testKept prepares again what is there, as it was and damaged, and for somebody else.
func testKept(t *testing.T, set portrait.DataSet, r portrait.Report, o portrait.PrepareOptions) {
	crop := filepath.Join(set.Dir, filepath.FromSlash(set.Training[0].File))
	stat := func() os.FileInfo {
		info, err := os.Stat(crop)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := stat()
	same, err := portrait.Prepare(t.Context(), set.Dir, r, o)
	if err != nil || fmt.Sprint(same) != fmt.Sprint(set) || !os.SameFile(first, stat()) {
		t.Errorf("what is there was not kept: %v", err)
	}
	if read, err := portrait.OpenDataSet(set.Dir); err != nil || fmt.Sprint(read) != fmt.Sprint(set) {
		t.Errorf("it is read as %+v, %v", read, err)
	}
	if err := os.WriteFile(crop, []byte("damaged"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := portrait.Prepare(t.Context(), set.Dir, r, o); err != nil || stat().Size() != first.Size() {
		t.Errorf("a damaged crop was kept: %v", err)
	}
	other := o
	other.Class = "woman"
	if _, err := portrait.Prepare(t.Context(), set.Dir, r, other); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(set.Dir, "training")); err != nil || len(entries) != 1 || !strings.HasSuffix(entries[0].Name(), "woman") {
		t.Errorf("for somebody else there are now %v, %v", entries, err)
	}
}

// TestPrepareFew has few photos, many, and none.
func TestPrepareFew(t *testing.T) {
	for _, n := range []int{3, 6} {
		set, err := portrait.Prepare(t.Context(), filepath.Join(t.TempDir(), "data"), looked(t, few(t, n)), portrait.PrepareOptions{Resolution: 128})
		if err != nil || len(set.HeldOut) != n/6 || len(set.Warnings) != 1 || set.Uses() < 1200 || set.Uses() > 2400 || set.Training[0].Caption != "photo of personname person" {
			t.Errorf("of %d: %+v, %v", n, set, err)
		}
	}
	many := looked(t, few(t, 1))
	for len(many.Photos) < 500 {
		many.Photos = append(many.Photos, many.Photos[0])
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // before anything is made of them
	if _, err := portrait.Prepare(ctx, filepath.Join(t.TempDir(), "data"), many, portrait.PrepareOptions{Resolution: 128}); !errors.Is(err, context.Canceled) {
		t.Errorf("500 photos, stopped: %v", err)
	}
	none := many
	none.Photos = nil
	if _, err := portrait.Prepare(t.Context(), filepath.Join(t.TempDir(), "data"), none, portrait.PrepareOptions{}); err == nil || !strings.Contains(err.Error(), "CheckOptions.Keep") {
		t.Errorf("no photos: %v", err)
	}
}

// TestCaptions finds the files of captions that a training finds.
func TestCaptions(t *testing.T) {
	photos := few(t, 5)
	for name, text := range map[string]string{"001.TXT": "big letters", "002.jpg.txt": "both extensions\nand more", "003.caption": "another", "004.txt": "", "004.png.txt": "behind an empty one"} {
		if err := os.WriteFile(filepath.Join(photos, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	r := looked(t, photos)
	set, err := portrait.Prepare(t.Context(), filepath.Join(t.TempDir(), "data"), r, portrait.PrepareOptions{Resolution: 128, HeldOut: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"big letters", "both extensions", "another", "photo of personname person", "photo of personname person"} {
		if got := set.Training[i].Caption; got != want {
			t.Errorf("%s: %q, want %q", set.Training[i].Photo, got, want)
		}
		if r.Photos[i].Has(portrait.NoCaption) != (i > 2) {
			t.Errorf("%s: %v", r.Photos[i].Name, r.Photos[i].Findings)
		}
	}
}

// TestPrepareNames has names that are unusual, and some that cannot be.
func TestPrepareNames(t *testing.T) {
	r := looked(t, few(t, 6))
	for _, name := range []string{"Анна", "jane doe", "李明"} {
		set, err := portrait.Prepare(t.Context(), filepath.Join(t.TempDir(), "data"), r, portrait.PrepareOptions{Name: name, Class: "woman", Resolution: 128})
		if err != nil || len(set.Warnings) != 2 || !strings.Contains(set.Warnings[0], name) || set.Training[0].Caption != "photo of "+name+" woman" {
			t.Errorf("%s: %+v, %v", name, set, err)
			continue
		}
		testTrainable(t, set)
	}
	for _, name := range []string{"a/b", `a\b`, "a:b", " a", "a.", "a\t", "(a)", "a,b", "<a>", strings.Repeat("a", 101)} {
		_, err := portrait.Prepare(t.Context(), filepath.Join(t.TempDir(), "data"), r, portrait.PrepareOptions{Name: name})
		if f := invalid.Fields(err); len(f) != 1 || f[0].Field != "PrepareOptions.Name" {
			t.Errorf("%q: %v", name, err)
		}
	}
	there := t.TempDir()
	if err := os.WriteFile(filepath.Join(there, "thesis.txt"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := portrait.Prepare(t.Context(), there, r, portrait.PrepareOptions{Resolution: 128}); err == nil || !strings.Contains(err.Error(), "another folder") {
		t.Errorf("over a folder of somebody else's: %v", err)
	}
	if _, err := os.Stat(filepath.Join(there, "thesis.txt")); err != nil {
		t.Error(err)
	}
}
