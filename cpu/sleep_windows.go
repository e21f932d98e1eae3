package cpu

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	synchronization  = windows.NewLazySystemDLL("api-ms-win-core-synch-l1-2-0.dll")
	waitOnAddress    = synchronization.NewProc("WaitOnAddress")
	wakeByAddressAll = synchronization.NewProc("WakeByAddressAll")
)

// sleep returns when word is rung, or before, and at once where it is not what was seen.
func sleep(word *atomic.Uint32, seen *uint32) {
	syscall.SyscallN(waitOnAddress.Addr(), uintptr(unsafe.Pointer(word)), uintptr(unsafe.Pointer(seen)), unsafe.Sizeof(*seen), windows.INFINITE)
}

// ring wakes who sleeps at word, which has changed.
func ring(word *atomic.Uint32) {
	syscall.SyscallN(wakeByAddressAll.Addr(), uintptr(unsafe.Pointer(word)))
}
