package weights

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// storage is where a file's bytes are.
type storage interface {
	io.ReaderAt
	io.Closer
}

// memory is a file that was read whole.
type memory struct{ *bytes.Reader }

// Close implements io.Closer.
func (memory) Close() error { return nil }

// disk is an open file of the system, which is to stay as it was when it was opened.
type disk struct {
	*os.File
	handle uintptr
	opened stamp
}

// stamp tells the states of a file apart.
type stamp struct {
	size, modified int64 // bytes; nanoseconds or the like
}

// openStorage takes f over unless it fails.
func openStorage(f fs.File, size int64) (storage, error) {
	if f, ok := f.(*os.File); ok {
		d := &disk{File: f, handle: f.Fd()}
		var err error
		d.opened, err = d.stamp()
		return d, err
	}
	b, err := io.ReadAll(io.LimitReader(f, size+1))
	if err == nil && int64(len(b)) != size {
		err = fmt.Errorf("read %d bytes of %d", len(b), size)
	}
	if err != nil {
		return nil, err
	}
	return memory{bytes.NewReader(b)}, f.Close()
}

// ReadAt implements io.ReaderAt. What was read is good only if the file is still the one that was opened.
func (d *disk) ReadAt(b []byte, off int64) (int, error) {
	n, err := d.File.ReadAt(b, off)
	now, e := d.stamp()
	switch {
	case e != nil:
		return 0, errors.Join(err, e)
	case now != d.opened:
		return 0, &ChangedError{Path: d.Name(), SizeBefore: d.opened.size, Size: now.size}
	}
	return n, err
}

// ChangedError says that a file was written to in place while it was open. Its tensors are no longer those of the header,
// or of what has been read before.
type ChangedError struct {
	Path             string
	SizeBefore, Size int64 // bytes
}

// Error says what happened and how to replace a file that is in use.
func (e *ChangedError) Error() string {
	what := "overwritten"
	if e.Size != e.SizeBefore {
		what = fmt.Sprintf("overwritten: it had %d bytes and has %d", e.SizeBefore, e.Size)
	}
	return "the file was " + what + ", while it was in use; open it again, and replace such files by renaming another into their place"
}
