package readings

import (
	"strings"
	"unicode/utf8"
)

// morseOf maps dots and dashes, as bits behind a leading one, to the character.
var morseOf = func() (t [128]byte) {
	for i, w := range strings.Fields(".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.-.- --..-- ..--.. -.-.--") {
		v := 1
		for _, c := range w {
			v <<= 1
			if c == '-' {
				v |= 1
			}
		}
		t[v] = "abcdefghijklmnopqrstuvwxyz0123456789.,?!"[i]
	}
	return
}()

// symbol is one decoded letter of a row and where it stood.
type symbol struct {
	c    byte
	s, e int
	word bool // a word begins here
}

// row puts a row of symbols in its place when it reads like English.
func (l *lattice) row(b *builder, row []symbol, least int) {
	if len(row) < least {
		return
	}
	text := make([]byte, 0, len(row)*2)
	for i, x := range row {
		if x.word && i > 0 {
			text = append(text, ' ')
		}
		text = append(text, x.c)
	}
	if sum, n := score(string(text)); n < least || float64(sum) < readable*float64(n) {
		return
	}
	b.approach(row[0].s)
	for i, x := range row {
		if x.word && i > 0 {
			b.raw(" ", row[i-1].e, x.s, whole)
		}
		b.raw(ascii[x.c], x.s, x.e, whole)
	}
	b.pos = row[len(row)-1].e
}

// morse reads dots and dashes.
func (l *lattice) morse(*mark) {
	t := l.text
	b := l.builder("morse")
	var row []symbol
	word := false
	last := 0
	for i := 0; i < len(t); {
		switch c := t[i]; {
		case c == '.' || c == '-':
			s, v := i, 1
			for i < len(t) && (t[i] == '.' || t[i] == '-') {
				if v < 128 {
					v <<= 1
					if t[i] == '-' {
						v |= 1
					}
				}
				i++
			}
			if v >= 128 || morseOf[v] == 0 || i < len(t) && class[t[i]]&(cLetter|cDigit) != 0 || s > 0 && class[t[s-1]]&(cLetter|cDigit) != 0 {
				l.row(b, row, 8)
				row, word = row[:0], false
				continue
			}
			if s-last >= 2 {
				word = true
			}
			row = append(row, symbol{morseOf[v], s, i, word})
			word, last = false, i
		case c == '/' || c == '|':
			word = true
			i++
		case class[c]&cSpace != 0:
			i++
		default:
			l.row(b, row, 8)
			row, word = row[:0], false
			i++
		}
	}
	l.row(b, row, 8)
	l.add(b)
}

var brailleOf = func() map[rune]byte {
	m := map[rune]byte{0x2800: ' ', '⠂': ',', '⠲': '.', '⠦': '?', '⠖': '!', '⠄': '\'', '⠤': '-', '⠆': ';', '⠒': ':'}
	for i, r := range []rune("⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵") {
		m[r] = 'a' + byte(i)
	}
	return m
}()

// braille reads uncontracted English Braille.
func (l *lattice) braille(*mark) {
	t := l.text
	b := l.builder("braille")
	digits := false
	for i := 0; i < len(t); {
		k := strings.Index(t[i:], "\xe2\xa0")
		if k < 0 {
			break
		}
		i += k
		r, w := utf8.DecodeRuneInString(t[i:])
		c, ok := brailleOf[r]
		switch {
		case r == '⠼':
			digits = true
			b.edit(i, i+w, "", whole)
		case r == '⠰' || r == '⠠':
			digits = false
			b.edit(i, i+w, "", whole)
		case ok && c >= 'a' && c <= 'j' && digits:
			b.edit(i, i+w, ascii['0'+(c-'a'+1)%10], whole)
		case ok:
			digits = false
			b.edit(i, i+w, ascii[c], whole)
		}
		i += max(w, 1)
	}
	if b.edits >= 6 {
		l.add(b)
	}
}

// natoNo are the words of the spelling alphabet, packed, and their letters; 0: a part of one.
var natoNo = func() map[uint32]byte {
	m := map[uint32]byte{}
	for i, w := range strings.Fields("alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu zero one two three four five six seven eight nine") {
		c := byte('a' + i)
		if i >= 26 {
			c = byte('0' + i - 26)
		}
		m[pack(w)] = c
	}
	m[pack("alfa")], m[pack("juliet")], m[pack("whisky")], m[pack("ray")], m[pack("niner")] = 'a', 'j', 'w', 0, '9'
	return m
}()

// nato reads words of the spelling alphabet.
func (l *lattice) nato(*mark) {
	t := l.text
	b := l.builder("nato")
	var row []symbol
	lines := false
	for i := 0; i < len(t); {
		if letterNo[t[i]] == 0 {
			i++
			continue
		}
		s := i
		for i < len(t) && letterNo[t[i]] != 0 {
			i++
		}
		c, ok := natoNo[pack(t[s:i])]
		if n := i - s; n == 1 && t[s]|0x20 == 'x' && i < len(t) && t[i] == '-' {
			c, ok = 'x', true
		} else if n < 3 || n > 8 {
			ok = false
		}
		if ok && c == 0 { // the end of X-ray
			if len(row) > 0 {
				row[len(row)-1].e = i
			}
			continue
		}
		if len(row) > 0 && (!ok || s-row[len(row)-1].e > 4) {
			l.row(b, row, 6)
			row = row[:0]
		}
		if !ok {
			continue
		}
		word := false
		if n := len(row); n > 0 {
			g := t[row[n-1].e:s]
			if n == 1 {
				lines = g == "\n"
			}
			word = strings.ContainsAny(g, "/|,;.") || strings.Contains(g, "  ") || strings.Contains(g, "\n") && g != "\n" || g == "\n" && !lines
		}
		row = append(row, symbol{c, s, i, word})
	}
	l.row(b, row, 6)
	l.add(b)
}

var upright = func() map[rune]byte {
	m := map[rune]byte{'˙': '.', '¡': '!', '¿': '?', '⅄': 'Y', 'Ⅎ': 'F', '⅁': 'G', '∀': 'A', 'ן': 'l', 'ı': 'i', 'ᵷ': 'g', 'ɓ': 'g', 'ꓤ': 'R', 'Ɔ': 'C', 'Ǝ': 'E', '⊥': 'T', '∩': 'U', 'Λ': 'V'}
	for i, r := range []rune(turnedLow) {
		m[r] = 'a' + byte(i)
	}
	return m
}()

// upsideDown turns lines around that hold letters which stand on their heads.
func (l *lattice) upsideDown(*mark) {
	t := l.text
	b := l.builder("upside-down")
	for s := 0; s < len(t); {
		e := len(t)
		if k := strings.IndexByte(t[s:], '\n'); k >= 0 {
			e = s + k
		}
		turned := 0
		for i := s; i < e; {
			if t[i] < 0x80 {
				i++
				continue
			}
			r, w := utf8.DecodeRuneInString(t[i:e])
			if c, ok := upright[r]; ok && letterNo[c] != 0 && scriptOf(r) == sLatin {
				turned++
			}
			i += w
		}
		if turned >= 4 && turned*8 >= min(e-s, 512) {
			b.approach(s)
			for i := e; i > s; {
				r, w := utf8.DecodeLastRuneInString(t[s:i])
				if c, ok := upright[r]; ok {
					b.raw(ascii[c], i-w, i, whole)
				} else {
					b.raw(t[i-w:i], i-w, i, whole)
				}
				i -= w
			}
			b.pos = e
		}
		s = e + 1
	}
	l.add(b)
}
