package readings

import "strings"

// marks say which writings a text may hold at all. They may say too much, never too little.
type marks uint32

const (
	hasWide     marks = 1 << iota // a byte that is not ASCII
	hasSingles                    // single letters one after the other
	hasLeet                       // digits or signs within words
	hasToken                      // a long word of mixed letters and digits
	hasSolid                      // a long word with signs
	hasEscape                     // %41 \x41 \u0041 \101 &#65; &lt;
	hasEquals                     // =41, =?utf-8?, = at the end of a line
	hasBegin                      // begin 644
	hasCodes                      // numbers one after the other
	hasMorse                      // dots and dashes
	hasMarkup                     // tags, links, emphasis
	hasQuote                      // quoted pieces
	hasDigit                      // 1/3, 1 of 3
	hasForeign                    // words that do not read like English
	hasDense                      // more signs than text has
	hasNATO                       // words of the spelling alphabet
	hasBackward                   // words that may stand last to first
	hasInitials                   // first letters that read like English
	hasPig                        // words that end in -ay
	hasPlus                       // words joined by +
)

// mark is what one look at a text shows.
type mark struct{ has marks }

const (
	cLetter = 1 << iota
	cDigit
	cUpper
	cSpace
	cLeet  // @ $ ! | +
	cB64   // + / - _
	cSign  // any other visible sign
	cMorse // . - /
)

var class = func() (t [256]uint8) {
	for c := range 0x80 {
		switch {
		case 'a' <= c && c <= 'z':
			t[c] = cLetter
		case 'A' <= c && c <= 'Z':
			t[c] = cLetter | cUpper
		case '0' <= c && c <= '9':
			t[c] = cDigit
		case c == ' ' || '\t' <= c && c <= '\r':
			t[c] = cSpace
		case c > ' ' && c < 0x7f:
			t[c] = cSign
		}
	}
	for _, c := range "@$!|+" {
		t[c] |= cLeet
	}
	for _, c := range "+/-_" {
		t[c] |= cB64
	}
	for _, c := range ".-/" {
		t[c] |= cMorse
	}
	return
}()

// pack is a word of up to six ASCII letters as a number.
func pack(s string) uint32 {
	v := uint32(0)
	for i := range len(s) {
		v = v<<5 | uint32(letterNo[s[i]])
	}
	return v & packMask
}

const packMask = 1<<30 - 1

// Words that have a side: a determiner is never followed by a preposition or a conjunction, unless
// the words stand last to first.
var determiners, prepositions = packed("the a an my your our their"), packed("of in to for with from on at by into and or but")

func packed(words string) map[uint32]bool {
	m := map[uint32]bool{}
	for w := range strings.FieldsSeq(words) {
		m[pack(w)] = true
	}
	return m
}

// short says what a word of up to six letters is to look: 1 a determiner, 2 a preposition, 4 a word
// of the spelling alphabet. Its place is found by multiplying; the multiplier is one that gives every
// word a place of its own.
type short struct {
	word uint32
	is   uint8
}

var shorts, shortMul = func() (t [1 << 10]short, mul uint32) {
	all := map[uint32]uint8{}
	for w := range determiners {
		all[w] |= 1
	}
	for w := range prepositions {
		all[w] |= 2
	}
	for w := range natoNo {
		all[w] |= 4
	}
search:
	for mul = 2654435761; ; mul += 2 {
		t = [1 << 10]short{}
		for w, is := range all {
			p := &t[w*mul>>22]
			if p.is != 0 {
				continue search
			}
			*p = short{w, is}
		}
		return t, mul
	}
}()

const (
	initials  = 14           // first letters that must read like English together
	foreignAt = 110          // what a stretch must be worth to be tried as a cipher
	tilt      = 8            // a letter of English is worth less than this, one of a cipher more
	initialAt = initials * 6 // what they must be worth
)

