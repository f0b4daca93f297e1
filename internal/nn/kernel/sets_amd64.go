package kernel

import (
	"math"

	"golang.org/x/sys/cpu"
)

// sets are what this processor can run, best first.
func sets() []*Set {
	s := []*Set{&Go}
	if cpu.X86.HasAVX2 {
		s = append([]*Set{&avx2}, s...)
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512VNNI {
			s = append([]*Set{&avx512}, s...)
		}
	}
	return s
}

var avx2 = Set{
	Name:      "avx2",
	Gemm8:     gemm8AVX2,
	GemmF:     gemmFAVX2,
	Gemv:      gemvAVX2,
	Embed:     embedAVX2,
	Norm:      normAVX2,
	Quant:     quantAVX2,
	Softmax:   softmaxAVX2,
	Columns:   columnsAVX2,
	Transpose: transposeAVX2,
	Pool:      poolAVX2,
}

// avx512 takes the products in 512 bits and everything else from avx2.
var avx512 = func() Set {
	s := avx2
	s.Name, s.Gemm8, s.GemmF = "avx512", gemm8AVX512, gemmFAVX512
	return s
}()

// gemm8AVX512 walks the panels in the outer loop: four of them stay in the first-level cache while
// the rows go by. So do its three siblings below.
func gemm8AVX512(c []float32, a []uint8, rows []Row, m int, w *Matrix8, mode Mode) {
	checkGemm8(c, a, rows, m, w)
	k, n := w.K, w.N
	for at := 0; at < n; at += 64 {
		for r := 0; r < m; {
			f, step := dot1x64avx512, 1
			switch left := m - r; {
			case left >= 6:
				f, step = dot6x64avx512, 6
			case left >= 4:
				f, step = dot4x64avx512, 4
			case left >= 2:
				f, step = dot2x64avx512, 2
			}
			f(&c[r*n+at], uintptr(n*4), &a[r*k], uintptr(k), &w.W[at*k], uintptr(k*Lanes), k/8,
				&rows[r], &w.Sum[at], &w.Scale[at], &w.Bias[at], int(mode))
			r += step
		}
	}
}

func gemm8AVX2(c []float32, a []uint8, rows []Row, m int, w *Matrix8, mode Mode) {
	checkGemm8(c, a, rows, m, w)
	k, n := w.K, w.N
	for at := 0; at < n; at += Lanes {
		for r := 0; r < m; {
			f, step := dot1x16avx2, 1
			switch left := m - r; {
			case left >= 4:
				f, step = dot4x16avx2, 4
			case left >= 2:
				f, step = dot2x16avx2, 2
			}
			f(&c[r*n+at], uintptr(n*4), &a[r*k], uintptr(k), &w.W[at*k], uintptr(k*Lanes), k/8,
				&rows[r], &w.Sum[at], &w.Scale[at], &w.Bias[at], int(mode))
			r += step
		}
	}
}

// floats512 is indexed by log2 of the panels and then by the rows.
var floats512 = [3][7]func(c *float32, ldc uintptr, a *float32, lda uintptr, b *float32, pb uintptr, k int){
	{1: float1x16avx512, 2: float2x16avx512, 4: float4x16avx512, 6: float6x16avx512},
	{1: float1x32avx512, 2: float2x32avx512, 4: float4x32avx512, 6: float6x32avx512},
	{1: float1x64avx512, 2: float2x64avx512, 4: float4x64avx512, 6: float6x64avx512},
}

// rows512 is the largest number of rows that a kernel takes, of so many.
var rows512 = [7]int{1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 6}

func gemmFAVX512(c []float32, ldc int, a []float32, lda int, b []float32, m, k, n int) {
	checkGemmF(c, ldc, a, lda, b, m, k, n)
	for at := 0; at < n; {
		wide := 2 // 4 panels
		for at+Lanes<<wide > n {
			wide--
		}
		for r := 0; r < m; {
			step := rows512[min(m-r, 6)]
			floats512[wide][step](&c[r*ldc+at], uintptr(ldc*4), &a[r*lda], uintptr(lda*4), &b[at*k], uintptr(k*Lanes*4), k)
			r += step
		}
		at += Lanes << wide
	}
}

func gemmFAVX2(c []float32, ldc int, a []float32, lda int, b []float32, m, k, n int) {
	checkGemmF(c, ldc, a, lda, b, m, k, n)
	for at := 0; at < n; at += Lanes {
		for r := 0; r < m; {
			f, step := float1x16avx2, 1
			switch left := m - r; {
			case left >= 4:
				f, step = float4x16avx2, 4
			case left >= 2:
				f, step = float2x16avx2, 2
			}
			f(&c[r*ldc+at], uintptr(ldc*4), &a[r*lda], uintptr(lda*4), &b[at*k], uintptr(k*Lanes*4), k)
			r += step
		}
	}
}

func gemvAVX2(y, x []float32, w []int8, scale, bias []float32) {
	checkGemv(y, x, w, scale, bias)
	gemvavx2(&y[0], &x[0], &w[0], &scale[0], &bias[0], len(y), len(x))
}

func embedAVX2(dst []float32, row []int8, scale float32, pos []float32) {
	checkEmbed(dst, row, pos)
	embedavx2(&dst[0], &row[0], &scale, &pos[0], len(dst))
}

func normAVX2(q []uint8, x, g, b, tmp []float32) (row Row) {
	checkNorm(q, x, g, b, tmp)
	normavx2(&q[0], &x[0], &g[0], &b[0], &tmp[0], len(x), &row)
	return row
}

func quantAVX2(q []uint8, x []float32) (row Row) {
	checkQuant(q, x)
	quantavx2(&q[0], &x[0], len(x), &row)
	return row
}

func softmaxAVX2(s []float32, n int, scale float32) {
	checkSoftmax(s, n)
	for i := n; i < len(s); i++ {
		s[i] = -math.MaxFloat32
	}
	softmaxavx2(&s[0], len(s), &scale)
}

func columnsAVX2(dst, src []float32, ld, rows, cols int) {
	checkColumns(dst, src, ld, rows, cols)
	columnsavx2(&dst[0], &src[0], uintptr(ld*4), rows, cols)
}

func transposeAVX2(dst, src []float32, ld, rows, cols int) {
	checkTranspose(dst, src, ld, rows, cols)
	whole := rows / 8 * 8
	for r := 0; r < whole; r += 8 {
		transpose8avx2(&dst[r/Lanes*Lanes*cols+r%Lanes], &src[r*ld], uintptr(ld*4), cols)
	}
	// What is left of the last panel: up to 7 rows, and zeros to its end.
	for r := whole; r < (rows+Lanes-1)/Lanes*Lanes; r++ {
		panel := dst[r/Lanes*Lanes*cols:]
		for c := range cols {
			var v float32
			if r < rows {
				v = src[r*ld+c]
			}
			panel[c*Lanes+r%Lanes] = v
		}
	}
}

func poolAVX2(mean, most, x []float32, rows, cols int) {
	checkPool(mean, most, x, rows, cols)
	poolavx2(&mean[0], &most[0], &x[0], rows, cols)
}
