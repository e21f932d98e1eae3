package main

import "fmt"

// adamW computes in float64, half as many lanes as float32, with products and sums rounded apart, as Go does.
func (w writer) adamW() {
	const p, g, m, v, t, constants = 0, 1, 2, 3, 4, 8
	fmt.Fprintf(w, "\n// func adamW%s(p2, m2, v2, p, dp, m, v *float32, n int, h AdamW)\nTEXT ·adamW%s(SB), NOSPLIT, $0-128\n", w.name, w.name)
	for i, r := range []string{"DI", "SI", "DX", "R8", "R9", "R10", "R11", "CX"} {
		w.op("MOVQ %s+%d(FP), %s", []string{"p2", "m2", "v2", "p", "dp", "m", "v", "n"}[i], 8*i, r)
	}
	constant := make(map[string]int)
	for i, name := range []string{"Factor", "Rest1", "Rest2", "Keep", "Rate", "Eps", "Unbias1", "Unbias2"} { // in the order of the fields
		constant[name] = constants + i
		w.op("VBROADCASTSD h_%s+%d(FP), %s", name, 64+8*i, w.reg(constants+i))
	}
	store := func(r int, address string) {
		if w.vec == "Z" {
			w.op("VCVTPD2PS Z%d, Y%d", r, r)
			w.op("VMOVUPS Y%d, %s", r, address)
		} else {
			w.op("VCVTPD2PSY Y%d, X%d", r, r)
			w.op("VMOVUPS X%d, %s", r, address)
		}
	}
	// toward moves register r by a part of its distance to the register target, which it destroys.
	toward := func(r, target int, part string) {
		w.three("VSUBPD", r, target, target)
		w.three("VMULPD", constant[part], target, target)
		w.three("VADDPD", target, r, r)
	}
	w.op("XORQ BX, BX")
	w.op("PCALIGN $32")
	w.label("loop")
	for i, base := range []string{"R8", "R9", "R10", "R11"} {
		w.op("VCVTPS2PD (%s)(BX*4), %s", base, w.reg([]int{p, g, m, v}[i]))
	}
	w.three("VMULPD", constant["Factor"], g, g)
	w.three("VMULPD", g, g, t)
	toward(m, g, "Rest1")
	toward(v, t, "Rest2")
	w.three("VMULPD", constant["Unbias2"], v, t)
	w.op("VSQRTPD %s, %s", w.reg(t), w.reg(t))
	w.three("VADDPD", constant["Eps"], t, t)
	w.three("VMULPD", constant["Unbias1"], m, g)
	w.three("VMULPD", constant["Rate"], g, g)
	w.three("VDIVPD", t, g, g)
	w.three("VMULPD", constant["Keep"], p, p)
	w.three("VSUBPD", g, p, p)
	store(p, "(DI)(BX*4)")
	store(m, "(SI)(BX*4)")
	store(v, "(DX)(BX*4)")
	w.op("ADDQ $%d, BX", w.lanes/2)
	w.op("CMPQ BX, CX")
	w.op("JLT  loop")
	w.op("VZEROUPPER")
	w.op("RET")
}
