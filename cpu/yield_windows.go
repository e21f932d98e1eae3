package cpu

import (
	"syscall"

	"golang.org/x/sys/windows"
)

var switchToThread = windows.NewLazySystemDLL("kernel32.dll").NewProc("SwitchToThread")

// yield lets the system run another thread on this processor, at once if there is one and for nothing if not.
func yield() { syscall.SyscallN(switchToThread.Addr()) }
