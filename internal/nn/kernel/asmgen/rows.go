package main

// The kernels that read a row or a few. They are AVX2 only: with AVX-512 they would save little, as
// nine tenths of the time is spent in products.

func (e *emitter) embed() {
	e.begin("embedavx2", "n in blocks of 64.",
		param{"dst", "*float32", "DI"}, param{"row", "*int8", "SI"}, param{"scale", "*float32", "AX"},
		param{"pos", "*float32", "R8"}, param{"n", "int", "CX"})
	e.i("VBROADCASTSS (AX), Y0")
	e.p("loop:")
	for n := range 8 {
		t := 1 + n
		e.i("VPMOVSXBD %d(SI), Y%d", 8*n, t)
		e.i("VCVTDQ2PS Y%d, Y%d", t, t)
		e.i("VMULPS Y%d, Y0, Y%d", t, t)
		e.i("VADDPS %d(R8), Y%d, Y%d", 32*n, t, t)
		e.i("VMOVUPS Y%d, %d(DI)", t, 32*n)
	}
	e.i("ADDQ $64, SI")
	e.i("ADDQ $256, R8")
	e.i("ADDQ $256, DI")
	e.i("SUBQ $64, CX")
	e.i("JNZ loop")
	e.end()
}

// foldWide leaves the sum of Y0..Y7, folded as fold in plain.go does, in lane 0 of X0.
func (e *emitter) foldWide() {
	for d := 4; d > 0; d /= 2 {
		for n := range d {
			e.i("VADDPS Y%d, Y%d, Y%d", n+d, n, n)
		}
	}
	e.foldReg("VADDPS", 0, 1)
}

// foldReg folds the 8 lanes of register r into its lane 0 by op; t is overwritten.
func (e *emitter) foldReg(op string, r, t int) {
	e.i("VEXTRACTF128 $1, Y%d, X%d", r, t)
	e.i("%s X%d, X%d, X%d", op, t, r, r)
	e.i("VPSHUFD $0x4e, X%d, X%d", r, t)
	e.i("%s X%d, X%d, X%d", op, t, r, r)
	e.i("VPSHUFD $0xb1, X%d, X%d", r, t)
	e.i("%s X%d, X%d, X%d", op, t, r, r)
}

func (e *emitter) norm() {
	e.begin("normavx2", "n in blocks of 64.",
		param{"q", "*uint8", "DI"}, param{"x", "*float32", "SI"}, param{"gain", "*float32", "R10"}, param{"bias", "*float32", "R11"},
		param{"tmp", "*float32", "DX"}, param{"n", "int", "CX"}, param{"row", "*Row", "R9"})
	for n := range 8 {
		e.i("VPXOR Y%d, Y%d, Y%d", n, n, n)
	}
	e.i("MOVQ SI, AX")
	e.i("MOVQ CX, BX")
	e.p("mean:")
	for n := range 8 {
		e.i("VADDPS %d(AX), Y%d, Y%d", 32*n, n, n)
	}
	e.i("ADDQ $256, AX")
	e.i("SUBQ $64, BX")
	e.i("JNZ mean")
	e.foldWide()
	e.i("VCVTSI2SSQ CX, X14, X14")
	e.i("VDIVSS X14, X0, X15")
	e.i("VBROADCASTSS X15, Y15")
	for n := range 8 {
		e.i("VPXOR Y%d, Y%d, Y%d", n, n, n)
	}
	e.i("MOVQ SI, AX")
	e.i("MOVQ CX, BX")
	e.p("variance:")
	for n := range 8 {
		t := 8 + n%4
		e.i("VMOVUPS %d(AX), Y%d", 32*n, t)
		e.i("VSUBPS Y15, Y%d, Y%d", t, t)
		e.i("VMULPS Y%d, Y%d, Y%d", t, t, t)
		e.i("VADDPS Y%d, Y%d, Y%d", t, n, n)
	}
	e.i("ADDQ $256, AX")
	e.i("SUBQ $64, BX")
	e.i("JNZ variance")
	e.foldWide()
	e.i("VDIVSS X14, X0, X0")
	e.i("VADDSS eps<>(SB), X0, X0")
	e.i("VSQRTSS X0, X0, X0")
	e.i("VMOVSS one<>(SB), X1")
	e.i("VDIVSS X0, X1, X14")
	e.i("VBROADCASTSS X14, Y14")
	e.i("VPXOR Y0, Y0, Y0")
	e.i("VPXOR Y1, Y1, Y1")
	e.i("MOVQ DX, AX")
	e.i("MOVQ CX, BX")
	e.p("scale:")
	for n := range 4 {
		t := 2 + n
		e.i("VMOVUPS %d(SI), Y%d", 32*n, t)
		e.i("VSUBPS Y15, Y%d, Y%d", t, t)
		e.i("VMULPS Y14, Y%d, Y%d", t, t)
		e.i("VMULPS %d(R10), Y%d, Y%d", 32*n, t, t)
		e.i("VADDPS %d(R11), Y%d, Y%d", 32*n, t, t)
		e.i("VMOVUPS Y%d, %d(AX)", t, 32*n)
		e.i("VMINPS Y%d, Y0, Y0", t)
		e.i("VMAXPS Y%d, Y1, Y1", t)
	}
	for _, r := range []string{"SI", "R10", "R11", "AX"} {
		e.i("ADDQ $128, %s", r)
	}
	e.i("SUBQ $32, BX")
	e.i("JNZ scale")
	e.i("MOVQ DX, SI")
	e.quantise()
}

