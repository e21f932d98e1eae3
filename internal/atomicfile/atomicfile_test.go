package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/atelier-go/atelier/internal/atomicfile"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.txt")
	content := func(when, want string) {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", when, got, err, want)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%s: the folder holds %v, %v, want one file", when, entries, err)
		}
	}
	if err := atomicfile.WriteFile(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	content("at first", "one")

	f, err := atomicfile.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half of tw"); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	content("after giving up", "one")

	if err := atomicfile.WriteFile(path, []byte("three")); err != nil {
		t.Fatal(err)
	}
	content("replaced", "three")

	if err := atomicfile.WriteFile(filepath.Join(dir, "missing", "a.txt"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into a folder that is not there: %v", err)
	}
	full := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(full, "inside"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.WriteFile(full, []byte("x")); err == nil {
		t.Error("a file took the name of a folder with something in it")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("after failing the folder holds %v, %v, want the file and the folder", entries, err)
	}
}
