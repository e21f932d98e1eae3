//go:build amd64 && !purego

#include "textflag.h"

// func reachesAVX2(p *byte, blocks int, exponent uint32) bool
TEXT ·reachesAVX2(SB), NOSPLIT, $0-25
	MOVQ         p+0(FP), SI
	MOVQ         blocks+8(FP), CX
	MOVL         exponent+16(FP), AX
	VMOVD        AX, X8
	VPBROADCASTD X8, Y8
	VPXOR        Y0, Y0, Y0
	VPXOR        Y1, Y1, Y1
	VPXOR        Y2, Y2, Y2
	VPXOR        Y3, Y3, Y3
loop: // the greatest exponents so far, 16 bits each
	VPAND   (SI), Y8, Y4
	VPAND   32(SI), Y8, Y5
	VPAND   64(SI), Y8, Y6
	VPAND   96(SI), Y8, Y7
	VPMAXUW Y4, Y0, Y0
	VPMAXUW Y5, Y1, Y1
	VPMAXUW Y6, Y2, Y2
	VPMAXUW Y7, Y3, Y3
	ADDQ    $128, SI
	DECQ    CX
	JNE     loop
	SHRL         $16, AX
	VMOVD        AX, X9
	VPBROADCASTW X9, Y9
	VPMAXUW      Y1, Y0, Y0
	VPMAXUW      Y3, Y2, Y2
	VPMAXUW      Y2, Y0, Y0
	VPCMPEQW     Y9, Y0, Y0
	VPTEST       Y0, Y0
	SETNE        ret+24(FP)
	VZEROUPPER
	RET
