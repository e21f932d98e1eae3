//go:build !linux

package portrait_test

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/atelier-go/atelier/portrait"
)

// diskFull is what a disk says that has no room left.
var diskFull = func() error {
	if runtime.GOOS == "windows" {
		return syscall.Errno(112) // ERROR_DISK_FULL
	}
	return syscall.ENOSPC
}()

// testNoRoom is for systems where a program can lower how far its files may grow.
func testNoRoom(t *testing.T, _ portrait.Config, _ map[string]string) {
	t.Skip("how far files may grow can be lowered on Linux alone")
}
