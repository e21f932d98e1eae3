package portrait_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/atelier-go/atelier/invalid"
	"github.com/atelier-go/atelier/portrait"
	"github.com/atelier-go/atelier/sd"
)

// TestRegularise stops after the first picture and goes on to the same as without a stop.
func TestRegularise(t *testing.T) {
	long(t)
	dev, c := tiny(t)
	pipe, err := sd.New(t.Context(), c, dev, sd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	draw := func(dir string, r sd.Request, most int) {
		for done, err := range portrait.Regularise(t.Context(), pipe, dir, r, 2) {
			if err != nil {
				t.Fatal(err)
			}
			if done == most {
				break
			}
		}
	}
	r := sd.Request{Prompt: "photo of a man", Seed: 7, Steps: 1, Width: 64, Height: 64}
	whole, stopped := t.TempDir(), t.TempDir()
	draw(whole, r, 2)
	draw(stopped, r, 1)
	first := filepath.Join(stopped, "001.png")
	info, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	draw(stopped, r, 2)
	if again, err := os.Stat(first); err != nil || !os.SameFile(info, again) {
		t.Errorf("the first picture was drawn again: %v", err)
	}
	files := contents(t, whole)
	if names := slices.Sorted(maps.Keys(files)); !slices.Equal(names, []string{"001.png", "001.txt", "002.png", "002.txt"}) || files["001.png"] == files["002.png"] || files["002.txt"] != "photo of a man\n" {
		t.Errorf("drawn are %q", names)
	}
	if !maps.Equal(contents(t, stopped), files) {
		t.Error("with a stop it drew others")
	}
	r.Prompt = "photo of a woman"
	draw(stopped, r, 2)
	if contents(t, stopped)["001.png"] == files["001.png"] {
		t.Error("pictures of another prompt were kept")
	}
	r.Prompt = ""
	for _, err := range portrait.Regularise(t.Context(), pipe, stopped, r, 2) {
		if _, ok := errors.AsType[*invalid.FieldError](err); !ok {
			t.Errorf("without a prompt: %v", err)
		}
	}
}
