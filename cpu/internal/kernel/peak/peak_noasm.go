//go:build purego || !amd64

package peak

import "github.com/atelier-go/atelier/cpu/internal/isa"

func loop(isa.Set) (fma func(rounds int), flopsPerRound float64) { return fmaGeneric, 8 * 2 }
