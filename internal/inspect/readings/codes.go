package readings

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// code is one number of a list.
type code struct {
	s, e   int // with its prefix
	d      int // where its digits begin
	prefix byte
	gap    int // bytes before it, since the one before
}

// maxCodes bounds a list that is judged as one.
const maxCodes = 1 << 14

// codes reads lists of numbers as characters: decimal, octal, hex and binary bytes, code points,
// letters by their place in the alphabet, and bits without gaps.
func (l *lattice) codes(*mark) {
	t := l.text
	names := [...]string{"decimal", "hex", "octal", "binary", "code-points", "letter-numbers"}
	var b [len(names)]*builder
	for i, n := range names {
		b[i] = l.builder(n)
	}
	var list []code
	flush := func() {
		if len(list) >= 6 {
			l.interpret(&b, list)
		}
		list = list[:0]
	}
	for i := 0; i < len(t); {
		k := class[t[i]]
		if k&(cLetter|cDigit) == 0 && !(t[i] == '\\' && i+1 < len(t) && t[i+1] == 'x') {
			if len(list) > 0 && (t[i] >= 0x80 || i-list[len(list)-1].e >= 4) {
				flush()
			}
			i++
			continue
		}
		s, d, prefix := i, i, byte(0)
		switch rest := t[i:]; {
		case len(rest) > 2 && (rest[0] == '0' || rest[0] == '\\') && rest[1]|0x20 == 'x':
			d, prefix = i+2, 'x'
		case len(rest) > 2 && rest[0]|0x20 == 'u' && rest[1] == '+':
			d, prefix = i+2, 'u'
		case len(rest) > 2 && rest[0]|0x20 == 'x' && val16[rest[1]] != bad:
			d, prefix = i+1, 'x'
		case len(rest) > 3 && rest[0] == '0' && rest[1]|0x20 == 'b' && rest[2]&^1 == '0':
			d, prefix = i+2, 'b'
		}
		e := d
		for e < len(t) && val16[t[e]] != bad {
			e++
		}
		if e-d >= 32 && solidBits(t[d:e]) {
			flush()
			l.bits(b[3], d, e)
			i = e
			continue
		}
		if e == d || e-d > 8 || e < len(t) && class[t[e]]&cLetter != 0 {
			flush()
			for i < len(t) && class[t[i]]&(cLetter|cDigit) != 0 {
				i++
			}
			i = max(i, s+1)
			continue
		}
		c := code{s: s, e: e, d: d, prefix: prefix}
		if n := len(list); n > 0 {
			c.gap = s - list[n-1].e
		}
		if list = append(list, c); len(list) == maxCodes {
			flush()
		}
		i = e
	}
	flush()
	for _, x := range b {
		l.add(x)
	}
}

func number(s string, base int) int {
	v := 0
	for i := range len(s) {
		d := int(val16[s[i]])
		if d >= base || v > utf8.MaxRune {
			return -1
		}
		v = v*base + d
	}
	return v
}

