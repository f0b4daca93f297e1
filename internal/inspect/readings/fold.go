package readings

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What fold undoes, in the order of the view's name.
const (
	didInvisible = 1 << iota
	didTwin
	didStyle
	didMarks
)

var didNames = []string{"invisible", "homoglyph", "styled", "marks"}

// maxWord bounds a word that is judged as one; what is longer is judged in parts.
const maxWord = 256

type letter struct {
	r    rune
	s, e int32
	info
}

// folder makes the reading in which every word is written plainly.
type folder struct {
	b     *builder
	did   uint8
	word  []letter
	latin bool // the last word was, or was read as, Latin
	heavy int  // words since one whose marks were dropped; they are dropped nearby too
}

// fold undoes what hides the letters of words: characters that show nothing, letters of other
// scripts in Latin words, other alphabets' styles, and stacks of marks. A word of another script, an
// emoji, a flag and a joiner where the script needs one stay what they are.
func (l *lattice) fold(*mark) {
	tableOnce.Do(build)
	f := &folder{b: l.builder(""), heavy: 99, latin: true}
	t := l.text
	for i := 0; i < len(t); {
		if t[i] < 0x80 {
			k := i
			for i < len(t) && t[i] < 0x80 {
				i++
			}
			if i == len(t) {
				break
			}
			// The letters just before belong to the word.
			w := i
			for w > k && w > i-maxWord && class[t[w-1]]&(cLetter|cDigit) != 0 {
				w--
			}
			if w > k {
				f.latin = f.latin || strings.IndexFunc(t[k:w], func(r rune) bool { return letterNo[byte(r)] != 0 }) >= 0
				if f.heavy < 99 {
					f.heavy += strings.Count(t[k:w], " ")
				}
			}
			i = f.takeWord(w)
			continue
		}
		i = f.takeWord(i)
	}
	for i, n := range didNames {
		if f.did>>i&1 != 0 {
			if f.b.view != "" {
				f.b.view += "+"
			}
			f.b.view += n
		}
	}
	l.add(f.b)
}

// takeWord reads the word that begins at i, or the one character there that is no part of a word.
func (f *folder) takeWord(i int) int {
	t := f.b.text
	f.word = f.word[:0]
	for i < len(t) && len(f.word) < maxWord {
		var x letter
		if c := t[i]; c < 0x80 {
			if class[c]&(cLetter|cDigit) == 0 {
				break
			}
			x = letter{rune(c), int32(i), int32(i + 1), info{kLetter, sLatin, c}}
			if class[c]&cDigit != 0 {
				x.info = info{kOther, sNone, c}
			}
			i++
		} else {
			r, w := utf8.DecodeRuneInString(t[i:])
			x = letter{r, int32(i), int32(i + w), lookup(r)}
			if k := x.kind; (k == kOther || k == kSpace || k == kEmoji) && len(f.word) > 0 {
				break
			}
			i += w
			if r == utf8.RuneError || x.kind == kOther {
				f.word = append(f.word, x)
				break
			}
			if x.kind == kSpace {
				f.space(x)
				return i
			}
			if x.kind == kEmoji {
				f.emoji(x, i)
				return f.afterEmoji(i)
			}
		}
		f.word = append(f.word, x)
	}
	f.judge()
	return i
}

// near says that something was changed shortly before.
func (f *folder) near(s int32) bool { return f.b.edits > 0 && int(s)-f.b.pos < 64 }

func (f *folder) space(x letter) {
	if f.near(x.s) {
		f.b.edit(int(x.s), int(x.e), " ", whole)
	}
}

// afterEmoji passes what belongs to an emoji: selectors, joiners, skin tones, tags of a flag.
func (f *folder) afterEmoji(i int) int {
	t := f.b.text
	choosers := 0
	for i < len(t) && t[i] >= 0x80 {
		r, w := utf8.DecodeRuneInString(t[i:])
		switch x := lookup(r); {
		case r == 0x200D || r == 0x20E3:
		case x.kind == kChooser && choosers == 0:
			choosers++
		case x.kind == kTag && i >= 4 && flagTags(t[i:]) > 0:
			w = flagTags(t[i:])
		default:
			return i
		}
		i += w
	}
	return i
}

