//go:build purego || !amd64

package elem

import "github.com/atelier-go/atelier/cpu/internal/isa"

func kernelsFor(isa.Set) *Kernels { return &generic }
