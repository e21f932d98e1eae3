package dataset

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/invalid"
)

var grey = color.NRGBA{128, 128, 128, 255}

// tinySet is small enough for tests to decode many pictures: buckets of about 128×128.
func tinySet(train, reg string) Set {
	return Set{Resolution: Size{128, 128}, BatchSize: 2, Bucketing: Bucketing{Enable: true, MinReso: 64, MaxReso: 256}, TrainDataDir: train, RegDataDir: reg}
}

// pictures writes n pictures of w×h pixels into a folder and returns the folder.
func pictures(t testing.TB, folder, prefix string, n, w, h int) string {
	t.Helper()
	for i := range n {
		if i == 0 {
			writePNG(t, mkdir(t, folder, fmt.Sprintf("%s%03d.png", prefix, i)), w, h, grey)
			continue
		}
		writeFile(t, filepath.Join(folder, fmt.Sprintf("%s%03d.png", prefix, i)), readFile(t, filepath.Join(folder, prefix+"000.png")))
	}
	return folder
}

func mkdir(t testing.TB, folder, name string) string {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, name)
}

func mustOpen(t testing.TB, cfg Config) *Dataset {
	t.Helper()
	d, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func hasWarning(r Report, part string) bool {
	return slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, part) })
}

func TestParseFolder(t *testing.T) {
	for _, c := range []struct {
		name    string
		repeats int
		tokens  string
		ok      bool
	}{
		{"12_sks dog", 12, "sks dog", true}, {"10_a_b c", 10, "a_b c", true}, {"5", 5, "", true}, {" 7 _x", 7, "x", true}, {"+3_x", 3, "x", true},
		{"0_x", 0, "x", true}, {"-3_x", -3, "x", true},
		{"sks_dog", 0, "", false}, {"x12_a", 0, "", false}, {".ipynb_checkpoints", 0, "", false}, {"", 0, "", false}, {"1.5_x", 0, "", false},
	} {
		repeats, tokens, ok := ParseFolder(c.name)
		if ok != c.ok || ok && (repeats != c.repeats || tokens != c.tokens) {
			t.Errorf("%q: %d, %q, %v, want %d, %q, %v", c.name, repeats, tokens, ok, c.repeats, c.tokens, c.ok)
		}
	}
}

// TestFolderLayout is cases 1 to 4 and 6: which folders and files are used, and what is said about the others.
func TestFolderLayout(t *testing.T) {
	train := t.TempDir()
	dog := filepath.Join(train, "12_sks dog")
	pictures(t, dog, "a", 1, 128, 128)
	for _, other := range []string{"sks_dog", "x12_a", "0_x", "-3_x", ".ipynb_checkpoints", "12_sks dog/sub"} {
		pictures(t, filepath.Join(train, other), "b", 1, 128, 128)
	}
	picture := readFile(t, filepath.Join(dog, "a000.png"))
	for _, name := range []string{"top.png", "12_sks dog/.hidden.png", "12_sks dog/B.PNG", "12_sks dog/c.Png"} {
		writeFile(t, filepath.Join(train, name), picture)
	}
	writeFile(t, filepath.Join(dog, "photo.heic"), "?")
	d := mustOpen(t, Config{Sets: []Set{tinySet(train, "")}})
	var used []string
	for _, p := range d.Pictures() {
		used = append(used, filepath.Base(p.Path))
		if p.Repeats != 12 || p.Caption != "sks dog" {
			t.Errorf("%s: %d repeats, caption %q", p.Path, p.Repeats, p.Caption)
		}
	}
	if want := []string{"B.PNG", "a000.png", "c.Png"}; !slices.Equal(used, want) {
		t.Errorf("used %q, want %q", used, want)
	}
	r := d.Report()
	for _, want := range []string{"sks_dog is skipped", "x12_a is skipped", "0_x is skipped", "-3_x is skipped", ".ipynb_checkpoints is skipped",
		"1 subfolders are not looked into", "formats that are not read: photo.heic", `3 of 3 pictures have no caption file and get "sks dog": B.PNG, a000.png, c.Png`} {
		if !hasWarning(r, want) {
			t.Errorf("no warning with %q in %q", want, r.Warnings)
		}
	}
}

