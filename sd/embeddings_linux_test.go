package sd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEmbeddingsUnreadable: what cannot be looked into is skipped, with the reason, and the rest is read. It is a path that is too
// long, for nothing else is closed to root.
func TestEmbeddingsUnreadable(t *testing.T) {
	dir := t.TempDir()
	embeddingFile(t, filepath.Join(dir, "z.safetensors"), "emb_params", []int{1, 2}, []float32{1, 2})
	below, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		name := strings.Repeat("a", 250)
		if err := below.Mkdir(name, 0o777); err != nil {
			t.Fatal(err)
		}
		inner, err := below.OpenRoot(name)
		if err != nil {
			t.Fatal(err)
		}
		below.Close()
		below = inner
	}
	below.Close()
	all := &embeddings{}
	if err := all.openFolder(dir, 2, 75); err != nil {
		t.Fatal(err)
	}
	if len(all.loaded) != 1 || len(all.skipped) != 1 {
		t.Errorf("%d read, %d skipped, want one of each", len(all.loaded), len(all.skipped))
	}
	if err := all.openFolder(filepath.Join(dir, "nowhere"), 2, 75); err == nil {
		t.Error("a folder that is not there is no error")
	}
}
