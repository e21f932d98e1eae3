//go:build amd64 && !purego

package peak

import "github.com/atelier-go/atelier/cpu/internal/isa"

// fmaAVX512 does 24 independent chains of 16 multiply-adds, rounds times.
//
//go:noescape
func fmaAVX512(rounds int)

// fmaAVX2 does 12 independent chains of 8 multiply-adds, rounds times.
//
//go:noescape
func fmaAVX2(rounds int)

func loop(set isa.Set) (fma func(rounds int), flopsPerRound float64) {
	switch {
	case set >= isa.AVX512:
		return fmaAVX512, 24 * 16 * 2
	case set >= isa.AVX2:
		return fmaAVX2, 12 * 8 * 2
	}
	return fmaGeneric, 8 * 2
}
