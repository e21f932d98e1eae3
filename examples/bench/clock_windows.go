package main

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	kernel32  = windows.NewLazySystemDLL("kernel32.dll")
	counter   = kernel32.NewProc("QueryPerformanceCounter")
	frequency = kernel32.NewProc("QueryPerformanceFrequency")
)

// clock is the time since some moment, in seconds. Go's own clock goes in steps of up to 16 ms here, within which a small
// model has done its work. The calls cannot fail on any Windows that Go runs on.
func clock() float64 {
	var ticks, perSecond int64
	counter.Call(uintptr(unsafe.Pointer(&ticks)))
	frequency.Call(uintptr(unsafe.Pointer(&perSecond)))
	return float64(ticks) / float64(perSecond)
}
