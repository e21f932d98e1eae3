//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package atomicfile

import (
	"os"
	"path/filepath"
	"syscall"
)

// closeToRename is false where what is open can get another name.
const closeToRename = false

// nameLength is that of a file's name in the unit in which it may have 255.
func nameLength(path string) int { return len(filepath.Base(path)) }

// hold marks a temporary file as in use until it is closed or its program ends, however that happens.
func hold(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// claim takes a temporary file or folder that nobody holds. Where the file system has no locks none is taken.
func claim(path string) (string, bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", false
	}
	defer f.Close()
	return path, syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