// interpret tries every meaning of a list and puts the best one that reads like text.
func (l *lattice) interpret(b *[6]*builder, list []code) {
	t := l.text
	type meaning struct {
		b      *builder
		value  func(c code) int
		strong bool // the form itself says that these are bytes
	}
	digits := func(c code) string { return t[c.d:c.e] }
	meanings := []meaning{
		{b[4], func(c code) int {
			if c.prefix != 'u' {
				return -1
			}
			return number(digits(c), 16)
		}, true},
		{b[3], func(c code) int {
			if n := c.e - c.d; n != 8 && n != 7 {
				return -1
			}
			return number(digits(c), 2)
		}, true},
		{b[1], func(c code) int {
			if c.e-c.d != 2 && (c.prefix != 'x' || c.e-c.d > 6) || c.prefix == 'u' {
				return -1
			}
			return number(digits(c), 16)
		}, true},
		{b[0], func(c code) int {
			if c.prefix != 0 {
				return -1
			}
			return number(digits(c), 10)
		}, false},
		{b[2], func(c code) int {
			if c.prefix != 0 || c.e-c.d < 2 || c.e-c.d > 4 {
				return -1
			}
			return number(digits(c), 8)
		}, false},
		{b[5], func(c code) int {
			if c.prefix != 0 {
				return -1
			}
			v := number(digits(c), 10)
			if v < 1 || v > 26 {
				return -1
			}
			return 'a' - 1 + v
		}, false},
	}
	octal := func(c code) bool {
		return c.prefix == 0 && c.e-c.d == 3 && t[c.d] <= '3' && number(digits(c), 8) >= 0
	}
	if !slices.ContainsFunc(list, func(c code) bool { return !octal(c) }) {
		meanings[3], meanings[4] = meanings[4], meanings[3] // bytes in octal, all of three digits
	}
	gap := map[int]int{}
	most := 0
	for _, c := range list[1:] {
		if gap[c.gap]++; gap[c.gap] > gap[most] {
			most = c.gap
		}
	}
	for mi, m := range meanings {
		// Parts of the list that mean characters throughout.
		for i := 0; i < len(list); {
			if !printable(m.value(list[i])) {
				i++
				continue
			}
			from := i
			var text, bytes []byte
			var ends []int
			for i < len(list) {
				v := m.value(list[i])
				if !printable(v) {
					break
				}
				if mi == 5 && i > from && spaced(t[list[i-1].e:list[i].s]) && most == 1 && t[list[i].s-1] == ' ' && !spaced(t[list[1].s-list[1].gap:list[1].s]) {
					text = append(text, ' ')
				}
				if m.b == b[4] || v > 0xff || m.b == b[0] && v >= 0xa0 {
					text = utf8.AppendRune(text, rune(v))
				} else {
					text = append(text, byte(v))
				}
				ends = append(ends, len(text))
				bytes = append(bytes, byte(min(v, 0xff)))
				i++
			}
			// Numbers over 127 are the bytes of UTF-8 where they can be, and characters otherwise.
			if m.b == b[0] && len(text) > len(bytes) && utf8.Valid(bytes) {
				text = bytes
				for k := range ends {
					ends[k] = k + 1
				}
			}
			if i-from < 4 || i-from < 8 && m.b != b[4] || !l.means(text, m.strong) {
				continue
			}
			m.b.approach(list[from].s)
			at := 0
			for k, end := range ends {
				m.b.raw(string(text[at:end]), list[from+k].s, list[from+k].e, whole)
				at = end
			}
			m.b.pos = list[i-1].e
			if from == 0 && i == len(list) {
				return
			}
		}
	}
}

func spaced(gap string) bool {
	for i := range len(gap) {
		if class[gap[i]]&cSpace != 0 {
			return true
		}
	}
	return false
}

func printable(v int) bool {
	return v >= ' ' && v <= unicode.MaxRune && v != 0x7f && (v < 0xD800 || v > 0xF8FF) || v == '\n' || v == '\t' || v == '\r'
}

// means says whether text that numbers stand for is text: it reads like English, or is of another
// script, or its form leaves no doubt.
func (l *lattice) means(text []byte, strong bool) bool {
	if !utf8.Valid(text) {
		return false
	}
	letters, wide := 0, 0
	for _, r := range string(text) {
		if r >= 0x80 && unicode.IsLetter(r) {
			wide++
		} else if r < 0x80 && class[byte(r)]&(cLetter|cDigit|cSpace) != 0 {
			letters++
		}
	}
	if wide >= 4 && wide*3+letters >= len(text)/2 {
		return true
	}
	if strong {
		return len(text) >= 12 && letters*10 >= len(text)*4 || letters*10 >= len(text)*8 && likely(string(text)) >= 0
	}
	blanks := 0
	for _, c := range text {
		if class[c]&cSpace != 0 {
			blanks++
		}
	}
	if len(text) >= 24 && letters*20 >= len(text)*17 && blanks*20 >= len(text) {
		return true // words of another language, or of none
	}
	sum, n := score(string(text))
	return n >= 8 && float64(sum) >= readable*float64(n)
}

// bits reads ones and zeros without gaps.
func (l *lattice) bits(b *builder, s, e int) {
	t := l.text
	for _, n := range [...]int{8, 7} {
		if (e-s)%n != 0 {
			continue
		}
		out := make([]byte, 0, (e-s)/n)
		for i := s; i < e; i += n {
			v := byte(0)
			for _, c := range []byte(t[i : i+n]) {
				v = v<<1 | c&1
			}
			out = append(out, v)
		}
		any := false
		stretches(b, out, func(from, to int) {
			b.edit(s+from*n, s+to*n, string(out[from:to]), scaled)
			any = true
		})
		if any {
			b.pos = e
			return
		}
	}
}