func (e *emitter) quant() {
	e.begin("quantavx2", "n in blocks of 64.",
		param{"q", "*uint8", "DI"}, param{"x", "*float32", "SI"}, param{"n", "int", "CX"}, param{"row", "*Row", "R9"})
	e.i("VPXOR Y0, Y0, Y0")
	e.i("VPXOR Y1, Y1, Y1")
	e.i("VPXOR Y2, Y2, Y2")
	e.i("VPXOR Y3, Y3, Y3")
	e.i("MOVQ SI, AX")
	e.i("MOVQ CX, BX")
	e.p("range:")
	for n := range 4 {
		t := 4 + n
		e.i("VMOVUPS %d(AX), Y%d", 32*n, t)
		e.i("VMINPS Y%d, Y%d, Y%d", t, n%2*2, n%2*2)
		e.i("VMAXPS Y%d, Y%d, Y%d", t, n%2*2+1, n%2*2+1)
	}
	e.i("ADDQ $128, AX")
	e.i("SUBQ $32, BX")
	e.i("JNZ range")
	e.i("VMINPS Y2, Y0, Y0")
	e.i("VMAXPS Y3, Y1, Y1")
	e.quantise()
}

// quantise writes the CX floats at SI as bytes to DI and their Row to R9; Y0 holds minima and Y1
// maxima of the row.
func (e *emitter) quantise() {
	e.foldReg("VMINPS", 0, 2)
	e.foldReg("VMAXPS", 1, 2)
	e.i("VSUBSS X0, X1, X2")
	e.i("VUCOMISS tiny<>(SB), X2")
	e.i("JHI spread")
	e.i("VPXOR Y0, Y0, Y0")
	e.i("MOVQ $0, (R9)")
	e.p("zeros:")
	e.i("VMOVDQU Y0, (DI)")
	e.i("ADDQ $32, DI")
	e.i("SUBQ $32, CX")
	e.i("JNZ zeros")
	e.i("VZEROUPPER")
	e.i("RET")
	e.p("spread:")
	e.i("VMOVSS f127<>(SB), X3")
	e.i("VDIVSS X2, X3, X4")
	e.i("VPXOR Y5, Y5, Y5")
	e.i("VSUBSS X0, X5, X5")
	e.i("VMULSS X4, X5, X5")
	e.i("VCVTSS2SI X5, R8")
	e.i("VDIVSS X3, X2, X6")
	e.i("VMOVSS X6, (R9)")
	e.i("MOVL R8, 4(R9)")
	e.i("VBROADCASTSS X4, Y4")
	e.i("VMOVD R8, X5")
	e.i("VPBROADCASTD X5, Y5")
	e.i("VMOVDQU b127<>(SB), Y6")
	e.i("VMOVDQU unpack<>(SB), Y7")
	e.p("bytes:")
	for n := range 4 {
		e.i("VMULPS %d(SI), Y4, Y%d", 32*n, n)
		e.i("VCVTPS2DQ Y%d, Y%d", n, n)
		e.i("VPADDD Y5, Y%d, Y%d", n, n)
	}
	e.i("VPACKSSDW Y1, Y0, Y0")
	e.i("VPACKSSDW Y3, Y2, Y2")
	e.i("VPACKUSWB Y2, Y0, Y0")
	e.i("VPERMD Y0, Y7, Y0")
	e.i("VPMINUB Y6, Y0, Y0")
	e.i("VMOVDQU Y0, (DI)")
	e.i("ADDQ $128, SI")
	e.i("ADDQ $32, DI")
	e.i("SUBQ $32, CX")
	e.i("JNZ bytes")
	e.end()
}

