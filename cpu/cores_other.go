//go:build !linux && !darwin && !windows

package cpu

// cores is the number of cores that the process may run on; 0: it cannot be told.
func cores() int { return 0 }
