package library_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/atelier-go/atelier/sd/prompt"
	"github.com/atelier-go/atelier/studio/library"
	"github.com/atelier-go/atelier/weights"
)

// lay makes files in a folder, whose content does not matter.
func lay(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(name), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, o library.Options) *library.Library {
	t.Helper()
	l, err := library.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// places are those of files.
func places(files []library.File) (all []string) {
	for _, f := range files {
		all = append(all, f.Place)
	}
	return all
}

func titles(l *library.Library) (all []string) {
	for _, c := range l.Checkpoints() {
		all = append(all, c.Title)
	}
	return all
}

func loras(l *library.Library) (all []string) {
	for _, a := range l.LoRAs() {
		all = append(all, a.Place)
	}
	return all
}

// TestInstallations finds what is in the folders of other programs, beside one's own.
func TestInstallations(t *testing.T) {
	for _, c := range []struct {
		name                                          string
		files                                         []string
		checkpoints, loras, vaes, embeddings, upscale []string
		outputs, styles                               bool // of the installation
	}{
		{
			"AUTOMATIC1111",
			[]string{
				"models/Stable-diffusion/b.safetensors", "models/Stable-diffusion/people/A.ckpt", "models/Stable-diffusion/b.vae.safetensors",
				"models/Stable-diffusion/diffusers/model_index.json", "models/Stable-diffusion/diffusers/unet/x.safetensors", "models/Stable-diffusion/notes.txt",
				"models/Lora/me.safetensors", "models/Lora/old/you.pt", "models/LyCORIS/it.safetensors", "models/VAE/v.pt", "models/VAE-taesd/taesd_decoder.pth",
				"embeddings/bad.pt", "models/ESRGAN/4x.pth", "models/RealESRGAN/x4plus.pth", "styles.csv",
			},
			[]string{"own.safetensors", "b.safetensors", "diffusers", "people/A.ckpt"}, []string{"it.safetensors", "me.safetensors", "old/you.pt"},
			[]string{"taesd_decoder.pth", "v.pt"}, []string{"bad.pt"}, []string{"4x.pth", "x4plus.pth"}, true, true,
		},
		{
			"ComfyUI",
			[]string{
				"models/checkpoints/b.safetensors", "models/loras/me.safetensors", "models/vae/v.safetensors", "models/vae_approx/taesd_decoder.pth",
				"models/embeddings/bad.safetensors", "models/upscale_models/4x.pth",
			},
			[]string{"own.safetensors", "b.safetensors"}, []string{"me.safetensors"}, []string{"taesd_decoder.pth", "v.safetensors"}, []string{"bad.safetensors"},
			[]string{"4x.pth"}, false, false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ui, data := t.TempDir(), t.TempDir()
			lay(t, ui, c.files...)
			lay(t, data, "models/Stable-diffusion/own.safetensors")
			if c.styles {
				if err := os.WriteFile(filepath.Join(ui, "styles.csv"), []byte("name,prompt,negative_prompt\nbright,sunny {prompt},\n"), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			l := open(t, library.Options{DataDir: data, WebUI: ui})
			for _, want := range []struct {
				what      string
				got, want []string
			}{
				{"checkpoints", titles(l), c.checkpoints}, {"LoRAs", loras(l), c.loras}, {"VAEs", places(l.VAEs()), c.vaes},
				{"embeddings", places(l.Embeddings()), c.embeddings}, {"upscalers", places(l.Upscalers()), c.upscale},
			} {
				slices.Sort(want.got)
				slices.Sort(want.want)
				if !slices.Equal(want.got, want.want) {
					t.Errorf("the %s are %q, want %q", want.what, want.got, want.want)
				}
			}
			if got := len(l.Styles()) == 1; got != c.styles {
				t.Errorf("styles: %v", l.Styles())
			}
			dirs := l.PipelineOptions().CheckpointDirs
			if len(dirs) != 2 || !strings.HasPrefix(dirs[0], data) || !strings.HasPrefix(dirs[1], ui) {
				t.Errorf("checkpoints are in %q", dirs)
			}
			path, err := l.SavePicture(library.Txt2Img, picture("a", 1))
			if err != nil || strings.HasPrefix(path, ui) != c.outputs {
				t.Errorf("a picture goes to %s, %v", path, err)
			}
		})
	}
}

// TestFolders takes folders that are given, and refuses what is none by the option.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "c/a.safetensors", "l/x.safetensors", "v/v.pt", "e/e.pt", "u/u.pth", "s.csv")
	if err := os.WriteFile(filepath.Join(dir, "s.csv"), []byte("name,prompt,negative_prompt\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	l := open(t, library.Options{CheckpointDir: at("c"), LoRADir: at("l"), VAEDir: at("v"), EmbeddingDir: at("e"), UpscalerDir: at("u"), StylesFile: at("s.csv"), OutputDir: at("o")})
	if o := l.PipelineOptions(); !slices.Equal(slices.Concat(o.CheckpointDirs, o.LoRADirs, o.VAEDirs, o.EmbeddingDirs, o.UpscalerDirs), []string{at("c"), at("l"), at("v"), at("e"), at("u")}) {
		t.Errorf("the folders are %+v", o)
	}
	if err := l.SaveStyle(prompt.Style{Name: "a", Prompt: "b, \"c\"\n", Negative: "d"}); err != nil {
		t.Error(err)
	}
	if err := l.SaveStyle(prompt.Style{Name: "a", Prompt: "e"}); err != nil || len(l.Styles()) != 1 {
		t.Errorf("%v, styles %q", err, l.Styles())
	}
	again := open(t, library.Options{StylesFile: at("s.csv")})
	if s := again.Styles(); len(s) != 1 || s[0].Prompt != "e" {
		t.Errorf("styles %q", s)
	}
	if err := again.DeleteStyle("b"); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("deleting one that is not there: %v", err)
	}
	if err := errors.Join(again.DeleteStyle("a"), l.Refresh()); err != nil || len(l.Styles()) != 0 {
		t.Errorf("%v, styles %q", err, l.Styles())
	}
	for says, o := range map[string]library.Options{
		"Options.CheckpointDir": {CheckpointDir: at("none")}, "Options.LoRADir": {LoRADir: at("s.csv")}, "models/checkpoints": {WebUI: dir},
		"Options.DataDir": {DataDir: filepath.Join(at("s.csv"), "below")},
	} {
		if _, err := library.Open(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v; want %q", o, err, says)
		}
	}
	if err := l.Settings().Set(map[string]any{"n_rows": 2}); err != nil { // kept in memory
		t.Error(err)
	}
}

// TestCheckpointNames finds checkpoints by all names that the web UI knows them by.
func TestCheckpointNames(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "models/Stable-diffusion/base.safetensors", "models/Stable-diffusion/people/Portrait v2.ckpt", "models/Stable-diffusion/people/portrait-inpainting.safetensors")
	for _, variable := range []string{"XDG_CACHE_HOME", "LocalAppData", "HOME"} {
		t.Setenv(variable, filepath.Join(dir, "cache"))
	}
	l := open(t, library.Options{DataDir: dir, Embedded: fstest.MapFS{}, EmbeddedName: "tiny"})
	c, err := l.Checkpoint("base")
	if err != nil || c.Hash != "" || c.Title != "base.safetensors" {
		t.Fatalf("%+v, %v", c, err)
	}
	hash, err := l.Hash(t.Context(), c)
	if err != nil || len(hash) != 64 {
		t.Fatalf("hash %q, %v", hash, err)
	}
	for name, want := range map[string]string{
		"base": "base", "base.safetensors": "base", "base.safetensors [" + hash[:10] + "]": "base", "base [" + hash[:10] + "]": "base", hash[:10]: "base", hash: "base",
		c.Path: "base", "people_Portrait v2": "people_Portrait v2", "people/Portrait v2.ckpt": "people_Portrait v2", `people\Portrait v2.ckpt`: "people_Portrait v2",
		"Portrait v2": "people_Portrait v2", "portrait": "people_Portrait v2", "inpainting": "people_portrait-inpainting", "tiny": "tiny",
		"base.safetensors [0123456789]": "base",
	} {
		if c, err := l.Checkpoint(name); err != nil || c.Name != want {
			t.Errorf("%q is %q, %v; want %q", name, c.Name, err, want)
		}
	}
	if got := titles(l); !slices.Contains(got, "base.safetensors ["+hash[:10]+"]") {
		t.Errorf("the titles are %q", got)
	}
	_, err = l.Checkpoint("nobody")
	if e, ok := errors.AsType[*library.NotFoundError](err); !ok || len(e.Known) != 4 || !strings.Contains(err.Error(), "tiny") {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := l.Checkpoint(""); err == nil {
		t.Error("no name finds a checkpoint")
	}
	lay(t, dir, "models/Stable-diffusion/late.safetensors")
	_, err = l.Checkpoint("late")
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		_, err = l.Checkpoint("late") // on a slow machine the looks of before have to be paid for first
	}
	if err != nil {
		t.Errorf("one that came later: %v", err)
	}
}

// TestLoRAs tells what LoRAs say of themselves, and shows the pictures beside them.
func TestLoRAs(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "models/Lora/me.preview.png", "models/Lora/you.jpg", "models/Lora/broken.safetensors")
	write := func(name string, metadata map[string]string) {
		path := filepath.Join(dir, "models", "Lora", name)
		tensor := weights.Tensor{Name: "a", DType: weights.F32, Shape: []int{1}, Data: make([]byte, 4)}
		if err := weights.Write(path, []weights.Tensor{tensor}, metadata); err != nil {
			t.Fatal(err)
		}
	}
	write("me.safetensors", map[string]string{"ss_output_name": "person", "ss_tag_frequency": `{"12_me": {"photo of me": 3, "smile": 7}}`})
	write("you.safetensors", nil)
	l := open(t, library.Options{DataDir: dir})
	all := l.LoRAs()
	if len(all) != 3 {
		t.Fatalf("LoRAs %q", loras(l))
	}
	if a := all[0]; a.Name != "broken" || a.Alias != "broken" || a.Triggers != nil {
		t.Errorf("a damaged one is %+v", a)
	}
	if a := all[1]; a.Alias != "person" || !slices.Equal(a.Triggers, []string{"smile", "photo of me"}) || filepath.Base(a.Preview) != "me.preview.png" || a.Size == 0 {
		t.Errorf("%+v", a)
	}
	if a := all[2]; a.Alias != "you" || filepath.Base(a.Preview) != "you.jpg" {
		t.Errorf("%+v", a)
	}
	if m, err := all[1].Metadata(); err != nil || m["ss_output_name"] != "person" {
		t.Errorf("metadata %v, %v", m, err)
	}
	write("me.safetensors", map[string]string{"ss_output_name": "somebody else"})
	if a := l.LoRAs()[1]; a.Alias != "somebody else" {
		t.Errorf("a replaced file says still %q", a.Alias)
	}
}

// TestLinks follows links to folders, but not in circles, and passes over such as lead nowhere.
func TestLinks(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	lay(t, elsewhere, "far.safetensors")
	lay(t, dir, "models/Stable-diffusion/near.safetensors", "models/Stable-diffusion/.hidden/x.safetensors")
	folder := filepath.Join(dir, "models", "Stable-diffusion")
	for name, to := range map[string]string{"link": elsewhere, "circle": folder, "nowhere.safetensors": filepath.Join(dir, "none")} {
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			t.Skipf("no links here: %v", err)
		}
	}
	if _, err := os.ReadDir(filepath.Join(folder, "link")); err != nil {
		t.Skipf("links to folders lead nowhere here, as under Wine: %v", err)
	}
	l := open(t, library.Options{DataDir: dir})
	if got := titles(l); !slices.Equal(got, []string{"link/far.safetensors", "near.safetensors"}) || len(l.Skipped()) > 0 {
		t.Errorf("%q, skipped %v", got, l.Skipped())
	}
}
