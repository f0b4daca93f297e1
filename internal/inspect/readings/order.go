package readings

import "strings"

// backward reads lines whose words stand last to first.
func (l *lattice) backward(*mark) {
	t := l.text
	b := l.builder("reversed-words")
	low := ""
	if len(t) < 16<<10 {
		low = strings.ToLower(t)
	}
	cue := strings.Contains(low, "last to first") || strings.Contains(low, "reverse") || strings.Contains(low, "backward")
	for s := 0; s < len(t); {
		e := len(t)
		if k := strings.IndexByte(t[s:], '\n'); k >= 0 {
			e = s + k
		}
		if e-s < 4096 && l.wrongWay(t[s:e], cue) {
			b.approach(s)
			for i := e; i > s; {
				k := i
				for k > s && class[t[k-1]]&cSpace == 0 {
					k--
				}
				b.copy(k, i)
				for i = k; i > s && class[t[i-1]]&cSpace != 0; {
					i--
				}
				if i > s {
					b.raw(" ", i, k, whole)
				}
			}
			b.pos = e
		}
		s = e + 1
	}
	l.add(b)
}

// wrongWay says that the words of line seem to stand last to first: more determiners before
// prepositions than behind them, or a sentence that ends with the word it should begin with.
func (l *lattice) wrongWay(line string, cue bool) bool {
	good, bad, words := 0, 0, 0
	side := 0
	starts := false // a word ended a sentence and a small one follows
	ended := false
	for w := range strings.FieldsSeq(line) {
		words++
		p := strings.TrimRight(w, ".,;:!?\"'")
		now := 0
		if p != "" && len(p) <= 6 {
			switch v := pack(p); {
			case determiners[v]:
				now = 1
			case prepositions[v]:
				now = 2
			}
		}
		if side == 1 && now == 2 {
			bad++
		} else if side == 2 && now == 1 {
			good++
		}
		if ended && class[w[0]]&cLetter != 0 && class[w[0]]&cUpper == 0 {
			starts = true
		}
		ended = strings.HasSuffix(w, ".") && len(w) > 3
		side = now
		if len(p) < len(w) {
			side = 0
		}
	}
	if words < 5 {
		return false
	}
	if bad > good {
		return true
	}
	return maybeBackward(line) && (cue || opens[pack(lastWord(line))] || starts || class[line[0]]&cLetter != 0 && class[line[0]]&cUpper == 0)
}

func lastWord(line string) string {
	line = strings.TrimRight(line, " \r\"'`)>")
	return line[strings.LastIndexByte(line, ' ')+1:]
}

// opens are words that open an instruction and hardly end a line.
var opens = packed("ignore disregard forget please you your reveal print show tell act pretend from do never always if when the this what how send write give now output repeat respond override bypass disable stop start begin let make use read open delete execute run say answer enter as in")

// acrostic reads the first letters of lines, and of words.
func (l *lattice) acrostic(*mark) {
	t := l.text
	var words, lines []int32
	fresh, in := true, false
	for i := range len(t) {
		k := class[t[i]]
		if k&(cLetter|cDigit) == 0 {
			in = t[i] >= 0x80 || t[i] == '\'' && in
			fresh = fresh || t[i] == '\n'
			continue
		}
		if !in && k&cLetter != 0 {
			words = append(words, int32(i))
			if fresh {
				lines = append(lines, int32(i))
				fresh = false
			}
		}
		in = true
	}
	l.firsts("acrostic-lines", lines)
	l.firsts("acrostic-words", words)
}

// firsts reads the letters at the places named where they read like English.
func (l *lattice) firsts(view string, at []int32) {
	t := l.text
	b := l.builder(view)
	b.bare = true
	from, to, sum, best, idx, done := 0, 0, 0, 0, 0, 0
	flush := func() {
		core := make([]byte, 0, to-from)
		for _, p := range at[from:to] {
			core = append(core, t[p])
		}
		if n := to - from; best >= 70 && n >= initials && likely(string(core)) >= readable {
			// The first and the last letters of a text may be worth little by themselves.
			if from, to = max(done, from-32), min(len(at), to+64); from-done < 32 && done > 0 {
				from = done
			}
			n = to - from
			single := 0
			for _, p := range at[from:to] {
				if int(p)+1 >= len(t) || class[t[p+1]]&cLetter == 0 {
					single++
				}
			}
			if single*3 < n {
				for _, p := range at[from:to] {
					if b.edits == 0 {
						b.edit(int(p), int(p)+1, t[p:p+1], scaled)
						continue
					}
					b.raw(t[p:p+1], int(p), int(p)+1, scaled)
				}
				b.pos = int(at[to-1]) + 1
				done = to
			}
		}
		sum, best = 0, 0
	}
	for i, p := range at {
		if sum == 0 {
			from, idx = i, 0
		}
		idx = (idx<<5 | int(letterNo[t[p]])) & 0x7fff
		v := int(tri[idx]) - 1
		if sum == 0 && idx>>5 == 0 {
			v = 1
		}
		sum += v
		if sum > best {
			best, to = sum, i+1
		}
		if sum <= 0 || sum < best-90 {
			flush()
		}
	}
	flush()
	l.add(b)
}

// pigLatin undoes words whose first consonants stand behind them: "oremay", "ignoreway".
func (l *lattice) pigLatin(*mark) {
	t := l.text
	b := l.builder("pig-latin")
	isPig := func(w string) bool {
		return len(w) > 2 && w[len(w)-2]|0x20 == 'a' && w[len(w)-1]|0x20 == 'y'
	}
	for i := 0; i < len(t); {
		if letterNo[t[i]] == 0 {
			i++
			continue
		}
		s := i
		for i < len(t) && letterNo[t[i]] != 0 {
			i++
		}
		w := t[s:i]
		if !isPig(w) || len(w) > 30 {
			continue
		}
		stem := w[:len(w)-2]
		best, worth, shift := "", -1000.0, 0
		try := func(s string, n int) {
			if v := likely(s); s != "" && v > worth {
				best, worth, shift = s, v, n
			}
		}
		if stem[len(stem)-1]|0x20 == 'w' {
			if try(stem[:len(stem)-1], 0); strings.IndexByte("aeiou", stem[0]|0x20) >= 0 {
				worth += 4
			}
		}
		for n := 1; n <= 4 && n < len(stem); n++ {
			c := stem[len(stem)-n] | 0x20
			if strings.IndexByte("aeio", c) >= 0 || c == 'u' && (n+1 > len(stem) || stem[len(stem)-n-1]|0x20 != 'q') {
				break
			}
			if strings.IndexByte("aeiouy", stem[0]|0x20) >= 0 {
				try(stem[len(stem)-n:]+stem[:len(stem)-n], n)
			}
		}
		if best == "" {
			continue
		}
		b.approach(s)
		if shift > 0 {
			b.raw(best[:shift], i-2-shift, i-2, copied)
		}
		b.raw(best[shift:], s, s+len(best)-shift, copied)
		b.pos = i
	}
	if b.edits >= 3 {
		l.add(b)
	}
}
