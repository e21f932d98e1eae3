package dataset

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

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

func TestParseTOML(t *testing.T) {
	got, err := ParseTOML([]byte(exampleTOML), Defaults{Subset: Subset{CaptionOptions: CaptionOptions{Wildcard: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := exampleSets(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestTOMLRefuses(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"unknown key", strings.Replace(exampleTOML, "is_reg", "is_regular", 1), `unknown key "is_regular" (is is_reg meant?)`},
		{"syntax", "[general", "config"},
		{"key twice", "[general]\nflip_aug = true\nflip_aug = false", "flip_aug"},
		{"float for integer", strings.Replace(exampleTOML, "num_repeats = 10", "num_repeats = 10.0", 1), "want a whole number"},
		{"integer for float", strings.Replace(exampleTOML, "validation_split = 0.1", "validation_split = 0", 1), "want a number with a point"},
		{"date for text", strings.Replace(exampleTOML, `"a"`, "2026-01-01", 1), "want a text"},
		{"one dataset table", "[datasets]\nresolution = 512", "want a list of tables"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if sets, err := ParseTOML([]byte(c.file), Defaults{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v, want an error with %q", sets, err, c.want)
			}
		})
	}
}

func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"a.toml": exampleTOML, "a.JSON": strings.Replace(exampleJSON, `, "network_multiplier_is_not": 0`, "", 1)} {
		path := filepath.Join(dir, name)
		writeFile(t, path, content)
		if sets, err := ReadConfig(path, Defaults{}); err != nil || len(sets) != 2 {
			t.Errorf("%s: %d sets, %v", name, len(sets), err)
		}
	}
	bad := filepath.Join(dir, "bad.toml")
	writeFile(t, bad, "x = 1")
	if _, err := ReadConfig(bad, Defaults{}); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("%v, want an error naming the file", err)
	}
}

func FuzzTOML(f *testing.F) {
	f.Add([]byte(exampleTOML))
	f.Add([]byte("[[datasets]]\nresolution = nan\nsubsets = [{}]"))
	f.Fuzz(func(t *testing.T, data []byte) { checkParsed(t, data, ParseTOML) })
}
