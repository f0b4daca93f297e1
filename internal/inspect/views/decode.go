package views

import (
	"unicode/utf8"
)

// Decoded is one decoded reading. At gives, for each byte of Bytes, the index of the encoded byte
// it begins at; it has one entry more, the length of what was read. At is nil where only the whole
// run can be named.
type Decoded struct {
	View  string
	Bytes []byte
	At    []int32
}

var b64 = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = int8(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

// Base64 decodes p (standard or URL alphabet, white space skipped, padding not needed), skipping
// the first skip characters. It stops at anything else and returns what it has.
func Base64(dst, p []byte, skip int) []byte {
	var acc uint32
	n := 0
	for _, c := range p {
		if c == ' ' || c == '\n' {
			continue
		}
		v := b64[c]
		if v < 0 {
			break
		}
		if skip > 0 {
			skip--
			continue
		}
		acc = acc<<6 | uint32(v)
		if n++; n == 4 {
			dst = append(dst, byte(acc>>16), byte(acc>>8), byte(acc))
			acc, n = 0, 0
		}
	}
	switch n {
	case 2:
		dst = append(dst, byte(acc>>4))
	case 3:
		dst = append(dst, byte(acc>>10), byte(acc>>2))
	}
	return dst
}

// Hex decodes p; white space is skipped. It reports whether p was hex throughout.
func Hex(dst, p []byte) ([]byte, bool) {
	var acc byte
	half := false
	for _, c := range p {
		if c == ' ' || c == '\n' {
			continue
		}
		v, ok := hexval(c)
		if !ok {
			return dst, false
		}
		if acc = acc<<4 | v; half {
			dst = append(dst, acc)
		}
		half = !half
	}
	return dst, true
}

func hexval(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Plausible says whether decoded bytes hold a stretch of text worth reading: at least want
// printable bytes in a row.
func Plausible(p []byte, want int) bool {
	run := 0
	for i := 0; i < len(p); {
		c := p[i]
		w := 1
		ok := c >= ' ' && c < 0x7f || c == '\n' || c == '\t' || c == '\r'
		if c >= utf8.RuneSelf {
			var r rune
			r, w = utf8.DecodeRune(p[i:])
			ok = r != utf8.RuneError
		}
		if !ok {
			run = 0
		} else if run += w; run >= want {
			return true
		}
		i += w
	}
	return false
}

var named = map[string]byte{"lt": '<', "gt": '>', "amp": '&', "quot": '"', "apos": '\'', "nbsp": ' ', "sol": '/', "colon": ':', "lpar": '(', "rpar": ')', "period": '.', "comma": ',', "newline": '\n', "tab": '\t', "lowbar": '_', "hyphen": '-', "excl": '!', "lbrack": '[', "rbrack": ']', "vert": '|'}

// Escape reads the escape that p begins with: %XX, \xXX, \uXXXX, \u{X}, \U00XXXXXX, &#N;, &#xN;,
// &name;. It returns the character, or for %XX and \xXX the byte, and the length of the escape; 0
// when p begins with none. more is set when p ends before that is known.
func Escape(p []byte) (r rune, raw bool, n int, more bool) {
	if len(p) < 2 {
		return 0, false, 0, len(p) == 1 && (p[0] == '%' || p[0] == '\\' || p[0] == '&')
	}
	switch p[0] {
	case '%':
		return digits(p, 1, 2, true)
	case '\\':
		switch p[1] {
		case 'x':
			return digits(p, 2, 2, true)
		case 'u':
			if len(p) > 2 && p[2] == '{' {
				return braced(p, 3, '}', 16)
			}
			return digits(p, 2, 4, false)
		case 'U':
			return digits(p, 2, 8, false)
		}
	case '&':
		if p[1] == '#' {
			if len(p) == 2 {
				return 0, false, 0, true
			}
			if p[2] == 'x' || p[2] == 'X' {
				return braced(p, 3, ';', 16)
			}
			return braced(p, 2, ';', 10)
		}
		for i := 1; i < len(p) && i <= 8; i++ {
			if p[i] == ';' {
				if c, ok := named[string(p[1:i])]; ok {
					return rune(c), false, i + 1, false
				}
				return 0, false, 0, false
			}
			if l := p[i] | 0x20; l < 'a' || l > 'z' {
				return 0, false, 0, false
			}
		}
		return 0, false, 0, len(p) <= 8
	}
	return 0, false, 0, false
}

func digits(p []byte, at, n int, raw bool) (rune, bool, int, bool) {
	var v rune
	for i := at; i < at+n; i++ {
		if i >= len(p) {
			return 0, false, 0, true
		}
		d, ok := hexval(p[i])
		if !ok {
			return 0, false, 0, false
		}
		v = v<<4 | rune(d)
	}
	return v, raw, at + n, false
}

func braced(p []byte, at int, end byte, base rune) (rune, bool, int, bool) {
	var v rune
	for i := at; i < at+8; i++ {
		if i >= len(p) {
			return 0, false, 0, true
		}
		if p[i] == end && i > at {
			return v, false, i + 1, false
		}
		d, ok := hexval(p[i])
		if !ok || rune(d) >= base {
			return 0, false, 0, false
		}
		v = v*base + rune(d)
	}
	return 0, false, 0, false
}

// Unescape undoes every escape in p; the view is named after the first.
func Unescape(p []byte) Decoded {
	d := Decoded{Bytes: make([]byte, 0, len(p)), At: make([]int32, 0, len(p)+1)}
	for i := 0; i < len(p); {
		c := p[i]
		if c == '%' || c == '\\' || c == '&' {
			if r, raw, n, _ := Escape(p[i:]); n > 0 {
				if d.View == "" {
					d.View = map[byte]string{'%': "url", '\\': "escape", '&': "html"}[c]
				}
				if raw {
					d.Bytes = append(d.Bytes, byte(r))
				} else {
					d.Bytes = utf8.AppendRune(d.Bytes, r)
				}
				for len(d.At) < len(d.Bytes) {
					d.At = append(d.At, int32(i))
				}
				i += n
				continue
			}
		}
		d.Bytes = append(d.Bytes, c)
		d.At = append(d.At, int32(i))
		i++
	}
	d.At = append(d.At, int32(len(p)))
	return d
}

// ROT13 rotates the letters of p.
func ROT13(p []byte) Decoded {
	out := make([]byte, len(p))
	for i, c := range p {
		switch {
		case 'a' <= c && c <= 'z':
			c = 'a' + (c-'a'+13)%26
		case 'A' <= c && c <= 'Z':
			c = 'A' + (c-'A'+13)%26
		}
		out[i] = c
	}
	return Decoded{View: "rot13", Bytes: out}
}

// Reverse turns p around, rune by rune.
func Reverse(p []byte) Decoded {
	out := make([]byte, 0, len(p))
	for i := len(p); i > 0; {
		_, w := utf8.DecodeLastRune(p[:i])
		out = append(out, p[i-w:i]...)
		i -= w
	}
	return Decoded{View: "reversed", Bytes: out}
}

// Squeeze keeps the letters and digits of p.
func Squeeze(p []byte) Decoded {
	d := Decoded{View: "spaced"}
	for i, c := range p {
		if l := lower[c]; 'a' <= l && l <= 'z' || '0' <= c && c <= '9' {
			d.Bytes = append(d.Bytes, c)
			d.At = append(d.At, int32(i))
		}
	}
	d.At = append(d.At, int32(len(p)))
	return d
}
