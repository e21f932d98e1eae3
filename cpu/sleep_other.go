//go:build !linux && !windows

package cpu

import (
	"sync"
	"sync/atomic"
)

var (
	bed   sync.Mutex
	alarm = sync.NewCond(&bed)
)

// sleep returns when word is rung, or before, and at once where it is not what was seen.
func sleep(word *atomic.Uint32, seen *uint32) {
	bed.Lock()
	defer bed.Unlock()
	if word.Load() == *seen {
		alarm.Wait()
	}
}

// ring wakes who sleeps at word, which has changed.
func ring(*atomic.Uint32) {
	bed.Lock()
	defer bed.Unlock()
	alarm.Broadcast()
}
