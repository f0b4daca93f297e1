package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// others are the sets that this machine has beside the reference.
func others(t testing.TB) []*Set {
	s := sets()
	if len(s) == 1 {
		t.Skip("this machine has no kernels but the reference")
	}
	return s[:len(s)-1]
}

func fill(r *rand.Rand, n int, scale float32) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64()) * scale
	}
	return s
}

// edge is a row that finds what random ones do not: constants, one outlier, signs, tiny and large.
func edge(r *rand.Rand, n int) []float32 {
	s := fill(r, n, 1)
	switch r.IntN(8) {
	case 0:
		clear(s)
	case 1:
		for i := range s {
			s[i] = -3.5
		}
	case 2:
		s[r.IntN(n)] = 1e6
	case 3:
		for i := range s {
			s[i] = max(s[i], 0)
		}
	case 4:
		for i := range s {
			s[i] = min(s[i], 0)
		}
	case 5:
		for i := range s {
			s[i] *= 1e-38
		}
	case 6:
		for i := range s { // half-way cases of rounding
			s[i] = float32(r.IntN(255)-127) / 2
		}
		s[0], s[1] = -63.5, 63.5
	}
	return s
}

// matrix makes weights that keep PairLimit, at random or as large as it allows.
func matrix(r *rand.Rand, k, n int) *Matrix8 {
	w := &Matrix8{K: k, N: n, W: make([]int8, k*n), Sum: make([]int32, n), Scale: fill(r, n, .01), Bias: fill(r, n, 1)}
	worst := r.IntN(4)
	for col := range n {
		panel := w.W[col/Lanes*Lanes*k:]
		for g := 0; g < k; g += 8 {
			for p := 0; p < 4; p += 2 {
				q := [4]int{r.IntN(129) - 64, r.IntN(129) - 64, r.IntN(129) - 64, r.IntN(129) - 64}
				switch worst {
				case 3:
					q = [4]int{127, -127, 127, -127}
				case 1:
					q = [4]int{127, 127, 4, 0}
				case 2:
					q = [4]int{-127, -1, -127, -3}
				}
				at := [4]int{g + p, g + p + 1, g + p + 4, g + p + 5}
				for i, k := range at {
					panel[k/4*64+col%Lanes*4+k%4] = int8(q[i])
					w.Sum[col] += int32(q[i])
				}
			}
		}
	}
	return w
}

func activations(r *rand.Rand, n int) []uint8 {
	a := make([]uint8, n)
	all := r.IntN(3)
	for i := range a {
		a[i] = uint8(r.IntN(128))
		if all == 0 {
			a[i] = 127
		}
	}
	return a
}

// guard surrounds memory that a kernel writes, to see that it writes nothing else.
const guard = 16

func guarded[T any](n int, mark T) (all, inner []T) {
	all = make([]T, n+2*guard)
	for i := range all {
		all[i] = mark
	}
	return all, all[guard : guard+n : guard+n]
}

func equalFloats(t *testing.T, what string, want, got []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) && !(want[i] == 0 && got[i] == 0) {
			t.Fatalf("%s: at %d of %d the reference has %v (%#x), the kernel %v (%#x)", what, i, len(want), want[i], math.Float32bits(want[i]), got[i], math.Float32bits(got[i]))
		}
	}
}

func equalBytes(t *testing.T, what string, want, got []uint8) {
	t.Helper()
	for i := range want {
		if want[i] != got[i] {
			t.Fatalf("%s: at %d of %d the reference has %d, the kernel %d", what, i, len(want), want[i], got[i])
		}
	}
}

