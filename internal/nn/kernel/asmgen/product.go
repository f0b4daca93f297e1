package main

import "fmt"

// rowAddr is where row r of the activations stands: AX is row 0, BX the distance, R8 row 3.
func rowAddr(r, off int) string {
	a := [...]string{"(AX)", "(AX)(BX*1)", "(AX)(BX*2)", "(R8)", "(R8)(BX*1)", "(R8)(BX*2)"}[r]
	if off == 0 {
		return a
	}
	return fmt.Sprintf("%d%s", off, a)
}

// panelAddr is where panel p of the weights stands: SI is panel 0, R11 the distance, R12 three times
// that.
func panelAddr(p, off int) string {
	a := [...]string{"(SI)", "(SI)(R11*1)", "(SI)(R11*2)", "(SI)(R12*1)"}[p]
	if off == 0 {
		return a
	}
	return fmt.Sprintf("%d%s", off, a)
}

var dotParams = []param{
	{"c", "*float32", "DI"}, {"ldc", "uintptr", "DX"}, {"a", "*uint8", "AX"}, {"lda", "uintptr", "BX"},
	{"w", "*int8", "SI"}, {"pw", "uintptr", "R11"}, {"k8", "int", "CX"}, {"rows", "*Row", "R9"},
	{"sum", "*int32", ""}, {"scale", "*float32", ""}, {"bias", "*float32", ""}, {"mode", "int", ""},
}

// dot512 is the integer product of some rows with 4 panels (64 outputs): VPDPBUSD adds the products
// of four inputs to 32 bits without an intermediate that could saturate.
func (e *emitter) dot512(rows int) {
	const acc = 8
	e.begin(fmt.Sprintf("dot%dx64avx512", rows), fmt.Sprintf("%d rows, 64 outputs, 8*k8 inputs.", rows), dotParams...)
	e.i("LEAQ (AX)(BX*2), R8")
	e.i("ADDQ BX, R8")
	e.i("LEAQ (R11)(R11*2), R12")
	for n := range 4 * rows {
		e.i("VPXORD Z%d, Z%d, Z%d", acc+n, acc+n, acc+n)
	}
	e.p("loop:")
	for step := range 2 {
		for p := range 4 {
			e.i("VMOVDQU32 %s, Z%d", panelAddr(p, 64*step), p)
		}
		for r := range rows {
			b := 4 + r%4
			e.i("VPBROADCASTD %s, Z%d", rowAddr(r, 4*step), b)
			for p := range 4 {
				e.i("VPDPBUSD Z%d, Z%d, Z%d", p, b, acc+4*r+p)
			}
		}
	}
	e.i("ADDQ $128, SI")
	e.i("ADDQ $8, AX")
	e.i("ADDQ $8, R8")
	e.i("DECQ CX")
	e.i("JNZ loop")
	e.finish(zmm, rows, 4, acc)
}

// dot2 is the integer product of some rows with one panel (16 outputs). VPMADDUBSW adds the products
// of two inputs to 16 bits; two of its results still fit (PairLimit) and are added before VPMADDWD
// widens them to 32 bits.
func (e *emitter) dot2(rows int) {
	const acc = 4
	e.begin(fmt.Sprintf("dot%dx16avx2", rows), fmt.Sprintf("%d rows, 16 outputs, 8*k8 inputs; pw is not used.", rows), dotParams...)
	e.i("LEAQ (AX)(BX*2), R8")
	e.i("ADDQ BX, R8")
	e.i("VMOVDQU ones16<>(SB), Y15")
	for n := range 2 * rows {
		e.i("VPXOR Y%d, Y%d, Y%d", acc+n, acc+n, acc+n)
	}
	e.p("loop:")
	e.i("VMOVDQU (SI), Y0")
	e.i("VMOVDQU 32(SI), Y1")
	for r := range rows {
		e.i("VPBROADCASTD %s, Y2", rowAddr(r, 0))
		e.i("VPBROADCASTD %s, Y3", rowAddr(r, 4))
		for h := range 2 {
			t := 12 + h
			e.i("VPMADDUBSW Y%d, Y2, Y%d", h, t)
			e.i("VPMADDUBSW %d(SI), Y3, Y14", 64+32*h)
			e.i("VPADDW Y14, Y%d, Y%d", t, t)
			e.i("VPMADDWD Y15, Y%d, Y%d", t, t)
			e.i("VPADDD Y%d, Y%d, Y%d", t, acc+2*r+h, acc+2*r+h)
		}
	}
	e.i("ADDQ $128, SI")
	e.i("ADDQ $8, AX")
	e.i("ADDQ $8, R8")
	e.i("DECQ CX")
	e.i("JNZ loop")
	e.finish(ymm, rows, 2, acc)
}

