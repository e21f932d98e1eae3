package cpu

import (
	"os"

	"golang.org/x/sys/unix"
)

// cores is the number of cores that the process may run on, or 0 where that cannot be told.
func cores() int {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return 0
	}
	var processors []int
	for p := range 64 * len(allowed) {
		if allowed.IsSet(p) {
			processors = append(processors, p)
		}
	}
	return sysCores(os.DirFS("/sys/devices/system/cpu"), processors)
}
