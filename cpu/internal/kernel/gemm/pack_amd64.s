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

// EIGHT of rows of sixteen elements, of which the results stay in Y8 to Y15.
#define EIGHTHALVES \
	VMOVDQU     (R9), Y0; \
	VMOVDQU     (R9)(DX*1), Y1; \
	LEAQ        (R9)(DX*2), R9; \
	VMOVDQU     (R9), Y2; \
	VMOVDQU     (R9)(DX*1), Y3; \
	LEAQ        (R9)(DX*2), R9; \
	VMOVDQU     (R9), Y4; \
	VMOVDQU     (R9)(DX*1), Y5; \
	LEAQ        (R9)(DX*2), R9; \
	VMOVDQU     (R9), Y6; \
	VMOVDQU     (R9)(DX*1), Y7; \
	LEAQ        (R9)(DX*2), R9; \
	VPUNPCKLWD  Y1, Y0, Y8; \
	VPUNPCKHWD  Y1, Y0, Y9; \
	VPUNPCKLWD  Y3, Y2, Y10; \
	VPUNPCKHWD  Y3, Y2, Y11; \
	VPUNPCKLWD  Y5, Y4, Y12; \
	VPUNPCKHWD  Y5, Y4, Y13; \
	VPUNPCKLWD  Y7, Y6, Y14; \
	VPUNPCKHWD  Y7, Y6, Y15; \
	VPUNPCKLDQ  Y10, Y8, Y0; \
	VPUNPCKHDQ  Y10, Y8, Y1; \
	VPUNPCKLDQ  Y11, Y9, Y2; \
	VPUNPCKHDQ  Y11, Y9, Y3; \
	VPUNPCKLDQ  Y14, Y12, Y4; \
	VPUNPCKHDQ  Y14, Y12, Y5; \
	VPUNPCKLDQ  Y15, Y13, Y6; \
	VPUNPCKHDQ  Y15, Y13, Y7; \
	VPUNPCKLQDQ Y4, Y0, Y8; \
	VPUNPCKHQDQ Y4, Y0, Y9; \
	VPUNPCKLQDQ Y5, Y1, Y10; \
	VPUNPCKHQDQ Y5, Y1, Y11; \
	VPUNPCKLQDQ Y6, Y2, Y12; \
	VPUNPCKHQDQ Y6, Y2, Y13; \
	VPUNPCKLQDQ Y7, Y3, Y14; \
	VPUNPCKHQDQ Y7, Y3, Y15

// Columns j and 8+j of all 16 rows: those of the first eight were stored, those of the others are in reg.
#define HALVES(j, reg) \
	VMOVDQU    (32*j)(R8), Y0; \
	VPERM2I128 $0x20, reg, Y0, Y1; \
	VPERM2I128 $0x31, reg, Y0, Y2; \
	VMOVDQU    Y1, (32*j)(DI); \
	VMOVDQU    Y2, (256+32*j)(DI)

// func transposeAVX2(dst, src, scratch *byte, stride int)
TEXT ·transposeAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), R9
	MOVQ scratch+16(FP), R8
	MOVQ stride+24(FP), DX
	EIGHTHALVES
	VMOVDQU Y8, (R8)
	VMOVDQU Y9, 32(R8)
	VMOVDQU Y10, 64(R8)
	VMOVDQU Y11, 96(R8)
	VMOVDQU Y12, 128(R8)
	VMOVDQU Y13, 160(R8)
	VMOVDQU Y14, 192(R8)
	VMOVDQU Y15, 224(R8)
	EIGHTHALVES
	HALVES(0, Y8)
	HALVES(1, Y9)
	HALVES(2, Y10)
	HALVES(3, Y11)
	HALVES(4, Y12)
	HALVES(5, Y13)
	HALVES(6, Y14)
	HALVES(7, Y15)
	VZEROUPPER
	RET

// func turnAVX2(dst, src *float32, side, stride int)
TEXT ·turnAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ side+16(FP), CX
	MOVQ stride+24(FP), DX
	MOVQ CX, BX
	SHLQ $2, BX // from row to row of dst
	MOVQ CX, R10
rows: // DI is at the columns that eight rows at SI become
	MOVQ SI, R8
	MOVQ DI, R9
	MOVQ CX, R11
