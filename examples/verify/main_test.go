package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/device"
	"github.com/atelier-go/atelier/sd"
	"github.com/atelier-go/atelier/tinyportrait"
)

// TestVerify makes a picture, and makes it again from the files that it is saved to.
func TestVerify(t *testing.T) {
	dev, err := device.Open("cpu", device.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	pipe, err := sd.OpenFS(t.Context(), tinyportrait.FS(), tinyportrait.Name, dev, sd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	r := sd.Request{Prompt: "portrait of a [man:woman:0.5], (glasses:1.2)", NegativePrompt: "hat", Width: 40, Height: 24, Steps: 2, Seed: 3}
	result, err := pipe.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other := result.Pictures[0]
	other.Infotext = strings.Replace(other.Infotext, "Seed: 3", "Seed: 4, Tiling: True, Denoising strength: 0.5", 1)
	for name, c := range map[string]struct {
		picture  sd.Picture
		say, log string
	}{
		"same.png":  {result.Pictures[0], "the same to the byte", ""},
		"lossy.jpg": {result.Pictures[0], "dB", ""},
		"other.png": {other, "dB", "note: the picture began with another one, which is not in its text\nnote: Tiling: True is not known here"},
	} {
		path := filepath.Join(dir, name)
		if err := c.picture.Save(path); err != nil {
			t.Fatal(err)
		}
		var out, log bytes.Buffer
		if err := run(t.Context(), []string{path}, &out, &log); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.Contains(out.String(), c.say) || !strings.Contains(log.String(), c.log) {
			t.Errorf("%s: %s, %s", name, out.String(), log.String())
		}
	}
}

func TestVerifyErrors(t *testing.T) {
	for name, picture := range map[string]string{
		"no text": "../../sd/infotext/testdata/none.png", "ComfyUI": "../../sd/infotext/testdata/comfyui.png", "no picture": "main.go", "none": "absent.png",
	} {
		var out, log bytes.Buffer
		if err := run(t.Context(), []string{picture}, &out, &log); err == nil || out.Len() > 0 {
			t.Errorf("%s: %v, %s", name, err, out.String())
		}
	}
	if err := run(t.Context(), nil, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
		t.Error("no picture, no error")
	}
}
