package lora_test

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/lora"
	"github.com/atelier-go/atelier/lora/internal/loratest"
	"github.com/atelier-go/atelier/weights"
)

// TestPickled reads a LoRA that torch.save wrote, which is the safetensors file but for its hash and metadata.
func TestPickled(t *testing.T) {
	const file = "../testdata/tiny-random/goldens/lora_kohya.safetensors"
	path := golden.Pickled(t, "person.pt", "testdata/lora_kohya.pt.pkl.gz", file)
	targets := loratest.TinyTargets(t)
	got, err := lora.Open(path, targets)
	if err != nil {
		t.Fatal(err)
	}
	want, err := lora.Open(file, targets)
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Modules) == 0 || !reflect.DeepEqual(got.Modules, want.Modules) {
		t.Errorf("%v\nwant %v", got, want)
	}
	if whole, err := weights.HashFile(t.Context(), path); err != nil || got.Hash != whole {
		t.Errorf("hash %s, want %s, %v", got.Hash, whole, err)
	}
	folder, err := lora.OpenFolder(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if found, err := folder.Find("person"); err != nil || found != path {
		t.Errorf("found %q, %v", found, err)
	}
}
