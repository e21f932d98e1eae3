package weights_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/atelier-go/atelier/internal/golden"
	"github.com/atelier-go/atelier/weights"
	"github.com/atelier-go/atelier/weights/pickle"
)

const single = "../testdata/tiny-random/tiny-random-ldm.safetensors"

func ckpt(t *testing.T) string {
	return golden.Pickled(t, "v1-5.ckpt", "testdata/tiny-random-ldm.ckpt.pkl.gz", single)
}

// sameParameters compares two checkpoints, parameter by parameter.
func sameParameters(t *testing.T, got, want *weights.Checkpoint) {
	t.Helper()
	for _, kind := range weights.Kinds {
		a, err := got.Component(kind)
		if err != nil {
			t.Error(err)
			continue
		}
		b, err := want.Component(kind)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Names(), b.Names()) {
			t.Errorf("%s: %d names, want %d", kind, len(a.Names()), len(b.Names()))
			continue
		}
		for _, name := range b.Names() {
			x, err := a.ParamData(name)
			y, err2 := b.ParamData(name)
			if err != nil || err2 != nil || !bytes.Equal(x, y) {
				t.Errorf("%s %s differs: %v, %v", kind, name, err, err2)
			}
		}
	}
}

func open(t *testing.T, path string, o weights.Options) *weights.Checkpoint {
	t.Helper()
	c, err := weights.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestCkpt opens a checkpoint as Lightning saves it, under its name and others, as a whole and for a part.
func TestCkpt(t *testing.T) {
	path := ckpt(t)
	want := open(t, single, weights.Options{})
	got := open(t, path, weights.Options{})
	sameParameters(t, got, want)
	sameParameters(t, open(t, single, weights.Options{VAE: path, TextEncoder: path}), want)
	ignored := slices.DeleteFunc(got.Ignored(), func(key string) bool { return slices.Contains(want.Ignored(), key) })
	if !slices.Equal(ignored, []string{"callbacks", "optimizer_states", "lr_schedulers"}) {
		t.Errorf("ignored beside those of the safetensors file: %q", ignored)
	}
	metadata := map[string]string{"epoch": "3", "global_step": "470000", "pytorch-lightning_version": "1.4.2"}
	if !maps.Equal(got.Metadata(), metadata) {
		t.Errorf("metadata %q, want %q", got.Metadata(), metadata)
	}
	wrong := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.Rename(ckpt(t), wrong); err != nil { // one that is not open, for Windows
		t.Fatal(err)
	}
	sameParameters(t, open(t, wrong, weights.Options{}), want)
	saved := filepath.Join(t.TempDir(), "saved.safetensors")
	if err := open(t, wrong, weights.Options{}).Save(t.Context(), saved, weights.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	sameParameters(t, open(t, saved, weights.Options{}), want)
}

// TestPickledFolder opens the folder of a VAE that has PyTorch's file, and saves it as safetensors.
func TestPickledFolder(t *testing.T) {
	dir, saved := t.TempDir(), filepath.Join(t.TempDir(), "saved")
	if err := os.Rename(ckpt(t), filepath.Join(dir, "diffusion_pytorch_model.bin")); err != nil {
		t.Fatal(err)
	}
	want := open(t, single, weights.Options{})
	c := open(t, dir, weights.Options{})
	sameParameters(t, c, want)
	if err := c.Save(t.Context(), saved, weights.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(saved, "diffusion_pytorch_model.safetensors")); err != nil {
		t.Error(err)
	}
	sameParameters(t, open(t, saved, weights.Options{}), want)
}

func TestReadPickleMetadata(t *testing.T) {
	m, err := weights.ReadMetadata(ckpt(t))
	if err != nil || m["global_step"] != "470000" {
		t.Errorf("%q, %v", m, err)
	}
}

// TestNests tells training files and others apart.
func TestNests(t *testing.T) {
	for _, c := range []struct {
		file  string
		names []string
	}{
		{"torch2.15-training.ckpt", []string{"weight", "bias"}},
		{"torch2.15-embedding.pt", []string{"string_to_token.*", "string_to_param.*"}},
		{"torch2.0-embedding.pt", []string{"string_to_token.*", "string_to_param.*"}},
	} {
		f, err := weights.OpenFile(filepath.Join("pickle", "testdata", c.file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if !slices.Equal(f.Names(), c.names) {
			t.Errorf("%s: %q, want %q", c.file, f.Names(), c.names)
		}
	}
}

// TestHostileCkpt names file, name and mend.
func TestHostileCkpt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "free.ckpt")
	if err := os.WriteFile(path, []byte("\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := weights.Open(path, weights.Options{})
	refused, ok := errors.AsType[*pickle.RefusedError](err)
	if !ok || refused.Name != "posix.system" || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "nothing of it was run") {
		t.Error(err)
	}
}
