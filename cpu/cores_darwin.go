package cpu

import "golang.org/x/sys/unix"

// cores is the number of cores of the machine, or 0 where that cannot be told.
func cores() int {
	n, err := unix.SysctlUint32("hw.physicalcpu")
	if err != nil {
		return 0
	}
	return int(n)
}
