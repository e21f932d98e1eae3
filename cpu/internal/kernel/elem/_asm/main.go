// Command _asm writes elem_amd64.s: pointwise functions and conversions of float32 slices, and AdamW.
//
// Every function is one loop of two vectors followed by single vectors under a mask, so that an element's
// result does not depend on where in the slice it stands.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
)

// set describes the registers of one instruction set.
type set struct {
	name  string // suffix of the Go functions
	vec   string // register prefix: Y or Z
	lanes int    // float32 in a vector
}

var sets = []set{{"AVX512", "Z", 16}, {"AVX2", "Y", 8}}

// constant is a value of the pool, repeated to fill a YMM register.
type constant struct {
	name, comment string
	bits          uint32
}

func float(name string, v float32, comment string) constant {
	return constant{name, comment, math.Float32bits(v)}
}

var pool = []constant{
	float("log2e", math.Log2E, ""),
	float("magic", 3<<22, "adding it rounds to an integer"),
	float("ln2hi", 0x1.62cp-1, "ln 2, leading 11 bits"),
	float("ln2lo", math.Ln2-0x1.62cp-1, "the rest"),
	float("one", 1, ""),
	float("half", 0.5, ""),
	// e^f = 1 + f + e2·f² + … + e6·f⁶ for |f| ≤ ln(2)/2, minimax, relative error 3.1e-9
	float("e2", 0.4999999403953552, ""),
	float("e3", 0.1666651964187622, ""),
	float("e4", 0.04166839271783829, ""),
	float("e5", 0.008368780836462975, ""),
	float("e6", 0.0013814467238262296, ""),
	float("lowest", -105, "e^x is 0 from here down"),
	float("highest", 89, "e^x is +Inf from here up"),
	float("quick", 1.702, "QuickGELU"),
	float("far", 20, "1-Φ is 0 from here up"),
	// (1-Φ(z))·e^(z²/2) = q1·t + … + q10·t¹⁰, t = 1/(1 + 0.3·z), 0 ≤ z ≤ 13.5, minimax, relative error 3.4e-9
	float("slope", 0.3, ""),
	float("q1", 0.1196865364909172, ""),
	float("q2", 0.11957462877035141, ""),
	float("q3", 0.11021330207586288, ""),
	float("q4", 0.07848762720823288, ""),
	float("q5", 0.09588723629713058, ""),
	float("q6", -0.07894435524940491, ""),
	float("q7", 0.1912333369255066, ""),
	float("q8", -0.22781696915626526, ""),
	float("q9", 0.11227327585220337, ""),
	float("q10", -0.02059462107717991, ""),
	float("density", 1/(math.Sqrt2*math.SqrtPi), "the normal density at 0"),
	{"sign", "", 1 << 31},
	{"abs", "", 1<<31 - 1},
}

type writer struct {
	*bufio.Writer
	set
}

func (w writer) op(format string, args ...any) { fmt.Fprintf(w, "\t"+format+"\n", args...) }
func (w writer) label(name string)             { fmt.Fprintf(w, "%s:\n", name) }
func (w writer) reg(i int) string              { return fmt.Sprintf("%s%d", w.vec, i) }

func offset(name string) string {
	for i, c := range pool {
		if c.name == name {
			return fmt.Sprintf("pool<>+%d(SB)", 32*i)
		}
	}
	log.Fatalf("no constant %q", name)
	return ""
}

// with is an operation whose first source is a constant: dst = src op constant.
func (w writer) with(op, name string, src, dst int) {
	if w.vec == "Z" {
		op += ".BCST"
	}
	w.op("%s %s, %s, %s", op, offset(name), w.reg(src), w.reg(dst))
}

func (w writer) three(op string, src2, src1, dst int) {
	w.op("%s %s, %s, %s", op, w.reg(src2), w.reg(src1), w.reg(dst))
}

func (w writer) broadcast(name string, dst int) {
	w.op("VBROADCASTSS %s, %s", offset(name), w.reg(dst))
}

