//go:build !linux

package main

import "runtime"

// peakRSS is what the Go runtime has obtained from the system, the nearest figure that is to be had everywhere.
func peakRSS() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}
