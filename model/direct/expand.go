package direct

import (
	"math/rand/v2"
	"strings"
	"unicode"
	"unicode/utf8"
)

// expander turns a rule into text. Rules of the row's language come before those shared by all.
type expander struct {
	rng    *rand.Rand
	own    *grammar
	shared *grammar
	vars   map[string]string
	depth  int
}

func (e *expander) alternatives(name string) []node {
	if alts := e.own.rules[name]; len(alts) > 0 {
		return alts
	}
	return e.shared.rules[name]
}

func (e *expander) rule(name string) string {
	alts := e.alternatives(name)
	if len(alts) == 0 || e.depth > 40 {
		return ""
	}
	e.depth++
	var b strings.Builder
	e.write(&b, alts[e.rng.IntN(len(alts))])
	e.depth--
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
		e.write(b, n.kids[e.rng.IntN(len(n.kids))])
	case optional:
		if e.rng.IntN(2) == 0 {
			e.write(b, n.kids[e.rng.IntN(len(n.kids))])
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
		if !n.cap {
			b.WriteString(s)
		}
	case recall:
		b.WriteString(e.vars[n.text])
	case call:
		arg := ""
		if n.rule != "" {
			arg = e.rule(n.rule)
		}
		b.WriteString(functions[n.text](e, arg))
	}
}

// capital raises the first letter, past marks and opening quotes.
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
