package kernel

import "math"

// Go is the set in plain Go. It is what the others are held against, and what machines without
// AVX2 run.
var Go = Set{
	Name:      "go",
	Gemm8:     gemm8Go,
	GemmF:     gemmFGo,
	Gemv:      gemvGo,
	Embed:     embedGo,
	Norm:      normGo,
	Quant:     quantGo,
	Softmax:   softmaxGo,
	Columns:   columnsGo,
	Transpose: transposeGo,
	Pool:      poolGo,
}

// The conversions float32(x*y) below forbid the compiler to fuse a product with a sum, as it may on
// arm64 and others.

// maxf and minf are MAXPS and MINPS: the second operand unless the first is beyond it.
func maxf(a, b float32) float32 {
	if a > b {
		return a
	}
	return b
}

func minf(a, b float32) float32 {
	if a < b {
		return a
	}
	return b
}

// fold adds lanes: half of them apart, then a quarter, and so on.
func fold(s []float32) float32 {
	for d := len(s) / 2; d > 0; d /= 2 {
		for i := range d {
			s[i] += s[i+d]
		}
	}
	return s[0]
}

// round is to nearest, ties to even, for |x| < 1<<22, as CVTPS2DQ does.
func round(x float32) int32 {
	const magic = 3 << 22
	return int32(float32(x+magic) - magic)
}

const normEps = 1e-6

func embedGo(dst []float32, row []int8, scale float32, pos []float32) {
	checkEmbed(dst, row, pos)
	row, pos = row[:len(dst)], pos[:len(dst)]
	for i := range dst {
		dst[i] = float32(float32(row[i])*scale) + pos[i]
	}
}

func normGo(q []uint8, x, g, b, tmp []float32) Row {
	checkNorm(q, x, g, b, tmp)
	n := len(x)
	g, b, tmp = g[:n], b[:n], tmp[:n]
	var s [Wide]float32
	for i := 0; i < n; i += Wide {
		v := (*[Wide]float32)(x[i:])
		for j := range s {
			s[j] += v[j]
		}
	}
	mean := fold(s[:]) / float32(n)
	s = [Wide]float32{}
	for i := 0; i < n; i += Wide {
		v := (*[Wide]float32)(x[i:])
		for j := range s {
			d := v[j] - mean
			s[j] += float32(d * d)
		}
	}
	inv := 1 / float32(math.Sqrt(float64(fold(s[:])/float32(n)+normEps)))
	for i, v := range x {
		d := float32((v - mean) * inv)
		tmp[i] = float32(d*g[i]) + b[i]
	}
	return quantGo(q, tmp)
}

func quantGo(q []uint8, x []float32) Row {
	checkQuant(q, x)
	q = q[:len(x)]
	var lo, hi float32
	for _, v := range x {
		lo = minf(lo, v)
		hi = maxf(hi, v)
	}
	span := hi - lo
	if !(span > tiny) {
		clear(q)
		return Row{}
	}
	inv := 127 / span
	zero := round(-lo * inv)
	for i, v := range x {
		q[i] = uint8(min(round(float32(v*inv))+zero, 127))
	}
	return Row{Scale: span / 127, Zero: zero}
}

// tiny is the span of a row below which all of it is zero.
const tiny = 1e-30

// The exponential is Cephes' expf without fused steps; relative error below 2e-7 on [-87, 0].
const (
	expLow = -87
	log2e  = 1.44269504
	ln2Hi  = 0.693359375
	ln2Lo  = -2.12194440e-4
	expP0  = 1.9875691500e-4
	expP1  = 1.3981999507e-3
	expP2  = 8.3334519073e-3
	expP3  = 4.1665795894e-2
	expP4  = 1.6666665459e-1
	expP5  = 5.0000001201e-1
)

// exp is e^x for x <= 0, and 0 below expLow.
func exp(x float32) float32 {
	if !(x >= expLow) {
		return 0
	}
	n := round(float32(x * log2e))
	r := x - float32(float32(n)*ln2Hi)
	r -= float32(float32(n) * ln2Lo)
	p := float32(expP0*r) + expP1
	p = float32(p*r) + expP2
	p = float32(p*r) + expP3
	p = float32(p*r) + expP4
	p = float32(p*r) + expP5
	p = float32(p*float32(r*r)) + r
	p++
	return math.Float32frombits(math.Float32bits(p) + uint32(n)<<23)
}

func softmaxGo(s []float32, n int, scale float32) {
	checkSoftmax(s, n)
	most := s[0]
	for _, v := range s[1:n] {
		most = maxf(most, v)
	}
	var sum [Lanes]float32
	for i, v := range s[:n] {
		e := exp(float32((v - most) * scale))
		s[i] = e
		sum[i%Lanes] += e
	}
	inv := 1 / fold(sum[:])
	for i := range s[:n] {
		s[i] *= inv
	}
	clear(s[n:])
}

func columnsGo(dst, src []float32, ld, rows, cols int) {
	checkColumns(dst, src, ld, rows, cols)
	for r := range rows {
		for c := 0; c < cols; c += Lanes {
			*(*[Lanes]float32)(dst[c*rows+r*Lanes:]) = [Lanes]float32(src[r*ld+c:])
		}
	}
}

func transposeGo(dst, src []float32, ld, rows, cols int) {
	checkTranspose(dst, src, ld, rows, cols)
	for r := 0; r < rows; r += Lanes {
		panel := dst[r*cols : (r+Lanes)*cols]
		if r+Lanes > rows {
			clear(panel)
		}
		for j := range min(Lanes, rows-r) {
			for c, v := range src[(r+j)*ld : (r+j)*ld+cols] {
				panel[c*Lanes+j] = v
			}
		}
	}
}

func poolGo(mean, most, x []float32, rows, cols int) {
	checkPool(mean, most, x, rows, cols)
	mean, most = mean[:cols], most[:cols]
	copy(mean, x)
	copy(most, x)
	for r := 1; r < rows; r++ {
		v := x[r*cols : (r+1)*cols]
		for i := range mean {
			mean[i] += v[i]
			most[i] = maxf(most[i], v[i])
		}
	}
	n := float32(rows)
	for i := range mean {
		mean[i] /= n
	}
}
