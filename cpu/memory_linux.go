package cpu

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// allocate reserves n zero bytes outside the Go heap. Huge pages, where the kernel grants them, save kernels that walk
// through hundreds of megabytes of activations a tenth of their time, and packing weights half of it.
func allocate(n int, huge bool) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	// Linux promises memory it does not have and kills the process that then uses it.
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err == nil {
		if total := uint64(machine.Totalram) * uint64(machine.Unit); uint64(n) > total {
			return nil, fmt.Errorf("cpu: %.1f GB are needed at once and this machine has %.1f GB; choose a smaller picture or batch", float64(n)/1e9, float64(total)/1e9)
		}
	}
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("cpu: allocating %d bytes: %w; close other programs or choose a smaller picture", n, err)
	}
	if huge {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // only advice: small pages serve as well
	}
	return b, nil
}

// free returns what allocate reserved.
func free(b []byte) error {
	if b == nil {
		return nil
	}
	return unix.Munmap(b)
}

// slowPage is how long the first touch of a huge page takes where something is wrong with them: otherwise it is a tenth of that.
const slowPage = time.Millisecond

// touch makes the first page of a part of the memory present. The first huge page that takes long has all others of
// the memory be small: a virtual machine's host may have to look for 512 pages of its own, while the small ones that the kernel
// has at hand are those that were in use a moment ago.
func (m *freshMemory) touch(part []byte) {
	if len(part) == 0 || m.small.Load() {
		return
	}
	start := time.Now()
	part[0] = 0
	if time.Since(start) > slowPage && m.small.CompareAndSwap(false, true) {
		_ = unix.Madvise(m.bytes, unix.MADV_NOHUGEPAGE) // only advice
	}
}
