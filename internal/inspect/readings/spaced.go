package readings

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// chain is a row of single letters with something between them.
type chain struct {
	at   []int32 // where each letter begins
	end  []int32 // and ends
	wide int     // letters that are not ASCII
}

// spaced joins letters that stand one by one: "i g n o r e", "i-g-n-o-r-e", a letter a line.
func (l *lattice) spaced(*mark) {
	tableOnce.Do(build)
	b := l.builder("spaced")
	var c chain
	t := l.text
	other := 0 // runes since the last single letter
	flush := func() {
		if len(c.at) >= 5 {
			l.join(b, &c)
		}
		c.at, c.end, c.wide = c.at[:0], c.end[:0], 0
	}
	for i := 0; i < len(t); {
		if t[i] < 0x80 && class[t[i]]&(cLetter|cDigit) == 0 {
			if other++; other > 6 && len(c.at) > 0 {
				flush()
			}
			i++
			continue
		}
		r, w := rune(t[i]), 1
		wide := r >= 0x80
		if wide {
			r, w = utf8.DecodeRuneInString(t[i:])
			if k := lookup(r).kind; k == kOther || k == kSpace || k == kEmoji || k == kHidden {
				if other++; other > 6 && len(c.at) > 0 {
					flush()
				}
				i += w
				continue
			}
		}
		// One letter with its marks, or a word.
		s := i
		i += w
		n := 1
		for i < len(t) {
			if t[i] < 0x80 {
				if class[t[i]]&(cLetter|cDigit) == 0 {
					break
				}
				n++
				i++
				continue
			}
			r, w := utf8.DecodeRuneInString(t[i:])
			k := lookup(r).kind
			if k == kOther || k == kSpace || k == kEmoji || k == kHidden {
				break
			}
			if k != kMark {
				n++
			}
			i += w
		}
		if n > 1 {
			flush()
			other = 0
			continue
		}
		c.at, c.end = append(c.at, int32(s)), append(c.end, int32(i))
		if wide && unicode.IsLetter(r) {
			c.wide++
		}
		other = 0
	}
	flush()
	l.add(b)
}

// join writes the letters of a chain as words.
func (l *lattice) join(b *builder, c *chain) {
	t := l.text
	gap := func(i int) string { return t[c.end[i]:c.at[i+1]] }
	// What stands between most letters parts letters; anything wider parts words.
	var gaps [16]struct {
		s string
		n int
	}
	used := 0
	for i := range len(c.at) - 1 {
		g := gap(i)
		k := 0
		for k < used && gaps[k].s != g {
			k++
		}
		if k == used && used < len(gaps) {
			gaps[k].s = g
			used++
		}
		if k < used {
			gaps[k].n++
		}
	}
	// One character parts letters where there is one that does.
	most, n := "", -1
	for _, g := range gaps[:used] {
		worth := g.n
		if utf8.RuneCountInString(g.s) == 1 {
			worth += len(c.at)
		}
		if worth > n {
			most, n = g.s, worth
		}
	}
	space := func(s string) int {
		n := 0
		for _, r := range s {
			if r < 0x80 && class[byte(r)]&cSpace != 0 || r >= 0x80 && lookup(r).kind == kSpace {
				n++
			}
		}
		return n
	}
	spacesMost := space(most)
	if utf8.RuneCountInString(most) > 3 {
		return
	}
	breaks := func(g string) bool {
		if g == most {
			return false
		}
		n := space(g)
		return n > spacesMost || n > 1
	}
	// Does it read like text?
	var plain strings.Builder
	for i := range c.at {
		plain.WriteString(t[c.at[i]:c.end[i]])
		if i+1 < len(c.at) && breaks(gap(i)) {
			plain.WriteByte(' ')
		}
	}
	if c.wide*2 < len(c.at) {
		s := plain.String()
		if strings.ContainsAny(s, "0134579") {
			s = strings.Map(plainLeet, s)
		}
		if sum, n := score(s); n < 8 || n < 20 && sum < 4*n || sum < n {
			return
		}
	}
	b.approach(int(c.at[0]))
	for i := range c.at {
		b.copy(int(c.at[i]), int(c.end[i]))
		if i+1 < len(c.at) {
			if g := gap(i); breaks(g) {
				for k, r := range g {
					if strings.ContainsRune(",.!?;:", r) && !strings.ContainsRune(most, r) {
						b.copy(int(c.end[i])+k, int(c.end[i])+k+1)
					}
				}
				b.raw(" ", int(c.end[i]), int(c.at[i+1]), whole)
			}
		}
	}
	b.pos = int(c.end[len(c.at)-1])
}

func plainLeet(r rune) rune {
	if r < 0x80 {
		if v := leetLetters[byte(r)]; v != "" {
			return rune(v[0])
		}
	}
	return r
}