// finish turns the sums into floats as finish in plain_gemm.go does and stores them, once per mode.
func (e *emitter) finish(v isa, rows, vecs, acc int) {
	// Registers below 4 are free, and so are the pointers that the loop used.
	e.i("MOVQ sum+64(FP), SI")
	e.i("MOVQ scale+72(FP), CX")
	e.i("MOVQ bias+80(FP), R11")
	e.i("MOVQ mode+88(FP), R12")
	e.i("CMPQ R12, $1")
	e.i("JEQ relu")
	e.i("JGT add")
	for _, mode := range []string{"store", "relu", "add"} {
		if mode != "store" {
			e.p("%s:", mode)
		}
		if mode == "relu" {
			e.i("%s %s3, %s3, %s3", v.xor, v.reg, v.reg, v.reg)
		}
		for r := range rows {
			e.i("VBROADCASTSS %d(R9), %s0", 8*r, v.reg)
			e.i("VPBROADCASTD %d(R9), %s1", 8*r+4, v.reg)
			for n := range vecs {
				at, a := n*v.bytes, fmt.Sprintf("%s%d", v.reg, acc+vecs*r+n)
				e.i("VPMULLD %d(SI), %s1, %s2", at, v.reg, v.reg)
				e.i("VPSUBD %s2, %s, %s", v.reg, a, a)
				e.i("VCVTDQ2PS %s, %s", a, a)
				e.i("VMULPS %d(CX), %s0, %s2", at, v.reg, v.reg)
				e.i("VMULPS %s2, %s, %s", v.reg, a, a)
				e.i("VADDPS %d(R11), %s, %s", at, a, a)
				switch mode {
				case "relu":
					e.i("VMAXPS %s3, %s, %s", v.reg, a, a)
				case "add":
					e.i("VADDPS %d(DI), %s, %s", at, a, a)
				}
				e.i("VMOVUPS %s, %d(DI)", a, at)
			}
			if r < rows-1 {
				e.i("ADDQ DX, DI")
			}
		}
		if mode == "add" {
			e.end()
		} else {
			e.i("VZEROUPPER")
			e.i("RET")
		}
	}
}

// float is the float product of some rows with some panels. Product and sum are two instructions: a
// fused one rounds differently from what plain Go can do.
func (e *emitter) float(v isa, rows, panels int) {
	vecs := panels * 64 / v.bytes
	name := fmt.Sprintf("float%dx%davx%s", rows, 16*panels, v.name)
	e.begin(name, fmt.Sprintf("%d rows, %d outputs, k inputs.", rows, 16*panels),
		param{"c", "*float32", "DI"}, param{"ldc", "uintptr", "DX"}, param{"a", "*float32", "AX"}, param{"lda", "uintptr", "BX"},
		param{"b", "*float32", "SI"}, param{"pb", "uintptr", "R11"}, param{"k", "int", "CX"})
	// Registers: vecs of weights, one broadcast activation, one product, then the sums.
	bc, tmp, acc := vecs, vecs+1, vecs+2
	e.i("LEAQ (AX)(BX*2), R8")
	e.i("ADDQ BX, R8")
	e.i("LEAQ (R11)(R11*2), R12")
	for n := range vecs * rows {
		e.i("%s %s%d, %s%d, %s%d", v.xor, v.reg, acc+n, v.reg, acc+n, v.reg, acc+n)
	}
	e.p("loop:")
	for n := range vecs {
		at := n * v.bytes
		e.i("VMOVUPS %s, %s%d", panelAddr(at/64, at%64), v.reg, n)
	}
	for r := range rows {
		e.i("VBROADCASTSS %s, %s%d", rowAddr(r, 0), v.reg, bc)
		for n := range vecs {
			a := acc + vecs*r + n
			e.i("VMULPS %s%d, %s%d, %s%d", v.reg, n, v.reg, bc, v.reg, tmp)
			e.i("VADDPS %s%d, %s%d, %s%d", v.reg, tmp, v.reg, a, v.reg, a)
		}
	}
	e.i("ADDQ $64, SI")
	e.i("ADDQ $4, AX")
	e.i("ADDQ $4, R8")
	e.i("DECQ CX")
	e.i("JNZ loop")
	for r := range rows {
		for n := range vecs {
			e.i("VMOVUPS %s%d, %d(DI)", v.reg, acc+vecs*r+n, n*v.bytes)
		}
		if r < rows-1 {
			e.i("ADDQ DX, DI")
		}
	}
	e.end()
}

// gemv is one row of floats with int8 weights, 64 outputs at a time.
func (e *emitter) gemv() {
	e.begin("gemvavx2", "n outputs in blocks of 64, k inputs; rows of w are n apart.",
		param{"y", "*float32", "DI"}, param{"x", "*float32", "AX"}, param{"w", "*int8", "SI"},
		param{"scale", "*float32", "R9"}, param{"bias", "*float32", "R10"}, param{"n", "int", "DX"}, param{"k", "int", "R8"})
	e.i("MOVQ DX, R11")
	e.p("block:")
	for n := range 8 {
		e.i("VPXOR Y%d, Y%d, Y%d", 8+n, 8+n, 8+n)
	}
	e.i("MOVQ AX, BX")
	e.i("MOVQ SI, R12")
	e.i("MOVQ R8, CX")
	e.p("loop:")
	e.i("VBROADCASTSS (BX), Y0")
	for n := range 8 {
		t := 1 + n%4
		e.i("VPMOVSXBD %d(R12), Y%d", 8*n, t)
		e.i("VCVTDQ2PS Y%d, Y%d", t, t)
		e.i("VMULPS Y%d, Y0, Y%d", t, t)
		e.i("VADDPS Y%d, Y%d, Y%d", t, 8+n, 8+n)
	}
	e.i("ADDQ $4, BX")
	e.i("ADDQ DX, R12")
	e.i("DECQ CX")
	e.i("JNZ loop")
	for n := range 8 {
		a := 8 + n
		e.i("VMULPS %d(R9), Y%d, Y%d", 32*n, a, a)
		e.i("VADDPS %d(R10), Y%d, Y%d", 32*n, a, a)
		e.i("VMOVUPS Y%d, %d(DI)", a, 32*n)
	}
	e.i("ADDQ $256, DI")
	e.i("ADDQ $256, R9")
	e.i("ADDQ $256, R10")
	e.i("ADDQ $64, SI")
	e.i("SUBQ $64, R11")
	e.i("JNZ block")
	e.end()
}
