package readings

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// escapes undoes %41, \x41, \u0041, \u{41}, \U00000041, \101, &#65;, &#x41; and &lt;.
func (l *lattice) escapes(*mark) {
	t := l.text
	views := map[byte]string{'%': "url", '\\': "escape", '&': "html"}
	b := l.builder("")
	hard := 0
	for i := 0; i < len(t); {
		k := strings.IndexAny(t[i:], `%\&`)
		if k < 0 {
			break
		}
		i += k
		r, raw, n := escape(t[i:])
		if n == 0 {
			i++
			continue
		}
		if t[i] == '&' && t[i+1] != '#' || t[i] == '\\' && n == 2 {
			// Names of signs and \n are everywhere: they go with others, or where they part a word.
			inWord := i > 0 && class[t[i-1]]&cLetter != 0 && i+n < len(t) && class[t[i+n]]&cLetter != 0 && t[i] == '&'
			if !inWord && (b.edits == 0 || i-b.pos > 64) {
				i += n
				continue
			}
		} else {
			hard++
		}
		if b.view == "" {
			b.view = views[t[i]]
		}
		if t[i] == '%' {
			l.plus(b, i)
		}
		switch {
		case raw:
			b.edit(i, i+n, string([]byte{byte(r)}), whole)
		case r == 0x200b || r == 0x200c || r == 0x200d || r == 0xad:
			b.edit(i, i+n, "", whole)
		default:
			b.edit(i, i+n, string(r), whole)
		}
		i += n
	}
	if b.edits > 0 {
		b.tail(l)
		l.add(b)
	}
}

// plus reads + as a space in the word of an address that i stands in, up to i.
func (l *lattice) plus(b *builder, i int) {
	t := l.text
	s := i
	for s > b.pos && s > i-1024 && class[t[s-1]]&cSpace == 0 {
		s--
	}
	for k := s; k < i; k++ {
		if t[k] == '+' && k > 0 && class[t[k-1]]&(cLetter|cDigit) != 0 {
			b.edit(k, k+1, " ", whole)
		}
	}
}

// tail does the same for what stands after the last escape of its word.
func (b *builder) tail(l *lattice) {
	t := l.text
	if b.view != "url" {
		return
	}
	for k := b.pos; k < min(len(t), b.pos+1024) && class[t[k]]&cSpace == 0; k++ {
		if t[k] == '+' {
			b.edit(k, k+1, " ", whole)
		}
	}
}

// plused reads words joined by + as forms send them: "q=ignore+all+rules".
func (l *lattice) plused(*mark) {
	t := l.text
	b := l.builder("form")
	for i := 0; i < len(t); {
		k := strings.IndexByte(t[i:], '+')
		if k < 0 {
			break
		}
		i += k
		s, e := i, i
		for s > b.pos && s > i-64 && class[t[s-1]]&(cLetter|cDigit) != 0 {
			s--
		}
		n := 0
		for e < len(t) && (class[t[e]]&(cLetter|cDigit) != 0 || strings.IndexByte("+.,%'-!:", t[e]) >= 0) {
			if t[e] == '+' {
				n++
			}
			e++
		}
		if n >= 3 && e-s >= 4*n && likely(t[s:e]) >= readable {
			for k := s; k < e; k++ {
				if t[k] == '+' {
					b.edit(k, k+1, " ", whole)
				}
			}
		}
		i = max(e, i+1)
	}
	l.add(b)
}

var named = map[string]rune{"lt": '<', "gt": '>', "amp": '&', "quot": '"', "apos": '\'', "nbsp": ' ', "sol": '/', "colon": ':', "lpar": '(', "rpar": ')', "period": '.',
	"comma": ',', "newline": '\n', "tab": '\t', "lowbar": '_', "hyphen": '-', "excl": '!', "lbrack": '[', "rbrack": ']', "vert": '|', "shy": 0xad, "zwnj": 0x200c, "zwj": 0x200d,
	"ensp": ' ', "emsp": ' ', "thinsp": ' ', "num": '#', "semi": ';', "equals": '=', "dollar": '$', "bsol": '\\', "grave": '`', "quest": '?', "commat": '@', "lcub": '{', "rcub": '}'}

// escape reads the escape that s begins with; n is its length, 0 for none; raw: r is a byte.
func escape(s string) (r rune, raw bool, n int) {
	if len(s) < 2 {
		return 0, false, 0
	}
	switch s[0] {
	case '%':
		if v, ok := hexes(s, 1, 2); ok {
			return v, true, 3
		}
		if s[1] == 'u' || s[1] == 'U' { // %u0041
			if v, ok := hexes(s, 2, 4); ok {
				return v, false, 6
			}
		}
	case '\\':
		switch s[1] {
		case 'x':
			if v, ok := hexes(s, 2, 2); ok {
				return v, true, 4
			}
			if v, n := braced(s, 2); n > 0 {
				return v, false, n
			}
		case 'u':
			if v, n := braced(s, 2); n > 0 {
				return v, false, n
			}
			if v, ok := hexes(s, 2, 4); ok {
				if utf16.IsSurrogate(v) && len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
					if w, ok := hexes(s, 8, 4); ok {
						if p := utf16.DecodeRune(v, w); p != utf8.RuneError {
							return p, false, 12
						}
					}
				}
				return v, false, 6
			}
		case 'U':
			if v, ok := hexes(s, 2, 8); ok && v <= utf8.MaxRune {
				return v, false, 10
			}
		case 'n':
			return '\n', false, 2
		case 't', 'r':
			return ' ', false, 2
		}
		if len(s) >= 4 && s[1] <= '3' && octal(s[1]) && octal(s[2]) && octal(s[3]) {
			return rune(s[1]-'0')<<6 | rune(s[2]-'0')<<3 | rune(s[3]-'0'), true, 4
		}
	case '&':
		end := strings.IndexByte(s[:min(len(s), 12)], ';')
		if end < 2 {
			return 0, false, 0
		}
		if s[1] != '#' {
			v, ok := named[s[1:end]]
			if !ok {
				v, ok = named[strings.ToLower(s[1:end])]
			}
			if !ok {
				return 0, false, 0
			}
			return v, false, end + 1
		}
		v, d, base := rune(0), s[2:end], rune(10)
		if len(d) > 1 && d[0]|0x20 == 'x' {
			d, base = d[1:], 16
		}
		for i := range len(d) {
			x := rune(val16[d[i]])
			if x >= base || v > utf8.MaxRune {
				return 0, false, 0
			}
			v = v*base + x
		}
		if d != "" && v > 0 && v <= utf8.MaxRune {
			return v, false, end + 1
		}
	}
	return 0, false, 0
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

func hexes(s string, at, n int) (rune, bool) {
	if len(s) < at+n {
		return 0, false
	}
	v := uint32(0)
	for i := at; i < at+n; i++ {
		d := val16[s[i]]
		if d == bad {
			return 0, false
		}
		v = v<<4 | uint32(d)
	}
	return rune(v), v <= utf8.MaxRune
}

func braced(s string, at int) (rune, int) {
	if len(s) <= at || s[at] != '{' {
		return 0, 0
	}
	end := strings.IndexByte(s[at:min(len(s), at+9)], '}')
	if end < 2 {
		return 0, 0
	}
	v, ok := hexes(s, at+1, end-1)
	if !ok {
		return 0, 0
	}
	return v, at + end + 1
}
