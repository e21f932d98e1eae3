package main

import "golang.org/x/sys/windows"

// goLast has the system give the processors to others first.
func goLast() error {
	return windows.SetPriorityClass(windows.CurrentProcess(), windows.BELOW_NORMAL_PRIORITY_CLASS)
}