// Registers 0…6 belong to the first vector of a loop, 7…13 to the second. In the masked part the
// second has no vector and register 13 is the mask.
const (
	low, mask  = 14, 13 // low: the constant lowest
	zero, high = 15, 15 // high: the constant highest, in exp
	perVector  = 7
)

// exp leaves e^v in register b+5, v in b+2 (clamped from below by the caller), destroying b+2, b+4 and
// b+6. A tail in b+3, if any, is subtracted from v after the reduction.
//
// e^v = 2^n·e^f with n the integer nearest to v·log2(e) and f = v - n·ln 2.
func (w writer) exp(b int, tail bool) {
	w.broadcast("magic", b+4)
	w.with("VFMADD231PS", "log2e", b+2, b+4)
	w.with("VSUBPS", "magic", b+4, b+6)
	w.with("VFNMADD231PS", "ln2hi", b+6, b+2)
	w.with("VFNMADD231PS", "ln2lo", b+6, b+2)
	if tail {
		w.three("VSUBPS", b+3, b+2, b+2)
	}
	w.broadcast("e6", b+5)
	for _, c := range []string{"e5", "e4", "e3", "e2", "one", "one"} {
		w.with("VFMADD213PS", c, b+2, b+5)
	}
	if w.vec == "Z" {
		w.three("VSCALEFPS", b+6, b+5, b+5)
		return
	}
	// 2^n in two factors, as n may be outside the range of normal exponents.
	w.with("VPSUBD", "magic", b+4, b+4)
	w.op("VPSRAD $1, %s, %s", w.reg(b+4), w.reg(b+6))
	w.three("VPSUBD", b+6, b+4, b+4)
	for _, half := range []int{b + 4, b + 6} {
		w.op("VPSLLD $23, %s, %s", w.reg(half), w.reg(half))
		w.with("VPADDD", "one", half, half)
		w.three("VMULPS", half, b+5, b+5)
	}
}

// sigmoid leaves x·sigmoid(v) in register b+4, x in b and v = -|argument| in b+2:
// (max(x,0) + min(x,0)·e^v) / (1 + e^v).
func (w writer) sigmoid(b int) int {
	w.three("VMAXPS", b+2, low, b+2)
	w.exp(b, false)
	w.three("VMINPS", b, zero, b+3)
	w.three("VMAXPS", b, zero, b+4)
	w.three("VFMADD231PS", b+5, b+3, b+4)
	w.with("VADDPS", "one", b+5, b+5)
	w.three("VDIVPS", b+5, b+4, b+4)
	return b + 4
}

func (w writer) silu(b int) int {
	w.with("VORPS", "sign", b, b+2)
	return w.sigmoid(b)
}

func (w writer) quickGELU(b int) int {
	w.with("VMULPS", "quick", b, b+2)
	w.with("VORPS", "sign", b+2, b+2)
	return w.sigmoid(b)
}

// sigmoidSlope leaves s + k·x·s·(1-s) in register b+4, with s = sigmoid(k·x) and x in b, -|k·x| in b+2. With e = e^(-|k·x|)
// and r = 1/(1+e), s is ½ ± (r-½) and s·(1-s) is e·r².
func (w writer) sigmoidSlope(b int, k string) int {
	w.three("VMAXPS", b+2, low, b+2)
	w.exp(b, false)
	w.three("VMULPS", b+5, b, b+3)
	w.with("VADDPS", "one", b+5, b+5)
	w.broadcast("one", b+4)
	w.three("VDIVPS", b+5, b+4, b+4)
	w.three("VMULPS", b+4, b+3, b+3)
	w.three("VMULPS", b+4, b+3, b+3)
	w.with("VSUBPS", "half", b+4, b+4)
	w.signed(b)
	w.with("VFMADD231PS", k, b+3, b+4)
	return b + 4
}

// signed turns an excess over ½ in register b+4 into ½ plus or minus it, by the sign of register b.
func (w writer) signed(b int) {
	w.with("VANDPS", "sign", b, b+6)
	w.three("VXORPS", b+6, b+4, b+4)
	w.with("VADDPS", "half", b+4, b+4)
}

