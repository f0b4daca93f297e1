package audit

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// plain marks the ASCII bytes that stand for themselves in a JSON string.
var plain = func() (t [utf8.RuneSelf]bool) {
	for c := 0x20; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return
}()

// appendString appends s as a JSON string that is safe to print anywhere: what is not a visible
// character (controls, line and paragraph separators, bidi controls, zero-width and tag characters,
// private use) is escaped, and a byte that is not UTF-8 becomes \ufffd.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if plain[c] {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\t':
				b = append(b, '\\', 't')
			case '\r':
				b = append(b, '\\', 'r')
			default:
				b = appendUnit(b, uint16(c))
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r != utf8.RuneError && unicode.IsPrint(r) {
			i += n
			continue
		}
		b = append(b, s[from:i]...)
		if r > 0xffff {
			r -= 0x10000
			b = appendUnit(b, uint16(0xd800+r>>10))
			b = appendUnit(b, uint16(0xdc00+r&0x3ff))
		} else {
			b = appendUnit(b, uint16(r))
		}
		i += n
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

func appendUnit(b []byte, u uint16) []byte {
	return append(b, '\\', 'u', hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
}

// capped cuts s so that it reads back in at most limit bytes, with an ellipsis where it was cut.
func capped(s string, limit int) string {
	if len(s) <= limit/utf8.UTFMax { // even if every byte became U+FFFD
		return s
	}
	if s = valid(s); len(s) <= limit {
		return s
	}
	return cutAt(s, limit-len("…")) + "…"
}

// valid replaces every byte that is not UTF-8 by U+FFFD.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

// cutAt is the longest prefix of whole runes in n bytes.
func cutAt(s string, n int) string {
	if n >= len(s) {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
