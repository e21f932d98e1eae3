//go:build purego || !amd64

package attn

import "github.com/atelier-go/atelier/cpu/internal/isa"

func kernelsFor(isa.Set) *kernels { return &generic }

// bf16Kernels is unreachable here: New refuses BF16 below isa.AVX512BF16.
var bf16Kernels *kernels
