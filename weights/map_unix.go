//go:build linux || darwin || freebsd || netbsd || openbsd

package weights

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// mapping is a file in the address space.
type mapping []byte

func mapFile(f *os.File, size int64) (storage, error) {
	if size > math.MaxInt {
		return nil, errors.New("file larger than the address space")
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	return mapping(b), nil
}

func (m mapping) bytes(off, n int64) ([]byte, error) { return m[off : off+n : off+n], nil }

// release drops the pages that lie wholly inside the range; the rims are shared with neighbours.
func (m mapping) release(off, n int64) {
	page := int64(os.Getpagesize())
	begin, end := (off+page-1)/page*page, (off+n)/page*page
	if begin < end {
		// Advice: that it is not taken changes nothing but memory use.
		_ = unix.Madvise(m[begin:end], unix.MADV_DONTNEED)
	}
}

func (m mapping) close() error { return unix.Munmap(m) }

// IsDiskFull reports whether err says that there is no room left.
func IsDiskFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
