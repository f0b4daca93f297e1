package token

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Token is a piece of a text and the bytes of the text that it stands for.
type Token struct {
	ID         int32
	Start, End int32
}

// Encoder cuts texts and keeps its memory between them. It is used by one goroutine at a time.
type Encoder struct {
	v    *Vocab
	buf  []byte  // the text as it is looked up
	src  []int32 // offset in the text of every byte of buf
	best []float32
	from []int32
	id   []int32
}

// NewEncoder returns an encoder for v.
func NewEncoder(v *Vocab) *Encoder { return &Encoder{v: v} }

const space = "\u2581"

// Encode appends the tokens of text to dst. The text is read in lower case and NFKC, runs of spaces
// as one; offsets are of the text itself. Bytes that are not UTF-8 become byte tokens.
func (e *Encoder) Encode(dst []Token, text string) []Token {
	e.prepare(text)
	n := len(e.buf)
	e.best = slices.Grow(e.best[:0], n+1)[:n+1]
	e.from = slices.Grow(e.from[:0], n+1)[:n+1]
	e.id = slices.Grow(e.id[:0], n+1)[:n+1]
	for i := range e.best {
		e.best[i] = -1e30
	}
	e.best[0] = 0
	t := &e.v.trie
	for i := 0; i < n; {
		width := 1
		if e.buf[i] >= utf8.RuneSelf {
			_, width = utf8.DecodeRune(e.buf[i:])
		}
		at := e.best[i]
		if bad := at + byteScore*float32(width); bad > e.best[i+width] {
			e.best[i+width], e.from[i+width], e.id[i+width] = bad, int32(i), -1
		}
		node := int32(0)
		for j := i; j < n; j++ {
			next := t.base[node] + int32(e.buf[j]) + 1
			if t.check[next] != node {
				break
			}
			node = next
			id := t.id[node]
			if id < 0 {
				continue
			}
			if s := at + e.v.score[id]; s > e.best[j+1] {
				e.best[j+1], e.from[j+1], e.id[j+1] = s, int32(i), id
			}
		}
		i += width
	}
	first := len(dst)
	for j := int32(n); j > 0; j = e.from[j] {
		i := e.from[j]
		if id := e.id[j]; id >= 0 {
			dst = append(dst, Token{id, e.src[i], e.src[j]})
			continue
		}
		for k := j - 1; k >= i; k-- {
			dst = append(dst, Token{e.v.bytes[e.buf[k]], e.src[i], e.src[j]})
		}
	}
	slices.Reverse(dst[first:])
	return dst
}

// prepare fills buf and src: a space mark before the text, lower case, NFKC, single spaces.
func (e *Encoder) prepare(text string) {
	e.buf, e.src = e.buf[:0], e.src[:0]
	if text == "" {
		e.src = append(e.src, 0)
		return
	}
	e.put(space, 0)
	blank := true
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ':
			if !blank {
				e.put(space, i)
			}
			blank = true
			i++
			continue
		case c < utf8.RuneSelf:
			// A combining mark after it belongs to it.
			if i+1 == len(text) || text[i+1] < utf8.RuneSelf {
				if 'A' <= c && c <= 'Z' {
					c += 'a' - 'A'
				}
				e.buf, e.src = append(e.buf, c), append(e.src, int32(i))
				blank = false
				i++
				continue
			}
		}
		width := e.segment(text, i)
		blank = false
		i += width
	}
	e.src = append(e.src, int32(len(text)))
}

// segment puts what normalises as one and starts at i, and returns its length in text.
func (e *Encoder) segment(text string, i int) int {
	if r, w := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && w == 1 {
		e.buf, e.src = append(e.buf, text[i]), append(e.src, int32(i))
		return 1
	}
	width := norm.NFKC.NextBoundaryInString(text[i:], true)
	if width <= 0 {
		width = len(text) - i
	}
	part := text[i : i+width]
	if k := invalid(part); k > 0 {
		part, width = part[:k], k
	}
	for _, r := range norm.NFKC.String(part) {
		if r == ' ' {
			e.put(space, i)
			continue
		}
		var b [utf8.UTFMax]byte
		n := utf8.EncodeRune(b[:], unicode.ToLower(r))
		e.put(string(b[:n]), i)
	}
	return width
}

// invalid is the place of the first byte that is not UTF-8, or -1.
func invalid(s string) int {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, w := utf8.DecodeRuneInString(s[i:]); w == 1 {
				return i
			}
		}
	}
	return -1
}

func (e *Encoder) put(s string, at int) {
	for k := 0; k < len(s); k++ {
		e.buf, e.src = append(e.buf, s[k]), append(e.src, int32(at))
	}
}
