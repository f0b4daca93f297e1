package readings

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// readable is what a letter of decoded text is worth on average, at least, where decoding always
// gives letters (ciphers, lists of numbers): English has 12, chance less than 0.
const readable = 5.0

// each calls f for every stretch of p that is text: printable UTF-8, at least least bytes, and
// either long or made of letters.
func (b *builder) each(p []byte, least int, f func(from, to int)) {
	start, letters := 0, 0
	end := func(i int) {
		if n := i - start; n >= least && (n >= 24 || letters*2 >= n || letters*4 >= n && n >= 12) {
			f(start, i)
		}
	}
	for i := 0; i < len(p); {
		c := p[i]
		w, ok := 1, false
		if c < utf8.RuneSelf {
			k := class[c]
			ok = k != 0
			if k&(cLetter|cDigit|cSpace) != 0 {
				letters++
			}
		} else {
			var r rune
			r, w = utf8.DecodeRune(p[i:])
			if ok = r != utf8.RuneError && r >= 0xA0 && (r < 0xE000 || r >= 0xFE00 && r < 0xFFF0 || r >= 0x10000 && r < 0x32000 || r >= 0xE0000 && r < 0xE0200); ok && unicode.IsLetter(r) {
				letters += w
			}
		}
		if !ok {
			end(i)
			start, letters = i+w, 0
		}
		i += w
	}
	end(len(p))
}

func indexFrom(s, sub string, i int) int {
	if i >= len(s) {
		return -1
	}
	k := strings.Index(s[i:], sub)
	if k < 0 {
		return -1
	}
	return i + k
}
