//go:build unix

package atomicfile

import (
	"errors"
	"syscall"
)

// IsDiskFull reports whether err says that there is no room left.
func IsDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
