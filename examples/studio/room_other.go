//go:build !linux && !windows

package main

import (
	"os"
	"syscall"
)

// niceness is that of the studio.
const niceness = 5

// goLast has the system give the processors to others first.
func goLast() error {
	return os.NewSyscallError("setpriority", syscall.Setpriority(syscall.PRIO_PROCESS, 0, niceness))
}
