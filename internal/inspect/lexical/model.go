package lexical

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// Side is whose words a text is: the caller's, or those that came with data.
type Side uint8

const (
	Caller  Side = iota // user text
	Foreign             // tool results and documents
	sides
)

// Model holds the weights. It is safe for concurrent use.
type Model struct {
	bits  uint
	sides [sides]table
}

type table struct {
	scale, bias float32
	w           []int8
}

var magic = [8]byte{'S', 'P', 'L', 'E', 'X', 0, 0, 1}

// Load reads weights: magic, bits, then per side scale, bias and 2^bits signed bytes, then a CRC-32
// (Castagnoli) of all that. A damaged file is an error.
func Load(file []byte) (*Model, error) {
	if len(file) < 16 || !bytes.Equal(file[:8], magic[:]) {
		return nil, errors.New("lexical weights: not such a file")
	}
	body := file[:len(file)-4]
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(file[len(file)-4:]) {
		return nil, errors.New("lexical weights: damaged")
	}
	m := &Model{bits: uint(binary.LittleEndian.Uint32(body[8:]))}
	if m.bits < 8 || m.bits > 24 || len(body) != 12+int(sides)*(8+1<<m.bits) {
		return nil, fmt.Errorf("lexical weights: %d bytes do not hold tables of 2^%d", len(file), m.bits)
	}
	body = body[12:]
	for s := range m.sides {
		t := &m.sides[s]
		t.scale = math.Float32frombits(binary.LittleEndian.Uint32(body))
		t.bias = math.Float32frombits(binary.LittleEndian.Uint32(body[4:]))
		if !finite(t.scale) || !finite(t.bias) {
			return nil, errors.New("lexical weights: not a number")
		}
		t.w = make([]int8, 1<<m.bits)
		for i, b := range body[8 : 8+1<<m.bits] {
			t.w[i] = int8(b)
		}
		body = body[8+1<<m.bits:]
	}
	return m, nil
}

func finite(f float32) bool { return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) }

// Save writes what Load reads. weights has 2^bits numbers per side.
func Save(bits uint, weights [2][]float32, bias [2]float32) []byte {
	b := append([]byte(nil), magic[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(bits))
	for s, w := range weights {
		var most float32
		for _, x := range w {
			most = max(most, x, -x)
		}
		scale := max(most/127, 1e-9)
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(scale))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(bias[s]))
		for _, x := range w {
			b = append(b, byte(int8(math.RoundToEven(float64(x/scale)))))
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// Reader scores texts and keeps its memory between them. It is used by one goroutine at a time.
type Reader struct {
	m    *Model
	fs   []Feature
	once Once
	sum  []int32 // of the contributions of all new n-grams that end before a byte
	n    []int32 // how many new n-grams end before a byte
	side Side
}

// NewReader returns a reader for m.
func NewReader(m *Model) *Reader { return &Reader{m: m} }

// Read takes text in; Score and Hottest then speak of it.
func (r *Reader) Read(text []byte, side Side) {
	r.side = side
	r.fs = Features(r.fs[:0], text)
	r.sum, r.n = grown(r.sum, len(text)+2), grown(r.n, len(text)+2)
	t := r.m.sides[side].w
	mask := uint32(1)<<r.m.bits - 1
	r.once.Begin()
	for _, f := range r.fs {
		if !r.once.New(f) {
			continue
		}
		r.sum[f.End+1] += int32(t[f.Hash&mask])
		r.n[f.End+1]++
	}
	for i := 1; i < len(r.sum); i++ {
		r.sum[i] += r.sum[i-1]
		r.n[i] += r.n[i-1]
	}
}

func grown(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// Score is the log-odds that the bytes from start to end of what was read are an attack.
func (r *Reader) Score(start, end int) float32 {
	t := &r.m.sides[r.side]
	n := r.n[end+1] - r.n[start]
	if n == 0 {
		return t.bias
	}
	return float32(r.sum[end+1]-r.sum[start])*t.scale/float32(math.Sqrt(float64(n))) + t.bias
}

// Hottest is the range within start to end that makes the score: the one whose contributions sum to
// the most, and of that the part that is at least half as dense as the whole of it, so that a
// sentence beside an attack is not drawn in.
func (r *Reader) Hottest(start, end int) (from, to int) {
	from, to = r.most(start, end, 0)
	if n := r.n[to+1] - r.n[from+1]; n > 0 {
		from, to = r.most(from, to, float32(r.sum[to+1]-r.sum[from+1])/float32(n)/2)
	}
	return from, to
}

// most is the range whose contributions, less a toll for each, sum to the most (Kadane).
func (r *Reader) most(start, end int, toll float32) (from, to int) {
	var best, cur float32
	at := start
	from, to = start, start
	for i := start; i < end; i++ {
		cur += float32(r.sum[i+2]-r.sum[i+1]) - toll*float32(r.n[i+2]-r.n[i+1])
		if cur <= 0 {
			cur, at = 0, i+1
		} else if cur > best {
			best, from, to = cur, at, i+1
		}
	}
	return from, to
}
