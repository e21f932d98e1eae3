//go:build amd64 && !purego

package lora

import "golang.org/x/sys/cpu"

//go:noescape
func addRowsAVX2(sum, a0, a1, a2, a3 *float32, b *[unroll]float32, groups int)

// addWholeRows is addRows for whole groups of eight, with the same bits; it returns how many elements these are.
func addWholeRows(sum, a0, a1, a2, a3 []float32, b *[unroll]float32) int {
	groups := len(sum) / 8
	if groups == 0 || !cpu.X86.HasAVX2 {
		return 0
	}
	addRowsAVX2(&sum[0], &a0[0], &a1[0], &a2[0], &a3[0], b, groups)
	return 8 * groups
}
