package weights

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestFindCheckpoint looks for names below folders and beside a checkpoint.
func TestFindCheckpoint(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	for _, path := range []string{
		filepath.Join(dir, "real", "photo-v2.safetensors"), filepath.Join(dir, "real", "photo-v2-inpainting.safetensors"), filepath.Join(dir, "anime.ckpt"),
		filepath.Join(dir, "folder", "model_index.json"), filepath.Join(dir, "folder", "unet", "weights.safetensors"), filepath.Join(dir, "notes.txt"),
		filepath.Join(home, "own.safetensors"), filepath.Join(home, "own.vae.safetensors"), filepath.Join(home, "next.safetensors"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"photo-v2":                             filepath.Join(dir, "real", "photo-v2.safetensors"),
		"photo-v2.safetensors":                 filepath.Join(dir, "real", "photo-v2.safetensors"),
		"photo-v2 [0123456789]":                filepath.Join(dir, "real", "photo-v2.safetensors"),
		"real/photo-v2.safetensors [00ff]":     filepath.Join(dir, "real", "photo-v2.safetensors"),
		"inpaint":                              filepath.Join(dir, "real", "photo-v2-inpainting.safetensors"),
		"real":                                 filepath.Join(dir, "real", "photo-v2.safetensors"), // the shortest that has it
		"anime":                                filepath.Join(dir, "anime.ckpt"),
		"folder":                               filepath.Join(dir, "folder"),
		"next":                                 filepath.Join(home, "next.safetensors"),
		filepath.Join(home, "own.safetensors"): filepath.Join(home, "own.safetensors"),
	} {
		if got, err := FindCheckpoint(name, filepath.Join(home, "own.safetensors"), dir); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
	_, err := FindCheckpoint("other", filepath.Join(home, "own.safetensors"), dir)
	want := []string{"anime.ckpt", "folder", "next.safetensors", "own.safetensors", "real/photo-v2-inpainting.safetensors", "real/photo-v2.safetensors"}
	if e, ok := errors.AsType[*NoCheckpointError](err); !ok || !slices.Equal(e.Names, want) {
		t.Errorf("%v, want a *NoCheckpointError with %q", err, want)
	}
	if _, err := FindCheckpoint("other", "", filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a folder that is not there is taken")
	}
	if _, err := FindCheckpoint("other", ""); err == nil {
		t.Error("a checkpoint is found nowhere")
	}
}