// TestConfiguredFolder is case 8: listed as a subset, the name "12_sks dog" means nothing.
func TestConfiguredFolder(t *testing.T) {
	dir := pictures(t, filepath.Join(t.TempDir(), "12_sks dog"), "a", 1, 128, 128)
	set := tinySet("", "")
	set.Subsets = []Subset{{ImageDir: dir}, {ImageDir: dir + "/", Repeats: 9}}
	d := mustOpen(t, Config{Sets: []Set{set}})
	if p := d.Pictures(); len(p) != 1 || p[0].Repeats != 1 || p[0].Caption != "" {
		t.Errorf("%d pictures, want one with 1 repeat and no caption", len(p))
	}
	if !hasWarning(d.Report(), "named twice") {
		t.Errorf("no warning that the folder is named twice: %q", d.Report().Warnings)
	}
}

func TestOpenRefuses(t *testing.T) {
	root := t.TempDir()
	path := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	picture := func(folder string) string { return pictures(t, path(folder), "a", 1, 128, 128) }
	mkdir(t, path("nothing"), "")
	mkdir(t, path("unfilled", "3_a"), "")
	writeFile(t, path("captions", "3_a", "x.txt"), "a caption")
	picture("flat")
	picture("parent/4_concept")
	picture("misnamed/dog")
	picture("damaged/2_a")
	writeFile(t, path("damaged", "2_a", "broken1.jpg"), "no picture")
	writeFile(t, path("damaged", "2_a", "broken2.png"), pngHeader(20000, 20000))
	writeFile(t, path("damaged", "2_a", "broken3.png"), pngHeader(1, 1))
	picture("latin/2_a")
	writeFile(t, path("latin", "2_a", "a000.txt"), "caf\xe9")
	picture("void/2_a")
	writeFile(t, path("void", "2_a", "a000.txt"), "")
	pictures(t, path("twins", "2_a"), "a", 2, 128, 128)
	if err := os.Rename(path("twins", "2_a", "a001.png"), path("twins", "2_a", "a000.bmp")); err != nil {
		t.Fatal(err)
	}
	pictures(t, path("small", "2_a"), "s", 1, 50, 80)
	one := func(train string) Config { return Config{Sets: []Set{tinySet(path(train), "")}} }
	checkRefused(t, "no sets", Config{}, []string{"no dataset given"})
	checkRefused(t, "no folder named", Config{Sets: []Set{tinySet("", "")}}, []string{"no folder given"})
	for _, c := range []struct {
		name   string
		train  string
		change func(*Config)
		want   []string
	}{
		{"missing", "missing", nil, []string{"missing"}},
		{"empty parent", "nothing", nil, []string{"nothing is empty", `"12_sks dog"`}},
		{"empty folder", "unfilled", nil, []string{"no training pictures", "3_a holds no pictures"}},
		{"captions without pictures", "captions", nil, []string{"3_a holds 1 captions but no pictures"}},
		{"pictures in the parent", "flat", nil, []string{"flat holds 1 pictures itself", "N_name"}},
		{"the concept folder itself", "parent/4_concept", nil, []string{"is itself a folder of pictures: give its parent " + path("parent")}},
		{"wrong folder name", "misnamed", nil, []string{"no usable folder", "dog is skipped: its name does not start with a number"}},
		{"damaged pictures, all named", "damaged", nil, []string{"broken1.jpg", "broken2.png: 20000x20000", "broken3.png: 1x1"}},
		{"7: caption in Latin-1", "latin", nil, []string{"a000.txt: not UTF-8"}},
		{"7: caption of zero bytes", "void", nil, []string{"a000.txt: the file is empty"}},
		{"shared latents", "twins", func(c *Config) { c.CacheLatentsToDisk = true }, []string{"a000.bmp", "a000.png", "would share the latents file"}},
		{"37: no bucket", "small", func(c *Config) { c.Sets[0].NoUpscale = true }, []string{"s000.png", "50x80", "Bucketing.NoUpscale"}},
		{"cached and cropped at random", "parent", func(c *Config) { c.CacheLatents, c.Sets[0].Folder.RandomCrop = true, true }, []string{"(Config.CacheLatents)"}},
		{"cached and coloured", "parent", func(c *Config) { c.CacheLatentsToDisk, c.Sets[0].Folder.ColorAug = true, true }, []string{"(Config.CacheLatents)"}},
		{"everything held for validation", "parent", func(c *Config) { c.Sets[0].ValidationSplit = 0.9 }, []string{"leaves no picture for training"}},
		{"numbers out of range", "parent", func(c *Config) {
			c.Sets[0].ValidationSplit, c.PriorLossWeight, c.MaxTrainSteps, c.Sets[0].BatchSize = math.NaN(), new(math.NaN()), -1, -1
		}, []string{"Config.Sets[0].ValidationSplit is NaN", "Config.PriorLossWeight is NaN", "Config.MaxTrainSteps is -1", "Config.Sets[0].BatchSize is -1"}},
		{"caption extension without a dot", "parent", func(c *Config) { c.Sets[0].Folder.CaptionExtension = "txt" }, []string{"with its dot"}},
		{"filter", "parent", func(c *Config) { c.Sets[0].Folder.ResizeInterpolation = "sharp" }, []string{`Config.Sets[0].Folder.ResizeInterpolation is "sharp"`}},
		{"resolution", "parent", func(c *Config) { c.Sets[0].Resolution = Size{7, 7} }, []string{"Config.Sets[0].Resolution is 7x7"}},
		{"masks", "parent", func(c *Config) { c.Sets[0].Folder.ConditioningDataDir = path("nothing") }, []string{"a000.png has no mask"}},
	} {
		cfg := one(c.train)
		if c.change != nil {
			c.change(&cfg)
		}
		checkRefused(t, c.name, cfg, c.want)
	}
}

