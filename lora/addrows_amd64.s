//go:build amd64 && !purego

#include "textflag.h"

// func addRowsAVX2(sum, a0, a1, a2, a3 *float32, b *[unroll]float32, groups int)
TEXT ·addRowsAVX2(SB), NOSPLIT, $0-56
	MOVQ         sum+0(FP), DI
	MOVQ         a0+8(FP), R8
	MOVQ         a1+16(FP), R9
	MOVQ         a2+24(FP), R10
	MOVQ         a3+32(FP), R11
	MOVQ         b+40(FP), BX
	MOVQ         groups+48(FP), CX
	VBROADCASTSS (BX), Y8
	VBROADCASTSS 4(BX), Y9
	VBROADCASTSS 8(BX), Y10
	VBROADCASTSS 12(BX), Y11
	XORQ         AX, AX
loop:
	VMULPS  (R8)(AX*1), Y8, Y0
	VMULPS  (R9)(AX*1), Y9, Y1
	VMULPS  (R10)(AX*1), Y10, Y2
	VMULPS  (R11)(AX*1), Y11, Y3
	VADDPS  Y1, Y0, Y0
	VADDPS  Y3, Y2, Y2
	VADDPS  Y2, Y0, Y0
	VADDPS  (DI)(AX*1), Y0, Y0
	VMOVUPS Y0, (DI)(AX*1)
	ADDQ    $32, AX
	DECQ    CX
	JNE     loop
	VZEROUPPER
	RET
