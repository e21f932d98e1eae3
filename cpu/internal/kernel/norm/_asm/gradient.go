package main

import "fmt"

// Gradients compute in float64, half as many lanes as float32, with products and sums rounded apart, as Go does.

// doubles is the number of float64 in a vector.
func (w writer) doubles() int { return w.lanes / 2 }

// widen loads a vector of float64 from float32.
func (w writer) widen(address string, r int) { w.op("VCVTPS2PD %s, %s", address, w.reg(r)) }

func (w writer) three(op string, src2, src1, dst int) {
	w.op("%s %s, %s, %s", op, w.reg(src2), w.reg(src1), w.reg(dst))
}

// narrow stores a vector of float64 as float32, and destroys it.
func (w writer) narrow(r int, address string) {
	if w.vec == "Z" {
		w.op("VCVTPD2PS Z%d, Y%d", r, r)
	} else {
		w.op("VCVTPD2PSY Y%d, X%d", r, r)
	}
	w.op("VMOVUPS %s%d, %s", w.half, r, address)
}

func (w writer) raw(name, signature string, args int) {
	fmt.Fprintf(w, "\n// func %s%s%s\nTEXT ·%s%s(SB), NOSPLIT, $0-%d\n", name, w.name, signature, name, w.name, args)
}

// gradientMoments walks blocks of channels; for each it runs down the rows with both sums and the means in registers.
func (w writer) gradientMoments() {
	const block, sum, inner, mean, x, d = 4, 0, 4, 8, 12, 13
	w.raw("gradientMoments", "(sum, inner *float64, x, d *float32, mean *float64, rows, c, stride, dStride int)", 72)
	for i, r := range []string{"DI", "SI", "R8", "R9", "R10"} {
		w.op("MOVQ %s+%d(FP), %s", []string{"sum", "inner", "x", "d", "mean"}[i], 8*i, r)
	}
	w.op("MOVQ c+48(FP), CX")
	w.op("MOVQ stride+56(FP), R11")
	w.op("MOVQ dStride+64(FP), R12")
	w.op("SHLQ $2, R11")
	w.op("SHLQ $2, R12")
	per := w.doubles()
	columns := func(name string, vectors int) {
		w.op("SUBQ $%d, CX", vectors*per)
		w.op("JLT  %sEnd", name)
		w.label(name)
		for i := range vectors {
			w.op("VMOVUPD %d(DI), %s", i*w.bytes(), w.reg(sum+i))
			w.op("VMOVUPD %d(SI), %s", i*w.bytes(), w.reg(inner+i))
			w.op("VMOVUPD %d(R10), %s", i*w.bytes(), w.reg(mean+i))
		}
		w.op("MOVQ rows+40(FP), BX")
		w.op("MOVQ R8, AX")
		w.op("MOVQ R9, DX")
		w.label(name + "Row")
		for i := range vectors {
			w.widen(fmt.Sprintf("%d(AX)", 4*per*i), x)
			w.widen(fmt.Sprintf("%d(DX)", 4*per*i), d)
			w.three("VSUBPD", mean+i, x, x)
			w.three("VADDPD", d, sum+i, sum+i)
			w.three("VMULPD", x, d, x)
			w.three("VADDPD", x, inner+i, inner+i)
		}
		w.op("ADDQ R11, AX")
		w.op("ADDQ R12, DX")
		w.op("DECQ BX")
		w.op("JNE  %sRow", name)
		for i := range vectors {
			w.op("VMOVUPD %s, %d(DI)", w.reg(sum+i), i*w.bytes())
			w.op("VMOVUPD %s, %d(SI)", w.reg(inner+i), i*w.bytes())
		}
		for _, p := range []string{"DI", "SI", "R10"} {
			w.op("ADDQ $%d, %s", vectors*w.bytes(), p)
		}
		w.op("ADDQ $%d, R8", 4*per*vectors)
		w.op("ADDQ $%d, R9", 4*per*vectors)
		w.op("SUBQ $%d, CX", vectors*per)
		w.op("JGE  %s", name)
		w.label(name + "End")
		w.op("ADDQ $%d, CX", vectors*per)
	}
	columns("block", block)
	columns("single", 1)
	w.op("VZEROUPPER")
	w.op("RET")
}

// gradientAffine goes row by row.
func (w writer) gradientAffine() {
	const x, d, add = 0, 1, 2
	w.raw("gradientAffine", "(dx, x, d, add *float32, scale, mean, inner, outer *float64, rows, c, stride, dStride int)", 96)
	for i, r := range []string{"DI", "SI", "DX", "BX", "R8", "R9", "R10", "R11"} {
		w.op("MOVQ %s+%d(FP), %s", []string{"dx", "x", "d", "add", "scale", "mean", "inner", "outer"}[i], 8*i, r)
	}
	w.op("MOVQ rows+64(FP), R12")
	w.label("row")
	w.op("XORQ CX, CX")
	w.op("PCALIGN $32")
	w.label("loop")
	w.widen("(SI)(CX*4)", x)
	w.widen("(DX)(CX*4)", d)
	w.op("VSUBPD (R9)(CX*8), %s, %s", w.reg(x), w.reg(x))
	w.op("VMULPD (R8)(CX*8), %s, %s", w.reg(d), w.reg(d))
	w.op("VMULPD (R10)(CX*8), %s, %s", w.reg(x), w.reg(x))
	w.three("VADDPD", x, d, d)
	w.op("VADDPD (R11)(CX*8), %s, %s", w.reg(d), w.reg(d))
	w.op("TESTQ BX, BX")
	w.op("JEQ  store")
	w.widen("(BX)(CX*4)", add)
	w.three("VADDPD", add, d, d)
	w.label("store")
	w.narrow(d, "(DI)(CX*4)")
	w.op("ADDQ $%d, CX", w.doubles())
	w.op("CMPQ CX, c+72(FP)")
	w.op("JLT  loop")
	w.op("MOVQ stride+80(FP), AX")
	w.op("LEAQ (DI)(AX*4), DI")
	w.op("LEAQ (SI)(AX*4), SI")
	w.op("TESTQ BX, BX")
	w.op("JEQ  alone")
	w.op("LEAQ (BX)(AX*4), BX")
	w.label("alone")
	w.op("MOVQ dStride+88(FP), AX")
	w.op("LEAQ (DX)(AX*4), DX")
	w.op("DECQ R12")
	w.op("JNE  row")
	w.op("VZEROUPPER")
	w.op("RET")
}

