// Package atomicfile replaces files whole or not at all: they are written under a temporary name in the same folder, brought
// to the disk and renamed. A program that ends in between leaves what was there before, and perhaps the temporary file.
package atomicfile

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
)

// File is written in place of another, which Commit replaces by it. Abort, which is harmless after Commit, removes it.
type File struct {
	*os.File
	path string
}

// Create begins a file that is to be at path.
func Create(path string) (*File, error) {
	f, err := os.OpenFile(Temporary(path)+".tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &File{f, path}, nil
}

// Commit brings the content to the disk and gives the file its name.
func (f *File) Commit() error {
	err := f.Sync()
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return err
	}
	SyncFolder(filepath.Dir(f.path))
	return nil
}

// Abort removes the file, unless it was committed.
func (f *File) Abort() {
	f.Close()           // again after Commit: harmless
	os.Remove(f.Name()) // nothing has this name after Commit
}

// WriteFile replaces the file at path by one with the given content.
func WriteFile(path string, content []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.Commit()
}

// Temporary is a hidden name beside path, and called after it, that nothing else has.
func Temporary(path string) string {
	var random [6]byte
	rand.Read(random[:])
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+hex.EncodeToString(random[:]))
}

// SyncFolder makes a rename durable where folders can be synchronised; elsewhere the system does it in its own time.
func SyncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}
