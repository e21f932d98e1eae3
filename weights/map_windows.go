package weights

import (
	"errors"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapping is a file in the address space.
type mapping []byte

func mapFile(f *os.File, size int64) (storage, error) {
	if size > math.MaxInt {
		return nil, errors.New("file larger than the address space")
	}
	section, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	defer windows.CloseHandle(section) // the view keeps the section alive
	addr, err := windows.MapViewOfFile(section, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, err
	}
	// addr is memory outside Go's heap; the double indirection is how vet accepts such an address.
	return mapping(unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), int(size))), nil
}

func (m mapping) bytes(off, n int64) ([]byte, error) { return m[off : off+n : off+n], nil }

// release takes the pages out of the working set: VirtualUnlock does that to pages that are not
// locked, and reports them as an error.
func (m mapping) release(off, n int64) {
	page := int64(os.Getpagesize())
	begin, end := (off+page-1)/page*page, (off+n)/page*page
	if begin < end {
		_ = windows.VirtualUnlock(uintptr(unsafe.Pointer(&m[begin])), uintptr(end-begin))
	}
}

func (m mapping) close() error {
	return windows.UnmapViewOfFile(uintptr(unsafe.Pointer(unsafe.SliceData(m))))
}

// IsDiskFull reports whether err says that there is no room left.
func IsDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