// softmax reads whole blocks of 16; the caller has put the lowest float into what is beyond the row.
func (e *emitter) softmax() {
	e.begin("softmaxavx2", "n in blocks of 16.",
		param{"s", "*float32", "SI"}, param{"n", "int", "CX"}, param{"scale", "*float32", "AX"})
	e.i("VBROADCASTSS (AX), Y15")
	e.i("VMOVUPS (SI), Y0")
	e.i("MOVQ SI, AX")
	e.i("MOVQ CX, BX")
	e.p("most:")
	e.i("VMAXPS (AX), Y0, Y0")
	e.i("VMAXPS 32(AX), Y0, Y0")
	e.i("ADDQ $64, AX")
	e.i("SUBQ $16, BX")
	e.i("JNZ most")
	e.foldReg("VMAXPS", 0, 1)
	e.i("VBROADCASTSS X0, Y14")
	e.i("VPXOR Y12, Y12, Y12")
	e.i("VPXOR Y13, Y13, Y13")
	e.i("MOVQ SI, AX")
	e.i("MOVQ CX, BX")
	e.p("exp:")
	for h := range 2 {
		x, n, r, p := 0+h, 2+h, 4+h, 6+h
		e.i("VMOVUPS %d(AX), Y%d", 32*h, x)
		e.i("VSUBPS Y14, Y%d, Y%d", x, x)
		e.i("VMULPS Y15, Y%d, Y%d", x, x)
		e.i("VMULPS log2e<>(SB), Y%d, Y%d", x, n)
		e.i("VCVTPS2DQ Y%d, Y%d", n, n)
		e.i("VCVTDQ2PS Y%d, Y%d", n, r)
		e.i("VMULPS ln2hi<>(SB), Y%d, Y%d", r, p)
		e.i("VMULPS ln2lo<>(SB), Y%d, Y%d", r, 8+h)
		e.i("VSUBPS Y%d, Y%d, Y%d", p, x, r)
		e.i("VSUBPS Y%d, Y%d, Y%d", 8+h, r, r)
		e.i("VMULPS exp0<>(SB), Y%d, Y%d", r, p)
		e.i("VADDPS exp1<>(SB), Y%d, Y%d", p, p)
		for d := 2; d <= 5; d++ {
			e.i("VMULPS Y%d, Y%d, Y%d", r, p, p)
			e.i("VADDPS exp%d<>(SB), Y%d, Y%d", d, p, p)
		}
		e.i("VMULPS Y%d, Y%d, Y%d", r, r, 8+h)
		e.i("VMULPS Y%d, Y%d, Y%d", 8+h, p, p)
		e.i("VADDPS Y%d, Y%d, Y%d", r, p, p)
		e.i("VADDPS one<>(SB), Y%d, Y%d", p, p)
		e.i("VPSLLD $23, Y%d, Y%d", n, n)
		e.i("VPADDD Y%d, Y%d, Y%d", n, p, p)
		e.i("VCMPPS $13, explow<>(SB), Y%d, Y%d", x, x)
		e.i("VANDPS Y%d, Y%d, Y%d", x, p, p)
		e.i("VMOVUPS Y%d, %d(AX)", p, 32*h)
		e.i("VADDPS Y%d, Y%d, Y%d", p, 12+h, 12+h)
	}
	e.i("ADDQ $64, AX")
	e.i("SUBQ $16, BX")
	e.i("JNZ exp")
	e.i("VADDPS Y13, Y12, Y0")
	e.foldReg("VADDPS", 0, 1)
	e.i("VMOVSS one<>(SB), X1")
	e.i("VDIVSS X0, X1, X0")
	e.i("VBROADCASTSS X0, Y0")
	e.p("divide:")
	for h := range 2 {
		e.i("VMULPS %d(SI), Y0, Y%d", 32*h, 1+h)
		e.i("VMOVUPS Y%d, %d(SI)", 1+h, 32*h)
	}
	e.i("ADDQ $64, SI")
	e.i("SUBQ $16, CX")
	e.i("JNZ divide")
	e.end()
}
