// Package filelock keeps two programs, or two goroutines of one, from writing the same files: it locks a file that stands for
// them, which says who holds it. The system releases the lock when its program ends, however that happens.
package filelock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Lock is a lock that is held.
type Lock struct{ flock *flock.Flock }

// HeldError says that somebody else holds a lock.
type HeldError struct {
	Path   string
	Holder string // "train-lora, process 4711 on atlas, since 2026-11-28 22:10:05"; "" if it is not known
}

// Error names the lock and its holder.
func (e *HeldError) Error() string { return fmt.Sprintf("%s is held by %s", e.Path, e.By()) }

// By is the holder, or that it is not known.
func (e *HeldError) By() string { return cmp.Or(e.Holder, "another program") }

// Take locks the file at path, which is created if need be in a folder that is there. If somebody holds it the error is a
// *HeldError; a file system without locks is errors.ErrUnsupported.
func Take(path string) (*Lock, error) {
	for {
		f := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o666))
		ok, err := f.TryLock()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s cannot be locked: %w", path, unsupported(err))
		case !ok:
			return nil, &HeldError{path, holder(path)}
		}
		if current(f) {
			note(path)
			return &Lock{f}, nil
		}
		f.Unlock() // its holder has removed it in the meantime
	}
}

// pause is how often a lock that somebody holds is tried again.
const pause = 200 * time.Millisecond

// Wait is Take that waits until the lock is free. waiting, if not nil, is called once if it has to.
func Wait(ctx context.Context, path string, waiting func(*HeldError)) (*Lock, error) {
	for again := false; ; again = true {
		lock, err := Take(path)
		held, ok := errors.AsType[*HeldError](err)
		if !ok {
			return lock, err
		}
		if waiting != nil && (again || held.Holder != "") { // who has just taken it has not said so yet
			waiting(held)
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Release ends the lock. The file stays, for the next who takes it.
func (l *Lock) Release() error {
	_ = os.Truncate(l.flock.Path(), noteAt)
	return l.flock.Unlock()
}

// Remove ends the lock and removes its file.
func (l *Lock) Remove() error {
	if runtime.GOOS != "windows" { // there nobody else may have it open, elsewhere those who do look whether it is still there
		return errors.Join(os.Remove(l.flock.Path()), l.flock.Unlock())
	}
	err := l.flock.Unlock()
	_ = os.Remove(l.flock.Path()) // fails if somebody has taken it since
	return err
}

// current reports whether the locked file is the one at its path.
func current(f *flock.Flock) bool {
	locked, err1 := f.Stat()
	there, err2 := os.Stat(f.Path())
	return err1 == nil && err2 == nil && os.SameFile(locked, there)
}

// noteAt is where the note begins: Windows lets nobody else read the first byte, which is the locked one.
const (
	noteAt   = 1
	maxBytes = 500
)

// note writes into the file who holds it. That it fails is no reason to do without the lock.
func note(path string) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	host, _ := os.Hostname()
	program := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	text := fmt.Sprintf("%s, process %d on %s, since %s\n", program, os.Getpid(), host, time.Now().Format(time.DateTime))
	if _, err := f.WriteAt([]byte(text), noteAt); err == nil {
		_ = f.Truncate(noteAt + int64(len(text)))
	}
}

// holder reads who holds a lock, "" if that is not known.
func holder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text := make([]byte, maxBytes)
	n, _ := f.ReadAt(text, noteAt)
	line, _, _ := strings.Cut(string(text[:n]), "\n")
	return strings.Trim(fmt.Sprintf("%+q", line), `"`)
}
