package tinyportrait_test

import (
	"testing"

	"github.com/atelier-go/atelier/tinyportrait"
	"github.com/atelier-go/atelier/weights"
)

func TestModelIsWhole(t *testing.T) {
	ckpt, err := weights.OpenFS(tinyportrait.FS(), weights.Options{})
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
