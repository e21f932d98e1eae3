package library_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/sd/infotext"
	"github.com/atelier-go/atelier/studio/library"
)

// picture is a small one with a text.
func picture(prompt string, seed int64) sd.Picture {
	text := fmt.Sprintf("%s\nNegative prompt: blurred\nSteps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7, Seed: %d, Size: 8x8, Model: tiny", prompt, seed)
	img := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	for i := range img.Pix {
		img.Pix[i] = uint8(seed)
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return sd.Picture{Image: img, Seed: seed, Infotext: text}
}

// TestOutputNames saves pictures under the names that the web UI gives by its settings.
func TestOutputNames(t *testing.T) {
	day := time.Now().Format(time.DateOnly)
	for _, c := range []struct {
		name     string
		settings map[string]any
		kind     string
		want     []string // of two pictures
	}{
		{"as they are", nil, library.Txt2Img, []string{"txt2img-images/DAY/00000-7.png", "txt2img-images/DAY/00001-7.png"}},
		{"img2img", nil, library.Img2Img, []string{"img2img-images/DAY/00000-7.png", "img2img-images/DAY/00001-7.png"}},
		{"extras", nil, library.Extras, []string{"extras-images/DAY/00000.png", "extras-images/DAY/00001.png"}},
		{"grids", nil, library.Txt2ImgGrid, []string{"txt2img-grids/DAY/grid-0000.png", "txt2img-grids/DAY/grid-0001.png"}},
		{"no folders", map[string]any{"save_to_dirs": false}, library.Txt2Img, []string{"txt2img-images/00000-7-a man.png", "txt2img-images/00001-7-a man.png"}},
		{"a pattern", map[string]any{"samples_filename_pattern": "[sampler]-[steps]-[cfg]", "directories_filename_pattern": "[model_name]"}, library.Txt2Img,
			[]string{"txt2img-images/tiny/00000-Euler a-20-7.0.png", "txt2img-images/tiny/00001-Euler a-20-7.0.png"}},
		{"no numbers", map[string]any{"save_images_add_number": false, "samples_filename_pattern": "[prompt]"}, library.Txt2Img,
			[]string{"txt2img-images/DAY/a_man.png", "txt2img-images/DAY/a_man-2.png"}},
		{"JPEG", map[string]any{"samples_format": "jpg"}, library.Txt2Img, []string{"txt2img-images/DAY/00000-7.jpg", "txt2img-images/DAY/00001-7.jpg"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, library.Options{DataDir: dir})
			if err := l.Settings().Set(c.settings); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				path, err := l.SavePicture(c.kind, picture("a man", 7))
				want = filepath.Join(dir, "outputs", filepath.FromSlash(strings.ReplaceAll(want, "DAY", day)))
				if err != nil || path != want {
					t.Fatalf("it is saved as %s, %v; want %s", path, err, want)
				}
				text, err := os.ReadFile(path)
				if m, e := infotext.Extract(bytes.NewReader(text)); err != nil || e != nil || m.Infotext() != picture("a man", 7).Infotext {
					t.Errorf("it says %q, %v, %v", m.Infotext(), err, e)
				}
			}
		})
	}
}

// TestPlotName saves a grid that compares settings under the name that the web UI's script gives it.
func TestPlotName(t *testing.T) {
	l := open(t, library.Options{DataDir: t.TempDir()})
	p := picture("a man", 7)
	p.Infotext += ", Script: X/Y/Z plot, X Type: Steps, X Values: \"1, 2\""
	path, err := l.SavePicture(library.Img2ImgGrid, p)
	if err != nil || filepath.Base(path) != "xyz_grid-0000-7.png" || filepath.Base(filepath.Dir(filepath.Dir(path))) != "img2img-grids" {
		t.Errorf("it is saved as %s, %v", path, err)
	}
}

// TestOutputsRefused wants names that would leave the folder, and kinds that are none, to be errors.
func TestOutputsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, library.Options{DataDir: dir})
	if err := l.Settings().Set(map[string]any{"directories_filename_pattern": "../../[date]"}); err != nil {
		t.Fatal(err)
	}
	if path, err := l.SavePicture(library.Txt2Img, picture("a", 1)); err == nil {
		t.Errorf("saved as %s", path)
	}
	if path, err := l.SavePicture("../elsewhere", picture("a", 1)); err == nil {
		t.Errorf("saved as %s", path)
	}
	if _, err := open(t, library.Options{}).SavePicture(library.Txt2Img, picture("a", 1)); err == nil || !strings.Contains(err.Error(), "Options.OutputDir") {
		t.Errorf("nowhere to save: %v", err)
	}
}

