// Command _asm writes norm_amd64.s: channel sums, scaled copies, layer normalisation, and what their gradients need.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"os"
)

// set describes the registers of one instruction set.
type set struct {
	name  string // suffix of the Go functions
	vec   string // register prefix: Y or Z
	half  string // prefix of registers half as wide
	lanes int    // float32 in a vector; half as many float64
	block int    // vectors of float64 sums that moments keeps at a time, and as many of squares
}

var sets = []set{{"AVX512", "Z", "Y", 16, 8}, {"AVX2", "Y", "X", 8, 4}}

type writer struct {
	*bufio.Writer
	set
}

func (w writer) op(format string, args ...any) { fmt.Fprintf(w, "\t"+format+"\n", args...) }
func (w writer) label(name string)             { fmt.Fprintf(w, "%s:\n", name) }
func (w writer) reg(i int) string              { return fmt.Sprintf("%s%d", w.vec, i) }
func (w writer) bytes() int                    { return 4 * w.lanes }

func (w writer) text(name, signature string, args int) {
	fmt.Fprintf(w, "\n// func %s%s%s\nTEXT ·%s%s(SB), NOSPLIT, $0-%d\n", name, w.name, signature, name, w.name, args)
}

func (w writer) zero(i int) { w.op("VXORPS X%d, X%d, X%d", i, i, i) }

// maskReg is the AVX2 mask register; AVX-512 masks are in K1.
const maskReg = 15

// mask makes a mask of the first n lanes of elements of size bytes; n is in register BX and at most a
// vector's worth. It destroys AX and BX.
func (w writer) mask(size int) {
	if w.vec == "Z" {
		w.op("MOVL $1, AX")
		w.op("SHLXL BX, AX, AX")
		w.op("DECL AX")
		w.op("KMOVW AX, K1")
		return
	}
	w.op("LEAQ mask<>+32(SB), AX")
	w.op("IMULQ $%d, BX", size)
	w.op("SUBQ BX, AX")
	w.op("VMOVUPS (AX), %s", w.reg(maskReg))
}

func (w writer) loadMasked(address string, r int) {
	if w.vec == "Z" {
		w.op("VMOVUPS.Z %s, K1, %s", address, w.reg(r))
		return
	}
	w.op("VMASKMOVPS %s, %s, %s", address, w.reg(maskReg), w.reg(r))
}

func (w writer) storeMasked(r int, address string) {
	if w.vec == "Z" {
		w.op("VMOVUPS %s, K1, %s", w.reg(r), address)
		return
	}
	w.op("VMASKMOVPS %s, %s, %s", w.reg(r), w.reg(maskReg), address)
}

