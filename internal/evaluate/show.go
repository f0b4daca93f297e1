package evaluate

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain makes text from outside safe for a terminal: what is not printable ASCII is escaped. What
// Readable has escaped already stays as it is.
func Plain(s string) string {
	q := strconv.QuoteToASCII(s)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(q[1 : len(q)-1])
}

// Readable makes text from outside safe for a page: letters and symbols of every script stay, what
// has no shape of its own (controls, format and direction marks, private use, combining marks,
// unusual spaces) is escaped.
func Readable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && n <= 1, c == '\\':
			q := strconv.QuoteToASCII(s[i : i+n])
			b.WriteString(q[1 : len(q)-1])
		case c == ' ', unicode.In(c, unicode.L, unicode.N, unicode.P, unicode.S) && !invisible(c):
			b.WriteRune(c)
		default:
			q := strconv.QuoteRuneToASCII(c)
			b.WriteString(q[1 : len(q)-1])
		}
		i += n
	}
	return b.String()
}

// invisible are letters that show nothing: the Hangul fillers and the Braille blank.
func invisible(c rune) bool {
	return c == 0x115f || c == 0x1160 || c == 0x3164 || c == 0xffa0 || c == 0x2800
}

// excerptRunes is how much of a row is shown, where that was asked for.
const excerptRunes = 160

// excerpt is the beginning of a text.
func excerpt(text []byte) string {
	n := 0
	for range excerptRunes {
		_, size := utf8.DecodeRune(text[n:])
		if n += size; size == 0 {
			return string(text)
		}
	}
	return string(text[:n])
}
