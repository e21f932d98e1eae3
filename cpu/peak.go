package cpu

import (
	"sync"
	"time"

	"github.com/atelier-go/atelier/cpu/internal/kernel/gemm"
)

// Peak implements compute.Peaker: it measures what all workers of the device together can do at most, in float32 multiply-adds on registers: the
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
			k, flops := gemm.For(d.set), 0
			start := time.Now()
			for time.Since(start) < 200*time.Millisecond {
				flops += k.Spin(1<<14, false)
			}
			rate := float64(flops) / time.Since(start).Seconds()
			lock.Lock()
			defer lock.Unlock()
			sum += rate
		})
	}
	all.Wait()
	return sum
}
