package weights

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atelier-go/atelier/internal/atomicfile"
)

// TestChangedWhileOpen does to a checkpoint what people do to files that are in use.
func TestChangedWhileOpen(t *testing.T) {
	content, err := os.ReadFile(tinySingle)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		change  func(path string) error
		changed bool
	}{
		{"truncated", func(path string) error { return os.Truncate(path, int64(len(content)/2)) }, true},
		{"emptied", func(path string) error { return os.Truncate(path, 0) }, true},
		{"longer", func(path string) error { return os.Truncate(path, int64(len(content)+1)) }, true},
		{"overwritten with zeros", func(path string) error { return os.WriteFile(path, make([]byte, len(content)), 0o666) }, true},
		{"one byte", func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1}, int64(len(content)-1))
			return errors.Join(err, f.Close())
		}, true},
		{"replaced by renaming", func(path string) error { return atomicfile.WriteFile(path, []byte("other")) }, false},
		{"removed", os.Remove, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.safetensors")
			if err := os.WriteFile(path, content, 0o666); err != nil {
				t.Fatal(err)
			}
			past := time.Now().Add(-time.Minute) // a file system may count time in ticks
			if err := os.Chtimes(path, past, past); err != nil {
				t.Fatal(err)
			}
			unet := component(t, mustOpen(t, path, Options{}), KindUNet)
			name := unet.Names()[0]
			want, err := unet.ParamData(name)
			if err != nil {
				t.Fatal(err)
			}
			row := unet.OpenParam(name)
			if err := tt.change(path); err != nil {
				t.Skip("the system does not allow it:", err)
			}
			got, err := unet.ParamData(name)
			_, rowErr := row.ReadAt(make([]byte, 4), 0)
			for _, err := range []error{err, rowErr} {
				changed, is := errors.AsType[*ChangedError](err)
				if is != tt.changed || err != nil && !is {
					t.Errorf("error %v, want a ChangedError: %v", err, tt.changed)
				}
				if is && changed.Path != path {
					t.Errorf("the error is about %s, want %s", changed.Path, path)
				}
			}
			if !tt.changed && string(got) != string(want) {
				t.Error("other bytes than before")
			}
		})
	}
}

func TestRowsAllocateNothing(t *testing.T) {
	unet := component(t, mustOpen(t, tinySingle, Options{}), KindUNet)
	var row io.ReaderAt = unet.OpenParam(unet.Names()[0])
	b := make([]byte, 4)
	if n := testing.AllocsPerRun(10, func() {
		if _, err := row.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}
