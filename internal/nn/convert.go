package nn

import (
	"fmt"
	"io"
	"math"

	"sallyport.dev/sallyport/internal/nn/kernel"
)

// Convert reads trained float32 weights in the safetensors format, quantises them and gives the
// packed file that Open reads. Names and shapes are those of PyTorch's state: emb.weight, inv,
// l{0,1}.{ln1,qkv,o,ln2,f1,f2}.{weight,bias}, l0.proj, h1, h2 and, if the file has it, span, with
// linear weights as [outputs, inputs]. Tensors of other names are left out; a missing one, another
// shape or a value that is not finite is an error. The same input gives the same bytes.
func Convert(safetensors io.Reader) ([]byte, error) {
	t, err := readTensors(safetensors)
	if err != nil {
		return nil, err
	}
	m, err := t.model()
	if err != nil {
		return nil, err
	}
	if err := m.verify(); err != nil {
		return nil, err
	}
	return m.encode(), nil
}

// source reads tensors by name and keeps the first error.
type source struct {
	tensors
	err error
}

// get gives the values of a tensor of this shape.
func (s *source) get(name string, shape ...int) []float32 {
	v, err := s.floats(name, shape...)
	if err != nil && s.err == nil {
		s.err = err
	}
	if err != nil {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return make([]float32, n)
	}
	return v
}

func (t tensors) model() (*model, error) {
	m := &model{}
	for _, d := range []struct {
		name string
		axis int
		n    *int
	}{
		{"emb.weight", 0, &m.vocab}, {"emb.weight", 1, &m.narrow}, {"l0.o.weight", 0, &m.wide},
		{"l0.f1.weight", 0, &m.inner}, {"h1.weight", 0, &m.head}, {"h2.weight", 0, &m.logits},
	} {
		shape := t.shape(d.name)
		if len(shape) != 2 {
			return nil, fmt.Errorf("nn: the weights have no matrix %s", d.name)
		}
		*d.n = shape[d.axis]
	}
	if shape := t.shape("span.weight"); len(shape) == 2 {
		m.spans = shape[0]
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	s := &source{tensors: t}
	linear := func(q *kernel.Matrix8, name string, k, n int) {
		*q = quantise(s.get(name+".weight", n, k), k, n)
		q.Bias = s.get(name+".bias", n)
	}
	m.embed, m.embedScale = quantiseRows(s.get("emb.weight", m.vocab, m.narrow), m.vocab, m.narrow)
	for i := range m.embedScale {
		m.embedScale[i] *= 2
	}
	m.position = positions(s.get("inv", 1, m.narrow/2))
	in := m.narrow
	for i := range m.layer {
		l, name := &m.layer[i], fmt.Sprintf("l%d.", i)
		l.gain1, l.bias1 = s.get(name+"ln1.weight", in), s.get(name+"ln1.bias", in)
		linear(&l.qkv, name+"qkv", in, 3*in)
		linear(&l.out, name+"o", in, m.wide)
		if i == 0 {
			linear(&l.proj, name+"proj", in, m.wide)
		}
		l.gain2, l.bias2 = s.get(name+"ln2.weight", m.wide), s.get(name+"ln2.bias", m.wide)
		linear(&l.f1, name+"f1", m.wide, m.inner)
		linear(&l.f2, name+"f2", m.inner, m.wide)
		in = m.wide
	}
	rows, scale := quantiseRows(s.get("h1.weight", m.head, 2*m.wide), m.head, 2*m.wide)
	m.h1, m.h1Scale, m.h1Bias = make([]int8, len(rows)), scale, s.get("h1.bias", m.head)
	for n := range m.head {
		for k := range 2 * m.wide {
			m.h1[k*m.head+n] = rows[n*2*m.wide+k]
		}
	}
	m.h2, m.h2Bias = panels(s.get("h2.weight", m.logits, m.head), s.get("h2.bias", m.logits), m.head)
	if m.spans > 0 {
		m.span, m.spanBias = panels(s.get("span.weight", m.spans, m.wide), s.get("span.bias", m.spans), m.wide)
	}
	return m, s.err
}

// positions are the sinusoids that are added to the embedding (Vaswani et al. 2017, section 3.5),
// all sines before all cosines. They are stored, so that no machine computes its own.
func positions(inv []float32) []float32 {
	var p []float32
	for t := range MaxTokens {
		for _, f := range inv {
			p = append(p, float32(math.Sin(float64(float32(t)*f))))
		}
		for _, f := range inv {
			p = append(p, float32(math.Cos(float64(float32(t)*f))))
		}
	}
	return p
}

// quantiseRows gives 8 bits and a scale to each row of w.
func quantiseRows(w []float32, rows, cols int) ([]int8, []float32) {
	q, scale := make([]int8, rows*cols), make([]float32, rows)
	for r := range rows {
		row := w[r*cols : (r+1)*cols]
		s := largest(row) / 127
		scale[r] = float32(s)
		for i, v := range row {
			q[r*cols+i] = nearest(v, float64(scale[r]))
		}
	}
	return q, scale
}

func largest(s []float32) (m float64) {
	for _, v := range s {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}

func nearest(v float32, scale float64) int8 {
	if scale == 0 {
		return 0
	}
	return int8(max(-127, min(127, math.RoundToEven(float64(v)/scale))))
}

// quantise gives 8 bits and a scale to each output of w, which is [n][k], in the kernels' layout. The
// scale is the smallest that keeps 127 and kernel.PairLimit; the latter binds seldom, as it takes
// neighbours that are all large and of one sign.
func quantise(w []float32, k, n int) kernel.Matrix8 {
	q := kernel.Matrix8{K: k, N: n, W: make([]int8, k*n), Scale: make([]float32, n)}
	row := make([]int8, k)
	for out := range n {
		values := w[out*k : (out+1)*k]
		scale := float32(largest(values) / 127)
		for {
			for i, v := range values {
				row[i] = nearest(v, float64(scale))
			}
			if withinPairs(row) {
				break
			}
			scale *= 1.005
		}
		q.Scale[out] = scale
		panel := q.W[out/kernel.Lanes*kernel.Lanes*k:]
		for i, v := range row {
			panel[i/4*4*kernel.Lanes+out%kernel.Lanes*4+i%4] = v
		}
	}
	return q
}

func withinPairs(row []int8) bool {
	for k := 0; k < len(row); k += 8 {
		for p := k; p < k+4; p += 2 {
			if !within(row[p], row[p+1], row[p+4], row[p+5]) {
				return false
			}
		}
	}
	return true
}

// panels lays w, which is [n][k], and its bias out for GemmF, padded with zeros.
func panels(w, bias []float32, k int) (p, b []float32) {
	n := len(bias)
	p, b = make([]float32, k*lanes(n)), make([]float32, lanes(n))
	copy(b, bias)
	for out := range n {
		for i := range k {
			p[out/kernel.Lanes*kernel.Lanes*k+i*kernel.Lanes+out%kernel.Lanes] = w[out*k+i]
		}
	}
	return p, b
}