// TestSeveralWriters saves from several libraries on one folder at once, and wants every picture to be there.
func TestSeveralWriters(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	const writers, each = 4, 10
	paths := make([][]string, writers)
	for w := range writers {
		l := open(t, library.Options{DataDir: dir})
		group.Go(func() {
			for i := range each {
				path, err := l.SavePicture(library.Txt2Img, picture("a", int64(w*each+i)))
				if err != nil {
					t.Error(err)
				}
				paths[w] = append(paths[w], path)
			}
		})
	}
	group.Wait()
	all := slices.Concat(paths...)
	slices.Sort(all)
	if len(slices.Compact(all)) != writers*each {
		t.Errorf("%d pictures have %d names", writers*each, len(slices.Compact(all)))
	}
	for w := range writers {
		for i, path := range paths[w] {
			data, err := os.ReadFile(path)
			if m, e := infotext.Extract(bytes.NewReader(data)); err != nil || e != nil || !strings.Contains(m.Infotext(), fmt.Sprintf("Seed: %d,", w*each+i)) {
				t.Errorf("%s says %q, %v, %v", path, m.Infotext(), err, e)
			}
		}
	}
}

// TestSaveOnce puts the notes of a job in every state in which a kill leaves them, and wants one picture in the end.
func TestSaveOnce(t *testing.T) {
	p := picture("a", 7)
	var file bytes.Buffer
	if err := p.Encode(&file); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file.Bytes())
	for _, c := range []struct {
		name    string
		content []byte // of the file that was meant; nil for none
		done    bool
		want    int // pictures that are there in the end
	}{
		{"noted", nil, false, 1}, {"its name taken", []byte{}, false, 1}, {"written", file.Bytes(), false, 1}, {"another has the name", []byte("another"), false, 2},
		{"done", file.Bytes(), true, 1}, {"done and deleted by somebody", nil, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, library.Options{DataDir: dir})
			path, err := l.SaveOnce("job", "0.png", library.Txt2Img, p)
			if err != nil {
				t.Fatal(err)
			}
			notes, err := filepath.Glob(filepath.Join(dir, "collected", "*.json"))
			if err != nil || len(notes) != 1 {
				t.Fatalf("%q, %v", notes, err)
			}
			note, err := json.Marshal(map[string]any{"job": "job", "files": map[string]any{"0.png": map[string]any{"path": path, "sha256": hex.EncodeToString(sum[:]), "done": c.done}}})
			err = errors.Join(err, os.WriteFile(notes[0], note, 0o666), os.Remove(path))
			if c.content != nil {
				err = errors.Join(err, os.WriteFile(path, c.content, 0o666))
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				l = open(t, library.Options{DataDir: dir})
				if _, err := l.SaveOnce("job", "0.png", library.Txt2Img, p); err != nil {
					t.Fatal(err)
				}
			}
			saved, err := filepath.Glob(filepath.Join(dir, "outputs", "txt2img-images", "*", "*"))
			if err != nil || len(saved) != c.want {
				t.Errorf("there are %q, %v; want %d", saved, err, c.want)
			}
			if err := l.ForgetSaved(func(job string) bool { return job == "job" }); err != nil {
				t.Error(err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "collected", "*.json")); len(left) > 0 {
				t.Errorf("%q are left", left)
			}
		})
	}
}

// TestSaveLoRAOnce puts a LoRA into the folder under its name, or beside one that has it.
func TestSaveLoRAOnce(t *testing.T) {
	dir := t.TempDir()
	l := open(t, library.Options{DataDir: dir})
	for job, want := range map[string]string{"a": "me.safetensors"} {
		path, err := l.SaveLoRAOnce(job, "me.safetensors", []byte("one"))
		if err != nil || filepath.Base(path) != want {
			t.Errorf("%s, %v", path, err)
		}
	}
	path, err := l.SaveLoRAOnce("b", "me.safetensors", []byte("another"))
	if err != nil || filepath.Base(path) != "me-2.safetensors" || len(l.LoRAs()) != 2 {
		t.Errorf("%s, %v, %q", path, err, loras(l))
	}
	for _, name := range []string{"../me.safetensors", "me.exe", "a/b.safetensors"} {
		if path, err := l.SaveLoRAOnce("c", name, []byte("x")); err == nil {
			t.Errorf("%s is saved as %s", name, path)
		}
	}
	release, err := l.LockSaved()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, library.Options{DataDir: dir}).LockSaved(); err == nil {
		t.Error("two at a time")
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

// wide is a picture of a size.
func wide(width, height int) sd.Picture {
	return sd.Picture{Image: image.NewNRGBA(image.Rect(0, 0, width, height)), Infotext: "a\nSteps: 1, Sampler: Euler, Seed: 1, Size: 8x8"}
}
