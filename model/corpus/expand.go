package corpus

import (
	"math/rand/v2"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Marks stand in a text until the row is put together: the bounds of a payload, and from holeBase on
// one code point for each kind of place. They are private-use code points, which no data file holds.
const (
	markOpen  = '\uE000'
	markClose = '\uE001'
	holeBase  = '\uE010'
)

// expander turns rules into text. Rules of the row's language come before those shared by all.
type expander struct {
	*rand.Rand
	own, base *grammar
	vars      map[string]string
	depth     int
}

func (e *expander) alternatives(name string) []node {
	if e.own != nil && len(e.own.rules[name]) > 0 {
		return e.own.rules[name]
	}
	return e.base.rules[name]
}

// rule gives one expansion of a rule, and nothing for a rule that is not there.
func (e *expander) rule(name string) string {
	alts := e.alternatives(name)
	if len(alts) == 0 || e.depth > 40 {
		return ""
	}
	e.depth++
	defer func() { e.depth-- }()
	var b strings.Builder
	e.write(&b, alts[e.IntN(len(alts))])
	return b.String()
}

func (e *expander) node(n node) string {
	var b strings.Builder
	e.write(&b, n)
	return b.String()
}

func (e *expander) write(b *strings.Builder, n node) {
	switch n.kind {
	case literal:
		b.WriteString(n.text)
	case sequence:
		for _, k := range n.kids {
			e.write(b, k)
		}
	case choice:
		e.write(b, n.kids[e.IntN(len(n.kids))])
	case optional:
		if e.IntN(2) == 0 {
			e.write(b, n.kids[e.IntN(len(n.kids))])
		}
	case reference:
		s := e.rule(n.text)
		if n.cap {
			s = capital(s)
		}
		b.WriteString(s)
	case remember:
		s := e.rule(n.rule)
		e.vars[n.text] = s
		b.WriteString(s)
	case recall:
		b.WriteString(e.vars[n.text])
	case call:
		arg := ""
		if n.rule != "" {
			arg = e.rule(n.rule)
		}
		b.WriteString(functions[n.text](e, arg))
	case hole:
		b.WriteRune(holeBase + rune(strings.IndexByte(holeKinds, (n.text + " ")[0])))
	}
}

func (e *expander) of(s ...string) string { return s[e.IntN(len(s))] }

// one in n
func (e *expander) oneIn(n int) bool { return e.IntN(n) == 0 }

// capital raises the first letter, past opening quotes.
func capital(s string) string {
	for i, r := range s {
		if unicode.IsLetter(r) {
			return s[:i] + string(unicode.ToUpper(r)) + s[i+utf8.RuneLen(r):]
		}
		if unicode.IsDigit(r) {
			return s
		}
	}
	return s
}
