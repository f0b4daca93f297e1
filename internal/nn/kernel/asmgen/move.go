package main

func (e *emitter) columns() {
	e.begin("columnsavx2", "panels of 16 columns of rows that are ld bytes apart.",
		param{"dst", "*float32", "DI"}, param{"src", "*float32", "SI"}, param{"ld", "uintptr", "DX"},
		param{"rows", "int", "R8"}, param{"cols", "int", "CX"})
	e.p("panel:")
	e.i("MOVQ SI, AX")
	e.i("MOVQ R8, BX")
	e.p("row:")
	e.i("VMOVUPS (AX), Y0")
	e.i("VMOVUPS 32(AX), Y1")
	e.i("VMOVUPS Y0, (DI)")
	e.i("VMOVUPS Y1, 32(DI)")
	e.i("ADDQ DX, AX")
	e.i("ADDQ $64, DI")
	e.i("DECQ BX")
	e.i("JNZ row")
	e.i("ADDQ $64, SI")
	e.i("SUBQ $16, CX")
	e.i("JNZ panel")
	e.end()
}

// transpose turns 8 rows into 8 of the 16 lanes of a panel, 8 columns at a time: pairs of rows are
// interleaved, pairs of pairs, and then the halves of registers are swapped.
func (e *emitter) transpose() {
	e.begin("transpose8avx2", "8 rows that are ld bytes apart, cols in blocks of 8; rows of dst are 64 bytes apart.",
		param{"dst", "*float32", "DI"}, param{"src", "*float32", "AX"}, param{"ld", "uintptr", "BX"}, param{"cols", "int", "CX"})
	e.i("LEAQ (AX)(BX*2), R8")
	e.i("ADDQ BX, R8")
	e.i("LEAQ (R8)(BX*2), R9")
	e.i("ADDQ BX, R9")
	e.p("loop:")
	addr := []string{"(AX)", "(AX)(BX*1)", "(AX)(BX*2)", "(R8)", "(R8)(BX*1)", "(R8)(BX*2)", "(R9)", "(R9)(BX*1)"}
	for r, a := range addr {
		e.i("VMOVUPS %s, Y%d", a, r)
	}
	for r := 0; r < 8; r += 2 {
		e.i("VUNPCKLPS Y%d, Y%d, Y%d", r+1, r, 8+r)
		e.i("VUNPCKHPS Y%d, Y%d, Y%d", r+1, r, 9+r)
	}
	// Y8, Y10, Y12, Y14 hold columns 0 1 (and 4 5) of rows 01, 23, 45, 67; the odd ones 2 3 (6 7).
	for g := range 2 {
		for h := range 2 {
			lo, hi, out := 8+4*g+h, 10+4*g+h, 4*g+2*h
			e.i("VSHUFPS $0x44, Y%d, Y%d, Y%d", hi, lo, out)
			e.i("VSHUFPS $0xee, Y%d, Y%d, Y%d", hi, lo, out+1)
		}
	}
	// Y0..Y3 hold columns 0..3 (and 4..7 above) of rows 0..3, Y4..Y7 of rows 4..7.
	for c := range 4 {
		e.i("VPERM2F128 $0x20, Y%d, Y%d, Y%d", 4+c, c, 8+c)
		e.i("VPERM2F128 $0x31, Y%d, Y%d, Y%d", 4+c, c, 12+c)
	}
	for c := range 8 {
		e.i("VMOVUPS Y%d, %d(DI)", 8+c, 64*c)
	}
	e.i("ADDQ $512, DI")
	for _, r := range []string{"AX", "R8", "R9"} {
		e.i("ADDQ $32, %s", r)
	}
	e.i("SUBQ $8, CX")
	e.i("JNZ loop")
	e.end()
}

func (e *emitter) pool() {
	e.begin("poolavx2", "cols in blocks of 64; rows are cols floats apart.",
		param{"mean", "*float32", "DI"}, param{"most", "*float32", "R8"}, param{"x", "*float32", "SI"},
		param{"rows", "int", "R9"}, param{"cols", "int", "CX"})
	e.i("VCVTSI2SSQ R9, X15, X15")
	e.i("VBROADCASTSS X15, Y15")
	e.i("MOVQ CX, DX")
	e.i("SHLQ $2, DX")
	e.p("block:")
	for n := range 4 {
		e.i("VMOVUPS %d(SI), Y%d", 32*n, n)
		e.i("VMOVUPS Y%d, Y%d", n, 4+n)
	}
	e.i("LEAQ (SI)(DX*1), AX")
	e.i("MOVQ R9, BX")
	e.i("DECQ BX")
	e.i("JZ last")
	e.p("row:")
	for n := range 4 {
		e.i("VMOVUPS %d(AX), Y%d", 32*n, 8+n)
		e.i("VADDPS Y%d, Y%d, Y%d", 8+n, n, n)
		e.i("VMAXPS Y%d, Y%d, Y%d", 8+n, 4+n, 4+n)
	}
	e.i("ADDQ DX, AX")
	e.i("DECQ BX")
	e.i("JNZ row")
	e.p("last:")
	for n := range 4 {
		e.i("VDIVPS Y15, Y%d, Y%d", n, n)
		e.i("VMOVUPS Y%d, %d(DI)", n, 32*n)
		e.i("VMOVUPS Y%d, %d(R8)", 4+n, 32*n)
	}
	for _, r := range []string{"SI", "DI", "R8"} {
		e.i("ADDQ $128, %s", r)
	}
	e.i("SUBQ $32, CX")
	e.i("JNZ block")
	e.end()
}
