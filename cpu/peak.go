package cpu

import (
	"sync"
	"time"

	"github.com/atelier-go/atelier/cpu/internal/kernel/peak"
)

// Peak measures what all workers of the device together can do at most, in float32 multiply-adds on registers: the
// roof for its kernels, in floating-point operations per second. It takes a fifth of a second.
func (d *Device) Peak() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var (
		all  sync.WaitGroup
		sum  float64
		lock sync.Mutex
	)
	for range d.scratch {
		all.Go(func() {
			flops, seconds := peak.Burn(d.set, 200*time.Millisecond)
			lock.Lock()
			defer lock.Unlock()
			sum += flops / seconds
		})
	}
	all.Wait()
	return sum
}
