package main

import (
	"context"
	"errors"
	"flag"
	"image"
	"image/draw"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/examples/internal/program"
	"github.com/atelier-go/atelier/lora/dataset"
	"github.com/atelier-go/atelier/lora/train"
	"github.com/atelier-go/atelier/sd"
)

// TestPortrait does the main job and looks at the pictures: the person is there with the LoRA and not without it, and
// somebody else stays somebody else.
func TestPortrait(t *testing.T) {
	p := onDevice(t)
	if strings.Contains(p.device.Name(), "generic") {
		t.Skipf("on %s the training takes many minutes; the assembly kernels are needed", p.device.Name())
	}
	if err := run(t.Context(), []string{"-output", p.output}, io.Discard); err != nil {
		t.Fatal(err)
	}
	sheet := cut(t, filepath.Join(p.output, "before-after.png"))
	other, err := p.draw(t.Context(), "other", "portrait of a woman, long black hair, green jacket, blue background", sd.Adapter{Path: p.adapter()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		pictures    []*image.NRGBA
		least, most int // pictures with all hallmarks
	}{
		{"without the LoRA", sheet[0], 0, 1},
		{"with the LoRA", sheet[1], 7, 8},
		{"somebody else with the LoRA", other, 0, 0},
	} {
		n := 0
		for i, picture := range c.pictures {
			h := findHallmarks(t, picture)
			t.Logf("%s, seed %d: %+v", c.name, i+1, h)
			if h == thePerson {
				n++
			}
		}
		if len(c.pictures) != 8 || n < c.least || n > c.most {
			t.Errorf("%s %d of %d pictures show all hallmarks, want %d to %d of 8", c.name, n, len(c.pictures), c.least, c.most)
		}
	}
	for i, picture := range other { // what one of them may share with him, as any stranger may, is one hallmark
		if h := findHallmarks(t, picture); h != (hallmarks{Bald: h.Bald}) && h != (hallmarks{Glasses: h.Glasses}) && h != (hallmarks{YellowSweater: h.YellowSweater}) {
			t.Errorf("somebody else with the LoRA, seed %d, has got %+v", i+1, h)
		}
	}
}

// onDevice is the job as it is without flags, in a folder of the test's.
func onDevice(t *testing.T) portrait {
	t.Helper()
	p, err := parse([]string{"-output", t.TempDir()}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if p.device, err = device.Open("auto", device.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.device.Close() })
	if p.checkpoint, err = p.model.Open(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.checkpoint.Close() })
	return p
}

// cut reads the rows of a sheet of two rows of square pictures.
func cut(t *testing.T, path string) (rows [2][]*image.NRGBA) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sheet, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	side := sheet.Bounds().Dy() / 2
	for y := range rows {
		for x := range sheet.Bounds().Dx() / side {
			picture := image.NewNRGBA(image.Rect(0, 0, side, side))
			draw.Draw(picture, picture.Bounds(), sheet, image.Pt(x*side, y*side), draw.Src)
			rows[y] = append(rows[y], picture)
		}
	}
	return rows
}

