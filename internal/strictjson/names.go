package strictjson

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// nameSet finds two equal names in one object. Small objects are compared pairwise; larger ones
// through a map, which is kept for the next.
type nameSet struct {
	m map[string]struct{}
}

const pairwise = 8

// duplicate returns the offset of the second of two equal names in the object at node at, or -1.
func (s *nameSet) duplicate(b []byte, nodes []Node, at int) int {
	o := nodes[at]
	if o.Len <= pairwise {
		for i := at + 1; i < int(o.Next); i = int(nodes[i].Next) {
			for j := at + 1; j < i; j = int(nodes[j].Next) {
				if sameName(b, &nodes[i], &nodes[j]) {
					return int(nodes[i].KeyAt)
				}
			}
		}
		return -1
	}
	m := s.m
	if m == nil || o.Len > 1024 {
		m = make(map[string]struct{}, o.Len)
	}
	if o.Len <= 1024 {
		s.m = m
		clear(m)
	}
	var buf []byte
	for i := at + 1; i < int(o.Next); i = int(nodes[i].Next) {
		k := b[nodes[i].KeyAt:nodes[i].KeyEnd]
		if nodes[i].KeyEsc {
			buf = Unescape(buf[:0], k)
			k = buf
		}
		if _, ok := m[string(k)]; ok {
			return int(nodes[i].KeyAt)
		}
		m[string(k)] = struct{}{}
	}
	return -1
}

func sameName(b []byte, x, y *Node) bool {
	kx, ky := b[x.KeyAt:x.KeyEnd], b[y.KeyAt:y.KeyEnd]
	if !x.KeyEsc && !y.KeyEsc {
		return bytes.Equal(kx, ky)
	}
	return bytes.Equal(Unescape(nil, kx), Unescape(nil, ky))
}

// Unescape appends the text of a valid JSON string's inside (no quotes) to dst.
func Unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		j := bytes.IndexByte(s[i:], '\\')
		if j < 0 {
			return append(dst, s[i:]...)
		}
		dst = append(dst, s[i:i+j]...)
		i += j
		r, n := escaped(s[i:])
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return dst
}

// escaped reads one escape (or surrogate pair) of a valid string.
func escaped(s []byte) (r rune, n int) {
	switch s[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		u, _ := hex4(s, 2)
		if u >= 0xD800 && u < 0xDC00 {
			lo, _ := hex4(s, 8)
			return (u-0xD800)<<10 | (lo - 0xDC00) + 0x10000, 12
		}
		return u, 6
	}
	return rune(s[1]), 2
}

// RawOffset maps an offset in the decoded text of the string whose inside is s to an offset in s.
// An offset within an escaped rune maps to the escape's first byte.
func RawOffset(s []byte, text int) int {
	at := 0
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			if at == text {
				return i
			}
			i, at = i+1, at+1
			continue
		}
		r, n := escaped(s[i:])
		if w := utf8.RuneLen(r); text < at+w {
			return i
		} else {
			at += w
		}
		i += n
	}
	return len(s)
}

// Fold is the simple case folding of a name: what encoding/json and other lenient decoders compare.
func Fold(name []byte) string {
	out := make([]byte, 0, len(name))
	for len(name) > 0 {
		r, n := utf8.DecodeRune(name)
		name = name[n:]
		out = utf8.AppendRune(out, foldRune(r))
	}
	return string(out)
}

// foldRune is the least rune of r's folding orbit: s and U+017F, k and U+212A are one.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}
	low := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		low = min(low, f)
	}
	return low
}
