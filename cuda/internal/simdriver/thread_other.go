//go:build !linux && !windows

package simdriver

// thread is one for all: there is no driver for these systems.
func thread() uint64 { return 0 }
