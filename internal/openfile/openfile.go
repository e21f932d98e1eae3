// Package openfile opens files that strangers name: regular ones only, without waiting for the other end of a pipe or reading a
// device without end, and whole ones within a bound.
package openfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrNotRegular is wrapped by errors about folders, pipes, sockets and devices.
var ErrNotRegular = errors.New("it is no regular file")

// Open opens a regular file for reading. It never blocks: a pipe nobody writes to is an error like all that is no regular file.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	if err := check(f, path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenFS is Open for a file of a file system.
func OpenFS(fsys fs.FS, name string) (fs.File, error) {
	info, err := fs.Stat(fsys, name) // before opening: a folder of the system blocks on pipes
	if err != nil {
		return nil, err
	}
	if err := Regular(name, info); err != nil {
		return nil, err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	if err := check(f, name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFile reads a regular file of at most max bytes.
func ReadFile(path string, max int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, max)
}

// SHA256 is the sum of a regular file, in hexadecimal digits.
func SHA256(path string) (string, error) {
	f, err := Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ReadFS is ReadFile for a file of a file system.
func ReadFS(fsys fs.FS, name string, max int64) ([]byte, error) {
	f, err := OpenFS(fsys, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, name, max)
}

// TooLargeError says that a file has more bytes than are read of its kind.
type TooLargeError struct {
	Path string
	Max  int64 // bytes
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s: more than %d bytes; is it the right file?", e.Path, e.Max)
}

func readAll(f fs.File, path string, max int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(data)) > max {
		return nil, &TooLargeError{path, max}
	}
	return data, err
}

func check(f fs.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return Regular(path, info)
}

// Regular is an error about path, which wraps ErrNotRegular, unless info is that of a regular file.
func Regular(path string, info fs.FileInfo) error {
	var kind string
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "a folder"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeDevice != 0:
		kind = "a device"
	default:
		kind = "a socket or the like"
	}
	return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w but %s", ErrNotRegular, kind)}
}
