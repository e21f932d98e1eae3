package main

import (
	"os"
	"strconv"
	"syscall"
)

// niceness is that of the studio.
const niceness = 5

// goLast has the system give the processors to others first. Linux has a niceness for each thread, which those inherit that it begins.
func goLast() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if now, err := syscall.Getpriority(syscall.PRIO_PROCESS, id); err != nil || 20-now >= niceness { // the kernel tells 20 less the niceness; a thread may have ended
			continue
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, niceness); err != nil {
			return os.NewSyscallError("setpriority", err)
		}
	}
	return nil
}
