//go:build !linux

package conv

// huge allocates n float32.
func huge(n int) []float32 { return make([]float32, n) }