// moments walks blocks of channels; for each it runs down the rows with sums and squares in registers.
func (w writer) moments() {
	w.text("moments", "(sum, square []float64, x []float32, rows, c, stride int)", 96)
	w.op("MOVQ sum_base+0(FP), DI")
	w.op("MOVQ square_base+24(FP), SI")
	w.op("MOVQ x_base+48(FP), R8")
	w.op("MOVQ c+80(FP), CX")
	w.op("MOVQ stride+88(FP), DX")
	w.op("SHLQ $2, DX")
	per := w.lanes / 2
	wide := w.block * per
	tmp := 2 * w.block
	rows := func(loop string, vectors int, load func(i, r int)) {
		for i := range vectors {
			w.zero(i)
			w.zero(w.block + i)
		}
		w.op("MOVQ rows+72(FP), BX")
		w.op("MOVQ R8, R9")
		w.label(loop)
		for i := range vectors {
			r := tmp + i%4
			load(i, r)
			w.op("VADDPD %s, %s, %s", w.reg(r), w.reg(i), w.reg(i))
			w.op("VFMADD231PD %s, %s, %s", w.reg(r), w.reg(r), w.reg(w.block+i))
		}
		w.op("ADDQ DX, R9")
		w.op("DECQ BX")
		w.op("JNE  %s", loop)
	}
	w.op("SUBQ $%d, CX", wide)
	w.op("JLT  rest")
	w.label("block")
	rows("row", w.block, func(i, r int) { w.op("VCVTPS2PD %d(R9), %s", i*per*4, w.reg(r)) })
	for i := range w.block {
		w.op("VMOVUPD %s, %d(DI)", w.reg(i), i*w.bytes())
		w.op("VMOVUPD %s, %d(SI)", w.reg(w.block+i), i*w.bytes())
	}
	w.op("ADDQ $%d, R8", 4*wide)
	w.op("ADDQ $%d, DI", 8*wide)
	w.op("ADDQ $%d, SI", 8*wide)
	w.op("SUBQ $%d, CX", wide)
	w.op("JGE  block")
	w.label("rest")
	w.op("ADDQ $%d, CX", wide)
	w.op("JEQ  done")
	w.label("masked")
	w.op("MOVQ $%d, BX", per)
	w.op("CMPQ CX, BX")
	w.op("CMOVQLT CX, BX")
	w.op("MOVQ BX, R10")
	w.mask(4)
	rows("maskedRow", 1, func(_, r int) {
		if w.vec == "Z" {
			w.op("VMOVUPS.Z (R9), K1, Y%d", r)
		} else {
			w.op("VMASKMOVPS (R9), X%d, X%d", maskReg, r)
		}
		w.op("VCVTPS2PD %s%d, %s", w.half, r, w.reg(r))
	})
	if w.vec == "Z" {
		w.op("VMOVUPD Z0, K1, (DI)")
		w.op("VMOVUPD Z%d, K1, (SI)", w.block)
	} else {
		w.op("MOVQ R10, BX")
		w.mask(8)
		w.op("VMASKMOVPD Y0, Y%d, (DI)", maskReg)
		w.op("VMASKMOVPD Y%d, Y%d, (SI)", w.block, maskReg)
	}
	w.op("ADDQ $%d, R8", 4*per)
	w.op("ADDQ $%d, DI", 8*per)
	w.op("ADDQ $%d, SI", 8*per)
	w.op("SUBQ $%d, CX", per)
	w.op("JGT  masked")
	w.label("done")
	w.op("VZEROUPPER")
	w.op("RET")
}

// affine is y = x·scale + shift, row by row.
func (w writer) affine() {
	w.text("affine", "(dst, x, scale, shift []float32, rows, c, dstStride, stride int)", 128)
	w.op("MOVQ dst_base+0(FP), DI")
	w.op("MOVQ x_base+24(FP), SI")
	w.op("MOVQ scale_base+48(FP), R8")
	w.op("MOVQ shift_base+72(FP), R9")
	w.op("MOVQ rows+96(FP), DX")
	w.op("MOVQ c+104(FP), R10")
	w.op("MOVQ dstStride+112(FP), R11")
	w.op("MOVQ stride+120(FP), R12")
	w.op("MOVQ R10, BX")
	w.op("ANDQ $%d, BX", w.lanes-1)
	w.op("SUBQ BX, R10 // whole vectors")
	w.op("MOVQ BX, R13")
	w.mask(4)
	w.label("row")
	w.op("XORQ CX, CX")
	w.op("JMP  check")
	w.label("loop")
	w.op("VMOVUPS (SI)(CX*4), %s", w.reg(0))
	w.op("VMOVUPS (R8)(CX*4), %s", w.reg(1))
	w.op("VFMADD213PS (R9)(CX*4), %s, %s", w.reg(1), w.reg(0))
	w.op("VMOVUPS %s, (DI)(CX*4)", w.reg(0))
	w.op("ADDQ $%d, CX", w.lanes)
	w.label("check")
	w.op("CMPQ CX, R10")
	w.op("JLT  loop")
	w.op("TESTQ R13, R13")
	w.op("JEQ  next")
	w.loadMasked("(SI)(CX*4)", 0)
	w.loadMasked("(R8)(CX*4)", 1)
	w.loadMasked("(R9)(CX*4)", 2)
	w.op("VFMADD213PS %s, %s, %s", w.reg(2), w.reg(1), w.reg(0))
	w.storeMasked(0, "(DI)(CX*4)")
	w.label("next")
	w.op("LEAQ (SI)(R12*4), SI")
	w.op("LEAQ (DI)(R11*4), DI")
	w.op("DECQ DX")
	w.op("JNE  row")
	w.op("VZEROUPPER")
	w.op("RET")
}