// same runs every kernel of a set and of the reference on one set of shapes and values.
func same(t *testing.T, s *Set, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	m, wide, lanes, inputs := 1+r.IntN(20), Wide*(1+r.IntN(6)), Lanes*(1+r.IntN(8)), Wide*(1+r.IntN(5))

	w, a := matrix(r, inputs, wide), activations(r, m*inputs)
	rows := make([]Row, m)
	for i := range rows {
		rows[i] = Row{Scale: r.Float32(), Zero: int32(r.IntN(128))}
	}
	for _, mode := range []Mode{Store, ReLU, Add} {
		allWant, want := guarded[float32](m*wide, 3)
		allGot, got := guarded[float32](m*wide, 3)
		Go.Gemm8(want, a, rows, m, w, mode)
		s.Gemm8(got, a, rows, m, w, mode)
		equalFloats(t, fmt.Sprintf("%s gemm8 %dx%dx%d mode %d", s.Name, m, inputs, wide, mode), allWant, allGot)
	}

	k, lda, ldc := 1+r.IntN(150), 160, lanes+5
	b, x := fill(r, k*lanes, 1), fill(r, m*lda, 1)
	allWant, want := guarded[float32](m*ldc, 3)
	allGot, got := guarded[float32](m*ldc, 3)
	Go.GemmF(want, ldc, x, lda, b, m, k, lanes)
	s.GemmF(got, ldc, x, lda, b, m, k, lanes)
	equalFloats(t, fmt.Sprintf("%s gemmF %dx%dx%d", s.Name, m, k, lanes), allWant, allGot)

	scale, bias := fill(r, wide, 1), fill(r, wide, 1)
	allWant, want = guarded[float32](wide, 3)
	allGot, got = guarded[float32](wide, 3)
	weights := w8(r, k*wide)
	Go.Gemv(want, x[:k], weights, scale, bias)
	s.Gemv(got, x[:k], weights, scale, bias)
	equalFloats(t, s.Name+" gemv", allWant, allGot)

	Go.Embed(want, weights, scale[0], bias)
	s.Embed(got, weights, scale[0], bias)
	equalFloats(t, s.Name+" embed", allWant, allGot)

	row := edge(r, wide)
	allBytes, q := guarded[uint8](wide, 9)
	allBytes2, q2 := guarded[uint8](wide, 9)
	one, two := Go.Quant(q, row), s.Quant(q2, row)
	if one != two {
		t.Fatalf("%s quant: %v, the reference %v for %v", s.Name, two, one, row)
	}
	equalBytes(t, s.Name+" quant", allBytes, allBytes2)
	one, two = Go.Norm(q, row, scale, bias, want), s.Norm(q2, row, scale, bias, got)
	if one != two {
		t.Fatalf("%s norm: %v, the reference %v for %v", s.Name, two, one, row)
	}
	equalBytes(t, s.Name+" norm", allBytes, allBytes2)
	equalFloats(t, s.Name+" norm", allWant, allGot)

	n, size := 1+r.IntN(lanes), lanes
	scores := fill(r, size, []float32{.01, 1, 30, 1e4}[r.IntN(4)])
	allWant, want = guarded[float32](size, 3)
	allGot, got = guarded[float32](size, 3)
	copy(want, scores)
	copy(got, scores)
	Go.Softmax(want, n, .125)
	s.Softmax(got, n, .125)
	equalFloats(t, fmt.Sprintf("%s softmax %d of %d", s.Name, n, size), allWant, allGot)

	ld := lanes + r.IntN(9)
	src := fill(r, m*ld, 1)
	allWant, want = guarded[float32](m*lanes, 3)
	allGot, got = guarded[float32](m*lanes, 3)
	Go.Columns(want, src, ld, m, lanes)
	s.Columns(got, src, ld, m, lanes)
	equalFloats(t, s.Name+" columns", allWant, allGot)
	allWant, want = guarded[float32]((m+15)/16*16*lanes, 3)
	allGot, got = guarded[float32]((m+15)/16*16*lanes, 3)
	Go.Transpose(want, src, ld, m, lanes)
	s.Transpose(got, src, ld, m, lanes)
	equalFloats(t, s.Name+" transpose", allWant, allGot)

	x = fill(r, m*wide, 1)
	allWant, want = guarded[float32](wide, 3)
	allGot, got = guarded[float32](wide, 3)
	most, most2 := make([]float32, wide), make([]float32, wide)
	Go.Pool(want, most, x, m, wide)
	s.Pool(got, most2, x, m, wide)
	equalFloats(t, s.Name+" mean", allWant, allGot)
	equalFloats(t, s.Name+" maximum", most, most2)
}

func w8(r *rand.Rand, n int) []int8 {
	w := make([]int8, n)
	for i := range w {
		w[i] = int8(r.IntN(255) - 127)
	}
	return w
}

func TestEverySetGivesTheReferencesBits(t *testing.T) {
	for _, s := range others(t) {
		t.Run(s.Name, func(t *testing.T) {
			for seed := range uint64(400) {
				same(t, s, seed)
			}
		})
	}
}

