// Package peak measures how many floating-point operations a core can do: the roof under which kernels are judged.
package peak

import (
	"time"

	"github.com/atelier-go/atelier/cpu/internal/isa"
)

// Burn does float32 multiply-adds on registers alone with the instructions of a kernel set, for about the given
// time, and returns how many floating-point operations it did and in how many seconds.
func Burn(set isa.Set, d time.Duration) (flops, seconds float64) {
	const rounds = 1 << 14
	fma, perRound := loop(set)
	fma(rounds) // clocks rise first
	for start := time.Now(); ; {
		fma(rounds)
		flops += rounds * perRound
		if seconds = time.Since(start).Seconds(); seconds > d.Seconds() {
			return flops, seconds
		}
	}
}
