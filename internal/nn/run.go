package nn

import (
	"errors"
	"fmt"
	"math"

	"sallyport.dev/sallyport/internal/nn/kernel"
)

// Scratch is the memory of one Run; its zero value is ready. It grows to what the longest text needs
// (about 15 KB a token) and keeps it, so that Run does not allocate. It serves one Run at a time.
type Scratch struct {
	tokens int   // room for so many
	sizes  *dims // of the encoder that it was made for

	x, y     []float32 // [T][wide] states; y is the next layer's, or what a norm leaves behind
	inner    []float32 // [T][max(3*wide, inner)] queries, keys and values, later the feed-forward's
	context  []float32 // [T][wide] what attention gathers
	scores   []float32 // [T][lanes(T)]
	kt, v    []float32 // one head's keys, transposed, and values, in panels
	q        []uint8   // [T][max(wide, inner)] quantised activations
	rows     []kernel.Row
	pooled   []float32 // [2*wide] mean and maximum
	features []float32 // [head]
	logits   []float32 // [lanes(logits)]
	perToken []float32 // [T][lanes(spans)]
}

// Output is what a text got. It aliases the Scratch: the next Run with that overwrites it.
type Output struct {
	Logits   []float32 // [Encoder.Logits]
	Spans    []float32 // [tokens][Encoder.Spans]
	Features []float32 // what Logits is a linear function of
	Pooled   []float32 // mean and maximum of the states, for training heads
	States   []float32 // [tokens][wide], for the same
}

func (s *Scratch) grow(m *model, tokens int) {
	if s.tokens >= tokens && s.sizes == &m.dims {
		return
	}
	t := min(MaxTokens, (tokens+31)/32*32)
	floats := func(n int) []float32 { return make([]float32, n) }
	wide := max(m.narrow, m.wide)
	*s = Scratch{
		tokens: t, sizes: &m.dims,
		x: floats(t * wide), y: floats(t * wide), context: floats(t * wide),
		inner:  floats(t * max(3*wide, m.inner)),
		scores: floats(t * lanes(t)), kt: floats(lanes(t) * wide / heads), v: floats(t * wide / heads),
		q: make([]uint8, t*max(wide, m.inner)), rows: make([]kernel.Row, t),
		pooled: floats(2 * m.wide), features: floats(m.head),
		logits: floats(lanes(m.logits)), perToken: floats(t * lanes(m.spans)),
	}
}

var errNoTokens = errors.New("nn: a text of no tokens")

// Run encodes one text of 1 to MaxTokens tokens. An id outside the vocabulary is an error.
func (e *Encoder) Run(ids []int32, s *Scratch) (Output, error) {
	n := len(ids)
	if n == 0 {
		return Output{}, errNoTokens
	}
	if n > MaxTokens {
		return Output{}, fmt.Errorf("nn: %d tokens; at most %d are read", n, MaxTokens)
	}
	for i, id := range ids {
		if id < 0 || int(id) >= e.vocab {
			return Output{}, fmt.Errorf("nn: token %d has id %d; there are %d", i, id, e.vocab)
		}
	}
	s.grow(&e.model, n)
	width := e.narrow
	for t, id := range ids {
		e.kern.Embed(s.x[t*width:(t+1)*width], e.embed[int(id)*width:(int(id)+1)*width], e.embedScale[id], e.position[t*width:(t+1)*width])
	}
	for i := range e.layer {
		e.forward(&e.layer[i], s, n, width)
		width = e.wide
	}
	return e.heads(s, n), nil
}

// quantise gives the rows of x 7 bits.
func (e *Encoder) quantise(s *Scratch, x []float32, n, width int) {
	for t := range n {
		s.rows[t] = e.kern.Quant(s.q[t*width:(t+1)*width], x[t*width:(t+1)*width])
	}
}

// norm normalises the rows of x and gives that 7 bits; tmp has room for a row.
func (e *Encoder) norm(s *Scratch, x, gain, bias, tmp []float32, n, width int) {
	for t := range n {
		s.rows[t] = e.kern.Norm(s.q[t*width:(t+1)*width], x[t*width:(t+1)*width], gain, bias, tmp)
	}
}

// forward is one layer: x becomes r + out(attention(norm(x))), and that x + f2(relu(f1(norm(x)))),
// where r is x or, in layer 0, proj(x).
func (e *Encoder) forward(l *layer, s *Scratch, n, width int) {
	e.norm(s, s.x, l.gain1, l.bias1, s.context, n, width)
	e.kern.Gemm8(s.inner, s.q, s.rows, n, &l.qkv, kernel.Store)
	e.attend(s, n, width)
	if l.proj.N > 0 {
		e.quantise(s, s.x, n, width)
		e.kern.Gemm8(s.y, s.q, s.rows, n, &l.proj, kernel.Store)
		s.x, s.y = s.y, s.x
	}
	e.quantise(s, s.context, n, width)
	e.kern.Gemm8(s.x, s.q, s.rows, n, &l.out, kernel.Add)
	e.norm(s, s.x, l.gain2, l.bias2, s.context, n, e.wide)
	e.kern.Gemm8(s.inner, s.q, s.rows, n, &l.f1, kernel.ReLU)
	e.quantise(s, s.inner, n, e.inner)
	e.kern.Gemm8(s.x, s.q, s.rows, n, &l.f2, kernel.Add)
}

// attend is softmax(q*k/sqrt(d))*v for every head, from inner to context.
func (e *Encoder) attend(s *Scratch, n, width int) {
	d, ld, padded := width/heads, 3*width, lanes(n)
	scale := float32(1 / math.Sqrt(float64(d)))
	for h := range heads {
		query, key, value := s.inner[h*d:], s.inner[width+h*d:], s.inner[2*width+h*d:]
		e.kern.Transpose(s.kt, key, ld, n, d)
		e.kern.Columns(s.v, value, ld, n, d)
		e.kern.GemmF(s.scores, padded, query, ld, s.kt, n, d, padded)
		for t := range n {
			e.kern.Softmax(s.scores[t*padded:(t+1)*padded], n, scale)
		}
		e.kern.GemmF(s.context[h*d:], width, s.scores, padded, s.v, n, n, d)
	}
}

// heads turns the states into logits.
func (e *Encoder) heads(s *Scratch, n int) Output {
	e.kern.Pool(s.pooled[:e.wide], s.pooled[e.wide:], s.x, n, e.wide)
	e.kern.Gemv(s.features, s.pooled, e.h1, e.h1Scale, e.h1Bias)
	for i, v := range s.features {
		s.features[i] = max(v, 0)
	}
	e.kern.GemmF(s.logits, len(s.logits), s.features, e.head, e.h2, 1, e.head, len(s.logits))
	for i := range s.logits {
		s.logits[i] += e.h2Bias[i]
	}
	out := Output{Logits: s.logits[:e.logits], Features: s.features, Pooled: s.pooled, States: s.x[:n*e.wide]}
	if e.spans == 0 {
		return out
	}
	padded := lanes(e.spans)
	e.kern.GemmF(s.perToken, padded, s.x, e.wide, e.span, n, e.wide, padded)
	// Rows are moved together in place: what is written never overtakes what is read.
	for t := range n {
		for i := range e.spans {
			s.perToken[t*e.spans+i] = s.perToken[t*padded+i] + e.spanBias[i]
		}
	}
	out.Spans = s.perToken[:n*e.spans]
	return out
}
