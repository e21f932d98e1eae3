package cpu

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of the futex call, between threads of one process.
const (
	futexWait = 0 | 128
	futexWake = 1 | 128
)

// sleep returns when word is rung, or before, and at once where it is not what was seen. The thread sleeps, not the goroutine alone, since a thread is awake again within
// a few microseconds, and a goroutine that another one wakes waits ten times as long for a thread.
func sleep(word *atomic.Uint32, seen *uint32) {
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(*seen), 0, 0, 0)
}

// ring wakes who sleeps at word, which has changed.
func ring(word *atomic.Uint32) {
	const all = 1<<31 - 1
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, all, 0, 0, 0)
}