// TestFieldErrors: a program can tell which field each error is about.
func TestFieldErrors(t *testing.T) {
	cfg := Config{CacheLatents: true, Sets: []Set{
		{TrainDataDir: "x", BatchSize: -1, Folder: Subset{ColorAug: true, CaptionOptions: CaptionOptions{KeepTokens: -1}}},
		{Subsets: []Subset{{ImageDir: "y"}, {Repeats: -1}}},
		{},
	}}
	_, err := Open(t.Context(), cfg)
	var fields []string
	for _, e := range invalid.Fields(err) {
		fields = append(fields, e.Field)
	}
	want := []string{
		"Config.Sets[0].BatchSize", "Config.Sets[0].Folder.KeepTokens", "Config.Sets[0].Folder.ColorAug",
		"Config.Sets[1].Subsets[1].ImageDir", "Config.Sets[1].Subsets[1].Repeats", "Config.Sets[2].TrainDataDir",
	}
	if !slices.Equal(fields, want) {
		t.Errorf("fields %q, want %q", fields, want)
	}
}

func checkRefused(t *testing.T, name string, cfg Config, want []string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		_, err := Open(t.Context(), cfg)
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("got %v, want an error with %q", err, part)
			}
		}
	})
}

func TestOpenStops(t *testing.T) {
	train := t.TempDir()
	pictures(t, filepath.Join(train, "1_a"), "a", 3, 128, 128)
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	if _, err := Open(ctx, Config{Sets: []Set{tinySet(train, "")}}); !errors.Is(err, reason) {
		t.Errorf("%v, want the cause of cancellation", err)
	}
}

