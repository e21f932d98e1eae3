package filename

import (
	"image"
	"image/color"
	"image/draw"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones on systems that have none

	"github.com/atelier-go/atelier/internal/webui"
)

// clock is the time at which the web UI was asked.
var clock = time.Date(2024, 7, 27, 15, 49, 39, 123456000, time.UTC)

// black is an opaque picture.
func black(w, h int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	draw.Draw(img, img.Rect, image.NewUniform(color.Black), image.Point{}, draw.Src)
	return img
}

type nameRecord struct {
	ID, Pattern, Prompt, Out string
	Seed                     *int64
	Size                     [2]int
	VAE                      string `json:"vae_file"`
	ClipSkip                 int    `json:"clip_skip"`
	KW                       struct {
		Basename string
		Zip      bool
	}
	P struct {
		BatchSize  int     `json:"batch_size"`
		Batches    int     `json:"n_iter"`
		Batch      int     `json:"iteration"`
		BatchIndex int     `json:"batch_index"`
		Seeds      []int64 `json:"all_seeds"`
		Steps      int
		Guidance   float64 `json:"cfg_scale"`
		Sampler    string  `json:"sampler_name"`
		Schedule   string  `json:"scheduler"`
		Prompt     string
		Negative   string `json:"negative_prompt"`
		Styles     []string
		Denoising  float64 `json:"denoising_strength"`
		User       string
		Started    string `json:"job_timestamp"`
		ModelHash  string `json:"sd_model_hash"`
	}
}

// styleTexts are the prompts of those styles of the web UI that have one.
func styleTexts(names []string) (texts []string) {
	prompts := map[string]string{
		"photo": "photo of {prompt}, 85mm, film grain", "anime": "anime style, cel shading", "quote": `a "quoted" text`, "multi": "line1\nline2",
		"spaced": "  leading", "twice": "{prompt} and {prompt}", "unicode": "雨, {prompt}, 夜", "hashin": "a # b",
	}
	for _, name := range names {
		texts = append(texts, prompts[name])
	}
	return texts
}

func (r nameRecord) values(t *testing.T) *Values {
	started, err := time.Parse("20060102150405", r.P.Started)
	if err != nil {
		t.Fatal(err)
	}
	return &Values{
		Base: r.KW.Basename, User: r.P.User, Prompt: r.Prompt, Negative: r.P.Negative, Styles: r.P.Styles, StyleTexts: styleTexts(r.P.Styles),
		Seed: r.Seed, Seeds: r.P.Seeds, Steps: r.P.Steps, Guidance: r.P.Guidance, Denoising: r.P.Denoising, ClipSkip: r.ClipSkip,
		Sampler: r.P.Sampler, Schedule: r.P.Schedule, Model: "v1-5-pruned-emaonly", ModelHash: r.P.ModelHash, VAE: r.VAE,
		BatchSize: r.P.BatchSize, Batches: r.P.Batches, BatchIndex: r.P.BatchIndex, Batch: r.P.Batch, Archived: r.KW.Zip,
		Image: black(r.Size[0], r.Size[1]), Time: clock, Started: started,
	}
}

// saveRecord has either pictures that were saved one after the other, or names of files and the number that comes next.
type saveRecord struct {
	ID      string
	Options struct {
		Pattern  string `json:"samples_filename_pattern"`
		Folder   string `json:"directories_filename_pattern"`
		ToDirs   *bool  `json:"save_to_dirs"`
		GridDirs *bool  `json:"grid_save_to_dirs"`
		Number   *bool  `json:"save_images_add_number"`
	}
	Saves []struct {
		Args struct {
			Basename, Prompt, Suffix, Extension string
			Forced                              string `json:"forced_filename"`
			Seed                                *int64
			Grid                                bool
			Short                               bool  `json:"short_filename"`
			ToDirs                              *bool `json:"save_to_dirs"`
		}
		Path string
	}
	Files    []string
	Basename string
	Next     int
}

func off(option *bool) bool { return option != nil && !*option }

