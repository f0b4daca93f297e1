package iam

import (
	"hash/maphash"
	"iter"
	"slices"
)

// table finds keys by id. It never changes once it is made, so it is read without a lock.
//
// An id that there is not takes as long as one that there is (OWASP ASVS 5.0.0, 6.3.8), and reads as much of
// memory: who asks for one is given another key in its stead, always the same one. For that every place
// that holds no key holds some other one's address. An id is looked for in one cache line; in the next
// one too where the first is full, which depends on a seed that nobody outside knows.
type table struct {
	seed  maphash.Seed
	lines []line // a power of two of them; at least as many as keys
	n     int
}

// line is one cache line.
type line [4]place

// place is where a key may be: sum is its id's, never 0, and no other key's; 0 where e only stands in.
type place struct {
	sum uint64
	e   *entry
}

// newTable holds the keys of old, which may be nil, and those given, which go before: one of each id.
func newTable(old *table, given []*entry) *table {
	in := make(map[string]int, len(given))
	keys := make([]*entry, 0, len(given)+old.len())
	for _, e := range given {
		if at, again := in[e.key.ID]; again {
			keys[at] = e
			continue
		}
		in[e.key.ID] = len(keys)
		keys = append(keys, e)
	}
	for e := range old.all() {
		if _, newer := in[e.key.ID]; !newer {
			keys = append(keys, e)
		}
	}
	t := &table{n: len(keys)}
	if t.n == 0 {
		return t
	}
	size := 1
	for size < t.n {
		size *= 2
	}
	for whole := false; !whole; {
		t.seed, t.lines = maphash.MakeSeed(), make([]line, size)
		whole = !slices.ContainsFunc(keys, func(e *entry) bool { return !t.put(t.sum(e.key.ID), e) })
	}
	next := 0
	for i := range t.lines {
		for j := range t.lines[i] {
			if p := &t.lines[i][j]; p.e == nil {
				p.e = keys[next%t.n]
				next++
			}
		}
	}
	return t
}

func (t *table) sum(id string) uint64 { return max(maphash.String(t.seed, id), 1) }

// put is false where the sum is another key's, which with 64 bits of it next to never happens.
func (t *table) put(sum uint64, e *entry) bool {
	for i := sum; ; i++ {
		l := &t.lines[i&uint64(len(t.lines)-1)]
		for j := range l {
			switch l[j].sum {
			case 0:
				l[j] = place{sum, e}
				return true
			case sum:
				return false
			}
		}
	}
}

// find is the key with an id, or another one where there is none; nil where there are no keys.
func (t *table) find(id string) (e *entry, known bool) {
	if t.len() == 0 {
		return nil, false
	}
	return t.at(t.sum(id), id)
}

func (t *table) at(sum uint64, id string) (e *entry, known bool) {
	for i := sum; ; i++ {
		l := &t.lines[i&uint64(len(t.lines)-1)]
		// No branch: what is found where, a processor would learn to foresee, and more often of one kind of id.
		at, room := sum>>62, uint64(0)
		for j := range uint64(len(l)) {
			here := isZero(l[j].sum ^ sum)
			at ^= (at ^ j) & -here
			room |= isZero(l[j].sum)
		}
		// Who stands in is compared too.
		e = l[at].e
		known = e.key.ID == id && l[at].sum == sum
		if room != 0 || known {
			return e, known
		}
	}
}

// isZero is 1 for 0, otherwise 0.
func isZero(v uint64) uint64 { return 1 ^ (v|-v)>>63 }

func (t *table) len() int {
	if t == nil {
		return 0
	}
	return t.n
}

// all are the keys, in no order.
func (t *table) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		if t == nil {
			return
		}
		for i := range t.lines {
			for _, p := range t.lines[i] {
				if p.sum != 0 && !yield(p.e) {
					return
				}
			}
		}
	}
}