// TestWarnings are the pitfalls users report.
func TestWarnings(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "3_sks man")
	pictures(t, dir, "a", 1, 128, 128)
	writeFile(t, filepath.Join(dir, "a000.txt"), "a red door")
	writePNG(t, filepath.Join(dir, "glass.png"), 128, 128, color.NRGBA{1, 2, 3, 100})
	writePNG(t, filepath.Join(dir, "stamp.png"), 40, 40, grey)
	writePNG(t, filepath.Join(dir, "stripe.png"), 1280, 128, grey)
	writeFile(t, filepath.Join(dir, "turned.jpg"), readFile(t, "../../internal/picture/testdata/turned.jpg"))
	writeFile(t, filepath.Join(dir, "turned.png"), readFile(t, "../../internal/picture/testdata/turned.png"))
	for _, c := range []struct {
		name   string
		change func(*Subset)
		want   []string
		absent []string
	}{
		{"as sd-scripts", func(*Subset) {}, []string{
			"2 pictures carry an EXIF orientation that is ignored", "1 pictures have transparent areas", "lose more than half of their area to the crop: stripe.png",
			"are enlarged more than twice", "turned.jpg and ", "5 of 6 pictures have no caption file"}, nil},
		{"mended", func(s *Subset) { s.EXIFOrientation, s.AlphaOverWhite = true, true }, nil, []string{"EXIF", "transparent"}},
		{"masked", func(s *Subset) { s.AlphaMask = true }, nil, []string{"transparent"}},
		{"wrong extension", func(s *Subset) { s.CaptionExtension = ".caption" }, []string{"6 of 6 pictures"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := tinySet(root, "")
			c.change(&set.Folder)
			r := mustOpen(t, Config{Sets: []Set{set}}).Report()
			for _, part := range c.want {
				if !hasWarning(r, part) {
					t.Errorf("no warning with %q in %q", part, r.Warnings)
				}
			}
			for _, part := range c.absent {
				if hasWarning(r, part) {
					t.Errorf("a warning with %q", part)
				}
			}
		})
	}
	t.Run("captions of another extension, class tokens unused", func(t *testing.T) {
		root := t.TempDir()
		dir := pictures(t, filepath.Join(root, "3_sks man"), "a", 1, 128, 128)
		writeFile(t, filepath.Join(dir, "a000.txt"), "a red door")
		set := tinySet(root, "")
		if r := mustOpen(t, Config{Sets: []Set{set}}).Report(); !hasWarning(r, `class tokens "sks man" are not used`) || r.FirstCaption != "a red door" {
			t.Errorf("first caption %q, warnings %q", r.FirstCaption, r.Warnings)
		}
		set.Folder.CaptionExtension = ".caption"
		if r := mustOpen(t, Config{Sets: []Set{set}}).Report(); !hasWarning(r, "there are .txt files, but Subset.CaptionExtension is .caption") || r.FirstCaption != "sks man" {
			t.Errorf("first caption %q, warnings %q", r.FirstCaption, r.Warnings)
		}
	})
}

// TestEpochs is cases 50 and 52: counts, and every picture exactly its repeats per epoch in batches of one bucket.
func TestEpochs(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "12_a")
	pictures(t, dir, "square", 11, 128, 128)
	pictures(t, dir, "wide", 6, 192, 64)
	pictures(t, dir, "tall", 1, 64, 256)
	set := tinySet(root, "")
	set.BatchSize = 8
	cfg := Config{Sets: []Set{set}, MaxTrainEpochs: 12, Seed: 5}
	d := mustOpen(t, cfg)
	if s := d.Steps(); s.BatchesPerEpoch != 28 || s.Total != 336 {
		t.Errorf("%d batches, %d steps, want 28 and 336", s.BatchesPerEpoch, s.Total)
	}
	want := []BucketReport{{0, Size{64, 256}, 12, 2}, {0, Size{128, 128}, 132, 17}, {0, Size{192, 64}, 72, 9}}
	if got := d.Report().Buckets; !slices.Equal(got, want) {
		t.Errorf("buckets %v, want %v", got, want)
	}
	order := func(d *Dataset, epoch int) []string {
		uses := map[string]int{}
		var paths []string
		index := 0
		for b := range d.Epoch(epoch) {
			if b.Index != index || b.Step != (epoch-1)*28+index || b.Epoch != epoch || len(b.Items) < 1 || len(b.Items) > 8 {
				t.Fatalf("batch %d of epoch %d at step %d with %d items", b.Index, b.Epoch, b.Step, len(b.Items))
			}
			index++
			for _, it := range b.Items {
				if it.Picture.Bucket != b.Bucket {
					t.Errorf("%s of bucket %v in a batch of %v", it.Picture.Path, it.Picture.Bucket, b.Bucket)
				}
				uses[it.Picture.Path]++
				paths = append(paths, it.Picture.Path)
			}
		}
		if index != 28 || len(uses) != 18 {
			t.Errorf("%d batches of %d pictures, want 28 of 18", index, len(uses))
		}
		for path, n := range uses {
			if n != 12 {
				t.Errorf("%s used %d times, want 12", path, n)
			}
		}
		return paths
	}
	first := order(d, 1)
	if !slices.Equal(first, order(mustOpen(t, cfg), 1)) {
		t.Error("the same seed and epoch give another order")
	}
	if slices.Equal(first, order(d, 2)) {
		t.Error("epochs 1 and 2 have the same order")
	}
	cfg.Seed = 6
	if slices.Equal(first, order(mustOpen(t, cfg), 1)) {
		t.Error("seeds 5 and 6 have the same order")
	}
}