// look passes over text once.
func look(text string) (m mark) {
	has := marks(0)
	var (
		tok                  int   // start of the word of visible bytes
		tokClass             uint8 // all that is in it
		mixed                int   // changes between cases, letters and digits in it
		foreign              int
		singles, codes, nato int
		pigs, plus, quotes   int
		lastSide             uint8
		dense                int // signs less what text has
		dots                 int
		ini, line            ring
		fresh                = true // at the beginning of a line
		lineStart, lineWords int
	)
	for i := 0; i <= len(text); i++ {
		var c byte = '\n'
		if i < len(text) {
			c = text[i]
		}
		k := class[c]
		if k&(cLetter|cDigit) != 0 {
			// A run of letters and digits.
			start := i
			prev, kinds := k, uint8(0)
			idx, sum, letters, word := 0, 0, 0, uint32(0)
			for {
				if x := letterNo[c]; x != 0 {
					idx = (idx<<5 | int(x)) & 0x7fff
					sum += int(tri[idx])
					letters++
					word = word<<5 | uint32(x)
				}
				if (k^prev)&(cUpper|cDigit) != 0 {
					mixed++
				}
				kinds |= k
				prev = k
				if i++; i >= len(text) {
					c, k = '\n', cSpace
					break
				}
				c = text[i]
				if k = class[c]; k&(cLetter|cDigit) == 0 {
					break
				}
			}
			tokClass |= kinds
			n := i - start
			if x := int(letterNo[text[start]]); x != 0 {
				if ini.push(x) {
					has |= hasInitials
				}
				if fresh {
					fresh = false
					if line.push(x) {
						has |= hasInitials
					}
				}
			}
			if n == 1 {
				if singles++; singles >= 5 {
					has |= hasSingles
				}
			} else {
				singles = 0
			}
			if kinds&cDigit == 0 && (n < 2 || n > 4 || letters != n) {
				if n > 1 || text[start]|0x20 != 'u' && text[start]|0x20 != 'x' { // the U of U+0041
					codes = 0
				}
			} else if n <= 8 && mayBeCode(text[start:i]) {
				if codes++; codes >= 6 {
					has |= hasCodes
				}
			} else {
				if n >= 32 && letters == 0 && solidBits(text[start:i]) {
					has |= hasCodes
				}
				codes = 0
			}
			if kinds&cDigit != 0 && prev&cDigit != 0 && (c == '/' || c == ' ' && strings.HasPrefix(text[i:], " of ") || c == ':' || c == ']' || c == ')') {
				has |= hasDigit
			}
			if letters > 0 {
				sum += int(tri[(idx<<5)&0x7fff])
				foreign = max(0, min(foreign+tilt*letters/4-sum, 4000))
				if foreign >= foreignAt {
					has |= hasForeign
				}
				word &= packMask
				is := uint8(0)
				if s := &shorts[word*shortMul>>22]; s.word == word {
					is = s.is
				}
				if lastSide == 1 && is&2 != 0 {
					has |= hasBackward
				}
				lastSide = is
				if is&4 != 0 {
					if nato++; nato >= 5 {
						has |= hasNATO
					}
				} else if letters > 2 {
					nato = 0
				}
				if letters > 2 && word&0x3ff == 1<<5|25 { // -ay
					if pigs += 3; pigs >= 9 {
						has |= hasPig
					}
				} else {
					pigs = max(0, pigs-1)
				}
				lineWords++
			}
			if i >= len(text) && i > start {
				// The end of the text ends the word too.
				k, c = cSpace, '\n'
			}
		}
		if k&cSpace == 0 {
			tokClass |= k
			if c >= 0x80 {
				has |= hasWide
				singles = 0
				for i+1 < len(text) && text[i+1] >= 0x80 {
					i++
				}
				continue
			}
			dense = min(dense+10, 400)
			switch c {
			case '%', '\\', '&':
				if i+2 < len(text) {
					has |= hasEscape
				}
			case '+':
				if plus++; plus >= 3 && tokClass&cLetter != 0 {
					has |= hasPlus
				}
			case '=':
				has |= hasEquals
			case '<', ']', '*', '`':
				has |= hasMarkup
			case '_':
				if i > 0 && text[i-1] == '_' {
					has |= hasMarkup
				}
			case '"', '\'', '{':
				if quotes++; quotes >= 3 {
					has |= hasQuote
				}
			case '.', ',', '!', '?', ';', ':':
				lastSide = 0
				if i+1 < len(text) && class[text[i+1]]&cSpace != 0 {
					dense -= 10
				}
			}
			if k&cMorse != 0 {
				if dots++; dots >= 12 {
					has |= hasMorse
				}
			} else {
				dots = 0
			}
			continue
		}
		// A word of visible bytes ends here.
		if n := i - tok; n > 0 {
			dense = max(0, dense-n)
			if dense > 60 {
				has |= hasDense
			}
			if tokClass != cLetter {
				if tokClass&cLetter != 0 && tokClass&(cDigit|cLeet) != 0 {
					has |= hasLeet
				}
				if n >= 12 && mixed >= 2 {
					has |= hasToken
				}
				if n >= 16 && tokClass&cSign != 0 {
					has |= hasSolid
				}
			}
			if n >= 24 {
				has |= hasToken
			}
			if tokClass&(cLetter|cDigit) != 0 {
				dots = 0
			}
			if n == 5 && c == ' ' && text[tok] == 'b' && text[tok:i] == "begin" {
				has |= hasBegin
			}
		}
		if c == '\n' {
			if lineWords >= 5 && i-lineStart < 2000 && maybeBackward(text[lineStart:min(i, len(text))]) {
				has |= hasBackward
			}
			fresh, lineStart, lineWords, lastSide = true, i+1, 0, 0
		}
		for i+1 < len(text) && class[text[i+1]] == cSpace && text[i+1] != '\n' {
			i++
		}
		tok, tokClass, mixed, plus = i+1, 0, 0, 0
	}
	if has&hasSolid != 0 {
		has |= hasDense
	}
	m.has = has
	return m
}

// ring keeps the last first letters and what they are worth.
type ring struct {
	idx, sum, at int
	worth        [initials]int8
}

func (r *ring) push(x int) bool {
	r.idx = (r.idx<<5 | x) & 0x7fff
	v := tri[r.idx]
	r.sum += int(v) - int(r.worth[r.at])
	r.worth[r.at] = v
	if r.at++; r.at == initials {
		r.at = 0
	}
	return r.sum >= initialAt
}

// mayBeCode says that s may be one of a list of codes: a number or two or more hex digits.
func mayBeCode(s string) bool {
	if len(s) > 2 && (s[0]|0x20 == 'x' || s[0]|0x20 == 'u') {
		s = s[1:]
	}
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		s = s[2:]
	}
	digits := true
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			digits = false
		default:
			return false
		}
	}
	return digits || len(s) == 2 || len(s) >= 4
}

func solidBits(s string) bool {
	for i := range len(s) {
		if s[i]&^1 != '0' {
			return false
		}
	}
	return true
}

// maybeBackward says that line begins in the middle of a sentence and ends with its first word.
func maybeBackward(line string) bool {
	line = strings.TrimRight(line, " \r\"'`)>")
	k := strings.LastIndexByte(line, ' ')
	if k < 0 || k+1 >= len(line) || class[line[k+1]]&cUpper == 0 || len(line)-k < 3 || class[line[k+2]]&cUpper != 0 {
		return false
	}
	return class[line[len(line)-1]]&cLetter != 0
}
