package work_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/studio/jobs"
	"github.com/atelier-go/atelier/studio/work"
)

// stored puts a picture into the queue's store, with a text.
func (s *studio) stored(img *image.NRGBA, text string) string {
	s.Helper()
	var b bytes.Buffer
	s.check(sd.Picture{Image: img, Infotext: text}.Encode(&b))
	name, err := work.PutInput(s.Context(), s.queue, "a.png", b.Bytes())
	s.check(err)
	return name
}

// patterned is a picture of which no two pixels in a row are alike.
func patterned(width, height int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetNRGBA(x, y, color.NRGBA{uint8(37 * x), uint8(59 * y), uint8(11 * (x + y)), 255})
		}
	}
	return img
}

// enlarged is a result as a picture.
func (s *studio) enlarged(id, name string) image.Image {
	s.Helper()
	img, err := png.Decode(bytes.NewReader(s.result(id, name)))
	if err != nil {
		s.Fatal(err)
	}
	return img
}

// TestUpscale enlarges pictures in the ways of the web UI's Extras.
func TestUpscale(t *testing.T) {
	s := newStudio(t)
	model, err := os.ReadFile(filepath.Join("..", "..", "esrgan", "testdata", "compact-x2.safetensors"))
	s.check(err)
	s.check(os.WriteFile(filepath.Join(s.data, "models", "ESRGAN", "sharp.safetensors"), model, 0o666))
	s.check(s.library.Refresh())
	s.work("a")
	const text = "a lighthouse\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 16x24"
	small, wide := patterned(16, 24), patterned(40, 16)
	inputs := []string{s.stored(small, text), s.stored(wide, "")}
	j := s.done(s.submit(work.Upscale{Pictures: inputs, Upscaler: sd.Nearest}).ID)
	if want := []string{"0.png", "1.png", "info.json"}; !slices.Equal(names(j), want) {
		t.Fatalf("the results are %q, want %q", names(j), want)
	}
	for i, from := range []*image.NRGBA{small, wide} {
		img := s.enlarged(j.ID, fmt.Sprint(i, ".png"))
		if img.Bounds().Size() != from.Rect.Size().Mul(2) {
			t.Fatalf("picture %d has %v", i, img.Bounds())
		}
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				if got, want := color.NRGBAModel.Convert(img.At(x, y)), from.NRGBAAt(x/2, y/2); got != want {
					t.Fatalf("picture %d at %d, %d is %v, want %v", i, x, y, got, want)
				}
			}
		}
	}
	var info work.Info
	s.check(json.Unmarshal(s.result(j.ID, "info.json"), &info))
	if len(info.Pictures) != 2 || info.Pictures[1].Width != 80 || !strings.HasPrefix(info.Pictures[0].Infotext, "a lighthouse\n") {
		t.Errorf("the info is %+v", info)
	}
	for _, want := range []string{"Postprocess upscale by: 2", "Postprocess upscaler: Nearest"} {
		if !strings.Contains(info.Pictures[0].Infotext, want) {
			t.Errorf("the text has no %q: %s", want, info.Pictures[0].Infotext)
		}
	}
	for name, c := range map[string]struct {
		work.Upscale
		size image.Point
	}{
		"Lanczos":          {work.Upscale{Upscaler: sd.Lanczos, Scale: 1.5}, image.Pt(24, 32)}, // to multiples of 8, as the web UI rounds
		"model":            {work.Upscale{Upscaler: "sharp"}, image.Pt(32, 48)},
		"model in tiles":   {work.Upscale{Upscaler: "sharp", Tile: 32, Overlap: 4}, image.Pt(32, 48)},
		"a box, covered":   {work.Upscale{Upscaler: sd.Nearest, Width: 32, Height: 32}, image.Pt(32, 48)},
		"a box, cropped":   {work.Upscale{Upscaler: sd.Nearest, Width: 32, Height: 32, Crop: true}, image.Pt(32, 32)},
		"nothing enlarges": {work.Upscale{Upscaler: sd.NoUpscaler}, image.Pt(16, 24)},
	} {
		c.Pictures = inputs[:1]
		if got := s.enlarged(s.done(s.submit(c.Upscale).ID).ID, "0.png").Bounds().Size(); got != c.size {
			t.Errorf("%s: %v, want %v", name, got, c.size)
		}
	}
	flat := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	for i := range flat.Pix {
		flat.Pix[i] = 200
	}
	for i := 3; i < len(flat.Pix); i += 4 {
		flat.Pix[i] = 255
	}
	blended := s.done(s.submit(work.Upscale{Pictures: []string{s.stored(flat, "")}, Upscaler: sd.Lanczos, Second: sd.Nearest, Visibility: 0.5}).ID)
	if got := color.NRGBAModel.Convert(s.enlarged(blended.ID, "0.png").At(9, 9)); got != (color.NRGBA{200, 200, 200, 255}) {
		t.Errorf("two upscalers make %v of one colour", got)
	}
	for says, u := range map[string]work.Upscale{"upscaler \"nobody\"": {Upscaler: "nobody"}, "Upscale.Scale": {Upscaler: sd.Nearest, Scale: 8, Pictures: []string{s.stored(patterned(2100, 8), "")}}} {
		if u.Pictures == nil {
			u.Pictures = inputs[:1]
		}
		j := s.submit(u)
		if j = s.until(j.ID, func(j jobs.Job) bool { return j.State.Ended() }); j.State != jobs.Failed || !strings.Contains(j.Error, says) {
			t.Errorf("%s: the job is %s: %s", says, j.State, j.Error)
		}
	}
	for _, u := range []work.Upscale{
		{}, {Pictures: []string{"job/x"}}, {Pictures: inputs, Scale: 9}, {Pictures: inputs, Width: 10}, {Pictures: inputs, Visibility: 2}, {Pictures: inputs, Tile: 8}, {Pictures: inputs, Tile: 64, Overlap: 32},
	} {
		if _, err := work.Submit(t.Context(), s.queue, jobs.Job{}, u); err == nil {
			t.Errorf("%+v is taken", u)
		}
	}
}

// TestUpscaleGoesOn stops a machine in the middle of many pictures; another one goes on behind those that are there, until somebody has enough.
func TestUpscaleGoesOn(t *testing.T) {
	s := newStudio(t)
	u := work.Upscale{Upscaler: sd.Lanczos, Scale: 8}
	for i := range 60 {
		u.Pictures = append(u.Pictures, s.stored(patterned(64+i, 64), ""))
	}
	j := s.submit(u)
	stop := s.work("first")
	s.until(j.ID, func(j jobs.Job) bool { return len(j.Files) > 2 })
	stop()
	before, _ := s.queue.Job(j.ID)
	if before.State != jobs.Pending {
		t.Fatalf("the job is %s", before.State)
	}
	s.another().work("second")
	s.until(j.ID, func(j jobs.Job) bool { return len(j.Files) > len(before.Files) })
	_, err := s.queue.Ask(t.Context(), j.ID, jobs.Finish)
	s.check(err)
	j = s.done(j.ID)
	var info work.Info
	s.check(json.Unmarshal(s.result(j.ID, "info.json"), &info))
	if !j.Partial || len(j.Files) == 61 || len(info.Pictures) != len(j.Files)-1 || info.Pictures[0].Width != 512 {
		t.Errorf("partial %t, %d files, %d pictures told", j.Partial, len(j.Files), len(info.Pictures))
	}
}
