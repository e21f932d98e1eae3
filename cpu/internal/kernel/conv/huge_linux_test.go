package conv

import (
	"syscall"
	"unsafe"
)

// huge allocates n float32 in huge pages where the kernel grants them, as the device does.
func huge(n int) []float32 {
	b, err := syscall.Mmap(-1, 0, 4*n+64, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]float32, n)
	}
	_ = syscall.Madvise(b, 14) // MADV_HUGEPAGE; only advice
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), n)
}