func (w writer) siluSlope(b int) int {
	w.with("VORPS", "sign", b, b+2)
	return w.sigmoidSlope(b, "one")
}

func (w writer) quickGELUSlope(b int) int {
	w.with("VMULPS", "quick", b, b+2)
	w.with("VORPS", "sign", b+2, b+2)
	return w.sigmoidSlope(b, "quick")
}

// geluSlope is Φ(x) + x·φ(x), after tail. It leaves registers b+1 and b+2.
func (w writer) geluSlope(b int) int {
	w.three("VMULPS", b+5, b, b+5)
	w.broadcast("half", b+4)
	w.three("VSUBPS", b+3, b+4, b+4)
	w.signed(b)
	w.with("VFMADD231PS", "density", b+5, b+4)
	return b + 4
}

// gelu is max(x,0) - |x|·(1-Φ(|x|)), after tail. It leaves all registers but b+4.
func (w writer) gelu(b int) int {
	w.three("VMAXPS", b, zero, b+4)
	w.three("VFNMADD231PS", b+3, b+1, b+4)
	return b + 4
}

// tail leaves 1-Φ(|x|) in register b+3, e^(-x²/2) in b+5 and |x| in b+1, with x in b.
func (w writer) tail(b int) {
	w.with("VANDPS", "abs", b, b+1)
	w.with("VMINPS", "far", b+1, b+6)
	w.with("VMULPS", "half", b+6, b+3)
	w.three("VMULPS", b+3, b+6, b+2)
	w.three("VFMSUB213PS", b+2, b+6, b+3) // what z²/2 lost in rounding
	w.with("VXORPS", "sign", b+2, b+2)
	w.three("VMAXPS", b+2, low, b+2)
	w.exp(b, true)
	w.broadcast("one", b+2)
	w.broadcast("one", b+4)
	w.with("VFMADD231PS", "slope", b+1, b+2)
	w.with("VSUBPS", "one", b+2, b+6)
	w.with("VFMSUB231PS", "slope", b+1, b+6) // what 1 + slope·z lost in rounding
	w.three("VDIVPS", b+2, b+4, b+2)
	w.three("VMULPS", b+2, b+6, b+6) // and t, relatively
	w.broadcast("q10", b+3)
	for i := 9; i >= 1; i-- {
		w.with("VFMADD213PS", fmt.Sprintf("q%d", i), b+2, b+3)
	}
	w.three("VMULPS", b+2, b+3, b+3)
	// The polynomial goes as about the square of t.
	w.three("VADDPS", b+6, b+6, b+6)
	w.three("VFNMADD231PS", b+6, b+3, b+3)
	w.three("VMULPS", b+5, b+3, b+3)
}

// after runs first and then the rest.
func after(first func(b int), rest func(b int) int) func(b int) int {
	return func(b int) int {
		first(b)
		return rest(b)
	}
}

func (w writer) relu(b int) int {
	w.three("VMAXPS", b, zero, b)
	return b
}

func (w writer) expOnly(b int) int {
	w.three("VMAXPS", b, low, b+2)
	w.three("VMINPS", b+2, high, b+2)
	w.exp(b, false)
	return b + 5
}

// The arguments of every function are slices of one length, walked by these pointers in order.
var pointers = []string{"DI", "SI", "DX", "R8", "R9"}

