package openfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/atelier-go/atelier/internal/openfile"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := os.WriteFile(path, []byte("0123456789"), 0o666); err != nil {
		t.Fatal(err)
	}
	read := map[string]func(max int64) ([]byte, error){
		"path":        func(max int64) ([]byte, error) { return openfile.ReadFile(path, max) },
		"file system": func(max int64) ([]byte, error) { return openfile.ReadFS(os.DirFS(dir), "x", max) },
	}
	for name, read := range read {
		if data, err := read(10); err != nil || string(data) != "0123456789" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		if _, err := read(9); !errorsAs[*openfile.TooLargeError](err) {
			t.Errorf("%s beyond the bound: %v", name, err)
		}
	}
	if _, err := openfile.Open(dir); !errors.Is(err, openfile.ErrNotRegular) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := openfile.Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func errorsAs[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func TestSHA256(t *testing.T) {
	path := filepath.Join(t.TempDir(), "abc")
	if err := os.WriteFile(path, []byte("abc"), 0o666); err != nil {
		t.Fatal(err)
	}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2
	if sum, err := openfile.SHA256(path); sum != want || err != nil {
		t.Errorf("%s, %v, want %s", sum, err, want)
	}
	if _, err := openfile.SHA256(t.TempDir()); !errors.Is(err, openfile.ErrNotRegular) {
		t.Errorf("a folder: %v", err)
	}
}
