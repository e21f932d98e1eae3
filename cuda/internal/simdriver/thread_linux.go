package simdriver

import "syscall"

// thread is the system's number for the thread that calls.
func thread() uint64 { return uint64(syscall.Gettid()) }
