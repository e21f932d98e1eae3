// Package atomicfile replaces files whole or not at all: they are written under a temporary name in the same folder, brought
// to the disk and renamed. A program that ends in between leaves what was there before; its temporary file is removed when
// the next file of the folder is written.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/robustio"

	"github.com/atelier-go/atelier/internal/openfile"
)

// File is written in place of another, which Commit replaces by it. Abort, which is harmless after Commit, removes it.
type File struct {
	*os.File
	path string
}

// Create begins a file that is to be at path. What is there keeps its permissions, and a symbolic link keeps leading to the
// file that it names. The error says what is in the way: a folder or device of that name, no such folder, no right to write.
func Create(path string) (*File, error) {
	path, info, err := resolve(path)
	if err != nil {
		return nil, explain(path, err)
	}
	mode := fs.FileMode(0o666)
	if info != nil {
		if err := openfile.Regular(path, info); err != nil {
			return nil, err
		}
		mode = info.Mode().Perm()
	}
	sweep(filepath.Dir(path))
	f, err := os.OpenFile(Temporary(path)+held, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o200)
	if err != nil {
		return nil, explain(path, err)
	}
	hold(f)
	if info != nil {
		_ = f.Chmod(mode) // beyond the umask; a file system without permissions has none to keep
	}
	return &File{f, path}, nil
}

// Commit brings the content to the disk and gives the file its name.
func (f *File) Commit() error {
	err := f.Sync()
	if err == nil {
		err = rename(f.File, f.path)
	}
	f.Close()
	return err
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

// Check reports why a file could not be written at path, so that it can be told before the work. It leaves no trace.
func Check(path string) error {
	f, err := Create(path)
	if err == nil {
		f.Abort()
	}
	return err
}

// Folder is filled in place of one that does not exist yet. Abort, which is harmless after Commit, removes it.
type Folder struct {
	Path string // where it is until Commit
	open *os.File
	path string
}

// CreateFolder begins a folder that is to be at path, where nothing may be.
func CreateFolder(path string) (*Folder, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	sweep(filepath.Dir(path))
	temp := Temporary(path) + held
	if err := os.Mkdir(temp, 0o777); err != nil {
		return nil, explain(path, err)
	}
	open, err := os.Open(temp)
	if err != nil {
		return nil, err
	}
	hold(open)
	return &Folder{temp, open, path}, nil
}

// Commit gives the folder its name. What is in it must have reached the disk.
func (f *Folder) Commit() error {
	err := rename(f.open, f.path)
	f.open.Close()
	return err
}

// Abort removes the folder with what is in it, unless it was committed.
func (f *Folder) Abort() {
	f.open.Close()
	os.RemoveAll(f.Path)
}

// rename gives what is open its name.
func rename(f *os.File, path string) error {
	if closeToRename {
		if err := f.Close(); err != nil {
			return err
		}
	}
	if err := robustio.Rename(f.Name(), path); err != nil {
		return err
	}
	SyncFolder(filepath.Dir(path))
	return nil
}

// SyncFolder makes a rename durable where folders can be synchronised; elsewhere the system does it in its own time.
func SyncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}

// maxLinks is how many symbolic links may lead from one to the next, as in Linux.
const maxLinks = 40

// resolve follows symbolic links to where a file is or, with a nil info, would be.
func resolve(path string) (string, fs.FileInfo, error) {
	for range maxLinks {
		info, err := os.Lstat(path)
		switch {
		case os.IsNotExist(err) && nameLength(path) > 255:
			return path, nil, errors.New("the name is too long")
		case os.IsNotExist(err):
			return path, nil, nil
		case err != nil || info.Mode()&fs.ModeSymlink == 0:
			return path, info, err
		}
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil, err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Dir(path) + string(filepath.Separator) + to
		}
		path = to
	}
	return path, nil, fmt.Errorf("more than %d symbolic links", maxLinks)
}

// explain says what is wrong with the folder of a file that cannot be created, under the file's own name.
func explain(path string, err error) error {
	dir := filepath.Dir(path)
	reason := err
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		reason = e.Err
	}
	if info, e := os.Stat(dir); os.IsNotExist(e) {
		reason = fmt.Errorf("there is no folder %s: %w", dir, reason)
	} else if e == nil && !info.IsDir() {
		reason = fmt.Errorf("%s is no folder: %w", dir, reason)
	}
	return &fs.PathError{Op: "create", Path: path, Err: reason}
}

// Temporary is a hidden name beside path, and called after it, that nothing else has. It is no longer than names may be.
// What the caller makes under it is the caller's to remove.
func Temporary(path string) string {
	base := filepath.Base(path)
	return filepath.Join(filepath.Dir(path), "."+strings.ToValidUTF8(base[:min(len(base), maxBase)], "")+"."+random())
}