// TestEpochEndsWithSteps: training stops where its steps are used up.
func TestEpochEndsWithSteps(t *testing.T) {
	root := t.TempDir()
	pictures(t, filepath.Join(root, "5_a"), "a", 4, 128, 128)
	d := mustOpen(t, Config{Sets: []Set{tinySet(root, "")}, MaxTrainSteps: 5, GradientAccumulationSteps: 4}) // 10 batches, 3 steps an epoch
	var counts []int
	for epoch := 1; epoch <= 3; epoch++ {
		n := 0
		for range d.Epoch(epoch) {
			n++
		}
		counts = append(counts, n)
	}
	if want := []int{10, 8, 0}; !slices.Equal(counts, want) || d.Steps().LastEpochBatches != 8 {
		t.Errorf("batches per epoch %v, last %d, want %v", counts, d.Steps().LastEpochBatches, want)
	}
}

// TestRegularisation is cases 53 and 54: as many uses of regularisation pictures as of training pictures.
func TestRegularisation(t *testing.T) {
	root := t.TempDir()
	train, reg := filepath.Join(root, "train"), filepath.Join(root, "reg")
	pictures(t, filepath.Join(train, "12_a"), "a", 18, 128, 128)
	for _, c := range []struct {
		name    string
		images  int
		repeats int
		want    map[int]int // repeats → pictures
		warning string
	}{
		{"53: 100", 100, 1, map[int]int{3: 16, 2: 84}, ""},
		{"54: 300", 300, 1, map[int]int{1: 216, 0: 84}, "84 of 300 regularisation pictures are not used"},
		{"with repeats of their own", 30, 10, map[int]int{10: 22, 0: 8}, "8 of 30"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.RemoveAll(reg); err != nil {
				t.Fatal(err)
			}
			pictures(t, filepath.Join(reg, fmt.Sprintf("%d_b", c.repeats)), "b", c.images, 64, 64)
			d := mustOpen(t, Config{Sets: []Set{tinySet(train, reg)}, MaxTrainEpochs: 1, PriorLossWeight: new(0.5)})
			got := map[int]int{}
			unused := false
			for _, p := range d.Pictures() {
				if !p.Reg {
					continue
				}
				got[p.Repeats]++
				if unused && p.Repeats > 0 {
					t.Errorf("%s is used after one that is not", p.Path)
				}
				unused = p.Repeats == 0
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("repeats %v, want %v", got, c.want)
			}
			r := d.Report()
			if c.warning != "" && !hasWarning(r, c.warning) {
				t.Errorf("no warning with %q in %q", c.warning, r.Warnings)
			}
			if c.repeats == 1 && (r.RegImages != 216 || d.Steps().BatchesPerEpoch != 216) {
				t.Errorf("%d uses, %d batches, want 216 of each", r.RegImages, d.Steps().BatchesPerEpoch)
			}
			for b := range d.Epoch(1) {
				for _, it := range b.Items {
					if want := map[bool]float32{true: 0.5, false: 1}[it.Picture.Reg]; it.LossWeight != want {
						t.Fatalf("%s: loss weight %v, want %v", it.Picture.Path, it.LossWeight, want)
					}
				}
			}
		})
	}
}

// TestValidationSplit is case 57.
func TestValidationSplit(t *testing.T) {
	for _, c := range []struct {
		images             int
		split              float64
		training, withheld int
	}{{10, 0.2, 8, 2}, {18, 0.1, 16, 2}, {5, 0.5, 3, 2}} {
		t.Run(fmt.Sprintf("%d at %v", c.images, c.split), func(t *testing.T) {
			root := t.TempDir()
			pictures(t, filepath.Join(root, "3_a"), "a", c.images, 64, 64)
			set := tinySet(root, "")
			set.ValidationSplit = c.split
			set.Folder.FlipAug, set.Folder.DropoutRate, set.Folder.Prefix = true, 1, "p"
			d := mustOpen(t, Config{Sets: []Set{set}, MaxTrainEpochs: 1})
			seen := map[string]int{}
			for b := range d.Epoch(1) {
				for _, it := range b.Items {
					seen[it.Picture.Path]++
				}
			}
			withheld := 0
			for b := range d.Validation() {
				for _, it := range b.Items {
					withheld++
					if seen[it.Picture.Path] > 0 {
						t.Errorf("%s is trained and validated", it.Picture.Path)
					}
					if it.Caption != "p a" || it.Flip {
						t.Errorf("validation uses caption %q, flip %v", it.Caption, it.Flip)
					}
				}
			}
			if len(seen) != c.training || withheld != c.withheld {
				t.Errorf("%d trained, %d validated, want %d and %d", len(seen), withheld, c.training, c.withheld)
			}
			seed := uint64(99)
			set.ValidationSeed = &seed
			other := mustOpen(t, Config{Sets: []Set{set}})
			if c.images == 18 && reflect.DeepEqual(paths(other.ValidationPictures()), paths(d.ValidationPictures())) {
				t.Error("another validation seed withholds the same pictures")
			}
		})
	}
}

