package kohya

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/tomltree"
	"github.com/atelier-go/atelier/lora/dataset"
)

// parseJSON and parseTOML read a dataset config in one of its forms.
func parseJSON(data []byte, defaults dataset.Set) ([]dataset.Set, []string, error) {
	return parseWith(decodeJSON, data, defaults)
}

func parseTOML(data []byte, defaults dataset.Set) ([]dataset.Set, []string, error) {
	return parseWith(tomltree.Decode, data, defaults)
}

func parseWith(decode func([]byte) (map[string]any, error), data []byte, defaults dataset.Set) ([]dataset.Set, []string, error) {
	tree, err := decode(data)
	if err != nil {
		return nil, nil, err
	}
	return readDatasets(tree, defaults)
}

const exampleJSON = `{
	"general": {"shuffle_caption": true, "keep_tokens": 1, "caption_extension": ".txt", "flip_aug": true, "resolution": 640, "batch_size": 4},
	"datasets": [
		{"resolution": [512, 768], "enable_bucket": true, "keep_tokens": 0, "validation_split": 0.1, "validation_seed": 42, "subsets": [
			{"image_dir": "a", "num_repeats": 10, "shuffle_caption": false, "caption_dropout_rate": 1},
			{"image_dir": "b", "is_reg": true, "face_crop_aug_range": [1.5, 3.0], "class_tokens": "man", "keep_tokens": 2, "resize_interpolation": "bicubic", "token_warmup_step": 0.5}
		]},
		{"batch_size": 2, "bucket_no_upscale": true, "min_bucket_reso": 320, "subsets": [{"image_dir": "c", "network_multiplier_is_not": 0}]}
	]
}`

// exampleSets is what exampleJSON, without its unknown key, means over a command line of "flip_aug" and "enable_wildcard".
func exampleSets() []dataset.Set {
	seed := uint64(42)
	subset := func(dir string, keep int, change func(*dataset.Subset)) dataset.Subset {
		s := dataset.Subset{ImageDir: dir, CaptionExtension: ".txt", FlipAug: true, CaptionOptions: dataset.CaptionOptions{Shuffle: true, KeepTokens: keep, Wildcard: true}}
		change(&s)
		return s
	}
	return []dataset.Set{
		{Resolution: dataset.Size{W: 512, H: 768}, BatchSize: 4, Bucketing: dataset.Bucketing{Enable: true}, ValidationSplit: 0.1, ValidationSeed: &seed, Subsets: []dataset.Subset{
			subset("a", 0, func(s *dataset.Subset) { s.Repeats, s.Shuffle, s.DropoutRate = 10, false, 1 }),
			subset("b", 2, func(s *dataset.Subset) {
				s.Reg, s.ClassTokens, s.ResizeInterpolation, s.TokenWarmupStep = true, "man", dataset.Cubic, 0.5
				s.FaceCropAugRange = [2]float64{1.5, 3}
			}),
		}},
		{Resolution: dataset.Size{W: 640, H: 640}, BatchSize: 2, Bucketing: dataset.Bucketing{NoUpscale: true, MinReso: 320}, Subsets: []dataset.Subset{subset("c", 1, func(*dataset.Subset) {})}},
	}
}