func TestWebUI(t *testing.T) {
	webui.Test(t, "filenames", func(t *testing.T, r nameRecord) {
		if got := r.values(t).Fill(r.Pattern); got != r.Out {
			t.Errorf("%s: %q is %q, want %q", r.ID, r.Pattern, got, r.Out)
		}
	})
	webui.Test(t, "sanitize", func(t *testing.T, r struct {
		ID, Text, Out string
		Blanks        bool `json:"replace_spaces"`
	}) {
		if got := Part(r.Text, r.Blanks); got != r.Out {
			t.Errorf("%s: %q is %q, want %q", r.ID, r.Text, got, r.Out)
		}
	})
	webui.Test(t, "save_names", testSave)
}

func testSave(t *testing.T, r saveRecord) {
	dir := t.TempDir()
	for _, name := range r.Files {
		touch(t, filepath.Join(dir, name))
	}
	if len(r.Saves) == 0 {
		if got, err := NextNumber(dir, r.Basename); err != nil || got != r.Next {
			t.Errorf("%s: the next number is %d, %v, want %d", r.ID, got, err, r.Next)
		}
		return
	}
	n := Naming{r.Options.Pattern, r.Options.Folder, off(r.Options.ToDirs), off(r.Options.GridDirs), off(r.Options.Number)}
	for i, s := range r.Saves {
		a := s.Args
		v := &Values{Base: a.Basename, Prompt: a.Prompt, Seed: a.Seed, BatchSize: 1, Batches: 1, Time: clock, Image: black(8, 8)}
		got, err := n.Path(dir, v, File{Grid: a.Grid, Short: a.Short, Suffix: a.Suffix, Ext: a.Extension, Name: a.Forced, Flat: off(a.ToDirs)})
		if want := filepath.Join(dir, filepath.FromSlash(s.Path)); err != nil || got != want {
			t.Errorf("%s: file %d is %s, %v, want %s", r.ID, i, got, err, want)
		}
		touch(t, got)
	}
}

// touch makes a file, and its folders.
func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTimes has what Python's strftime makes of the same time.
func TestTimes(t *testing.T) {
	for form, want := range map[string]string{
		"%a %A %b %B": "Sat Saturday Jul July", "%d.%m.%y %Y": "27.07.24 2024", "%j %U %W %V %G": "209 29 30 30 2024", "%u %w": "6 6",
		"%I:%M:%S %p": "03:49:39 PM", "%f %z %Z": "123456 +0000 UTC", "%-m/%-d": "7/27", "%F %T": "2024-07-27 15:49:39", "100%%": "100%", "%": "%",
	} {
		if got := strftime(clock, form); got != want {
			t.Errorf("%q is %q, want %q", form, got, want)
		}
	}
}

// TestEscape wants no file outside its folder.
func TestEscape(t *testing.T) {
	seed := int64(1)
	for _, n := range []Naming{{Pattern: "../../[seed]", NoNumber: true}, {FolderPattern: "[date]/../.."}, {FolderPattern: "../x"}} {
		if path, err := n.Path(t.TempDir(), &Values{Seed: &seed, User: "../../x"}, File{}); err == nil {
			t.Errorf("%+v gives %s", n, path)
		}
	}
	v := &Values{User: "../../x", Prompt: "../../y", Styles: []string{"../z"}}
	if got := v.Fill("[user][prompt][styles]"); strings.ContainsAny(got, `/\`) {
		t.Errorf("values make folders: %q", got)
	}
}

func FuzzFill(f *testing.F) {
	for _, pattern := range []string{"[seed]-[prompt_words]", "[datetime<%Y><Asia/Tokyo>]/[hasprompt<a|b><c>]", "[prompt_hash<-3>][image_hash<", "[[seed]]>", "[datetime<%-%>]"} {
		f.Add(pattern, "a cat")
	}
	f.Fuzz(func(t *testing.T, pattern, prompt string) {
		v := &Values{Prompt: prompt, Time: clock, Started: clock}
		v.Fill(pattern)
		if part := Part(prompt, true); strings.ContainsAny(part, unfit+" ") {
			t.Errorf("%q is no part of a name", part)
		}
	})
}
