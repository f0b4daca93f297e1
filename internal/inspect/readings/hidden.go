package readings

import (
	"strings"
	"unicode/utf8"
)

// hidden reads what characters that show nothing carry: tags, variation selectors as bytes, and
// bits written with two of them.
func (l *lattice) hidden(*mark) {
	tableOnce.Do(build)
	t := l.text
	tags, choosers, bits := l.builder("tags"), l.builder("variation"), l.builder("bits")
	var one []byte // tags that stand one by one
	var oneSegs []seg
	for i := 0; i < len(t); {
		if t[i] < 0xC2 {
			i++
			continue
		}
		r, w := utf8.DecodeRuneInString(t[i:])
		switch k := lookup(r).kind; k {
		case kTag, kChooser:
			end, n := runOf(t, i, k)
			if k == kTag {
				if m := flagTags(t[i:]); m > 0 {
					i += m
					continue
				}
			}
			b := tags
			if k == kChooser {
				b = choosers
			}
			if n >= 4 {
				l.carried(b, i, end, n)
			} else if k == kTag {
				for p := i; p < end; p += 4 {
					r, _ := utf8.DecodeRuneInString(t[p:])
					if r >= 0xE0020 && r < 0xE007F {
						oneSegs = append(oneSegs, seg{int32(len(one)), int32(p), int32(p + 4), whole})
						one = append(one, byte(r-0xE0000))
					}
				}
			}
			i = end
		case kHidden, kJoiner:
			end, n := runOf(t, i, k)
			if n >= 32 {
				l.bitsOf(bits, i, end)
			}
			i = end
		default:
			i += w
		}
	}
	l.add(tags)
	l.add(choosers)
	l.add(bits)
	if len(one) >= 12 && likely(string(one)) >= readable {
		b := l.builder("tags")
		b.edits, b.bare, b.out, b.segs, b.pos = 1, true, one, oneSegs, len(t)
		l.add(b)
	}
}

// runOf is where the run of characters of kind k (joiners count as hidden) from i ends, and their number.
func runOf(t string, i int, k kind) (end, n int) {
	for i < len(t) && t[i] >= 0x80 {
		r, w := utf8.DecodeRuneInString(t[i:])
		x := lookup(r).kind
		if x == kJoiner {
			x = kHidden
		}
		if x != k && !(k == kJoiner && x == kHidden) {
			break
		}
		i += w
		n++
	}
	return i, n
}

// carried decodes a run of tags or selectors in its place.
func (l *lattice) carried(b *builder, s, e, n int) {
	t := l.text
	out := make([]byte, 0, n)
	at := make([]int32, 0, n+1)
	for i := s; i < e; {
		r, w := utf8.DecodeRuneInString(t[i:])
		c := -1
		switch {
		case r >= 0xE0020 && r < 0xE007F:
			c = int(r - 0xE0000)
		case r >= 0xFE00 && r <= 0xFE0F:
			c = int(r - 0xFE00)
		case r >= 0xE0100 && r <= 0xE01EF:
			c = int(r-0xE0100) + 16
		}
		if c >= 0 && !(len(out) == 0 && c == 15) { // an emoji's own selector before the run
			out = append(out, byte(c))
			at = append(at, int32(i))
		}
		i += w
	}
	l.emit(b, s, e, out, append(at, int32(e)))
}

// emit puts the text of decoded bytes in the place of s..e; at says where each byte began. Bytes that
// are no text are left out; nothing is put when there is no text.
func (l *lattice) emit(b *builder, s, e int, out []byte, at []int32) bool {
	any := false
	b.each(out, 4, func(from, to int) {
		if !any {
			b.edit(s, int(at[from]), " ", whole)
		} else {
			b.raw(" ", b.pos, int(at[from]), whole)
		}
		any = true
		for from < to {
			_, w := utf8.DecodeRune(out[from:to])
			b.raw(string(out[from:from+w]), int(at[from]), int(at[from+w]), whole)
			from += w
		}
		b.pos = int(at[to])
	})
	if any {
		b.raw(" ", b.pos, e, whole)
		b.pos = e
	}
	return any
}

// bitsOf reads a run of two characters as bits, eight a byte; a third one parts bytes.
func (l *lattice) bitsOf(b *builder, s, e int) {
	t := l.text
	var kinds [4]rune
	var count [4]int
	n := 0
	for i := s; i < e; {
		r, w := utf8.DecodeRuneInString(t[i:])
		i += w
		k := 0
		for k < n && kinds[k] != r {
			k++
		}
		if k == n {
			if n == 4 {
				return
			}
			kinds[k] = r
			n++
		}
		count[k]++
	}
	if n < 2 {
		return
	}
	// The parting one is the rarest, if there are three.
	part := -1
	if n > 2 {
		part = 0
		for k := range n {
			if count[k] < count[part] {
				part = k
			}
		}
	}
	for flip := range 2 {
		var out []byte
		var at []int32
		bit, v, first := 0, 0, s
		one, digits := -1, 0
		for i := s; i < e; {
			r, w := utf8.DecodeRuneInString(t[i:])
			if part >= 0 && r == kinds[part] {
				bit, v = 0, 0
				i += w
				continue
			}
			if one < 0 {
				one = int(r)
			}
			if bit == 0 {
				first = i
			}
			v <<= 1
			if (int(r) == one) != (flip == 0) {
				v |= 1
			}
			digits++
			if bit++; bit == 8 {
				out, at = append(out, byte(v)), append(at, int32(first))
				bit, v = 0, 0
			}
			i += w
		}
		if l.emit(b, s, e, out, append(at, int32(e))) {
			return
		}
	}
}

// visual reads overrides of direction as they are shown: what stands behind U+202E runs backwards.
func (l *lattice) visual(*mark) {
	const rlo = "\u202e"
	t := l.text
	b := l.builder("bidi")
	for i := 0; ; {
		k := indexFrom(t, rlo, i)
		if k < 0 {
			break
		}
		s := k + len(rlo)
		e := s
		for e < len(t) {
			r, w := utf8.DecodeRuneInString(t[e:])
			if r == 0x202C || r == '\n' || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 {
				break
			}
			e += w
		}
		b.approach(k)
		b.back(s, e)
		b.pos = e
		if strings.HasPrefix(t[e:], "\u202c") {
			b.pos += 3
		}
		i = max(b.pos, k+3)
	}
	l.add(b)
}

// back adds the text's bytes s..e last to first, rune by rune.
func (b *builder) back(s, e int) {
	if s >= e || !b.room(e-s) {
		return
	}
	out := make([]byte, 0, e-s)
	plain := true
	for i := e; i > s; {
		_, w := utf8.DecodeLastRuneInString(b.text[s:i])
		plain = plain && w == 1
		out = append(out, b.text[i-w:i]...)
		i -= w
	}
	if plain {
		b.raw(string(out), s, e, backward)
		return
	}
	for i := e; i > s; {
		k := i
		for k > s && b.text[k-1] < 0x80 {
			k--
		}
		if k < i {
			b.raw(string(out[e-i:e-k]), k, i, backward)
			i = k
			continue
		}
		_, w := utf8.DecodeLastRuneInString(b.text[s:i])
		b.raw(b.text[i-w:i], i-w, i, whole)
		i -= w
	}
}
