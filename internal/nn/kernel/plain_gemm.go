package kernel

// Three rows of activations share one 64-bit multiplication: their values stand 21 bits apart, and
// as |sum of 64 products| <= 64*127*127 < 1<<20, the three sums of 64 products can be told apart
// again. That is three times the work per multiplication that plain Go would do.
const (
	packRows  = 3
	packBits  = 21
	packChunk = 64
)

// packed is three rows of activations, in groups of 4.
type packed [packChunk / 4][4]int64

func gemm8Go(c []float32, a []uint8, rows []Row, m int, w *Matrix8, mode Mode) {
	checkGemm8(c, a, rows, m, w)
	var p [MaxInputs / packChunk]packed
	var acc [packRows][Lanes]int32
	chunks := w.K / packChunk
	for r := 0; r < m; r += packRows {
		n := min(packRows, m-r)
		pack(p[:chunks], a[r*w.K:], w.K, n)
		for at := 0; at < w.N; at += Lanes {
			acc = [packRows][Lanes]int32{}
			panel := w.W[at*w.K : (at+Lanes)*w.K]
			for i := range p[:chunks] {
				chunk := (*[packChunk * Lanes]int8)(panel[i*packChunk*Lanes:])
				for j := 0; j < Lanes; j += 4 {
					dot(&acc, &p[i], chunk, j)
				}
			}
			for i := range n {
				finish((*[Lanes]float32)(c[(r+i)*w.N+at:]), &acc[i], rows[r+i], w, at, mode)
			}
		}
	}
}

// pack packs up to three rows of a, ld apart.
func pack(p []packed, a []uint8, ld, rows int) {
	clear(p)
	for r := range rows {
		row := a[r*ld : (r+1)*ld]
		for i := range p {
			for k, v := range (*[packChunk]uint8)(row[i*packChunk:]) {
				p[i][k/4][k%4] |= int64(v) << (packBits * r)
			}
		}
	}
}

// split takes three sums apart and adds them to column j of three rows.
func split(acc *[packRows][Lanes]int32, j int, s int64) {
	const up = 64 - packBits
	x := s << up >> up
	s = (s - x) >> packBits
	y := s << up >> up
	acc[0][j] += int32(x)
	acc[1][j] += int32(y)
	acc[2][j] += int32((s - y) >> packBits)
}

// dot adds the products of three rows with the outputs j to j+3 of a panel.
func dot(acc *[packRows][Lanes]int32, p *packed, w *[packChunk * Lanes]int8, j int) {
	var s0, s1, s2, s3 int64
	v := w[4*j:]
	for g := range p {
		a, u := &p[g], (*[16]int8)(v)
		x := a[0]
		s0 += x * int64(u[0])
		s1 += x * int64(u[4])
		s2 += x * int64(u[8])
		s3 += x * int64(u[12])
		x = a[1]
		s0 += x * int64(u[1])
		s1 += x * int64(u[5])
		s2 += x * int64(u[9])
		s3 += x * int64(u[13])
		x = a[2]
		s0 += x * int64(u[2])
		s1 += x * int64(u[6])
		s2 += x * int64(u[10])
		s3 += x * int64(u[14])
		x = a[3]
		s0 += x * int64(u[3])
		s1 += x * int64(u[7])
		s2 += x * int64(u[11])
		s3 += x * int64(u[15])
		v = v[min(4*Lanes, len(v)):]
	}
	split(acc, j, s0)
	split(acc, j+1, s1)
	split(acc, j+2, s2)
	split(acc, j+3, s3)
}

// finish turns integer sums into floats: the one place that says how.
func finish(c *[Lanes]float32, acc *[Lanes]int32, row Row, w *Matrix8, at int, mode Mode) {
	sum, scale, bias := (*[Lanes]int32)(w.Sum[at:]), (*[Lanes]float32)(w.Scale[at:]), (*[Lanes]float32)(w.Bias[at:])
	for j := range c {
		v := float32(acc[j] - row.Zero*sum[j])
		v = float32(v*float32(row.Scale*scale[j])) + bias[j]
		switch mode {
		case Add:
			c[j] += v
		case ReLU:
			c[j] = maxf(v, 0)
		default:
			c[j] = v
		}
	}
}

func gemmFGo(c []float32, ldc int, a []float32, lda int, b []float32, m, k, n int) {
	checkGemmF(c, ldc, a, lda, b, m, k, n)
	for at := 0; at < n; at += Lanes {
		panel := b[at*k : (at+Lanes)*k]
		for r := range m {
			row := a[r*lda : r*lda+k]
			out := (*[Lanes]float32)(c[r*ldc+at:])
			for j := 0; j < Lanes; j += 8 {
				var s0, s1, s2, s3, s4, s5, s6, s7 float32
				v := panel
				for _, x := range row {
					g := (*[Lanes]float32)(v)
					u := (*[8]float32)(g[j:])
					s0 += float32(x * u[0])
					s1 += float32(x * u[1])
					s2 += float32(x * u[2])
					s3 += float32(x * u[3])
					s4 += float32(x * u[4])
					s5 += float32(x * u[5])
					s6 += float32(x * u[6])
					s7 += float32(x * u[7])
					v = v[Lanes:]
				}
				*(*[8]float32)(out[j:]) = [8]float32{s0, s1, s2, s3, s4, s5, s6, s7}
			}
		}
	}
}

func gemvGo(y, x []float32, w []int8, scale, bias []float32) {
	checkGemv(y, x, w, scale, bias)
	n := len(y)
	for at := 0; at < n; at += Lanes {
		var s [Lanes]float32
		for k, v := range x {
			u := (*[Lanes]int8)(w[k*n+at:])
			for j := range s {
				s[j] += float32(v * float32(u[j]))
			}
		}
		for j := range s {
			y[at+j] = float32(s[j]*scale[at+j]) + bias[at+j]
		}
	}
}