func TestDatasetsJSON(t *testing.T) {
	got, _, err := parseJSON([]byte(strings.Replace(exampleJSON, `, "network_multiplier_is_not": 0`, "", 1)), dataset.Set{Folder: dataset.Subset{FlipAug: false, CaptionOptions: dataset.CaptionOptions{Wildcard: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := exampleSets(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDatasetsDefaults(t *testing.T) {
	const minimal = `{"datasets": [{"resolution": 512, "subsets": [{"image_dir": "a"}]}]}`
	got, _, err := parseJSON([]byte(minimal), dataset.Set{Folder: dataset.Subset{FlipAug: true}})
	if err != nil || got[0].Subsets[0].CaptionExtension != ".caption" || !got[0].Subsets[0].FlipAug {
		t.Errorf("%+v, %v, want .caption and the command line's flip_aug", got, err)
	}
	off := strings.Replace(minimal, `"image_dir"`, `"flip_aug": false, "image_dir"`, 1)
	if got, _, err := parseJSON([]byte(off), dataset.Set{Folder: dataset.Subset{FlipAug: true}}); err != nil || got[0].Subsets[0].FlipAug {
		t.Errorf("%+v, %v, want flip_aug switched off", got, err)
	}
}

func TestDatasetsNotes(t *testing.T) {
	_, notes, err := parseJSON([]byte(`{"general": {"network_multiplier": 2.0}, "datasets": [{"resolution": 512, "subsets": [{"image_dir": "a", "cache_info": true, "custom_attributes": {}}, {"image_dir": "b", "cache_info": true}]}]}`), dataset.Set{})
	if err != nil || len(notes) != 3 {
		t.Errorf("%q, %v, want three notes", notes, err)
	}
}

func TestDatasetsRefuse(t *testing.T) {
	set := func(keys string) string {
		return `{"datasets": [{"resolution": 512, ` + keys + `"subsets": [{"image_dir": "a"}]}]}`
	}
	subset := func(keys string) string {
		return `{"datasets": [{"resolution": 512, "subsets": [{` + keys + `}]}]}`
	}
	for _, c := range []struct{ name, file, want string }{
		{"unknown key", subset(`"image_dir": "a", "num_repeat": 3`), `[[datasets]] 1: [[datasets.subsets]] 1: unknown key "num_repeat"; near it: num_repeats`},
		{"unknown at the top", `{"dataset": [], "datasets": [{"resolution": 1, "subsets": [{"image_dir": "a"}]}]}`, `unknown key "dataset"`},
		{"subset key in the dataset", set(`"image_dir": "a", `), "image_dir belongs into [[datasets.subsets]]"},
		{"dataset key in a subset", subset(`"image_dir": "a", "batch_size": 3`), "batch_size belongs into [general] or [[datasets]]"},
		{"validation split in a subset", subset(`"image_dir": "a", "validation_split": 0.1`), "validation_split belongs into"},
		{"integer for float", set(`"validation_split": 0, `), "want a number with a point"},
		{"float for integer", set(`"batch_size": 2.0, `), "want a whole number"},
		{"text for integer", set(`"batch_size": "2", `), "want a whole number"},
		{"number for text", subset(`"image_dir": 3`), "want a text"},
		{"number for bool", set(`"enable_bucket": 1, `), "want true or false"},
		{"three sides", set(`"enable_bucket": true, "resolution": [1, 2, 3], `), "width and height"},
		{"repeats 0", subset(`"image_dir": "a", "num_repeats": 0`), "num_repeats is 0, want 1"},
		{"extension", subset(`"image_dir": "a", "caption_extention": "txt"`), "with its dot"},
		{"no image_dir", subset(`"num_repeats": 2`), "image_dir is missing"},
		{"metadata file", subset(`"metadata_file": "a.json"`), "metadata files are not read"},
		{"face crop", subset(`"image_dir": "a", "face_crop_aug_range": "1,2"`), "want a list of two numbers"},
		{"face crop of integers", subset(`"image_dir": "a", "face_crop_aug_range": [1, 2]`), "is a list of 2, want a list of two numbers with a point"},
		{"no resolution", `{"datasets": [{"subsets": [{"image_dir": "a"}]}]}`, "resolution is missing"},
		{"no datasets", `{}`, "no [[datasets]]"},
		{"no subsets", `{"datasets": [{"resolution": 512}]}`, "no [[datasets.subsets]]"},
		{"datasets a table", `{"datasets": {"resolution": 512}}`, "datasets is a table, want a list of tables"},
		{"a dataset a number", `{"datasets": [5]}`, "want a table"},
		{"no JSON", `datasets = 3`, "invalid character"},
		{"more", `{} {}`, "text after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if sets, _, err := parseJSON([]byte(c.file), dataset.Set{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v, want an error with %q", sets, err, c.want)
			}
		})
	}
	if _, _, err := parseJSON([]byte(exampleJSON), dataset.Set{}); err == nil || !strings.Contains(err.Error(), "network_multiplier_is_not") {
		t.Errorf("%v, want the unknown key named", err)
	}
}

// TestManyErrors: a file with as many mistakes as it can hold is answered with a page.
func TestDatasetsManyErrors(t *testing.T) {
	sets := strings.Repeat(`{"resolution": "x", "subsets": [{"image_dir": 1, "b": 2}]},`, 2000)
	_, _, err := parseJSON([]byte(`{"datasets": [`+sets+`{}]}`), dataset.Set{})
	if err == nil || strings.Count(err.Error(), "\n") != 30 || !strings.Contains(err.Error(), "more") {
		t.Errorf("%.1000v, want 30 errors and how many more there are", err)
	}
}

func FuzzDatasetsJSON(f *testing.F) {
	f.Add([]byte(exampleJSON))
	f.Add([]byte(`{"datasets": [{"resolution": 512, "subsets": [{"image_dir": "a"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) { checkParsed(t, data, parseJSON) })
}

// checkParsed: whatever a config file holds, it is refused or has folders to train on.
func checkParsed(t *testing.T, data []byte, parse func([]byte, dataset.Set) ([]dataset.Set, []string, error)) {
	t.Helper()
	sets, _, err := parse(data, dataset.Set{})
	if err != nil {
		return
	}
	for _, s := range sets {
		if len(s.Subsets) == 0 || s.Resolution.W < 1 || s.Resolution.H < 1 {
			t.Errorf("%+v", s)
		}
	}
}

const exampleTOML = `
[general]
shuffle_caption = true
keep_tokens = 1
caption_extension = ".txt"
flip_aug = true
resolution = 640
batch_size = 4

[[datasets]]
resolution = [512, 768]
enable_bucket = true
keep_tokens = 0
validation_split = 0.1
validation_seed = 42

  [[datasets.subsets]]
  image_dir = "a"
  num_repeats = 10
  shuffle_caption = false
  caption_dropout_rate = 1

  [[datasets.subsets]]
  image_dir = "b"
  is_reg = true
  face_crop_aug_range = [1.5, 3.0]
  class_tokens = "man"
  keep_tokens = 2
  resize_interpolation = "bicubic"
  token_warmup_step = 0.5

[[datasets]]
batch_size = 2
bucket_no_upscale = true
min_bucket_reso = 320
subsets = [{ image_dir = "c" }]
`

func TestDatasetsTOML(t *testing.T) {
	got, _, err := parseTOML([]byte(exampleTOML), dataset.Set{Folder: dataset.Subset{CaptionOptions: dataset.CaptionOptions{Wildcard: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := exampleSets(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDatasetsTOMLRefuse(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"unknown key", strings.Replace(exampleTOML, "is_reg", "is_regular", 1), `unknown key "is_regular"; near it: is_reg`},
		{"syntax", "[general", "table name"},
		{"key twice", "[general]\nflip_aug = true\nflip_aug = false", "flip_aug"},
		{"float for integer", strings.Replace(exampleTOML, "num_repeats = 10", "num_repeats = 10.0", 1), "want a whole number"},
		{"integer for float", strings.Replace(exampleTOML, "validation_split = 0.1", "validation_split = 0", 1), "want a number with a point"},
		{"date for text", strings.Replace(exampleTOML, `"a"`, "2026-01-01", 1), "want a text"},
		{"one dataset table", "[datasets]\nresolution = 512", "want a list of tables"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if sets, _, err := parseTOML([]byte(c.file), dataset.Set{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v, want an error with %q", sets, err, c.want)
			}
		})
	}
}

func TestReadDatasets(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a.toml": exampleTOML, "a.JSON": strings.Replace(exampleJSON, `, "network_multiplier_is_not": 0`, "", 1)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if sets, _, err := ReadDatasets(path, dataset.Set{}); err != nil || len(sets) != 2 {
			t.Errorf("%s: %d sets, %v", name, len(sets), err)
		}
	}
	bad := filepath.Join(dir, "bad.toml")
	if err := os.WriteFile(bad, []byte("x = 1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadDatasets(bad, dataset.Set{}); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("%v, want an error naming the file", err)
	}
}

func FuzzDatasetsTOML(f *testing.F) {
	f.Add([]byte(exampleTOML))
	f.Add([]byte("[[datasets]]\nresolution = nan\nsubsets = [{}]"))
	f.Fuzz(func(t *testing.T, data []byte) { checkParsed(t, data, parseTOML) })
}
