package readings

import (
	"math/bits"
	"strings"
)

// leetLetters are the letters that a digit or sign may stand for, the likelier first.
var leetLetters = func() (t [256]string) {
	for _, p := range strings.Fields("4a @a 3e 1il !il |li 0o 5s $s 7t +t 8b 9g 2z 6g") {
		t[p[0]] = p[1:]
	}
	return
}()

// leetWords are short words that may be written in digits only.
var leetWords = map[string]bool{"to": true, "it": true, "is": true, "as": true, "at": true, "so": true, "be": true, "all": true, "test": true, "list": true, "is it": true, "its": true, "toss": true, "lost": true, "east": true, "seat": true, "set": true, "sit": true}

type leetWord struct {
	s, e  int
	text  string
	marks int
	sure  bool // reads like English by itself
}

// leet reads words in which digits and signs stand for letters. A word is only changed where it then
// reads like English and either has several such letters or neighbours that have them.
func (l *lattice) leet(*mark) {
	t := l.text
	b := l.builder("leet")
	var near [8]leetWord // candidates that wait for a sure one nearby
	n := 0
	last := -1 << 30 // where the last sure word ended
	sure := 0
	// A word is put when it is sure; those close to it go with it.
	put := func(w leetWord) {
		for k := range w.e - w.s {
			if t[w.s+k] != w.text[k] {
				b.edit(w.s+k, w.s+k+1, w.text[k:k+1], scaled)
			}
		}
	}
	for i := 0; i < len(t); {
		k := class[t[i]]
		if k&(cLetter|cDigit|cLeet) == 0 {
			i++
			continue
		}
		s, all, marks := i, uint8(0), 0
		for i < len(t) {
			k := class[t[i]]
			if k&(cLetter|cDigit|cLeet) == 0 {
				break
			}
			if k&(cDigit|cLeet) != 0 {
				marks++
			}
			all |= k
			i++
		}
		if marks == 0 || i-s > 24 || i-s < 2 {
			continue
		}
		e := i
		for e > s+1 && t[e-1] == '!' {
			e--
			marks--
		}
		if marks == 0 || e-s < 2 {
			continue
		}
		w := leetWord{s: s, e: e, marks: marks}
		w.text, w.sure = unleet(t[s:e], all&cLetter == 0)
		if w.text == "" {
			continue
		}
		if w.sure && (marks >= 2 && e-s >= 4 || s-last < 60) {
			for _, x := range near[:n] {
				if w.s-x.e < 60 {
					put(x)
				}
			}
			n = 0
			put(w)
			last = e
			sure++
			continue
		}
		if s-last < 40 {
			put(w)
			continue
		}
		if w.sure {
			// Two sure words with one such letter each are as good as one with two.
			for k := range n {
				if near[k].sure && w.s-near[k].e < 40 {
					last = e
				}
			}
			if last == e {
				for _, x := range near[:n] {
					if w.s-x.e < 60 {
						put(x)
					}
				}
				n = 0
				put(w)
				sure++
				continue
			}
		}
		if n == len(near) {
			copy(near[:], near[1:])
			n--
		}
		near[n] = w
		n++
	}
	if sure > 0 {
		l.add(b)
	}
}

// unleet is the likeliest reading of word, "" when there is none; sure says that it reads like English.
func unleet(word string, digits bool) (string, bool) {
	var pick [24]byte
	var forks [3]int
	nf := 0
	for i := range len(word) {
		c := word[i]
		if v := leetLetters[c]; v != "" {
			pick[i] = v[0]
			if len(v) > 1 && nf < 3 {
				forks[nf] = i
				nf++
			}
		} else if class[c]&cLetter != 0 {
			pick[i] = c
		} else {
			return "", false
		}
	}
	best, worth, letters := "", -1<<30, 1
	for m := range 1 << nf {
		p := pick
		for f := range nf {
			if m>>f&1 != 0 {
				p[forks[f]] = leetLetters[word[forks[f]]][1]
			}
		}
		s := string(p[:len(word)])
		sum, n := score(s)
		if sum -= 4 * bits.OnesCount(uint(m)); sum > worth {
			best, worth, letters = s, sum, n
		}
	}
	if digits {
		if len(word) < 2 || !leetWords[best] {
			return "", false
		}
		return best, false
	}
	own := 0 // letters that are letters
	for i := range len(word) {
		if class[word[i]]&cLetter != 0 {
			own++
		}
	}
	if worth < -4*letters && (len(word) < 3 || worth < -14*letters) || own*4 < len(word) {
		return "", false
	}
	// Digits at the end alone are a number: sha1, port80.
	tail := len(word)
	for tail > 0 && class[word[tail-1]]&cDigit != 0 {
		tail--
	}
	inside := strings.IndexFunc(word[:tail], func(r rune) bool { return class[byte(r)]&cLetter == 0 }) >= 0
	return best, inside && worth >= 3*letters && len(word) >= 3 && !of([]byte(word), &val16)
}
