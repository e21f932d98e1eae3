//go:build amd64 && !purego

package f16

import "golang.org/x/sys/cpu"

// group is how many numbers a turn of the loops converts.
const group = 16

var converts = cpu.X86.HasAVX2 && cpu.X86.HasF16C

//go:noescape
func widenF16C(dst *float32, src *byte, groups int)

//go:noescape
func narrowF16C(dst *byte, src *float32, groups int)

// widen converts whole groups and returns how many numbers these are.
func widen(dst []float32, src []byte) int {
	n := len(dst) / group
	if !converts || n == 0 {
		return 0
	}
	widenF16C(&dst[0], &src[0], n)
	return n * group
}

// narrow is as widen.
func narrow(dst []byte, src []float32) int {
	n := len(src) / group
	if !converts || n == 0 {
		return 0
	}
	narrowF16C(&dst[0], &src[0], n)
	return n * group
}
