// Package device opens compute devices by name. It is the only package that knows all of them.
package device

import (
	"fmt"

	"github.com/atelier-go/atelier/compute"
	"github.com/atelier-go/atelier/cpu"
)

// Options configures whichever device is opened. The zero value is the fastest that keeps float32 precision.
type Options struct {
	Workers   int               // CPU goroutines computing at once; 0 means one for each processor
	Precision compute.Precision // what matrix products are computed in; FP32 is 0, BF16 runs in FP32 where the processor lacks it (compute.Preciser tells)
}

// Open opens a device: "cpu", or "auto" for the best this machine has. Close it after everything that was opened on it.
//
// CUDA devices ("cuda:0") are announced by the design but not built yet; asking for one is an error.
func Open(name string, o Options) (compute.Device, error) {
	switch name {
	case "", "auto", "cpu":
		return cpu.Open(cpu.Options{Workers: o.Workers, Precision: o.Precision})
	}
	return nil, fmt.Errorf("device: no device is called %.40q; there are auto and cpu", name)
}