func paths(pictures []*Picture) (all []string) {
	for _, p := range pictures {
		all = append(all, p.Path)
	}
	return all
}

// TestOrientationOption is case 48, in small: 24×16 with orientation 6.
func TestOrientationOption(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "turned.png"), readFile(t, "../../internal/picture/testdata/turned.png"))
	for _, honour := range []bool{false, true} {
		set := tinySet("", "")
		set.Subsets = []Subset{{ImageDir: dir, EXIFOrientation: honour}}
		p := mustOpen(t, Config{Sets: []Set{set}}).Pictures()[0]
		s, err := p.Load(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		w, h := p.Bucket.W, p.Bucket.H
		if size := s.Image.Rect.Size(); (h > w) != honour || size.X != w || size.Y != h {
			t.Errorf("exif_orientation %v: bucket %v, %v pixels", honour, p.Bucket, size)
		}
		// Red lies left as stored and above when turned; the corner above right tells which.
		if corner := s.Image.NRGBAAt(w-1, 0); (corner.R > 127) != honour || (corner.B > 127) == honour {
			t.Errorf("exif_orientation %v: corner above right is %v", honour, corner)
		}
	}
}

func TestItemPixels(t *testing.T) {
	root := t.TempDir()
	writePNG(t, mkdir(t, filepath.Join(root, "1_a"), "a.png"), 128, 128, color.NRGBA{255, 0, 51, 255})
	set := tinySet(root, "")
	set.Folder.AlphaMask = true
	p := mustOpen(t, Config{Sets: []Set{set}}).Pictures()[0]
	s, err := p.Load(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Image.NRGBAAt(100, 0), (color.NRGBA{255, 0, 51, 255}); s.Image.Rect.Size() != image.Pt(128, 128) || got != want {
		t.Errorf("%v, pixel %v, want %v", s.Image.Rect, got, want)
	}
	mask, err := p.Mask(t.Context(), false)
	if err != nil || len(mask) != 128*128 || slices.Min(mask) != 1 || !slices.Equal(mask, s.Mask) {
		t.Errorf("mask of %d numbers, %v", len(mask), err)
	}
}

// TestAugmentation: flips in half of the uses, crops anywhere, equal when drawn again; a flip mirrors pixels and mask.
func TestAugmentation(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "400_a")
	writeFile(t, mkdir(t, dir, "half.png"), readFile(t, "../../internal/picture/testdata/turned.png")) // red left, blue right
	masks := filepath.Join(root, "masks")
	writeFile(t, mkdir(t, masks, "half.png"), readFile(t, "../../internal/picture/testdata/turned.png"))
	set := tinySet(root, "")
	set.Enable = false
	set.Folder.FlipAug, set.Folder.RandomCrop, set.Folder.ConditioningDataDir = true, true, masks
	d := mustOpen(t, Config{Sets: []Set{set}, MaxTrainEpochs: 1})
	flips, crops := 0, map[Point]bool{}
	var flipped Item
	for b := range d.Epoch(1) {
		for _, it := range b.Items {
			if it.Flip {
				flips++
				flipped = it
			}
			crops[it.Crop] = true
		}
	}
	// 400 uses: five standard deviations are 50. 192×128 pixels leave 65 crops.
	if flips < 150 || flips > 250 || len(crops) < 50 {
		t.Errorf("%d flips of 400, %d crops", flips, len(crops))
	}
	for crop := range crops {
		if crop.X < 0 || crop.X > 64 || crop.Y != 0 {
			t.Errorf("crop at %v", crop)
		}
	}
	flipped.Crop = Point{32, 0} // the middle of 192×128
	s, err := flipped.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left, right := s.Image.NRGBAAt(5, 64).R, s.Image.NRGBAAt(122, 64).R
	if dark, light := s.Mask[64*128+5], s.Mask[64*128+122]; left > 127 || right < 242 || dark > 0.1 || light < 0.9 {
		t.Errorf("flipped: red is %v left and %v right, mask %v and %v", left, right, dark, light)
	}
}

