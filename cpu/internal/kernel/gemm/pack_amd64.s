//go:build amd64 && !purego

#include "textflag.h"

// The 16-bit elements of eight rows, transposed within each 128-bit lane: the vector stored at 64·j holds, in lane l,
// column 8l+j of the eight rows. R9 walks the rows, DX is their distance,
// R8 is scratch.
#define EIGHT(out) \
	VMOVDQU32   (R9), Z0; \
	VMOVDQU32   (R9)(DX*1), Z1; \
	LEAQ        (R9)(DX*2), R9; \
	VMOVDQU32   (R9), Z2; \
	VMOVDQU32   (R9)(DX*1), Z3; \
	LEAQ        (R9)(DX*2), R9; \
	VMOVDQU32   (R9), Z4; \
	VMOVDQU32   (R9)(DX*1), Z5; \
	LEAQ        (R9)(DX*2), R9; \
	VMOVDQU32   (R9), Z6; \
	VMOVDQU32   (R9)(DX*1), Z7; \
	LEAQ        (R9)(DX*2), R9; \
	VPUNPCKLWD  Z1, Z0, Z8; \
	VPUNPCKHWD  Z1, Z0, Z9; \
	VPUNPCKLWD  Z3, Z2, Z10; \
	VPUNPCKHWD  Z3, Z2, Z11; \
	VPUNPCKLWD  Z5, Z4, Z12; \
	VPUNPCKHWD  Z5, Z4, Z13; \
	VPUNPCKLWD  Z7, Z6, Z14; \
	VPUNPCKHWD  Z7, Z6, Z15; \
	VPUNPCKLDQ  Z10, Z8, Z0; \
	VPUNPCKHDQ  Z10, Z8, Z1; \
	VPUNPCKLDQ  Z11, Z9, Z2; \
	VPUNPCKHDQ  Z11, Z9, Z3; \
	VPUNPCKLDQ  Z14, Z12, Z4; \
	VPUNPCKHDQ  Z14, Z12, Z5; \
	VPUNPCKLDQ  Z15, Z13, Z6; \
	VPUNPCKHDQ  Z15, Z13, Z7; \
	VPUNPCKLQDQ Z4, Z0, Z8; \
	VPUNPCKHQDQ Z4, Z0, Z9; \
	VPUNPCKLQDQ Z5, Z1, Z10; \
	VPUNPCKHQDQ Z5, Z1, Z11; \
	VPUNPCKLQDQ Z6, Z2, Z12; \
	VPUNPCKHQDQ Z6, Z2, Z13; \
	VPUNPCKLQDQ Z7, Z3, Z14; \
	VPUNPCKHQDQ Z7, Z3, Z15; \
	VMOVDQU32   Z8, (out+0)(R8); \
	VMOVDQU32   Z9, (out+64)(R8); \
	VMOVDQU32   Z10, (out+128)(R8); \
	VMOVDQU32   Z11, (out+192)(R8); \
	VMOVDQU32   Z12, (out+256)(R8); \
	VMOVDQU32   Z13, (out+320)(R8); \
	VMOVDQU32   Z14, (out+384)(R8); \
	VMOVDQU32   Z15, (out+448)(R8)

// Column 8l+j of all 32 rows, for l from 0 to 3: lane l of the four vectors that EIGHT stored for j.
#define LANES(j) \
	VMOVDQU32  (64*j)(R8), Z0; \
	VMOVDQU32  (512+64*j)(R8), Z1; \
	VMOVDQU32  (1024+64*j)(R8), Z2; \
	VMOVDQU32  (1536+64*j)(R8), Z3; \
	VSHUFI32X4 $0x44, Z1, Z0, Z4; \
	VSHUFI32X4 $0x44, Z3, Z2, Z5; \
	VSHUFI32X4 $0xEE, Z1, Z0, Z6; \
	VSHUFI32X4 $0xEE, Z3, Z2, Z7; \
	VSHUFI32X4 $0x88, Z5, Z4, Z8; \
	VSHUFI32X4 $0xDD, Z5, Z4, Z9; \
	VSHUFI32X4 $0x88, Z7, Z6, Z10; \
	VSHUFI32X4 $0xDD, Z7, Z6, Z11; \
	VMOVDQU32  Z8, (64*j)(DI); \
	VMOVDQU32  Z9, (512+64*j)(DI); \
	VMOVDQU32  Z10, (1024+64*j)(DI); \
	VMOVDQU32  Z11, (1536+64*j)(DI)

// func transposeAVX512(dst, src, scratch *byte, stride int)
TEXT ·transposeAVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), R9
	MOVQ scratch+16(FP), R8
	MOVQ stride+24(FP), DX
	EIGHT(0)
	EIGHT(512)
	EIGHT(1024)
	EIGHT(1536)
	LANES(0)
	LANES(1)
	LANES(2)
	LANES(3)
	LANES(4)
	LANES(5)
	LANES(6)
	LANES(7)
	VZEROUPPER
	RET