// pointwise writes a function over slices. body computes one vector with the registers from b up, calls
// load(i, r) to read from slice i into register r and store(i, r) to write there.
func (w writer) pointwise(name string, slices []string, scalar string, setup func(), body func(b int, load, store func(i, r int))) {
	w.text(name, slices, scalar)
	for i, s := range slices {
		w.op("MOVQ %s_base+%d(FP), %s", s, 24*i, pointers[i])
	}
	w.op("MOVQ %s_len+8(FP), CX", slices[0])
	setup()
	bytes := 4 * w.lanes
	advance := func(vectors int) {
		for i := range slices {
			w.op("ADDQ $%d, %s", vectors*bytes, pointers[i])
		}
		w.op("SUBQ $%d, CX", vectors*w.lanes)
	}
	w.op("SUBQ $%d, CX", 2*w.lanes)
	w.op("JLT  rest")
	w.op("PCALIGN $32")
	w.label("loop")
	for u := range 2 {
		body(u*perVector, func(i, r int) {
			w.op("VMOVUPS %d(%s), %s", u*bytes, pointers[i], w.reg(r))
		}, func(i, r int) {
			w.op("VMOVUPS %s, %d(%s)", w.reg(r), u*bytes, pointers[i])
		})
	}
	advance(2)
	w.op("JGE  loop")
	w.label("rest")
	w.op("ADDQ $%d, CX", 2*w.lanes)
	w.op("JEQ  done")
	w.label("masked")
	w.op("MOVQ $%d, BX", w.lanes)
	w.op("CMPQ CX, BX")
	w.op("CMOVQLT CX, BX")
	if w.vec == "Z" {
		w.op("MOVL $1, AX")
		w.op("SHLXL BX, AX, AX")
		w.op("DECL AX")
		w.op("KMOVW AX, K1")
	} else {
		w.op("LEAQ mask<>+32(SB), AX")
		w.op("SHLQ $2, BX")
		w.op("SUBQ BX, AX")
		w.op("VMOVUPS (AX), %s", w.reg(mask))
	}
	body(0, func(i, r int) {
		if w.vec == "Z" {
			w.op("VMOVUPS.Z (%s), K1, %s", pointers[i], w.reg(r))
		} else {
			w.op("VMASKMOVPS (%s), %s, %s", pointers[i], w.reg(mask), w.reg(r))
		}
	}, func(i, r int) {
		if w.vec == "Z" {
			w.op("VMOVUPS %s, K1, (%s)", w.reg(r), pointers[i])
		} else {
			w.op("VMASKMOVPS %s, %s, (%s)", w.reg(r), w.reg(mask), pointers[i])
		}
	})
	advance(1)
	w.op("JGT  masked")
	w.label("done")
	w.op("VZEROUPPER")
	w.op("RET")
}

// text is the head of a function of slices and perhaps a scalar.
func (w writer) text(name string, slices []string, scalar string) {
	args, signature := 24*len(slices), ""
	for i, s := range slices {
		if i > 0 {
			signature += ", "
		}
		signature += s
	}
	signature += " []float32"
	if scalar != "" {
		args, signature = args+4, signature+", "+scalar+" float32"
	}
	fmt.Fprintf(w, "\n// func %s%s(%s)\nTEXT ·%s%s(SB), NOSPLIT, $0-%d\n", name, w.name, signature, name, w.name, args)
}

func (w writer) arithmetic() {
	lowZero := func() {
		w.broadcast("lowest", low)
		w.op("VXORPS X%d, X%d, X%d", zero, zero, zero)
	}
	lowHigh := func() {
		w.broadcast("lowest", low)
		w.broadcast("highest", high)
	}
	for _, f := range []struct {
		name  string
		setup func()
		body  func(b int) int
	}{
		{"silu", lowZero, w.silu}, {"quickGELU", lowZero, w.quickGELU}, {"gelu", lowZero, after(w.tail, w.gelu)},
		{"relu", lowZero, w.relu}, {"exp", lowHigh, w.expOnly},
	} {
		w.pointwise(f.name, []string{"x"}, "", f.setup, func(b int, load, store func(i, r int)) {
			load(0, b)
			store(0, f.body(b))
		})
	}
	for _, f := range []struct {
		name  string
		slope func(b int) int
	}{
		{"siluGradient", w.siluSlope}, {"quickGELUGradient", w.quickGELUSlope}, {"geluGradient", after(w.tail, w.geluSlope)},
	} {
		w.pointwise(f.name, []string{"dx", "x", "dy"}, "", lowZero, func(b int, load, store func(i, r int)) {
			load(1, b)
			y := f.slope(b)
			load(2, b)
			w.three("VMULPS", b, y, y)
			store(0, y)
		})
	}
	w.pointwise("geglu", []string{"dst", "a", "gate"}, "", lowZero, func(b int, load, store func(i, r int)) {
		load(2, b)
		w.tail(b)
		y := w.gelu(b)
		load(1, b)
		w.three("VMULPS", b, y, y)
		store(0, y)
	})
	w.pointwise("gegluGradient", []string{"da", "dgate", "a", "gate", "dy"}, "", lowZero, func(b int, load, store func(i, r int)) {
		load(3, b)
		w.tail(b)
		y := w.gelu(b)
		load(4, b+1)
		w.three("VMULPS", b+1, y, y)
		store(0, y)
		slope := w.geluSlope(b)
		w.three("VMULPS", b+1, slope, slope)
		load(2, b+2)
		w.three("VMULPS", b+2, slope, slope)
		store(1, slope)
	})
	w.pointwise("add", []string{"dst", "a", "b"}, "", func() {}, func(b int, load, store func(i, r int)) {
		load(1, b)
		load(2, b+1)
		w.three("VADDPS", b+1, b, b)
		store(0, b)
	})
	w.pointwise("addScaled", []string{"dst", "a"}, "c", func() { w.op("VBROADCASTSS c+48(FP), %s", w.reg(high)) }, func(b int, load, store func(i, r int)) {
		load(0, b)
		load(1, b+1)
		w.three("VFMADD231PS", high, b+1, b)
		store(0, b)
	})
}

