// Package kernel holds the inner loops of an int8 transformer encoder: one set in plain Go, which is
// the reference, and sets in assembly for AVX2 and for AVX-512 with VNNI.
//
// Every set gives the same bits. Integer products cannot saturate (activations have 7 bits, weights
// keep the bound of [Matrix8]); float products and sums are rounded one by one (no fused
// multiply-add anywhere), sums over a row go through lanes folded in one fixed order, and the
// exponential is the same polynomial. So a verdict does not depend on the machine.
package kernel

//go:generate go run ./asmgen -o kernels_amd64.s

const (
	// Lanes is the width of a panel: what T is padded to, and what the sum of a softmax is folded from.
	Lanes = 16
	// Wide is what every width of the model is a multiple of, and what the sums of Norm are folded from.
	Wide = 64
	// MaxInputs is the largest K of a Matrix8.
	MaxInputs = 4096
)

// Row says how a row of activations was quantised: value = (q - Zero) * Scale, q in 0..127.
type Row struct {
	Scale float32
	Zero  int32
}

// Mode says what a product does with what stands in its destination.
type Mode int

const (
	Store Mode = iota // c = v
	ReLU              // c = max(v, 0)
	Add               // c = c + v
)

// PairLimit bounds the four weights k, k+1, k+4 and k+5 of every output, for every k that is 0 or 2
// modulo 8: neither the positive ones nor the negative ones may add up to more. With activations of 0
// to 127 the sum of two VPMADDUBSW results then stays inside 16 bits, which lets the AVX2 kernel add
// them before it widens.
const PairLimit = 258

// Matrix8 is a weight matrix of K inputs and N outputs, quantised per output:
// weight[k][n] = W*Scale[n]. K and N are multiples of 64, W keeps PairLimit and holds no -128.
type Matrix8 struct {
	K, N  int
	W     []int8    // [N/16][K/4][16][4]: panels of 16 outputs, groups of 4 inputs
	Sum   []int32   // [N] sum over k of W, to take the activations' zero point out
	Scale []float32 // [N]
	Bias  []float32 // [N]
}

// Set is one implementation of every kernel. Slices are at least as long as the shapes say; widths
// are multiples of [Wide], except those of GemmF's n, Softmax, Columns and Transpose, which are
// multiples of [Lanes]. What is not is a programming error and panics before anything is written.
type Set struct {
	Name string

	// Gemm8 computes c[r][0:N] from rows of quantised activations a[r][0:K], r < m:
	// float(sum(a*w) - zero*Sum) * (row scale * Scale) + Bias, stored as mode says. The rows of c
	// are w.N apart, those of a w.K.
	Gemm8 func(c []float32, a []uint8, rows []Row, m int, w *Matrix8, mode Mode)
	// GemmF computes c[r][0:n] = sum over k of a[r][k]*b[k], in the order of k. b is laid out in
	// panels [n/16][k][16]. The rows of c are ldc apart, those of a lda.
	GemmF func(c []float32, ldc int, a []float32, lda int, b []float32, m, k, n int)
	// Gemv computes y[n] = (sum over k of x[k]*w[k][n], in the order of k) * scale[n] + bias[n] for
	// int8 weights in rows of len(y).
	Gemv func(y, x []float32, w []int8, scale, bias []float32)
	// Embed computes dst = row*scale + pos.
	Embed func(dst []float32, row []int8, scale float32, pos []float32)
	// Norm normalises x (eps 1e-6) into tmp, with gain g and bias b, and quantises that into q.
	Norm func(q []uint8, x, g, b, tmp []float32) Row
	// Quant quantises x into q, so that 0 and both extremes of x are representable.
	Quant func(q []uint8, x []float32) Row
	// Softmax replaces s[0:n] by softmax(s*scale) and the rest of s by zeros; scale > 0, n >= 1.
	Softmax func(s []float32, n int, scale float32)
	// Columns lays rows of src, ld apart, out as panels [cols/16][rows][16]: the b of GemmF with
	// k = rows.
	Columns func(dst, src []float32, ld, rows, cols int)
	// Transpose lays the transposed rows of src out as panels [ceil(rows/16)][cols][16] with zeros
	// for the rows that are missing: the b of GemmF with k = cols.
	Transpose func(dst, src []float32, ld, rows, cols int)
	// Pool computes, per column of x (rows cols apart), the mean and the maximum over its rows.
	Pool func(mean, most, x []float32, rows, cols int)
}

// need panics when a shape does not fit: kernels in assembly check nothing.
func need(ok bool) {
	if !ok {
		panic("kernel: a slice is shorter than its shape says, or a length is not a multiple of its lanes")
	}
}

func (w *Matrix8) check() {
	need(w.K > 0 && w.K <= MaxInputs && w.N > 0 && w.K%Wide == 0 && w.N%Wide == 0 && len(w.W) >= w.K*w.N &&
		len(w.Sum) >= w.N && len(w.Scale) >= w.N && len(w.Bias) >= w.N)
}

func checkGemm8(c []float32, a []uint8, rows []Row, m int, w *Matrix8) {
	w.check()
	need(m >= 0 && len(c) >= m*w.N && len(a) >= m*w.K && len(rows) >= m)
}

func checkGemmF(c []float32, ldc int, a []float32, lda int, b []float32, m, k, n int) {
	need(m > 0 && k > 0 && n > 0 && n%Lanes == 0 && ldc >= n && lda >= k &&
		len(c) >= (m-1)*ldc+n && len(a) >= (m-1)*lda+k && len(b) >= k*n)
}

func checkGemv(y, x []float32, w []int8, scale, bias []float32) {
	n := len(y)
	need(n > 0 && n%Wide == 0 && len(x) > 0 && len(w) >= n*len(x) && len(scale) >= n && len(bias) >= n)
}

func checkEmbed(dst []float32, row []int8, pos []float32) {
	need(len(dst) > 0 && len(dst)%Wide == 0 && len(row) >= len(dst) && len(pos) >= len(dst))
}

func checkNorm(q []uint8, x, g, b, tmp []float32) {
	n := len(x)
	need(n > 0 && n%Wide == 0 && len(q) >= n && len(g) >= n && len(b) >= n && len(tmp) >= n)
}

func checkQuant(q []uint8, x []float32) {
	need(len(x) > 0 && len(x)%Wide == 0 && len(q) >= len(x))
}

func checkSoftmax(s []float32, n int) { need(n > 0 && n <= len(s) && len(s)%Lanes == 0) }

func checkColumns(dst, src []float32, ld, rows, cols int) {
	need(rows > 0 && cols > 0 && cols%Lanes == 0 && ld >= cols && len(dst) >= rows*cols && len(src) >= (rows-1)*ld+cols)
}

func checkTranspose(dst, src []float32, ld, rows, cols int) {
	need(rows > 0 && cols > 0 && cols%Lanes == 0 && ld >= cols && len(src) >= (rows-1)*ld+cols &&
		len(dst) >= (rows+Lanes-1)/Lanes*Lanes*cols)
}

func checkPool(mean, most, x []float32, rows, cols int) {
	need(rows > 0 && cols > 0 && cols%Wide == 0 && len(mean) >= cols && len(most) >= cols && len(x) >= rows*cols)
}
