package atomicfile

import (
	"errors"
	"syscall"
)

// ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL, which package syscall lacks.
const diskFull, handleDiskFull = syscall.Errno(112), syscall.Errno(39)

// IsDiskFull reports whether err says that there is no room left.
func IsDiskFull(err error) bool {
	return errors.Is(err, diskFull) || errors.Is(err, handleDiskFull)
}
