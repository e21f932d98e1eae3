//go:build unix

package openfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/atelier-go/atelier/internal/openfile"
)

func TestPipeAndDevice(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "zero")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "zero"} {
		if _, err := openfile.ReadFile(filepath.Join(dir, name), 10); !errors.Is(err, openfile.ErrNotRegular) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := openfile.ReadFS(os.DirFS(dir), name, 10); !errors.Is(err, openfile.ErrNotRegular) {
			t.Errorf("%s of a file system: %v", name, err)
		}
	}
}