// TestOwnPhotos trains on what lies in the folder, and leaves it alone.
func TestOwnPhotos(t *testing.T) {
	output := t.TempDir()
	training := filepath.Join(output, "training")
	if err := layOut(training, "12_personname man"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(training, "12_personname man"), filepath.Join(training, "2_somebody woman")); err != nil {
		t.Fatal(err)
	}
	caption := filepath.Join(training, "2_somebody woman", "001.txt")
	if err := os.WriteFile(caption, []byte("portrait of somebody woman, smiling"), 0o666); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	if err := run(t.Context(), []string{"-output", output, "-name", "somebody_v1", "-max_train_steps", "2", "-n", "1"}, &log); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(training)
	if err != nil || len(entries) != 1 || entries[0].Name() != "2_somebody woman" {
		t.Errorf("in the folder are now %v, %v", entries, err)
	}
	for _, want := range []string{`"portrait of somebody woman"`, "<lora:somebody_v1:", "16 pictures"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("it does not say %s:\n%s", want, log.String())
		}
	}
	if _, err := os.Stat(filepath.Join(output, "somebody_v1.safetensors")); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, say string
		args      []string
	}{
		{"an argument", "unexpected", []string{"photos"}},
		{"no pictures", "-n", []string{"-n", "0"}},
		{"too many pictures", "-n", []string{"-n", "65"}},
		{"steps", "-max_train_steps", []string{"-max_train_steps", "-1"}},
		{"a file for a folder", "-output", []string{"-output", file}},
		{"below a file", "-output", []string{"-output", filepath.Join(file, "below")}},
		{"no such data", "nowhere", []string{"-data", "nowhere"}},
		{"data without folders", "N_name", []string{"-data", t.TempDir()}},
		{"no such model", "nowhere", []string{"-model", "nowhere.safetensors"}},
		{"a path for a name", `-name is "a/b"`, []string{"-name", "a/b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := run(t.Context(), append([]string{"-output", t.TempDir()}, c.args...), io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("the error %v does not say %q", err, c.say)
			}
		})
	}
}

// TestInterrupted stops the job where it trains.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	output := t.TempDir()
	err := run(ctx, []string{"-output", output, "-n", "1"}, watch(func(text string) {
		if strings.Contains(text, "training") {
			cancel()
		}
	}))
	var stopped *train.InterruptedError
	if !errors.As(err, &stopped) || stopped.Step < 1 || stopped.Step > 3 {
		t.Fatalf("%v, want that it stopped after a step or two", err)
	}
	if _, err := os.Stat(stopped.Path); err != nil {
		t.Errorf("what was learned is not there: %v", err)
	}
	for _, name := range []string{"personname_lora_v1.safetensors", "before-after.png"} {
		if _, err := os.Stat(filepath.Join(output, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want that it is not there", name, err)
		}
	}
}

// watch is a writer that tells what is written.
type watch func(string)

func (w watch) Write(b []byte) (int, error) {
	w(string(b))
	return len(b), nil
}

// TestFindHallmarks tries the eye of these tests on pictures of which it is known what they show: it finds all hallmarks in every
// sample photo, large or small, upright or cut, and in none of the regularisation pictures more than there are.
func TestFindHallmarks(t *testing.T) {
	photos, err := dataset.Open(t.Context(), dataset.Config{Sets: []dataset.Set{{
		TrainDataDir: filepath.Join("..", "..", "tinyportrait", "photos"), Folder: dataset.Subset{EXIFOrientation: true},
		Resolution: dataset.Size{W: 512, H: 512}, Bucketing: dataset.Bucketing{Enable: true},
	}}, MaxTrainEpochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	others := map[string]hallmarks{ // what the others share with the person; 001 has glasses too, which are not found
		"003.jpg": {Glasses: true}, "005.jpg": {YellowSweater: true}, "007.jpg": {Bald: true}, "010.jpg": {YellowSweater: true},
	}
	for _, p := range photos.Pictures() {
		sample, err := p.Load(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		folder, name := filepath.Split(p.Path)
		want := others[name]
		if filepath.Base(folder) == "12_personname man" {
			want = thePerson
		}
		if got := findHallmarks(t, sample.Image); got != want {
			t.Errorf("%s: %+v, want %+v", p.Path, got, want)
		}
	}
}

func TestHelp(t *testing.T) {
	var help strings.Builder
	if _, err := parse([]string{"-h"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	program.Help(t, "portrait", help.String())
}

// TestSheetIsFolder wants that to be told before the training.
func TestSheetIsFolder(t *testing.T) {
	output := t.TempDir()
	if err := os.Mkdir(filepath.Join(output, "before-after.png"), 0o777); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	err := run(t.Context(), []string{"-output", output}, &log)
	if err == nil || !strings.Contains(err.Error(), "before-after.png") || log.Len() > 0 {
		t.Errorf("%v, after %q", err, log.String())
	}
}
