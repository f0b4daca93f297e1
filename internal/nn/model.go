package nn

import (
	"fmt"

	"sallyport.dev/sallyport/internal/nn/kernel"
)

const (
	layers = 2
	heads  = 4
)

// dims are the sizes that the shapes of the trained weights state.
type dims struct {
	vocab  int // rows of the embedding
	narrow int // width of the embedding and of layer 0's input
	wide   int // width behind layer 0
	inner  int // width between f1 and f2
	head   int // width between h1 and h2
	logits int
	spans  int // 0: no logits per token
}

// check bounds the sizes, so that nothing computed from them overflows, and holds them to the
// kernels' multiples.
func (d *dims) check() error {
	for _, c := range []struct {
		name               string
		n, low, high, unit int
	}{
		{"vocabulary", d.vocab, 1, 1 << 20, 1},
		{"embedding", d.narrow, kernel.Wide, 2048, kernel.Wide},
		{"states", d.wide, kernel.Wide, 2048, kernel.Wide},
		{"feed-forward", d.inner, kernel.Wide, kernel.MaxInputs, kernel.Wide},
		{"head", d.head, kernel.Wide, 2048, kernel.Wide},
		{"logits", d.logits, 1, 1024, 1},
		{"span logits", d.spans, 0, 1024, 1},
	} {
		if c.n < c.low || c.n > c.high || c.n%c.unit != 0 {
			return fmt.Errorf("nn: %d is no size for %s (%d to %d, a multiple of %d)", c.n, c.name, c.low, c.high, c.unit)
		}
	}
	return nil
}

// lanes is n padded to whole panels.
func lanes(n int) int { return (n + kernel.Lanes - 1) / kernel.Lanes * kernel.Lanes }

// model is the weights as the kernels want them.
type model struct {
	dims
	embed      []int8    // [vocab][narrow]
	embedScale []float32 // [vocab], the factor 2 of the input included
	position   []float32 // [MaxTokens][narrow]
	layer      [layers]layer
	h1         []int8 // [2*wide][head]
	h1Scale    []float32
	h1Bias     []float32
	h2, h2Bias []float32 // panels of [head][logits]; padded
	span       []float32 // panels of [wide][spans]; padded
	spanBias   []float32
}

type layer struct {
	gain1, bias1 []float32
	qkv, out     kernel.Matrix8
	proj         kernel.Matrix8 // layer 0 only: the residual, made wide
	gain2, bias2 []float32
	f1, f2       kernel.Matrix8
}

// walker is handed every section of the packed file, in order. n is its length in elements.
type walker interface {
	floats(name string, s *[]float32, n int)
	bytes(name string, s *[]int8, n int)
}

// walk states the order and the sizes of the sections, for the writer and the reader alike. It also
// sets the shapes of the matrices.
func (m *model) walk(w walker) {
	matrix := func(name string, q *kernel.Matrix8, k, n int) {
		q.K, q.N = k, n
		w.bytes(name+".weight", &q.W, k*n)
		w.floats(name+".scale", &q.Scale, n)
		w.floats(name+".bias", &q.Bias, n)
	}
	w.bytes("embedding", &m.embed, m.vocab*m.narrow)
	w.floats("embedding.scale", &m.embedScale, m.vocab)
	w.floats("position", &m.position, MaxTokens*m.narrow)
	in := m.narrow
	for i := range m.layer {
		l, name := &m.layer[i], fmt.Sprintf("layer%d.", i)
		w.floats(name+"gain1", &l.gain1, in)
		w.floats(name+"bias1", &l.bias1, in)
		matrix(name+"qkv", &l.qkv, in, 3*in)
		matrix(name+"out", &l.out, in, m.wide)
		if i == 0 {
			matrix(name+"proj", &l.proj, in, m.wide)
		}
		w.floats(name+"gain2", &l.gain2, m.wide)
		w.floats(name+"bias2", &l.bias2, m.wide)
		matrix(name+"f1", &l.f1, m.wide, m.inner)
		matrix(name+"f2", &l.f2, m.inner, m.wide)
		in = m.wide
	}
	w.bytes("h1.weight", &m.h1, 2*m.wide*m.head)
	w.floats("h1.scale", &m.h1Scale, m.head)
	w.floats("h1.bias", &m.h1Bias, m.head)
	w.floats("h2.weight", &m.h2, m.head*lanes(m.logits))
	w.floats("h2.bias", &m.h2Bias, lanes(m.logits))
	if m.spans > 0 {
		w.floats("span.weight", &m.span, m.wide*lanes(m.spans))
		w.floats("span.bias", &m.spanBias, lanes(m.spans))
	}
}

// matrices are those with the integer product.
func (m *model) matrices() []*kernel.Matrix8 {
	var all []*kernel.Matrix8
	for i := range m.layer {
		l := &m.layer[i]
		all = append(all, &l.qkv, &l.out, &l.f1, &l.f2)
		if i == 0 {
			all = append(all, &l.proj)
		}
	}
	return all
}
