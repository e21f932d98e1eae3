//go:build unix

package kohya

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/atelier-go/atelier/internal/openfile"
)

// TestPipesAndDevices: settings that are no regular file are refused, instead of being waited for or read without end.
func TestPipesAndDevices(t *testing.T) {
	dir := t.TempDir()
	pipe, device := filepath.Join(dir, "pipe.toml"), filepath.Join(dir, "device.toml")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o666), os.Symlink("/dev/zero", device)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, device, dir} {
		if err := new(Options).ReadFile(path); !errors.Is(err, openfile.ErrNotRegular) {
			t.Errorf("config_file %s: %v", path, err)
		}
		o, err := parse("-dataset_config", path)
		if err == nil {
			_, _, err = o.Config()
		}
		if !errors.Is(err, openfile.ErrNotRegular) {
			t.Errorf("dataset_config %s: %v", path, err)
		}
	}
}
