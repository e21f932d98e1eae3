//go:build !linux && !windows

package cpu

import "runtime"

// yield lets another goroutine run; how to let another thread run is not known here.
func yield() { runtime.Gosched() }