columns:
	MOVQ       R8, AX
	VMOVUPS    (AX), Y0
	VMOVUPS    (AX)(DX*1), Y1
	LEAQ       (AX)(DX*2), AX
	VMOVUPS    (AX), Y2
	VMOVUPS    (AX)(DX*1), Y3
	LEAQ       (AX)(DX*2), AX
	VMOVUPS    (AX), Y4
	VMOVUPS    (AX)(DX*1), Y5
	LEAQ       (AX)(DX*2), AX
	VMOVUPS    (AX), Y6
	VMOVUPS    (AX)(DX*1), Y7
	VUNPCKLPS  Y1, Y0, Y8
	VUNPCKHPS  Y1, Y0, Y9
	VUNPCKLPS  Y3, Y2, Y10
	VUNPCKHPS  Y3, Y2, Y11
	VUNPCKLPS  Y5, Y4, Y12
	VUNPCKHPS  Y5, Y4, Y13
	VUNPCKLPS  Y7, Y6, Y14
	VUNPCKHPS  Y7, Y6, Y15
	VSHUFPS    $0x44, Y10, Y8, Y0
	VSHUFPS    $0xEE, Y10, Y8, Y1
	VSHUFPS    $0x44, Y11, Y9, Y2
	VSHUFPS    $0xEE, Y11, Y9, Y3
	VSHUFPS    $0x44, Y14, Y12, Y4
	VSHUFPS    $0xEE, Y14, Y12, Y5
	VSHUFPS    $0x44, Y15, Y13, Y6
	VSHUFPS    $0xEE, Y15, Y13, Y7
	VPERM2F128 $0x20, Y4, Y0, Y8
	VPERM2F128 $0x20, Y5, Y1, Y9
	VPERM2F128 $0x20, Y6, Y2, Y10
	VPERM2F128 $0x20, Y7, Y3, Y11
	VPERM2F128 $0x31, Y4, Y0, Y12
	VPERM2F128 $0x31, Y5, Y1, Y13
	VPERM2F128 $0x31, Y6, Y2, Y14
	VPERM2F128 $0x31, Y7, Y3, Y15
	VMOVUPS    Y8, (R9)
	VMOVUPS    Y9, (R9)(BX*1)
	LEAQ       (R9)(BX*2), R9
	VMOVUPS    Y10, (R9)
	VMOVUPS    Y11, (R9)(BX*1)
	LEAQ       (R9)(BX*2), R9
	VMOVUPS    Y12, (R9)
	VMOVUPS    Y13, (R9)(BX*1)
	LEAQ       (R9)(BX*2), R9
	VMOVUPS    Y14, (R9)
	VMOVUPS    Y15, (R9)(BX*1)
	LEAQ       (R9)(BX*2), R9
	ADDQ       $32, R8
	SUBQ       $8, R11
	JNE        columns
	LEAQ       (SI)(DX*8), SI
	ADDQ       $32, DI
	SUBQ       $8, R10
	JNE        rows
	VZEROUPPER
	RET

// func prefetchLines(p *byte, lines int)
TEXT ·prefetchLines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), SI
	MOVQ lines+8(FP), CX
lines:
	PREFETCHT0 (SI)
	ADDQ       $64, SI
	DECQ       CX
	JNE        lines
	RET

// Four rows of quarters, turned over: row j of the result, at out, is quarter j of the four.
#define QUARTERS(a, b, c, d, out) \
	VSHUFI64X2 $0x44, b, a, Z16; \
	VSHUFI64X2 $0x44, d, c, Z17; \
	VSHUFI64X2 $0xEE, b, a, Z18; \
	VSHUFI64X2 $0xEE, d, c, Z19; \
	VSHUFI64X2 $0x88, Z17, Z16, Z20; \
	VSHUFI64X2 $0xDD, Z17, Z16, Z21; \
	VSHUFI64X2 $0x88, Z19, Z18, Z22; \
	VSHUFI64X2 $0xDD, Z19, Z18, Z23; \
	VMOVDQU32  Z20, (out)(DI); \
	VMOVDQU32  Z21, (out+256)(DI); \
	VMOVDQU32  Z22, (out+512)(DI); \
	VMOVDQU32  Z23, (out+768)(DI)

// A row of two by two elements, each turned over within its 64 bits.
#define SQUARES(in, reg) \
	VMOVDQU32 (in)(SI), reg; \
	VPSHUFB   Z31, reg, reg

// Eight by eight of these squares from SI, turned over to DI.
#define EIGHTSQUARES \
	SQUARES(0, Z0); \
	SQUARES(128, Z1); \
	SQUARES(256, Z2); \
	SQUARES(384, Z3); \
	SQUARES(512, Z4); \
	SQUARES(640, Z5); \
	SQUARES(768, Z6); \
	SQUARES(896, Z7); \
	VPUNPCKLQDQ Z1, Z0, Z8; \
	VPUNPCKHQDQ Z1, Z0, Z9; \
	VPUNPCKLQDQ Z3, Z2, Z10; \
	VPUNPCKHQDQ Z3, Z2, Z11; \
	VPUNPCKLQDQ Z5, Z4, Z12; \
	VPUNPCKHQDQ Z5, Z4, Z13; \
	VPUNPCKLQDQ Z7, Z6, Z14; \
	VPUNPCKHQDQ Z7, Z6, Z15; \
	QUARTERS(Z8, Z10, Z12, Z14, 0); \
	QUARTERS(Z9, Z11, Z13, Z15, 128)

DATA squares<>+0(SB)/8, $0x0706030205040100
DATA squares<>+8(SB)/8, $0x0F0E0B0A0D0C0908
GLOBL squares<>(SB), RODATA|NOPTR, $16

// func turnPairsAVX512(dst, src *float32)
TEXT ·turnPairsAVX512(SB), NOSPLIT, $0-16
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	VBROADCASTI32X4 squares<>(SB), Z31
	EIGHTSQUARES
	ADDQ $64, SI
	ADDQ $1024, DI
	EIGHTSQUARES
	ADDQ $960, SI
	SUBQ $960, DI
	EIGHTSQUARES
	ADDQ $64, SI
	ADDQ $1024, DI
	EIGHTSQUARES
	VZEROUPPER
	RET