// flagTags is the length of the tags of a regional flag (Scotland is gbsct) that s begins with.
func flagTags(s string) int {
	i, n := 0, 0
	for i < len(s) {
		r, w := utf8.DecodeRuneInString(s[i:])
		i += w
		switch {
		case r == 0xE007F:
			if n >= 4 && n <= 6 {
				return i
			}
			return 0
		case r >= 0xE0061 && r <= 0xE007A, n >= 2 && r >= 0xE0030 && r <= 0xE0039:
			if n++; n > 6 {
				return 0
			}
		default:
			return 0
		}
	}
	return 0
}

// emoji reads regional indicators that make no flags as letters.
func (f *folder) emoji(x letter, next int) {
	if x.ascii == 0 {
		return
	}
	t := f.b.text
	if r, _ := utf8.DecodeRuneInString(t[next:]); r >= 0x1F1E6 && r <= 0x1F1FF && flags[string([]byte{x.ascii, 'a' + byte(r-0x1F1E6)})] {
		return
	}
	if r, _ := utf8.DecodeLastRuneInString(t[:x.s]); r >= 0x1F1E6 && r <= 0x1F1FF && flags[string([]byte{'a' + byte(r-0x1F1E6), x.ascii})] {
		return
	}
	f.did |= didStyle
	f.b.edit(int(x.s), int(x.e), string(rune(x.ascii)), whole)
	// What shows nothing between two of them goes with it.
	for r, w := utf8.DecodeRuneInString(t[f.b.pos:]); w > 0; r, w = utf8.DecodeRuneInString(t[f.b.pos:]) {
		if k := lookup(r).kind; r < 0x80 || k != kHidden && k != kJoiner {
			break
		}
		f.b.pos += w
	}
}

// judge decides how the word is read, and writes it.
func (f *folder) judge() {
	var n, latin, twins, styled, accents, marks, odd, hidden int
	var scripts [sOther + 1]int
	w := f.word
	base := letter{}
	for i := range w {
		x := &w[i]
		switch x.kind {
		case kLetter:
			n++
			scripts[x.script]++
			if x.script == sLatin {
				latin++
			}
			base = *x
		case kTwin:
			n++
			twins++
			scripts[x.script]++
			base = *x
		case kStyled:
			n++
			styled++
			base = *x
		case kAccent:
			n++
			latin++
			accents++
			base = *x
		case kMark:
			marks++
			if i > 0 && w[i-1].kind == kMark && (i < 2 || w[i-2].kind == kMark) || base.kind == kStyled ||
				base.script == sLatin && base.kind == kLetter && base.ascii != 0 && !joins(base.ascii, x.r) {
				odd++
			}
		case kHidden, kTag, kChooser, kJoiner:
			hidden++
		}
	}
	if n == 0 && hidden == 0 {
		return
	}
	foreign := scripts[sCyrillic] + scripts[sGreek] + scripts[sArmenian] + scripts[sCherokee]
	several := b2i(scripts[sCyrillic] > 0) + b2i(scripts[sGreek] > 0) + b2i(scripts[sArmenian] > 0) + b2i(scripts[sCherokee] > 0)
	asLatin := twins > 0 && scripts[sJoining]+scripts[sOther] == 0 &&
		(latin+styled > 0 && twins == foreign || several > 1 || latin+styled > 0 && twins > 0 && latin+styled+twins >= 2*(foreign-twins))
	if !asLatin && twins > 0 && twins == n && f.latin && f.spellsLatin() && !f.foreignNext() {
		asLatin = true
	}
	unstyle := styled >= 2 || styled > 0 && (latin+twins > 0 || f.did&didStyle != 0 && f.near(w[0].s))
	odd += b2i(n >= 3 && accents+marks >= n) // every letter has one
	unmark := odd > 0 || accents+marks >= 4 && 5*(accents+marks) >= 3*n && n >= 5 || f.heavy < 4 && accents+marks > 0
	if odd > 0 {
		f.heavy = 0
	} else if f.heavy < 99 {
		f.heavy++
	}
	if latin+styled > 0 || asLatin {
		f.latin = true
	} else if n > 0 {
		f.latin = false
	}
	prev := letter{}
	for i := range w {
		x := &w[i]
		drop := false
		switch x.kind {
		case kHidden:
			drop = f.parts(prev, i)
		case kJoiner:
			drop = prev.script != sJoining && prev.script != sOther && prev.kind != kEmoji && prev.r != 0 || prev.r == 0 && f.parts(prev, i) ||
				prev.script == sOther && hidden >= 3 && hidden*4 >= len(w) // no script joins as often as that
		case kChooser:
			drop = prev.kind == kLetter && prev.script != sOther || prev.kind == kTwin || prev.kind == kAccent || prev.kind == kStyled ||
				i > 0 && w[i-1].kind == kChooser || prev.kind == kOther && prev.ascii != 0 && !keycap(w[i:]) ||
				hidden >= 3 && prev.kind != kEmoji // an ideograph may have one, not each of many
		case kTag:
			drop = true
		case kMark:
			if unmark {
				f.did |= didMarks
				f.b.edit(int(x.s), int(x.e), "", whole)
			}
			continue
		case kTwin:
			if asLatin {
				f.did |= didTwin
				f.b.edit(int(x.s), int(x.e), ascii[x.ascii], whole)
			}
		case kStyled:
			if unstyle {
				f.did |= didStyle
				f.b.edit(int(x.s), int(x.e), ascii[x.ascii], whole)
			}
		case kAccent:
			if unmark {
				f.did |= didMarks
				f.b.edit(int(x.s), int(x.e), ascii[x.ascii], whole)
			}
		}
		if x.kind == kHidden || x.kind == kJoiner || x.kind == kChooser || x.kind == kTag {
			if drop {
				f.did |= didInvisible
				f.b.edit(int(x.s), int(x.e), "", whole)
			}
			continue
		}
		prev = *x
	}
}