// TestColourAugmentation: a third of the uses have other colours, and only with color_aug.
func TestColourAugmentation(t *testing.T) {
	for _, on := range []bool{false, true} {
		root := t.TempDir()
		writePNG(t, mkdir(t, filepath.Join(root, "100_a"), "a.png"), 64, 64, color.NRGBA{200, 100, 50, 255})
		set := tinySet(root, "")
		set.Resolution, set.Folder.ColorAug = Size{64, 64}, on
		shifted := 0
		for b := range mustOpen(t, Config{Sets: []Set{set}, MaxTrainEpochs: 1}).Epoch(1) {
			for _, it := range b.Items {
				s, err := it.Load(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if c := s.Image.NRGBAAt(0, 0); c.R != 200 || c.G != 100 {
					shifted++
				}
			}
		}
		// 100 uses: five standard deviations are 24.
		if on && (shifted < 9 || shifted > 57) || !on && shifted > 0 {
			t.Errorf("color_aug %v: %d of 100 uses have other colours", on, shifted)
		}
	}
}

func TestReport(t *testing.T) {
	root := t.TempDir()
	dir := pictures(t, filepath.Join(root, "2_a"), "a", 2, 96, 128)
	writeFile(t, filepath.Join(dir, "a000.txt"), "Red Hat, man,, red hat")
	writeFile(t, filepath.Join(dir, "a001.txt"), "man")
	r := mustOpen(t, Config{Sets: []Set{tinySet(root, "")}}).Report()
	if want := map[string]map[string]int{"2_a": {"red hat": 2, "man": 2}}; !reflect.DeepEqual(r.Sets[0].TagFrequency, want) {
		t.Errorf("tags %v, want %v", r.Sets[0].TagFrequency, want)
	}
	if r.TrainImages != 4 || len(r.Folders) != 1 || r.Folders[0].Images != 2 || r.Folders[0].Samples != 4 {
		t.Errorf("%+v", r)
	}
	text := r.String()
	for _, part := range []string{`folder "2_a": 2 pictures × 2 repeats`, "bucket 0:", "steps: 1600 = neither", `first caption: "Red Hat, man,, red hat"`} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

// TestMeanARError is case 47's number, on a picture of the same shape.
func TestMeanARError(t *testing.T) {
	p := latentPicture(t, "a.png", 756, 1008, at512, Subset{})
	d := mustOpen(t, Config{Sets: []Set{{Resolution: Size{512, 512}, Bucketing: up, Subsets: []Subset{*p.subset}}}})
	if got := d.Report().MeanARError; math.Abs(got-0.0277778) > 1e-7 {
		t.Errorf("%v, want 0.0277778", got)
	}
}

// TestSamplePhotos opens the sample photos and loads every one, turned upright.
func TestSamplePhotos(t *testing.T) {
	d := mustOpen(t, Config{Sets: []Set{{
		Resolution: Size{128, 128}, BatchSize: 4, Bucketing: Bucketing{Enable: true, MinReso: 64, MaxReso: 256},
		TrainDataDir: "../../tinyportrait/photos", Folder: Subset{EXIFOrientation: true},
	}}, MaxTrainEpochs: 1})
	r := d.Report()
	if len(r.Folders) != 2 || r.Folders[0].Images != 16 || r.Folders[0].Repeats != 12 || r.Folders[1].Images != 12 || r.TrainImages != 16*12+12 {
		t.Errorf("%+v", r.Folders)
	}
	for _, p := range d.Pictures() {
		s, err := p.Load(t.Context(), false)
		if err != nil || s.Image.Rect.Size() != image.Pt(p.Bucket.W, p.Bucket.H) {
			t.Errorf("%s: %v, %v", p.Path, s.Image, err)
		}
		if strings.Contains(p.Path, "personname") && p.Caption != "photo of personname man" {
			t.Errorf("%s: caption %q", p.Path, p.Caption)
		}
	}
}