// layerLanes is how many sums a row is added up in.
const layerLanes = 16

// halve adds up the layerLanes float64 in registers from r on by halves, in the lowest lane of r, using register tmp.
func (w writer) halve(r, tmp int) {
	for n := layerLanes / w.doubles() / 2; n > 0; n /= 2 {
		for i := range n {
			w.three("VADDPD", r+i+n, r+i, r+i)
		}
	}
	if w.vec == "Z" {
		w.op("VEXTRACTF64X4 $1, Z%d, Y%d", r, tmp)
		w.op("VADDPD Y%d, Y%d, Y%d", tmp, r, r)
	}
	w.op("VEXTRACTF128 $1, Y%d, X%d", r, tmp)
	w.op("VADDPD X%d, X%d, X%d", tmp, r, r)
	w.op("VPERMILPD $1, X%d, X%d", r, tmp)
	w.op("VADDSD X%d, X%d, X%d", tmp, r, r)
}

// layerGradient goes over a row three times: its mean; what is summed about that; the result.
func (w writer) layerGradient() {
	vectors := layerLanes / w.doubles()
	square, sum, inner := 0, vectors, 2*vectors
	const mean, v, d, t = 12, 13, 14, 15
	const rstd, innerMean, outer = 0, 1, 2
	w.raw("layerGradient", "(dx, x, dy, add, weight *float32, c int, eps, count float64)", 64)
	for i, r := range []string{"DI", "SI", "DX", "BX", "R8", "R9"} {
		w.op("MOVQ %s+%d(FP), %s", []string{"dx", "x", "dy", "add", "weight", "c"}[i], 8*i, r)
	}
	pass := func(name string, body func(i int, at func(base string) string)) {
		w.op("XORQ CX, CX")
		w.op("PCALIGN $32")
		w.label(name)
		for i := range vectors {
			body(i, func(base string) string { return fmt.Sprintf("%d(%s)(CX*4)", 4*w.doubles()*i, base) })
		}
		w.op("ADDQ $%d, CX", layerLanes)
		w.op("CMPQ CX, R9")
		w.op("JLT  %s", name)
	}
	scalar := func(op string, r int) { w.op("%s X%d, X%d, X%d", op, rstd, r, r) }
	broadcast := func(from, to int) { w.op("VBROADCASTSD X%d, %s", from, w.reg(to)) }
	for i := range vectors {
		w.zero(sum + i)
	}
	pass("total", func(i int, at func(string) string) {
		w.widen(at("SI"), v)
		w.three("VADDPD", v, sum+i, sum+i)
	})
	w.halve(sum, v)
	w.op("VDIVSD count+56(FP), X%d, X%d", sum, sum)
	broadcast(sum, mean)
	for i := range 3 * vectors {
		w.zero(i)
	}
	pass("sums", func(i int, at func(string) string) {
		w.widen(at("SI"), v)
		w.widen(at("DX"), d)
		w.widen(at("R8"), t)
		w.three("VSUBPD", mean, v, v)
		w.three("VMULPD", t, d, d)
		w.three("VMULPD", v, v, t)
		w.three("VADDPD", t, square+i, square+i)
		w.three("VADDPD", d, sum+i, sum+i)
		w.three("VMULPD", v, d, d)
		w.three("VADDPD", d, inner+i, inner+i)
	})
	for _, r := range []int{square, sum, inner} {
		w.halve(r, v)
		w.op("VDIVSD count+56(FP), X%d, X%d", r, r)
	}
	w.op("VADDSD eps+48(FP), X%d, X%d", square, square)
	w.op("VSQRTSD X%d, X%d, X%d", square, square, square)
	w.op("MOVQ $0x3ff0000000000000, AX")
	w.op("VMOVQ AX, X%d", v)
	w.op("VDIVSD X%d, X%d, X%d", square, v, rstd)
	scalar("VMULSD", sum)
	for range 3 {
		scalar("VMULSD", inner)
	}
	w.op("VMOVAPD X%d, X%d", sum, v)
	broadcast(inner, innerMean)
	broadcast(v, outer)
	broadcast(rstd, rstd)
	pass("apply", func(i int, at func(string) string) {
		w.widen(at("SI"), v)
		w.widen(at("DX"), d)
		w.widen(at("R8"), t)
		w.three("VSUBPD", mean, v, v)
		w.three("VMULPD", t, d, d)
		w.three("VMULPD", rstd, d, d)
		w.three("VMULPD", innerMean, v, v)
		w.three("VSUBPD", v, d, d)
		w.three("VSUBPD", outer, d, d)
		w.op("TESTQ BX, BX")
		w.op("JEQ  store%d", i)
		w.widen(at("BX"), v)
		w.three("VADDPD", v, d, d)
		w.label(fmt.Sprintf("store%d", i))
		w.narrow(d, at("DI"))
	})
	w.op("VZEROUPPER")
	w.op("RET")
}
