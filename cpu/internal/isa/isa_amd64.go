//go:build amd64 && !purego

package isa

import "golang.org/x/sys/cpu"

var detected = detect()

// cpuidECX runs CPUID with EAX = leaf and ECX = 0 and returns ECX.
//
//go:noescape
func cpuidECX(leaf uint32) (ecx uint32)

// hasF16C reads CPUID.1:ECX bit 29, which x/sys/cpu does not report. The operating system's half of
// the question (YMM state saved) is already in cpu.X86.HasAVX2.
func hasF16C() bool { return cpuidECX(1)&(1<<29) != 0 }

func detect() Set {
	x := &cpu.X86
	switch {
	case !(x.HasAVX2 && x.HasFMA && hasF16C()):
		return Generic
	case !(x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL):
		return AVX2
	case !x.HasAVX512BF16:
		return AVX512
	}
	return AVX512BF16
}
