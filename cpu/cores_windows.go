package cpu

import (
	"math/bits"
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	kernel32             = windows.NewLazySystemDLL("kernel32.dll")
	processorInformation = kernel32.NewProc("GetLogicalProcessorInformationEx")
	processAffinity      = kernel32.NewProc("GetProcessAffinityMask")
)

// cores is the number of cores that the process may run on, or 0 where that cannot be told.
func cores() int {
	if bits.UintSize < 64 || processorInformation.Find() != nil || processAffinity.Find() != nil {
		return 0
	}
	var size uint32
	processorInformation.Call(relationCore, 0, uintptr(unsafe.Pointer(&size))) // tells the size
	if size == 0 {
		return 0
	}
	records := make([]byte, size)
	if ok, _, _ := processorInformation.Call(relationCore, uintptr(unsafe.Pointer(&records[0])), uintptr(unsafe.Pointer(&size))); ok == 0 {
		return 0
	}
	var mask, system uintptr // 0 for a process in several groups of processors
	processAffinity.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&mask)), uintptr(unsafe.Pointer(&system)))
	return windowsCores(records, uint64(mask))
}
