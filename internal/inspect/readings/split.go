package readings

import (
	"cmp"
	"slices"
	"strings"
)

// literal is a quoted piece: what stands between its quotes.
type literal struct {
	s, e int
	q    byte
}

// maxLiteral bounds one quoted piece.
const maxLiteral = 2048

// nextLiteral finds the next quoted piece that begins at i or later and ends on its line.
func nextLiteral(t string, i int) (literal, bool) {
	for ; i < len(t); i++ {
		q := t[i]
		if q != '"' && q != '\'' && q != '`' || i > 0 && class[t[i-1]]&(cLetter|cDigit) != 0 {
			continue
		}
		for e := i + 1; e < len(t) && e-i < maxLiteral && t[e] != '\n'; e++ {
			if t[e] == '\\' {
				e++
				continue
			}
			if t[e] == q {
				if q == '\'' && e+1 < len(t) && class[t[e+1]]&(cLetter|cDigit) != 0 {
					continue // an apostrophe
				}
				return literal{i + 1, e, q}, true
			}
		}
	}
	return literal{}, false
}

// joint says how what stands between two pieces joins them: '+' as they are, ',' as a list, 0 not.
func joint(g string) byte {
	g = strings.Trim(g, " \t\r\n\\")
	switch g {
	case "", "+", ".", "&", "||", "..", "<>", "++", "~", "|", "^", "..=", "+=", "<<":
		return '+'
	case ",":
		return ','
	}
	return 0
}

// literals joins quoted pieces that are put together: "ig" + "nore", ["ig", "nore"].
func (l *lattice) literals(*mark) {
	t := l.text
	b := l.builder("joined")
	var row []literal
	list := false
	flush := func() {
		l.glue(b, row, list)
		row, list = row[:0], false
	}
	for i := 0; ; {
		x, ok := nextLiteral(t, i)
		if !ok {
			break
		}
		i = x.e + 1
		if n := len(row); n > 0 {
			g := t[row[n-1].e+1 : x.s-1]
			j := byte(0)
			if len(g) <= 64 && x.q == row[0].q {
				j = joint(g)
			}
			if j == 0 || g == "" {
				flush()
			}
			list = list || j == ','
		}
		if len(row) < 4096 {
			row = append(row, x)
		}
	}
	flush()
	l.add(b)
}

// glue puts the pieces of a row together; those of a list with a space where that reads better.
func (l *lattice) glue(b *builder, row []literal, list bool) {
	t := l.text
	if len(row) < 2 || list && len(row) < 3 {
		return
	}
	letters := 0
	for _, x := range row {
		for i := x.s; i < x.e && letters < 12; i++ {
			if class[t[i]]&cLetter != 0 || t[i] >= 0x80 {
				letters++
			}
		}
	}
	if letters < 8 {
		return
	}
	if list {
		// Pieces of a text, not items: some end or begin within a sentence.
		loose := 0
		for i, x := range row {
			if x.s < x.e && (t[x.s] == ' ' || t[x.e-1] == ' ' || i > 0 && parted(t, row[i-1], x)) {
				loose++
			}
		}
		if loose*4 < len(row) {
			return
		}
	}
	b.approach(row[0].s)
	for i, x := range row {
		if list && i > 0 && !parted(t, row[i-1], x) && !strings.HasSuffix(t[row[i-1].s:row[i-1].e], " ") && !strings.HasPrefix(t[x.s:x.e], " ") {
			b.raw(" ", row[i-1].e, x.s, whole)
		}
		b.copy(x.s, x.e)
	}
	b.pos = row[len(row)-1].e
}

// parted says that a word was cut between a and b: the letters there read better joined.
func parted(t string, a, b literal) bool {
	if a.s >= a.e || b.s >= b.e || letterNo[t[a.e-1]] == 0 || letterNo[t[b.s]] == 0 {
		return false
	}
	left, right := t[max(a.s, a.e-12):a.e], t[b.s:min(b.e, b.s+12)]
	left, right = left[strings.LastIndexByte(left, ' ')+1:], right[:strings.IndexByte(right+" ", ' ')]
	joined, _ := score(left + right)
	apart, _ := score(left + " " + right)
	return joined > apart
}

// maxVars bounds the names that are followed.
const maxVars = 256

