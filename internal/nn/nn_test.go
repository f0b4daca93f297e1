package nn

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

func openOn(t testing.TB, path string, p []byte) *Encoder {
	t.Helper()
	e, err := OpenOn(path, p)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func run(t testing.TB, e *Encoder, ids []int32, s *Scratch) Output {
	t.Helper()
	out, err := e.Run(ids, s)
	if err != nil {
		t.Fatal(err)
	}
	return Output{Logits: slices.Clone(out.Logits), Spans: slices.Clone(out.Spans), Features: slices.Clone(out.Features)}
}

// errors compares with the reference: the root mean square of the differences over that of the
// reference's own values, taken around their mean.
type errors64 struct{ diff, sum, squares, n float64 }

func (e *errors64) add(want float64, got float32) {
	e.diff += (want - float64(got)) * (want - float64(got))
	e.sum += want
	e.squares += want * want
	e.n++
}

func (e *errors64) ratio() float64 {
	return math.Sqrt(e.diff / (e.squares - e.sum*e.sum/e.n))
}

// What quantising to 8 and 7 bits costs against float64. The weights are random, so that nothing
// is redundant: trained ones lose less.
const tolerance = .08

func TestTheLogitsAreThoseOfTheNetwork(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, d := range []dims{small, {vocab: 77, narrow: 128, wide: 64, inner: 64, head: 128, logits: 17}} {
		w := trained(d, 9)
		ref := reference{w, d}
		for _, path := range Paths() {
			e := openOn(t, path, packed(t, w))
			logits, spans := make([]errors64, d.logits), make([]errors64, d.spans)
			var s Scratch
			for n := 1; n <= 64; n += 1 + r.IntN(3) {
				ids := text(r, d, n)
				want, wantSpans := ref.run(ids)
				got := run(t, e, ids, &s)
				if len(got.Logits) != d.logits || len(got.Spans) != n*d.spans || len(got.Features) != d.head {
					t.Fatalf("%d logits, %d span logits, %d features for %d tokens", len(got.Logits), len(got.Spans), len(got.Features), n)
				}
				for i := range want {
					logits[i].add(want[i], got.Logits[i])
				}
				for u := range wantSpans {
					for i := range spans {
						spans[i].add(wantSpans[u][i], got.Spans[u*d.spans+i])
					}
				}
			}
			for i := range logits {
				if q := logits[i].ratio(); !(q < tolerance) {
					t.Errorf("%s: logit %d is %.3f of its spread away from float64", path, i, q)
				} else {
					t.Logf("%s: logit %d: %.4f", path, i, q)
				}
			}
			for i := range spans {
				if q := spans[i].ratio(); !(q < tolerance) {
					t.Errorf("%s: span logit %d is %.3f of its spread away from float64", path, i, q)
				} else {
					t.Logf("%s: span logit %d: %.4f", path, i, q)
				}
			}
		}
	}
}

// lengths meet every tail of the kernels' blocks.
var lengths = []int{1, 2, 3, 4, 5, 6, 7, 11, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 255, 256}

func digest(out Output) uint64 {
	h := fnv.New64a()
	for _, s := range [][]float32{out.Logits, out.Spans, out.Features} {
		for _, v := range s {
			b := math.Float32bits(v + 0)
			_, _ = h.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)})
		}
	}
	return h.Sum64()
}

func TestEveryPathGivesTheSameBits(t *testing.T) {
	for _, d := range []dims{small, real} {
		if d == real && testing.Short() {
			t.Skip("the plain path takes its time on the real size")
		}
		p := packed(t, trained(d, 9))
		r := rand.New(rand.NewPCG(4, 4))
		for _, n := range lengths {
			ids := text(r, d, n)
			var want Output
			for i, path := range slices.Backward(Paths()) {
				got := run(t, openOn(t, path, p), ids, &Scratch{})
				if i == len(Paths())-1 {
					want = got
				} else if digest(got) != digest(want) {
					t.Errorf("%d tokens on %s: %v, on go: %v", n, path, got.Logits, want.Logits)
				}
			}
		}
	}
}

// The bits are written down, so that machines that never meet are held to the same ones.
func TestTheBitsAreThoseOfEveryOtherMachine(t *testing.T) {
	const golden = 0xff0ab1b7923b4369
	p := packed(t, trained(small, 9))
	for _, path := range Paths() {
		e := openOn(t, path, p)
		r := rand.New(rand.NewPCG(5, 5))
		h := fnv.New64a()
		var s Scratch
		for _, n := range lengths {
			sum := digest(run(t, e, text(r, small, n), &s))
			for i := range 8 {
				_, _ = h.Write([]byte{byte(sum >> (8 * i))})
			}
		}
		if h.Sum64() != golden {
			t.Errorf("%s: %#x instead of %#x", path, h.Sum64(), uint64(golden))
		}
	}
}

func TestAScratchDoesNotRemember(t *testing.T) {
	w := trained(small, 9)
	other := small
	other.wide, other.logits = 64, 20
	for _, path := range Paths() {
		e, f := openOn(t, path, packed(t, w)), openOn(t, path, packed(t, trained(other, 2)))
		r := rand.New(rand.NewPCG(6, 6))
		var used Scratch
		for range 30 {
			ids := text(r, small, 1+r.IntN(MaxTokens))
			for _, enc := range []*Encoder{e, f} {
				if digest(run(t, enc, ids, &used)) != digest(run(t, enc, ids, &Scratch{})) {
					t.Fatalf("%s: %d tokens give other logits with a scratch that was used", path, len(ids))
				}
			}
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	e := openOn(t, Paths()[0], packed(t, trained(small, 9)))
	r := rand.New(rand.NewPCG(7, 7))
	var texts [][]int32
	var want []uint64
	for range 20 {
		texts = append(texts, text(r, small, 1+r.IntN(100)))
		want = append(want, digest(run(t, e, texts[len(texts)-1], &Scratch{})))
	}
	pool := sync.Pool{New: func() any { return new(Scratch) }}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range texts {
				i = (i + g) % len(texts)
				s := pool.Get().(*Scratch)
				out, err := e.Run(texts[i], s)
				if err != nil || digest(out) != want[i] {
					t.Errorf("text %d: %v, %v", i, out.Logits, err)
				}
				pool.Put(s)
			}
		})
	}
	wg.Wait()
}

func TestWhatCannotBeRead(t *testing.T) {
	e := openOn(t, "go", packed(t, trained(small, 9)))
	for what, ids := range map[string][]int32{
		"nothing":  {},
		"too much": make([]int32, MaxTokens+1),
		"negative": {1, -1},
		"beyond":   {0, int32(small.vocab)},
		"largest":  {math.MaxInt32},
		"smallest": {math.MinInt32},
	} {
		if out, err := e.Run(ids, &Scratch{}); err == nil || out.Logits != nil {
			t.Errorf("%s: %v", what, out)
		}
	}
}

func TestRunDoesNotAllocate(t *testing.T) {
	for _, path := range Paths() {
		e := openOn(t, path, packed(t, trained(small, 9)))
		var s Scratch
		long, short := make([]int32, 100), make([]int32, 7)
		if _, err := e.Run(long, &s); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(10, func() {
			_, _ = e.Run(long, &s)
			_, _ = e.Run(short, &s)
		}); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

func TestAForcedPathThatIsNotThereIsAnError(t *testing.T) {
	if _, err := OpenOn("sse9", packed(t, trained(small, 9))); err == nil {
		t.Fatal("opened on a path that does not exist")
	}
	name, err := Path()
	if err != nil || !slices.Contains(Paths(), name) {
		t.Fatalf("%q, %v", name, err)
	}
}
