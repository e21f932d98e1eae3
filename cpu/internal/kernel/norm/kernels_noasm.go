//go:build purego || !amd64

package norm

import "github.com/atelier-go/atelier/cpu/internal/isa"

func kernelsFor(isa.Set) *kernels { return &generic }
