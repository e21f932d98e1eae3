//go:build amd64 && !purego

#include "textflag.h"

// func cpuidECX(leaf uint32) (ecx uint32)
TEXT ·cpuidECX(SB), NOSPLIT, $0-12
	MOVL leaf+0(FP), AX
	XORL CX, CX
	CPUID
	MOVL CX, ecx+8(FP)
	RET
