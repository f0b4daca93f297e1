package nn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"unsafe"

	"sallyport.dev/sallyport/internal/nn/kernel"
)

// The packed file, all little-endian:
//
//	 0  magic
//	 8  version, number of sections, the seven dims in their order (9 x uint32), zero (uint32)
//	48  size of the file (uint64)
//	56  CRC-32C of the header without this field, and of the table (uint32), zero (uint32)
//	64  table: per section offset, size in bytes (2 x uint64), CRC-32C, zero (2 x uint32)
//
// then the sections in the order of model.walk, each at the next multiple of 64, zeros between. The
// checksums find damage; that the file is ours is said by the signature of the pack that holds it.
const (
	magic      = "SALLYNN\n"
	version    = 1
	headerSize = 64
	entrySize  = 24
	alignment  = 64
	// bound is the largest magnitude of any float in the file. With it no value of any Run, whatever
	// the tokens, is infinite or not a number.
	bound = 1000
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (d *dims) fields() []*int {
	return []*int{&d.vocab, &d.narrow, &d.wide, &d.inner, &d.head, &d.logits, &d.spans}
}

func align(n int) int { return (n + alignment - 1) / alignment * alignment }

// sections is a walker that writes down sizes.
type sections struct {
	names []string
	sizes []int
}

func (s *sections) floats(name string, _ *[]float32, n int) {
	s.names, s.sizes = append(s.names, name), append(s.sizes, 4*n)
}

func (s *sections) bytes(name string, _ *[]int8, n int) {
	s.names, s.sizes = append(s.names, name), append(s.sizes, n)
}

// layout gives the sections' names, offsets and sizes, and the size of the file.
func (m *model) layout() (s sections, offsets []int, total int) {
	m.walk(&s)
	at := align(headerSize + entrySize*len(s.sizes))
	for _, n := range s.sizes {
		offsets = append(offsets, at)
		at = align(at + n)
	}
	return s, offsets, at
}

// header is what the file begins with, given the sections' checksums.
func (m *model) header(s sections, offsets []int, total int, sums []uint32) []byte {
	h := make([]byte, headerSize+entrySize*len(s.sizes))
	copy(h, magic)
	binary.LittleEndian.PutUint32(h[8:], version)
	binary.LittleEndian.PutUint32(h[12:], uint32(len(s.sizes)))
	for i, f := range m.fields() {
		binary.LittleEndian.PutUint32(h[16+4*i:], uint32(*f))
	}
	binary.LittleEndian.PutUint64(h[48:], uint64(total))
	for i := range s.sizes {
		e := h[headerSize+entrySize*i:]
		binary.LittleEndian.PutUint64(e, uint64(offsets[i]))
		binary.LittleEndian.PutUint64(e[8:], uint64(s.sizes[i]))
		binary.LittleEndian.PutUint32(e[16:], sums[i])
	}
	binary.LittleEndian.PutUint32(h[56:], crc32.Checksum(h, castagnoli))
	return h
}

// writer is a walker that appends the sections.
type writer struct {
	out  []byte
	sums []uint32
}

func (w *writer) pad() { w.out = append(w.out, make([]byte, align(len(w.out))-len(w.out))...) }

func (w *writer) floats(_ string, s *[]float32, _ int) {
	w.pad()
	at := len(w.out)
	for _, v := range *s {
		w.out = binary.LittleEndian.AppendUint32(w.out, math.Float32bits(v))
	}
	w.sums = append(w.sums, crc32.Checksum(w.out[at:], castagnoli))
}

func (w *writer) bytes(_ string, s *[]int8, _ int) {
	w.pad()
	at := len(w.out)
	for _, v := range *s {
		w.out = append(w.out, byte(v))
	}
	w.sums = append(w.sums, crc32.Checksum(w.out[at:], castagnoli))
}

func (m *model) encode() []byte {
	s, offsets, total := m.layout()
	w := &writer{out: make([]byte, headerSize+entrySize*len(s.sizes), total)}
	m.walk(w)
	w.pad()
	copy(w.out, m.header(s, offsets, total, w.sums))
	return w.out
}

// reader is a walker that cuts the sections out of the file.
type reader struct {
	sections [][]byte
}

func (r *reader) next() []byte {
	s := r.sections[0]
	r.sections = r.sections[1:]
	return s
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// floats are used where they stand unless the machine forbids it.
func (r *reader) floats(_ string, s *[]float32, n int) {
	b := r.next()
	p := unsafe.Pointer(unsafe.SliceData(b))
	if littleEndian && uintptr(p)%unsafe.Alignof(float32(0)) == 0 {
		*s = unsafe.Slice((*float32)(p), n)
		return
	}
	*s = make([]float32, n)
	for i := range *s {
		(*s)[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

func (r *reader) bytes(_ string, s *[]int8, n int) {
	*s = unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(r.next()))), n)
}

var errDamaged = errors.New("nn: the packed weights are damaged")

func (m *model) decode(file []byte) error {
	if len(file) < headerSize || string(file[:8]) != magic {
		return errors.New("nn: this is no file of packed weights")
	}
	if v := binary.LittleEndian.Uint32(file[8:]); v != version {
		return fmt.Errorf("nn: the packed weights have version %d, this program reads %d", v, version)
	}
	for i, f := range m.fields() {
		n := binary.LittleEndian.Uint32(file[16+4*i:])
		if n > 1<<20 {
			return errDamaged
		}
		*f = int(n)
	}
	if err := m.check(); err != nil {
		return err
	}
	s, offsets, total := m.layout()
	if len(file) != total {
		return fmt.Errorf("%w: %d bytes instead of %d", errDamaged, len(file), total)
	}
	var r reader
	var sums []uint32
	end := headerSize + entrySize*len(s.sizes)
	for i, at := range offsets {
		if !zero(file[end:at]) {
			return fmt.Errorf("%w before section %s", errDamaged, s.names[i])
		}
		end = at + s.sizes[i]
		r.sections = append(r.sections, file[at:end:end])
		sums = append(sums, crc32.Checksum(file[at:end], castagnoli))
	}
	if !zero(file[end:]) {
		return fmt.Errorf("%w behind the last section", errDamaged)
	}
	// All that the header and the table say follows from the sizes and the contents.
	if want := m.header(s, offsets, total, sums); string(want) != string(file[:len(want)]) {
		for i := range s.names {
			if at := headerSize + entrySize*i + 16; binary.LittleEndian.Uint32(file[at:]) != sums[i] {
				return fmt.Errorf("%w: checksum of section %s", errDamaged, s.names[i])
			}
		}
		return fmt.Errorf("%w: header", errDamaged)
	}
	m.walk(&r)
	return m.verify()
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// limits is a walker that looks for floats out of bounds.
type limits struct{ err error }

func (l *limits) bytes(string, *[]int8, int) {}

func (l *limits) floats(name string, s *[]float32, _ int) {
	for i, v := range *s {
		if !(v >= -bound && v <= bound) && l.err == nil {
			l.err = fmt.Errorf("nn: weight %d of %s is %v; the bound is %d", i, name, v, bound)
		}
	}
}

// verify holds the weights to what the kernels count on, and computes what follows from them.
func (m *model) verify() error {
	var l limits
	m.walk(&l)
	if l.err != nil {
		return l.err
	}
	for _, q := range m.matrices() {
		if err := finish(q); err != nil {
			return err
		}
	}
	return nil
}

// finish computes a matrix's Sum and checks kernel.PairLimit on the way.
func finish(q *kernel.Matrix8) error {
	q.Sum = make([]int32, q.N)
	for at := 0; at < q.N; at += kernel.Lanes {
		sum := (*[kernel.Lanes]int32)(q.Sum[at:])
		for k := 0; k < q.K; k += 8 {
			g := (*[8 * kernel.Lanes]int8)(q.W[at*q.K+k*kernel.Lanes:])
			for j := range sum {
				a, b := (*[4]int8)(g[4*j:]), (*[4]int8)(g[4*kernel.Lanes+4*j:])
				sum[j] += int32(a[0]) + int32(a[1]) + int32(a[2]) + int32(a[3]) +
					int32(b[0]) + int32(b[1]) + int32(b[2]) + int32(b[3])
				if !within(a[0], a[1], b[0], b[1]) || !within(a[2], a[3], b[2], b[3]) {
					return fmt.Errorf("nn: the weights of output %d at inputs %d to %d are larger than the kernels allow", at+j, k, k+7)
				}
			}
		}
	}
	return nil
}

// within says whether four weights keep kernel.PairLimit. The sum of the positive ones is half of
// what the magnitudes' sum and the sum add up to, that of the negative ones half of the difference.
func within(a, b, c, d int8) bool {
	sum := int32(a) + int32(b) + int32(c) + int32(d)
	size := abs(a) + abs(b) + abs(c) + abs(d)
	return size+sum <= 2*kernel.PairLimit && size-sum <= 2*kernel.PairLimit
}

func abs(v int8) int32 {
	w := int32(v)
	s := w >> 31
	return w ^ s - s
}
