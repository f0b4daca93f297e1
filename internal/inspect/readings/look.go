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

// side is determiners (1) and prepositions (2) by a hash of the packed word; check the maps on a hit.
var side, natoEnd = func() (t, n [1 << 10]uint8) {
	for w := range determiners {
		t[sideHash(w)] |= 1
	}
	for w := range prepositions {
		t[sideHash(w)] |= 2
	}
	for w := range natoNo {
		n[sideHash(w)] = 1
	}
	return
}()

func sideHash(w uint32) uint32 { return (w * 2654435761) >> 22 }

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
		tok       int    // start of the word of visible bytes
		tokClass  uint8  // all that is in it
		mixed     int    // changes between cases, letters and digits in it
		alnum     int    // start of the run of letters and digits, -1: none
		word      uint32 // the last six letters of the word
		idx, sum  int    // letter statistics of the word
		letters   int
		foreign   int
		singles   int
		codes     int
		nato      int
		pigs      int
		plus      int
		lastSide  uint8
		quotes    int
		dense     int // signs less what text has
		dots      int
		ini, line ring
		fresh     = true // at the beginning of a line
		prev      uint8
	)
	alnum = -1
	lineStart, lineWords := 0, 0
	for i := 0; i <= len(text); i++ {
		var c byte = '\n'
		if i < len(text) {
			c = text[i]
		}
		k := class[c]
		if k&cLetter != 0 {
			x := int(letterNo[c])
			if idx&31 == 0 && letters == 0 || alnum < 0 {
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
			idx = (idx<<5 | x) & 0x7fff
			sum += int(tri[idx])
			letters++
			word = word<<5 | uint32(x)
		}
		if k&(cLetter|cDigit) != 0 {
			if alnum < 0 {
				alnum = i
			} else if (k^prev)&(cUpper|cDigit) != 0 {
				mixed++
			}
			tokClass |= k
			if k&cDigit != 0 && prev&cDigit == 0 && i+1 < len(text) {
				if n := text[i+1]; n == '/' || n == ' ' && strings.HasPrefix(text[i+1:], " of ") || class[n]&cDigit != 0 {
					has |= hasDigit
				}
			}
			prev = k
			continue
		}
		// A run of letters and digits ends here.
		if alnum >= 0 {
			n := i - alnum
			if n == 1 {
				if singles++; singles >= 5 {
					has |= hasSingles
				}
			} else {
				singles = 0
			}
			if n == 1 && (text[alnum]|0x20 == 'u' || text[alnum]|0x20 == 'x') {
				// the U of U+0041
			} else if n <= 8 && prevDigits(text[alnum:i]) {
				if codes++; codes >= 6 {
					has |= hasCodes
				}
			} else {
				if n >= 32 && codes >= 0 && solidBits(text[alnum:i]) {
					has |= hasCodes
				}
				codes = 0
			}
			alnum = -1
			if letters > 0 {
				sum += int(tri[(idx<<5)&0x7fff])
				foreign = max(0, min(foreign+tilt*letters/4-sum, 4000))
				if foreign >= foreignAt {
					has |= hasForeign
				}
				word &= packMask
				h := sideHash(word)
				s := side[h]
				if s != 0 {
					switch {
					case s&1 != 0 && determiners[word]:
						s = 1
					case s&2 != 0 && prepositions[word]:
						s = 2
					default:
						s = 0
					}
				}
				if lastSide == 1 && s == 2 {
					has |= hasBackward
				}
				lastSide = s
				if natoEnd[h] != 0 && letters >= 3 {
					if _, ok := natoNo[word]; ok {
						if nato++; nato >= 5 {
							has |= hasNATO
						}
					} else {
						nato = 0
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
			idx, sum, letters, word = 0, 0, 0, 0
		}
		prev = k
		if k&cSpace == 0 {
			tokClass |= k
			if c >= 0x80 {
				has |= hasWide
				singles = 0
				continue
			}
			dense = max(0, min(dense+10, 400))
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
				if i+1 < len(text) && class[text[i+1]]&cSpace != 0 {
					dense = max(0, dense-10)
					lastSide = 0
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
			if tokClass&cLetter != 0 && tokClass&(cDigit|cLeet) != 0 {
				has |= hasLeet
			}
			if n >= 12 && (mixed >= 2 || n >= 24) {
				has |= hasToken
			}
			if n >= 16 && tokClass&cSign != 0 {
				has |= hasSolid
			}
			if tokClass&(cLetter|cDigit) != 0 {
				dots = 0
			}
			if c == ' ' && n == 5 && text[tok:i] == "begin" {
				has |= hasBegin
			}
		}
		tok, tokClass, mixed, plus = i+1, 0, 0, 0
		if c == '\n' {
			if lineWords >= 5 && i-lineStart < 2000 && maybeBackward(text[lineStart:i]) {
				has |= hasBackward
			}
			fresh, lineStart, lineWords, lastSide = true, i+1, 0, 0
		}
	}
	if has&hasSolid != 0 || has&hasDense != 0 {
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

// prevDigits says that s may be one of a list of codes: a number or two or more hex digits.
func prevDigits(s string) bool {
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
