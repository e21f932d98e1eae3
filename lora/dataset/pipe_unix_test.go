//go:build unix

package dataset

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/atelier-go/atelier/internal/openfile"
)

// TestPipesAndDevices: what is no regular file is refused, as photo, caption, mask and latents, instead of being waited for
// or read without end.
func TestPipesAndDevices(t *testing.T) {
	for _, name := range []string{"3_a/a001.png", "3_a/a000.txt", "masks/a000.png"} {
		for _, device := range []bool{false, true} {
			root := t.TempDir()
			pictures(t, filepath.Join(root, "3_a"), "a", 1, 64, 64)
			masks := pictures(t, filepath.Join(root, "masks"), "a", 2, 64, 64)
			put(t, filepath.Join(root, name), device)
			set := tinySet(root, "")
			set.Folder.ConditioningDataDir = masks
			if _, err := Open(t.Context(), Config{Sets: []Set{set}}); !errors.Is(err, openfile.ErrNotRegular) {
				t.Errorf("%s, device %v: %v", name, device, err)
			}
		}
	}
	p := latentPicture(t, "a.png", 512, 512, at512, Subset{})
	put(t, p.LatentsPath(), false)
	if _, err := p.ReadLatents(1); !errors.Is(err, openfile.ErrNotRegular) {
		t.Errorf("latents: %v", err)
	}
}

// put makes a pipe at path, or a link to a device that never ends.
func put(t *testing.T, path string, device bool) {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	err := syscall.Mkfifo(path, 0o666)
	if device {
		err = errors.Join(os.Remove(path), os.Symlink("/dev/zero", path))
	}
	if err != nil {
		t.Fatal(err)
	}
}