// total sums the lanes of the given registers into the first of each, using register tmp.
func (w writer) total(tmp int, regs ...int) {
	for _, r := range regs {
		if w.vec == "Z" {
			w.op("VEXTRACTF64X4 $1, Z%d, Y%d", r, tmp)
			w.op("VADDPS Y%d, Y%d, Y%d", tmp, r, r)
		}
		w.op("VEXTRACTF128 $1, Y%d, X%d", r, tmp)
		w.op("VADDPS X%d, X%d, X%d", tmp, r, r)
		w.op("VPERMILPS $0x4e, X%d, X%d", r, tmp)
		w.op("VADDPS X%d, X%d, X%d", tmp, r, r)
		w.op("VPERMILPS $0xb1, X%d, X%d", r, tmp)
		w.op("VADDPS X%d, X%d, X%d", tmp, r, r)
	}
}

// layer normalises rows in three passes: mean; squares about that mean and what it missed; the result.
func (w writer) layer() {
	const sum, square, mean, rstd = 0, 4, 8, 9 // sum and square: four registers each
	w.text("layer", "(dst, x, weight, bias []float32, rows, c int, eps, inverse float32)", 120)
	w.op("MOVQ dst_base+0(FP), DI")
	w.op("MOVQ x_base+24(FP), SI")
	w.op("MOVQ weight_base+48(FP), R8")
	w.op("MOVQ bias_base+72(FP), R9")
	w.op("MOVQ rows+96(FP), DX")
	w.op("MOVQ c+104(FP), R10")
	w.op("MOVQ R10, R12")
	w.op("MOVQ R10, BX")
	w.op("ANDQ $%d, BX", w.lanes-1)
	w.op("SUBQ BX, R10 // whole vectors")
	w.op("MOVQ BX, R13")
	w.mask(4)
	w.op("MOVQ R10, R11")
	w.op("ANDQ $~%d, R11 // in fours", 4*w.lanes-1)

	// pass runs body over a row by fours of vectors, single ones and the masked rest.
	pass := func(name string, body func(i int, load func(base string, r int), masked bool)) {
		w.op("XORQ CX, CX")
		w.op("JMP  %sCheck4", name)
		w.label(name + "4")
		for i := range 4 {
			body(i, func(base string, r int) { w.op("VMOVUPS %d(%s)(CX*4), %s", i*w.bytes(), base, w.reg(r)) }, false)
		}
		w.op("ADDQ $%d, CX", 4*w.lanes)
		w.label(name + "Check4")
		w.op("CMPQ CX, R11")
		w.op("JLT  %s4", name)
		w.op("JMP  %sCheck", name)
		w.label(name + "1")
		body(0, func(base string, r int) { w.op("VMOVUPS (%s)(CX*4), %s", base, w.reg(r)) }, false)
		w.op("ADDQ $%d, CX", w.lanes)
		w.label(name + "Check")
		w.op("CMPQ CX, R10")
		w.op("JLT  %s1", name)
		w.op("TESTQ R13, R13")
		w.op("JEQ  %sEnd", name)
		body(0, func(base string, r int) { w.loadMasked(fmt.Sprintf("(%s)(CX*4)", base), r) }, true)
		w.label(name + "End")
	}
	fold := func(r int) {
		w.op("VADDPS %s, %s, %s", w.reg(r+1), w.reg(r), w.reg(r))
		w.op("VADDPS %s, %s, %s", w.reg(r+3), w.reg(r+2), w.reg(r+2))
		w.op("VADDPS %s, %s, %s", w.reg(r+2), w.reg(r), w.reg(r))
	}
	w.label("row")
	for i := range 4 {
		w.zero(sum + i)
	}
	pass("mean", func(i int, load func(string, int), _ bool) {
		load("SI", 10)
		w.op("VADDPS %s, %s, %s", w.reg(10), w.reg(sum+i), w.reg(sum+i))
	})
	fold(sum)
	w.total(10, sum)
	w.op("VMULSS inverse+116(FP), X%d, X%d", sum, sum)
	w.op("VBROADCASTSS X%d, %s", sum, w.reg(mean))
	for i := range 4 {
		w.zero(sum + i)
		w.zero(square + i)
	}
	pass("square", func(i int, load func(string, int), masked bool) {
		load("SI", 10)
		switch {
		case !masked:
			w.op("VSUBPS %s, %s, %s", w.reg(mean), w.reg(10), w.reg(10))
		case w.vec == "Z":
			w.op("VSUBPS.Z Z%d, Z10, K1, Z10", mean)
		default:
			w.op("VSUBPS Y%d, Y10, Y10", mean)
			w.op("VANDPS Y%d, Y10, Y10", maskReg)
		}
		w.op("VADDPS %s, %s, %s", w.reg(10), w.reg(sum+i), w.reg(sum+i))
		w.op("VFMADD231PS %s, %s, %s", w.reg(10), w.reg(10), w.reg(square+i))
	})
	fold(sum)
	fold(square)
	w.total(10, sum, square)
	// missed = sum/c; variance = square/c - missed²; mean += missed
	w.op("VMULSS inverse+116(FP), X%d, X%d", sum, sum)
	w.op("VMULSS inverse+116(FP), X%d, X%d", square, square)
	w.op("VFNMADD231SS X%d, X%d, X%d", sum, sum, square)
	w.op("VADDSS eps+112(FP), X%d, X%d", square, square)
	w.op("VSQRTSS X%d, X%d, X%d", square, square, square)
	w.op("VADDSS X%d, X%d, X%d", mean, sum, sum)
	w.op("VBROADCASTSS X%d, %s", sum, w.reg(mean))
	w.op("MOVL $0x3f800000, AX")
	w.op("VMOVD AX, X%d", sum)
	w.op("VDIVSS X%d, X%d, X%d", square, sum, sum)
	w.op("VBROADCASTSS X%d, %s", sum, w.reg(rstd))
	pass("apply", func(i int, load func(string, int), masked bool) {
		load("SI", 10)
		load("R8", 11)
		load("R9", 12)
		w.op("VSUBPS %s, %s, %s", w.reg(mean), w.reg(10), w.reg(10))
		w.op("VMULPS %s, %s, %s", w.reg(rstd), w.reg(10), w.reg(10))
		w.op("VFMADD213PS %s, %s, %s", w.reg(12), w.reg(11), w.reg(10))
		if masked {
			w.storeMasked(10, "(DI)(CX*4)")
			return
		}
		w.op("VMOVUPS %s, %d(DI)(CX*4)", w.reg(10), i*w.bytes())
	})
	w.op("LEAQ (SI)(R12*4), SI")
	w.op("LEAQ (DI)(R12*4), DI")
	w.op("DECQ DX")
	w.op("JNE  row")
	w.op("VZEROUPPER")
	w.op("RET")
}

func main() {
	out := flag.String("out", "../norm_amd64.s", "file to write")
	flag.Parse()
	f, err := os.Create(*out)
	if err != nil {
		log.Fatal(err)
	}
	w := writer{Writer: bufio.NewWriter(f)}
	fmt.Fprint(w, "// Code generated by _asm/main.go. DO NOT EDIT.\n\n//go:build amd64 && !purego\n\n#include \"textflag.h\"\n\n")
	for i := range 4 {
		fmt.Fprintf(w, "DATA mask<>+%d(SB)/8, $-1\n", 8*i)
	}
	fmt.Fprint(w, "GLOBL mask<>(SB), RODATA|NOPTR, $64\n")
	for _, w.set = range sets {
		w.moments()
		w.affine()
		w.layer()
		w.gradientMoments()
		w.gradientAffine()
		w.layerGradient()
	}
	if err := w.Flush(); err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
}
