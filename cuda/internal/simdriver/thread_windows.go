package simdriver

import "golang.org/x/sys/windows"

// thread is the system's number for the thread that calls.
func thread() uint64 { return uint64(windows.GetCurrentThreadId()) }
