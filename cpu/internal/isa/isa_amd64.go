//go:build amd64 && !purego

package isa

import "golang.org/x/sys/cpu"

var detected = detect()

func detect() Set {
	x := &cpu.X86
	switch {
	case !(x.HasAVX2 && x.HasFMA && x.HasF16C):
		return Generic
	case !(x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL):
		return AVX2
	case !(x.HasAVX512BF16 && x.HasAVX512VNNI):
		return AVX512
	}
	return AVX512BF16
}
