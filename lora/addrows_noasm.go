//go:build !amd64 || purego

package lora

func addWholeRows(_, _, _, _, _ []float32, _ *[unroll]float32) int { return 0 }
