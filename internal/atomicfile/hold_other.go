//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package atomicfile

import (
	"os"
	"path/filepath"
	"unicode/utf16"
)

// closeToRename is true where what is open keeps its name.
const closeToRename = true

// nameLength is that of a file's name in the unit in which it may have 255.
func nameLength(path string) int { return len(utf16.Encode([]rune(filepath.Base(path)))) }

// hold has nothing to do: Windows keeps what is open from being renamed or removed.
func hold(*os.File) {}

// claim takes a temporary file or folder that nobody has open, by another name.
func claim(path string) (string, bool) {
	to := Temporary(path) + held
	return to, os.Rename(path, to) == nil
}
