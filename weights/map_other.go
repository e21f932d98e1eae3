//go:build !(linux || darwin || freebsd || netbsd || openbsd || windows)

package weights

import (
	"errors"
	"os"
)

// mapFile declines: files are read on demand.
func mapFile(*os.File, int64) (storage, error) { return nil, errors.ErrUnsupported }

// IsDiskFull cannot tell on this platform.
func IsDiskFull(error) bool { return false }
