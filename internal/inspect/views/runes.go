package views

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	kindPlain  = 1 << iota // stands for itself
	kindLetter             // a Latin letter
	kindSpace
)

var (
	kind  [utf8.RuneSelf]uint8
	lower [256]byte
	// small holds the folded form of every rune below len(small) that is not ASCII.
	small [0x530]string
)

func init() {
	for c := range 256 {
		lower[c] = byte(c)
		if 'A' <= c && c <= 'Z' {
			lower[c] = byte(c + 'a' - 'A')
		}
	}
	for c := range utf8.RuneSelf {
		switch {
		case c == ' ' || '\t' <= c && c <= '\r':
			kind[c] = kindSpace
		case c > ' ' && c < 0x7f:
			kind[c] = kindPlain
			if l := lower[c]; 'a' <= l && l <= 'z' {
				kind[c] |= kindLetter
			}
		}
	}
	for r := utf8.RuneSelf; r < len(small); r++ {
		small[r] = compat(rune(r))
	}
}

// rune folds one rune of w source bytes that begins with byte c.
func (f *Folder) rune(r rune, c byte, w int, t *Text) {
	if r < utf8.RuneSelf {
		f.ascii(byte(r), t)
		return
	}
	f.fold(r, c, w, t)
}

func (f *Folder) fold(r rune, c byte, w int, t *Text) {
	s := f.pos
	f.pos += w
	e := f.pos
	switch {
	case r == utf8.RuneError && w == 1: // not UTF-8: the byte stays what it is
		f.endHidden()
		f.settle(false, t)
		f.endSpace(t)
		f.mode = wordNone
		t.put(c, c, s, e)
		return
	case 0xE0000 <= r && r <= 0xE007F:
		if r >= 0xE0020 && r < 0xE007F {
			f.hide("tags", byte(r-0xE0000), s, e)
		}
		return
	case 0xFE00 <= r && r <= 0xFE0F:
		f.hide("variation", byte(r-0xFE00), s, e)
		return
	case 0xE0100 <= r && r <= 0xE01EF:
		f.hide("variation", byte(r-0xE0100+16), s, e)
		return
	case r >= 0x3400 && r <= 0x9FFF || r >= 0xAC00 && r <= 0xD7A3: // Han and Hangul stand for themselves
		f.endHidden()
		f.settle(false, t)
		f.endSpace(t)
		f.mode = wordNone
		t.putRune(r, s, e)
		return
	case r == 0x85 || r == 0x2028 || r == 0x2029:
		f.blank(true, s, e, t)
		return
	case unicode.Is(unicode.Zs, r) || r == 0x2800:
		f.blank(false, s, e, t)
		return
	}
	if like, ok := lookalike[r]; ok {
		f.endHidden()
		switch {
		case f.mode == wordLatin:
			f.endSpace(t)
			t.put(like, like, s, e)
		case f.mode == wordForeign || len(f.pend) >= maxWaiting:
			f.settle(false, t)
			f.endSpace(t)
			f.mode = wordForeign
			f.letters(Fold(r), s, e, t)
		default:
			f.endSpace(t)
			f.mode = wordOpen
			lr, _ := utf8.DecodeRuneInString(Fold(r))
			f.pend = append(f.pend, waiting{lr, like, s, e})
			f.busy = true
		}
		return
	}
	if v := Fold(r); v != "" {
		f.endHidden()
		f.letters(v, s, e, t)
	}
}

// letters puts the folded form v of one source character into the view.
func (f *Folder) letters(v string, s, e int, t *Text) {
	first, _ := utf8.DecodeRuneInString(v)
	latin := first < utf8.RuneSelf && kind[first]&kindLetter != 0
	if v == " " {
		f.blank(false, s, e, t)
		return
	}
	f.settle(latin, t)
	f.endSpace(t)
	switch {
	case latin:
		if f.mode == wordNone {
			f.mode = wordLatin
		}
	case unicode.IsLetter(first):
		if f.mode == wordNone {
			f.mode = wordForeign
		}
	default:
		f.mode = wordNone
	}
	for _, r := range v {
		t.putRune(r, s, e)
	}
}

// Fold is what one rune looks like in the folded view, its surroundings aside: compatibility
// decomposition without marks, lower case except for ASCII, nothing for what shows nothing.
func Fold(r rune) string {
	switch {
	case r < utf8.RuneSelf:
		return string(r)
	case int(r) < len(small):
		return small[r]
	}
	return compat(r)
}

// FoldPattern folds the non-ASCII runes of a pattern, so that it is written like the view it reads.
func FoldPattern(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, Fold(r)...)
	}
	return string(b)
}

func compat(r rune) string {
	if v, ok := styled(r); ok {
		return string(v)
	}
	if invisible(r) {
		return ""
	}
	if r >= 0x3400 && r <= 0x9FFF || r >= 0xAC00 && r <= 0xD7A3 {
		return string(r)
	}
	var buf [utf8.UTFMax]byte
	n := utf8.EncodeRune(buf[:], r)
	d := norm.NFKD.Properties(buf[:n]).Decomposition()
	if d == nil {
		return string(unicode.ToLower(r))
	}
	var out []rune
	for _, x := range string(d) {
		switch {
		case invisible(x):
		case x < utf8.RuneSelf:
			out = append(out, x)
		default:
			out = append(out, unicode.ToLower(x))
		}
	}
	return string(out)
}

// invisible: marks are dropped with the controls and fillers, so that neither a stack of accents
// nor a zero-width space changes what a word reads as.
func invisible(r rune) bool {
	switch r {
	case 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0:
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Cc)
}

// styled reads letters that are drawn in a style and have no decomposition.
func styled(r rune) (rune, bool) {
	switch {
	case 0x1F150 <= r && r <= 0x1F169:
		return 'a' + r - 0x1F150, true
	case 0x1F170 <= r && r <= 0x1F189:
		return 'a' + r - 0x1F170, true
	}
	v, ok := latinForms[r]
	return v, ok
}
