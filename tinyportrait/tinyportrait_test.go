package tinyportrait_test

import (
	"io/fs"
	"path"
	"testing"

	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

func TestModelIsWhole(t *testing.T) {
	ckpt, err := weights.OpenFS(tinyportrait.FS(), tinyportrait.Name, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ckpt.Close()
	for _, kind := range weights.Kinds {
		component, err := ckpt.Component(kind)
		if err != nil {
			t.Fatal(err)
		}
		if component.Config() == nil {
			t.Errorf("%s: no config.json", kind)
		}
	}
	if ckpt.Tokenizer() == nil || ckpt.Scheduler() == nil {
		t.Error("no tokenizer or no scheduler configuration")
	}
}

func TestPhotosHaveCaptions(t *testing.T) {
	for folder, want := range map[string]int{"12_personname man": 16, "1_man": 12} {
		pictures, captions := 0, 0
		entries, err := fs.ReadDir(tinyportrait.Photos(), folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if path.Ext(e.Name()) == ".txt" {
				captions++
			} else {
				pictures++
			}
		}
		if pictures != want || captions != want {
			t.Errorf("%s has %d pictures and %d captions, want %d of each", folder, pictures, captions, want)
		}
	}
}
