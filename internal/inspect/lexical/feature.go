// Package lexical is the cheap learned tier: a linear model over hashed n-grams (Weinberger et al.,
// "Feature Hashing for Large Scale Multitask Learning", ICML 2009) of characters and words. It reads
// every byte, says how much each place of a text contributes, and so gives spans as well as scores.
package lexical

import (
	"unicode"
	"unicode/utf8"
)

// Feature is one n-gram: its hash, and the byte of the text where it ends.
type Feature struct {
	Hash uint32
	End  int32
}

const (
	k1, k2, k3, k4, k5 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1
	charSalt           = 0x51ED270B
	wordSalt           = 0x2545F491
)

// Features appends the n-grams of text to dst: five characters (and two to four in scripts that write
// without spaces), words 1 to 3 and pairs with one word between them. Case, the kind of white space
// and the value of digits make no difference. A run that is code for something else (base64, hex, a
// key) is read as a blank: its letters say nothing, and what it decodes to is a reading of its own.
func Features(dst []Feature, text []byte) []Feature {
	var u1, u2, u3, u4 uint32 // the last characters, newest first
	var w1, w2 uint32         // the last words
	word, inWord := uint32(0), false
	n := 0
	put := func(h uint32, end int) {
		h ^= h >> 15
		h *= k2
		h ^= h >> 13
		dst = append(dst, Feature{h, int32(end)})
	}
	closeWord := func(end int) {
		put(word*k1+wordSalt, end)
		put((word*k1+w1)*k3+wordSalt, end)
		put((word*k1+w1)*k3+w2*k4+wordSalt, end)
		put((word*k5+w2)*k4+wordSalt, end)
		w2, w1, word, inWord = w1, word, 0, false
	}
	run := 0 // end of the last run that was looked at
	for i := 0; i <= len(text); {
		c, width := uint32(' '), 1
		coded := 0
		if i >= run && i < len(text) && kinds[text[i]] != 0 {
			run, coded = code(text, i)
		}
		switch {
		case coded > 0:
			width = coded
		case i == len(text):
		case text[i] < utf8.RuneSelf:
			c = uint32(folded[text[i]])
		default:
			r, w := utf8.DecodeRune(text[i:])
			c, width = uint32(unicode.ToLower(r)), w
		}
		end := i + width
		i = end
		if c == ' ' {
			if inWord {
				closeWord(min(end-width, len(text)))
			}
			if u1 == ' ' {
				continue
			}
		} else if inWord = c >= utf8.RuneSelf || 'a' <= c && c <= 'z' || c == '0' || c == '\''; inWord {
			word = (word + c) * k1
		} else if word != 0 {
			closeWord(end - width)
		}
		n++
		end = min(end, len(text))
		h2 := (c*k1+u1)*k2 + charSalt
		h3 := (h2 + u2) * k3
		h4 := (h3 + u3) * k4
		if u1 >= 0x2E80 { // a script without spaces: its words are short
			put(h2, end)
			if n > 2 {
				put(h3, end)
			}
			if n > 3 {
				put(h4, end)
			}
		}
		if n > 4 {
			put((h4+u4)*k5, end)
		}
		u4, u3, u2, u1 = u3, u2, u1, c
	}
	return dst
}

// kinds tells the bytes that codes are written in apart: 1 lower case, 2 upper case, 3 digits, 4 signs.
var kinds = func() (t [256]byte) {
	for c := range t {
		switch {
		case 'a' <= c && c <= 'z':
			t[c] = 1
		case 'A' <= c && c <= 'Z':
			t[c] = 2
		case '0' <= c && c <= '9':
			t[c] = 3
		case c == '+' || c == '/' || c == '=' || c == '_' || c == '-':
			t[c] = 4
		}
	}
	return t
}()

// leastCode is the shortest run that is taken for code.
const leastCode = 24

// code says where the run of letters, digits and signs that begins at i ends and, if no words are
// written like it, how long it is: its kinds change too often, and digits are among them.
func code(text []byte, i int) (end, length int) {
	var count [5]int
	changes, hex := 0, true
	last := kinds[text[i]]
	for end = i; end < len(text) && kinds[text[end]] != 0; end++ {
		k := kinds[text[end]]
		count[k]++
		hex = hex && (k == 3 || text[end]|0x20 <= 'f' && k != 4)
		if k != last && k != 4 {
			changes++
			last = k
		}
	}
	n := end - i
	if n >= leastCode && (hex && count[3] >= n/4 || count[3] >= max(2, n/20) && changes >= n/4) {
		return end, n
	}
	return end, 0
}

// Once tells an n-gram that is new from one that was there a moment ago, so that saying a thing often
// weighs no more than saying it: a repeated word is no attack. The zero value is ready.
//
// A set remembers its two latest n-grams, each by 16 bits of the hash and 16 of the place. More in a
// set push the oldest out, which then counts again.
type Once struct {
	sets [1 << 14][2]uint32
}

// repeat is within how many bytes an n-gram counts once.
const repeat = 512

// Begin starts a new text.
func (o *Once) Begin() { clear(o.sets[:]) }

// New says whether f is not to be found shortly before.
func (o *Once) New(f Feature) bool {
	s := &o.sets[f.Hash>>18]
	at := uint32(f.End+1) & 0xffff
	tag := f.Hash << 16 // what the number of the set does not say
	a, b := s[0], s[1]
	if (a^tag)>>16 == 0 && a != 0 {
		s[0] = tag | at
		return (at-a)&0xffff >= repeat
	}
	s[0], s[1] = tag|at, a
	return (b^tag)>>16 != 0 || b == 0 || (at-b)&0xffff >= repeat
}

// folded is how an ASCII byte is read.
var folded = func() (t [utf8.RuneSelf]byte) {
	for i := range t {
		c := byte(i)
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case '0' <= c && c <= '9':
			c = '0'
		case c <= ' ' || c == 0x7f:
			c = ' '
		}
		t[i] = c
	}
	return t
}()
