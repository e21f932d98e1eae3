//go:build purego || !amd64

package conv

import "github.com/atelier-go/atelier/cpu/internal/kernel/gemm"

func transformsFor(k *gemm.Kernel) *transforms { return genericTransforms(k.NR) }
