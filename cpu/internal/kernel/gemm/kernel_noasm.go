//go:build purego || !amd64

package gemm

import "github.com/atelier-go/atelier/cpu/internal/isa"

func kernelFor(isa.Set) *Kernel { return &generic }