// parts says that the invisible character at i stands between or at letters whose script has no use
// for it, or is one of several.
func (f *folder) parts(prev letter, i int) bool {
	w := f.word
	if prev.kind == kLetter || prev.kind == kTwin || prev.kind == kStyled || prev.kind == kAccent || prev.kind == kOther && prev.ascii != 0 {
		// A direction mark beside a script that is written from right to left is at home there.
		return prev.script != sJoining || w[i].r < 0x200E
	}
	return i > 0 || len(w) > 1 && w[1].kind != kLetter || len(w) > 1 && w[1].script == sLatin
}

// spellsLatin says that the word, all of it look-alikes, reads like an English word.
func (f *folder) spellsLatin() bool {
	var buf [maxWord]byte
	b := buf[:0]
	var only script
	for _, x := range f.word {
		if x.kind == kTwin {
			b = append(b, x.ascii)
			only = x.script
		}
	}
	if len(b) == 1 {
		return only != sGreek && f.near(f.word[0].s)
	}
	sum, n := score(string(b))
	if f.did&didTwin != 0 && f.near(f.word[0].s) { // among words that were read so, a name too
		return sum >= -20*n
	}
	return sum >= 6*n
}

// foreignNext says that the word after this one is of the same script and no look-alike.
func (f *folder) foreignNext() bool {
	t := f.b.text
	i := int(f.word[len(f.word)-1].e)
	for i < len(t) && t[i] < 0x80 && class[t[i]]&(cLetter|cDigit) == 0 {
		i++
	}
	own := false
	for k := 0; i < len(t) && k < 32; k++ {
		if t[i] < 0x80 {
			return own && letterNo[t[i]] == 0
		}
		r, w := utf8.DecodeRuneInString(t[i:])
		switch x := lookup(r); {
		case x.script == sLatin || x.kind == kStyled:
			return false
		case x.kind == kLetter || x.kind == kOther && unicode.IsLetter(r):
			own = true
		case x.kind == kSpace || x.kind == kOther:
			return own
		}
		i += w
	}
	return own
}

func keycap(w []letter) bool { return len(w) > 1 && w[1].r == 0x20E3 }

// joins says that ASCII letter c and mark r are one letter of some language.
func joins(c byte, r rune) bool {
	return r >= 0x300 && r < 0x370 && composed[letterNo[c]][r-0x300]
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ascii holds every ASCII character as a string.
var ascii = func() (t [128]string) {
	for i := range t {
		t[i] = string(rune(i))
	}
	return
}()
