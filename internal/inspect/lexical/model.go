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
	scale [sides]float32
	bias  [sides]float32
	slots []slot
}

// slot is the weight of one n-gram on each side, above its tag: the n-gram whose hash ends in the
// slot's number and begins with the tag. Another n-gram that comes to the slot has no weight: what the
// model has never seen says nothing, so that noise (an encoded file, a language it does not know) adds
// up to nothing.
type slot uint32

func newSlot(b []byte) slot { return slot(b[0]) | slot(b[1])<<8 | slot(b[2])<<16 }

// weight is that of the n-gram with this hash, on a side.
func (s slot) weight(hash uint32, side Side) (w int32) {
	if uint8(s) == Tag(hash) {
		w = int32(int8(s >> (8 + 8*side)))
	}
	return w
}

// slotBytes is what a slot takes in a file.
const slotBytes = 1 + int(sides)

// Tag is the part of an n-gram's hash that a slot remembers.
func Tag(hash uint32) uint8 { return uint8(hash >> 24) }

var magic = [8]byte{'S', 'P', 'L', 'E', 'X', 0, 0, 2}

// Load reads weights: magic, bits, scale and bias of each side, 2^bits slots of a tag and a signed byte
// a side, then a CRC-32 (Castagnoli) of all that. A damaged file is an error.
func Load(file []byte) (*Model, error) {
	if len(file) < 16 || !bytes.Equal(file[:8], magic[:]) {
		return nil, errors.New("lexical weights: not such a file")
	}
	body := file[:len(file)-4]
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(file[len(file)-4:]) {
		return nil, errors.New("lexical weights: damaged")
	}
	m := &Model{bits: uint(binary.LittleEndian.Uint32(body[8:]))}
	if m.bits < 8 || m.bits > 24 || len(body) != 12+int(sides)*8+slotBytes<<m.bits {
		return nil, fmt.Errorf("lexical weights: %d bytes do not hold 2^%d slots", len(file), m.bits)
	}
	body = body[12:]
	for s := range sides {
		m.scale[s] = math.Float32frombits(binary.LittleEndian.Uint32(body))
		m.bias[s] = math.Float32frombits(binary.LittleEndian.Uint32(body[4:]))
		if !finite(m.scale[s]) || !finite(m.bias[s]) {
			return nil, errors.New("lexical weights: not a number")
		}
		body = body[8:]
	}
	m.slots = make([]slot, 1<<m.bits)
	for i := range m.slots {
		m.slots[i] = newSlot(body[i*slotBytes:])
	}
	return m, nil
}

func finite(f float32) bool { return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) }

// Save writes what Load reads. tags and the weights of each side have 2^bits members.
func Save(bits uint, tags []uint8, weights [2][]float32, bias [2]float32) []byte {
	b := append([]byte(nil), magic[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(bits))
	var scale [sides]float32
	for s, w := range weights {
		var most float32
		for _, x := range w {
			most = max(most, x, -x)
		}
		scale[s] = max(most/127, 1e-9)
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(scale[s]))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(bias[s]))
	}
	for i, tag := range tags {
		b = append(b, tag)
		for s := range weights {
			b = append(b, byte(int8(math.RoundToEven(float64(weights[s][i]/scale[s])))))
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
	slots, mask := r.m.slots, uint32(len(r.m.slots)-1)
	r.once.Begin()
	for _, f := range r.fs {
		if !r.once.New(f) {
			continue
		}
		r.sum[f.End+1] += slots[f.Hash&mask].weight(f.Hash, side)
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
	bias := r.m.bias[r.side]
	n := r.n[end+1] - r.n[start]
	if n == 0 {
		return bias
	}
	return float32(r.sum[end+1]-r.sum[start])*r.m.scale[r.side]/float32(math.Sqrt(float64(n))) + bias
}

// Sum is what the n-grams within a range add up to, over the root of their number: Score without what
// is known of texts before a word is read.
func (r *Reader) Sum(start, end int) float32 { return r.Score(start, end) - r.m.bias[r.side] }

// Density is what a byte of the range adds on average.
func (r *Reader) Density(start, end int) float32 {
	if start >= end {
		return 0
	}
	return float32(r.sum[end+1]-r.sum[start]) * r.m.scale[r.side] / float32(end-start)
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