// widen writes a function that converts groups of 16 elements of 16 bits, each vector by body, which is given its places
// in source and destination.
func (w writer) widen(name string, body func(src, dst string)) {
	fmt.Fprintf(w, "\n// func %s%s(dst, src unsafe.Pointer, groups int)\nTEXT ·%s%s(SB), NOSPLIT, $0-24\n", name, w.name, name, w.name)
	w.op("MOVQ dst+0(FP), DI")
	w.op("MOVQ src+8(FP), SI")
	w.op("MOVQ groups+16(FP), CX")
	w.label("loop")
	for i := 0; i < 16; i += w.lanes {
		body(fmt.Sprintf("%d(SI)", 2*i), fmt.Sprintf("%d(DI)", 4*i))
	}
	w.op("ADDQ $32, SI")
	w.op("ADDQ $64, DI")
	w.op("DECQ CX")
	w.op("JNE  loop")
	w.op("VZEROUPPER")
	w.op("RET")
}

func (w writer) conversions() {
	v := w.reg(0)
	w.widen("widenF16", func(src, dst string) {
		w.op("VCVTPH2PS %s, %s", src, v)
		w.op("VMOVUPS %s, %s", v, dst)
	})
	w.widen("widenBF16", func(src, dst string) {
		w.op("VPMOVZXWD %s, %s", src, v)
		w.op("VPSLLD $16, %s, %s", v, v)
		w.op("VMOVUPS %s, %s", v, dst)
	})
}

func main() {
	out := flag.String("out", "../elem_amd64.s", "file to write")
	flag.Parse()
	f, err := os.Create(*out)
	if err != nil {
		log.Fatal(err)
	}
	w := writer{Writer: bufio.NewWriter(f)}
	fmt.Fprint(w, "// Code generated by _asm/main.go. DO NOT EDIT.\n\n//go:build amd64 && !purego\n\n#include \"textflag.h\"\n\n")
	for i, c := range pool {
		for j := range 4 {
			comment := ""
			if j == 0 {
				comment = " // " + c.name
				if c.comment != "" {
					comment += ": " + c.comment
				}
			}
			fmt.Fprintf(w, "DATA pool<>+%d(SB)/8, $0x%08x%08x%s\n", 32*i+8*j, c.bits, c.bits, comment)
		}
	}
	fmt.Fprintf(w, "GLOBL pool<>(SB), RODATA|NOPTR, $%d\n\n", 32*len(pool))
	for i := range 4 {
		fmt.Fprintf(w, "DATA mask<>+%d(SB)/8, $-1\n", 8*i)
	}
	fmt.Fprint(w, "GLOBL mask<>(SB), RODATA|NOPTR, $64\n")
	for _, w.set = range sets {
		w.arithmetic()
		w.conversions()
		w.adamW()
	}
	if err := w.Flush(); err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
}
