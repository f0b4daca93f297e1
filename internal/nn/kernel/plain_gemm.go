package kernel

// Three rows of activations share one 64-bit multiplication: their values stand 21 bits apart, and
// as |sum of 64 products| <= 64*127*127 < 1<<20, the three sums of 64 products can be told apart
// again. That is three times the work per multiplication that plain Go would do.
const (
	packBits  = 21
	packChunk = 64
)

// packed is room for three rows of activations. A larger K goes through it in pieces.
type packed [packChunk]int64

func gemm8Go(c []float32, a []uint8, rows []Row, m int, w *Matrix8, mode Mode) {
	checkGemm8(c, a, rows, m, w)
	var p [2]packed
	var acc [6][Lanes]int32
	for r := 0; r < m; r += 6 {
		n := min(6, m-r)
		for at := 0; at < w.N; at += Lanes {
			acc = [6][Lanes]int32{}
			panel := w.W[at*w.K : (at+Lanes)*w.K]
			for k := 0; k < w.K; k += packChunk {
				size := min(packChunk, w.K-k)
				p[0].fill(a[r*w.K+k:], w.K, min(3, n), size)
				if n > 3 {
					p[1].fill(a[(r+3)*w.K+k:], w.K, n-3, size)
					dot6(&acc, &p, panel[k*Lanes:(k+size)*Lanes])
				} else {
					dot3(&acc, &p[0], panel[k*Lanes:(k+size)*Lanes])
				}
			}
			for i := range n {
				finish((*[Lanes]float32)(c[(r+i)*w.N+at:]), &acc[i], rows[r+i], w, at, mode)
			}
		}
	}
}

func (p *packed) fill(a []uint8, ld, n, size int) {
	switch n {
	case 1:
		for k, v := range a[:size] {
			p[k] = int64(v)
		}
	case 2:
		b := a[ld : ld+size]
		for k, v := range a[:size] {
			p[k] = int64(v) | int64(b[k])<<packBits
		}
	default:
		b, c := a[ld:ld+size], a[2*ld:2*ld+size]
		for k, v := range a[:size] {
			p[k] = int64(v) | int64(b[k])<<packBits | int64(c[k])<<(2*packBits)
		}
	}
}

// split takes three sums apart and adds them to column j of three rows.
func split(acc [][Lanes]int32, j int, s int64) {
	const up = 64 - packBits
	x := s << up >> up
	s = (s - x) >> packBits
	y := s << up >> up
	acc[0][j] += int32(x)
	acc[1][j] += int32(y)
	acc[2][j] += int32((s - y) >> packBits)
}

func dot6(acc *[6][Lanes]int32, p *[2]packed, w []int8) {
	for j := 0; j < Lanes; j += 2 {
		var s0, s1, t0, t1 int64
		k := 0
		for v := w; len(v) >= 4*Lanes && k+4 <= packChunk; v = v[4*Lanes:] {
			g := (*[4 * Lanes]int8)(v)
			u := (*[8]int8)(g[4*j:])
			a, b := (*[4]int64)(p[0][k:]), (*[4]int64)(p[1][k:])
			x, y := int64(u[0]), int64(u[4])
			s0, s1, t0, t1 = s0+a[0]*x, s1+a[0]*y, t0+b[0]*x, t1+b[0]*y
			x, y = int64(u[1]), int64(u[5])
			s0, s1, t0, t1 = s0+a[1]*x, s1+a[1]*y, t0+b[1]*x, t1+b[1]*y
			x, y = int64(u[2]), int64(u[6])
			s0, s1, t0, t1 = s0+a[2]*x, s1+a[2]*y, t0+b[2]*x, t1+b[2]*y
			x, y = int64(u[3]), int64(u[7])
			s0, s1, t0, t1 = s0+a[3]*x, s1+a[3]*y, t0+b[3]*x, t1+b[3]*y
			k += 4
		}
		split(acc[:3], j, s0)
		split(acc[:3], j+1, s1)
		split(acc[3:], j, t0)
		split(acc[3:], j+1, t1)
	}
}

func dot3(acc *[6][Lanes]int32, p *packed, w []int8) {
	for j := range Lanes {
		var s int64
		k := 0
		for v := w; len(v) >= 4*Lanes && k+4 <= packChunk; v = v[4*Lanes:] {
			u := (*[4]int8)(v[4*j:])
			a := (*[4]int64)(p[k:])
			s += a[0]*int64(u[0]) + a[1]*int64(u[1]) + a[2]*int64(u[2]) + a[3]*int64(u[3])
			k += 4
		}
		split(acc[:3], j, s)
	}
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