// variables puts quoted pieces together that are named and then joined by name: a="ig"; b="nore"; a+b.
func (l *lattice) variables(*mark) {
	t := l.text
	value := map[string]literal{}
	for i := 0; len(value) < maxVars; {
		x, ok := nextLiteral(t, i)
		if !ok {
			break
		}
		i = x.e + 1
		// name =, name :=, name:
		k := x.s - 1
		for k > 0 && class[t[k-1]]&cSpace != 0 && t[k-1] != '\n' {
			k--
		}
		switch {
		case k > 1 && t[k-2:k] == ":=":
			k -= 2
		case k > 0 && (t[k-1] == '=' || t[k-1] == ':'):
			k--
		default:
			continue
		}
		for k > 0 && (t[k-1] == ' ' || t[k-1] == '"' || t[k-1] == '\'') {
			k--
		}
		n := k
		for n > 0 && (class[t[n-1]]&(cLetter|cDigit) != 0 || t[n-1] == '_') {
			n--
		}
		if n < k && k-n <= 32 && class[t[n]]&cDigit == 0 {
			value[t[n:k]] = x
		}
	}
	if len(value) < 2 {
		return
	}
	b := l.builder("variables")
	b.bare = true
	var row []literal
	end := 0
	flush := func() {
		letters := 0
		for _, x := range row {
			letters += x.e - x.s
		}
		if len(row) >= 2 && letters >= 8 {
			b.edits++
			if len(b.out) > 0 {
				b.raw("\n", end, end, whole)
			}
			for _, x := range row {
				b.copy(x.s, x.e)
			}
		}
		row = row[:0]
	}
	skip := literal{}
	next, more := nextLiteral(t, 0)
	for i := 0; i < len(t); {
		for more && next.s <= i {
			skip = next
			next, more = nextLiteral(t, next.e+1)
		}
		if i >= skip.s && i < skip.e && joint("") == '+' && !strings.Contains(t[skip.s:skip.e], "{") {
			i = skip.e
			continue
		}
		c := t[i]
		if class[c]&cLetter == 0 && c != '_' {
			if strings.IndexByte(" +.&,{}$\"'`|~%()\t", c) < 0 {
				flush()
			}
			i++
			continue
		}
		s := i
		for i < len(t) && (class[t[i]]&(cLetter|cDigit) != 0 || t[i] == '_') {
			i++
		}
		x, ok := value[t[s:i]]
		if ok && len(row) > 0 && strings.Trim(t[end:s], " \t") == "" {
			ok = false // two names beside each other are words
		}
		// Where a name is given its value it is not used.
		rest := strings.TrimLeft(t[i:min(len(t), i+8)], " \t")
		if !ok || rest != "" && (rest[0] == '=' || rest[0] == ':') && !strings.HasPrefix(rest, "==") {
			flush()
			continue
		}
		if len(row) < maxVars {
			row = append(row, x)
		}
		end = i
	}
	flush()
	l.add(b)
}

// part is one piece of a text that is sent in numbered parts.
type part struct{ no, of, s, e int }

// parts puts numbered pieces together: "Part 1/3: ...", "[2/3] ...", "piece 3 of 3: ...".
func (l *lattice) parts(*mark) {
	t := l.text
	var list []part
	for s := 0; s < len(t); {
		e := len(t)
		if k := strings.IndexByte(t[s:], '\n'); k >= 0 {
			e = s + k
		}
		if p, ok := numbered(t, s, e); ok && len(list) < 4096 {
			list = append(list, p)
		}
		s = e + 1
	}
	if len(list) < 2 {
		return
	}
	slices.SortStableFunc(list, func(a, b part) int { return cmp.Compare(a.no, b.no) })
	b := l.builder("parts")
	b.bare = true
	for i, p := range list {
		b.edits++
		if i > 0 {
			q := list[i-1]
			a, c := literal{s: q.s, e: q.e}, literal{s: p.s, e: p.e}
			if p.s < p.e && q.s < q.e && t[p.s] != ' ' && t[q.e-1] != ' ' && !parted(t, a, c) {
				b.raw(" ", q.e, q.e, whole)
			}
		}
		b.copy(p.s, p.e)
	}
	l.add(b)
}

// numbered reads the number that a line begins with: i/n or i of n, with a word and a bracket
// before it and a sign after it.
func numbered(t string, s, e int) (part, bool) {
	i := s
	for i < e && i < s+24 && class[t[i]]&cDigit == 0 {
		if class[t[i]]&cLetter == 0 && strings.IndexByte(" [(#*-<", t[i]) < 0 {
			return part{}, false
		}
		i++
	}
	num := func() int {
		v, k := 0, i
		for i < e && class[t[i]]&cDigit != 0 && i-k < 4 {
			v = v*10 + int(t[i]-'0')
			i++
		}
		if i == k {
			return 0
		}
		return v
	}
	p := part{no: num()}
	switch {
	case i < e && t[i] == '/':
		i++
	case i+4 < e && strings.EqualFold(t[i:i+4], " of "):
		i += 4
	case i < e && strings.HasPrefix(strings.ToLower(strings.TrimLeft(t[s:e], " [(#*-<")), "part "), i < e && strings.HasPrefix(strings.ToLower(strings.TrimLeft(t[s:e], " [(#*-<")), "piece "):
		p.of = 1 << 20
	default:
		return part{}, false
	}
	if p.of == 0 {
		p.of = num()
	}
	if p.no < 1 || p.no > p.of || p.of < 2 {
		return part{}, false
	}
	k := i
	for i < e && strings.IndexByte("]):.->", t[i]) >= 0 {
		i++
	}
	if i == k || i >= e {
		return part{}, false
	}
	if t[i] == ' ' {
		i++
	}
	for e > i && t[e-1] == '\r' {
		e--
	}
	if e-i >= 2 && (t[i] == '"' || t[i] == '\'') && t[e-1] == t[i] {
		i, e = i+1, e-1
	}
	p.s, p.e = i, e
	return p, true
}