func FuzzSets(f *testing.F) {
	for _, seed := range []uint64{0, 1, 2, 41, 1 << 40} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		for _, s := range others(t) {
			same(t, s, seed)
		}
	})
}

// The model's own shapes, at the values that come closest to an overflow.
func TestTheLargestSumsDoNotOverflow(t *testing.T) {
	const k, n = 1536, 64
	for _, s := range sets() {
		for _, sign := range []int{1, -1} {
			w := &Matrix8{K: k, N: n, W: make([]int8, k*n), Sum: make([]int32, n), Scale: make([]float32, n), Bias: make([]float32, n)}
			var sum int
			for i := range w.W {
				// 127 127 in the first two of each group of four, 2 2 in the next group's.
				v := 127
				if i/64%2 == 1 {
					v = 2
				}
				w.W[i] = int8(sign * v)
			}
			for g := range k / 4 {
				if g%2 == 0 {
					sum += 4 * 127
				} else {
					sum += 4 * 2
				}
			}
			for i := range w.Scale {
				w.Scale[i] = 1
			}
			a := make([]uint8, 7*k)
			for i := range a {
				a[i] = 127
			}
			rows := make([]Row, 7)
			for i := range rows {
				rows[i].Scale = 1
			}
			c := make([]float32, 7*n)
			s.Gemm8(c, a, rows, 7, w, Store)
			for i, v := range c {
				if v != float32(sign*sum*127) {
					t.Fatalf("%s: at %d %v instead of %d", s.Name, i, v, sign*sum*127)
				}
			}
		}
	}
}

func TestAKernelThatIsNotThereIsAnError(t *testing.T) {
	if _, err := Choose("neon"); err == nil {
		t.Fatal("a set that does not exist was chosen")
	}
	for _, name := range Available() {
		if s, err := Choose(name); err != nil || s.Name != name {
			t.Fatalf("%s: %v, %v", name, s, err)
		}
	}
	if s, err := Choose(""); err != nil || s.Name != Available()[0] {
		t.Fatalf("the default is %v, %v", s, err)
	}
}

func TestShapesThatDoNotFitPanic(t *testing.T) {
	f := func(n int) []float32 { return make([]float32, n) }
	for _, s := range sets() {
		for what, run := range map[string]func(){
			"gemm8 c": func() {
				s.Gemm8(f(63), make([]uint8, 64), make([]Row, 1), 1, matrix(rand.New(rand.NewPCG(1, 1)), 64, 64), Store)
			},
			"gemm8 a": func() {
				s.Gemm8(f(64), make([]uint8, 63), make([]Row, 1), 1, matrix(rand.New(rand.NewPCG(1, 1)), 64, 64), Store)
			},
			"gemm8 rows": func() {
				s.Gemm8(f(128), make([]uint8, 128), make([]Row, 1), 2, matrix(rand.New(rand.NewPCG(1, 1)), 64, 64), Store)
			},
			"gemm8 w":          func() { s.Gemm8(f(64), make([]uint8, 64), make([]Row, 1), 1, &Matrix8{K: 64, N: 64}, Store) },
			"gemmF b":          func() { s.GemmF(f(16), 16, f(4), 4, f(63), 1, 4, 16) },
			"gemmF n":          func() { s.GemmF(f(16), 16, f(4), 4, f(60), 1, 4, 15) },
			"gemv w":           func() { s.Gemv(f(64), f(2), make([]int8, 127), f(64), f(64)) },
			"embed pos":        func() { s.Embed(f(64), make([]int8, 64), 1, f(63)) },
			"norm tmp":         func() { s.Norm(make([]uint8, 64), f(64), f(64), f(64), f(63)) },
			"quant q":          func() { s.Quant(make([]uint8, 63), f(64)) },
			"quant odd":        func() { s.Quant(make([]uint8, 64), f(32)) },
			"softmax empty":    func() { s.Softmax(f(16), 0, 1) },
			"softmax too long": func() { s.Softmax(f(16), 17, 1) },
			"columns":          func() { s.Columns(f(15), f(16), 16, 1, 16) },
			"transpose":        func() { s.Transpose(f(16), f(16), 16, 1, 16) },
			"pool":             func() { s.Pool(f(64), f(64), f(64), 2, 64) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s %s: not refused", s.Name, what)
					}
				}()
				run()
			}()
		}
	}
}
