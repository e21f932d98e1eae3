//go:build !linux

package gemm

// huge allocates n float32.
func huge(n int) []float32 { return aligned(n) }
