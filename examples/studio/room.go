package main

import "runtime"

// makeRoom leaves room beside what computes: pages need not wait for a processor of the runtime's on which somebody computes, and other programs on
// the machine, such as the browser, go first where the system has a way to say so.
func (o *options) makeRoom() error {
	if o.device.Options.Workers == 0 {
		o.device.Options.Workers = runtime.GOMAXPROCS(0)
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	return goLast()
}
