package main

// rowLoops writes what the gradient does to rows of d float32, a multiple of 8, stride elements apart, in registers that every set has.
func (w writer) rowLoops() {
	begin := func(name string, operands ...string) {
		signature := "("
		for i, o := range operands {
			if i > 0 {
				signature += ", "
			}
			signature += o
		}
		w.text(name, signature+" *float32, rows, d, stride int)", 8*(len(operands)+3))
		for i, o := range operands {
			w.op("MOVQ %s+%d(FP), %s", o, 8*i, []string{"DI", "SI", "DX", "R8"}[i])
		}
		at := 8 * len(operands)
		w.op("MOVQ rows+%d(FP), BX", at)
		w.op("MOVQ d+%d(FP), R9", at+8)
		w.op("MOVQ stride+%d(FP), R10", at+16)
		w.op("SHLQ $2, R10")
		w.label("row")
	}
	each := func(body func()) {
		w.op("XORQ CX, CX")
		w.label("loop")
		body()
		w.op("ADDQ $8, CX")
		w.op("CMPQ CX, R9")
		w.op("JLT  loop")
	}
	end := func(advance ...string) {
		for _, r := range advance {
			w.op("ADDQ R10, %s", r)
		}
		w.op("DECQ BX")
		w.op("JNE  row")
		w.op("VZEROUPPER")
		w.op("RET")
	}

	begin("sumRowsAVX2", "sum", "src")
	each(func() {
		w.op("VMOVUPS (DI)(CX*4), Y0")
		w.op("VADDPS (SI)(CX*4), Y0, Y0")
		w.op("VMOVUPS Y0, (DI)(CX*4)")
	})
	end("SI")

	begin("centerAVX2", "dst", "src", "mean")
	each(func() {
		w.op("VMOVUPS (SI)(CX*4), Y0")
		w.op("VSUBPS (DX)(CX*4), Y0, Y0")
		w.op("VMOVUPS Y0, (DI)(CX*4)")
	})
	w.op("LEAQ (DI)(R9*4), DI")
	end("SI")

	begin("agreeAVX2", "dst", "dy", "y", "mean")
	w.op("VXORPS Y1, Y1, Y1")
	each(func() {
		w.op("VMOVUPS (DX)(CX*4), Y0")
		w.op("VSUBPS (R8)(CX*4), Y0, Y0")
		w.op("VMULPS (SI)(CX*4), Y0, Y0")
		w.op("VADDPS Y0, Y1, Y1")
	})
	w.op("VEXTRACTF128 $1, Y1, X0")
	w.op("VADDPS X0, X1, X1")
	w.op("VPERMILPS $0x4e, X1, X0")
	w.op("VADDPS X0, X1, X1")
	w.op("VPERMILPS $0xb1, X1, X0")
	w.op("VADDSS X0, X1, X1")
	w.op("VMOVSS X1, (DI)")
	w.op("ADDQ $4, DI")
	end("SI", "DX")
}
