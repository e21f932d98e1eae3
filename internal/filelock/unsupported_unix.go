//go:build unix

package filelock

import (
	"errors"
	"fmt"
	"syscall"
)

// unsupported adds errors.ErrUnsupported to what file systems without locks answer.
func unsupported(err error) error {
	if errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) {
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	return err
}
