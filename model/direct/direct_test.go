package direct

import (
	"strings"
	"testing"
)

func TestGrammarsAreWhole(t *testing.T) {
	for lang, g := range grammars {
		whole := newGrammar()
		for name, alts := range shared.rules {
			whole.rules[name] = alts
		}
		for name, alts := range g.rules {
			whole.rules[name] = alts
		}
		whole.order = g.order
		if err := whole.check(); err != nil {
			t.Errorf("%s: %v", lang, err)
		}
		// A rule's name without its braces is a slip of the pen.
		for _, rule := range g.order {
			for _, alt := range g.rules[rule] {
				eachLiteral(alt, func(s string) {
					for name := range g.rules {
						if strings.Contains(name, ".") && strings.Contains(s, name) {
							t.Errorf("%s: %s holds the bare name %s", lang, rule, name)
						}
					}
				})
			}
		}
	}
}

func eachLiteral(n node, f func(string)) {
	if n.kind == literal {
		f(n.text)
	}
	for _, k := range n.kids {
		eachLiteral(k, f)
	}
}
