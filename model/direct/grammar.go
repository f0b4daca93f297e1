package direct

import (
	"fmt"
	"regexp"
	"strings"
)

// A grammar maps a rule's name to its alternatives. Its files are plain text:
//
//	@name        begins a rule; a name seen again adds alternatives
//	text         one alternative a line; blank lines and lines that begin with "# " are skipped
//	{rule}       another rule          {^rule}    the same, first letter a capital
//	{a|b {c}|}   one of several        {?text}    the text or nothing
//	{=x:rule}    a rule, remembered    {~x:rule}  the same, unsaid    {$x}  what was remembered
//	{!fn:rule}   a rule's text, changed by a function of functions.go; {!fn} a function alone
//	\n \t \{ \} \| \\ \#  as they say; \< and \> bound the attack; \i is a place where a payload may stand
type grammar struct {
	rules map[string][]node
	order []string
}

type nodeKind uint8

const (
	literal nodeKind = iota
	sequence
	choice
	optional
	reference
	remember
	recall
	call
)

type node struct {
	kind nodeKind
	text string // literal text, rule, variable or function
	rule string // the rule of a remember or call
	cap  bool   // of a reference: its first letter is raised; of a remember: it is not said
	kids []node
}

// Marks stand in an expansion until the row is put together. They are private-use code points,
// which no grammar file holds.
const (
	markOpen  = '\uE000'
	markClose = '\uE001'
	markHole  = '\uE002'
)

var (
	refName  = regexp.MustCompile(`^\^?[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$`)
	setForm  = regexp.MustCompile(`^[=~]([a-z0-9]+):([a-z][a-z0-9_.]*)$`)
	callForm = regexp.MustCompile(`^!([a-z0-9]+)(?::([a-z][a-z0-9_.]*))?$`)
)

func newGrammar() *grammar { return &grammar{rules: map[string][]node{}} }

// add reads one grammar file. Errors name the file and the line.
func (g *grammar) add(file, src string) error {
	rule := ""
	for i, line := range strings.Split(src, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed == "#" || strings.HasPrefix(trimmed, "# "):
		case strings.HasPrefix(trimmed, "@"):
			rule = trimmed[1:]
			if !refName.MatchString(rule) {
				return fmt.Errorf("%s:%d: %q is no rule name", file, i+1, rule)
			}
			if _, ok := g.rules[rule]; !ok {
				g.order = append(g.order, rule)
				g.rules[rule] = nil
			}
		case rule == "":
			return fmt.Errorf("%s:%d: text before the first rule", file, i+1)
		default:
			p := parser{src: []rune(trimmed)}
			n, err := p.sequence(0)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", file, i+1, err)
			}
			g.rules[rule] = append(g.rules[rule], n)
		}
	}
	return nil
}

// check says which rules are used but never given, or given but empty.
func (g *grammar) check() error {
	var missing []string
	var walk func(in string, n node)
	walk = func(in string, n node) {
		name := ""
		switch n.kind {
		case reference:
			name = n.text
		case remember:
			name = n.rule
		case call:
			name = n.rule
			if _, ok := functions[n.text]; !ok {
				missing = append(missing, in+" calls "+n.text)
			}
		}
		if name != "" && len(g.rules[name]) == 0 {
			missing = append(missing, in+" uses "+name)
		}
		for _, k := range n.kids {
			walk(in, k)
		}
	}
	for _, name := range g.order {
		for _, alt := range g.rules[name] {
			walk(name, alt)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("grammar: %s", strings.Join(missing, "; "))
	}
	return nil
}

type parser struct {
	src []rune
	at  int
}

// sequence reads until the end, or at depth > 0 until an unescaped | or }.
func (p *parser) sequence(depth int) (node, error) {
	out := node{kind: sequence}
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			out.kids = append(out.kids, node{kind: literal, text: lit.String()})
			lit.Reset()
		}
	}
	for p.at < len(p.src) {
		r := p.src[p.at]
		switch {
		case r == '\\':
			if p.at+1 >= len(p.src) {
				return out, fmt.Errorf("a lone backslash at the end")
			}
			lit.WriteString(unescape(p.src[p.at+1]))
			p.at += 2
		case r == '{':
			flush()
			p.at++
			n, err := p.brace(depth + 1)
			if err != nil {
				return out, err
			}
			out.kids = append(out.kids, n)
		case depth > 0 && (r == '|' || r == '}'):
			flush()
			return out, nil
		case r == '}':
			return out, fmt.Errorf("a } without its {")
		default:
			lit.WriteRune(r)
			p.at++
		}
	}
	if depth > 0 {
		return out, fmt.Errorf("a { is never closed")
	}
	flush()
	return out, nil
}

func unescape(r rune) string {
	switch r {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case '<':
		return string(markOpen)
	case '>':
		return string(markClose)
	case 'i':
		return string(markHole)
	}
	return string(r)
}

// brace reads what follows a { up to its }.
func (p *parser) brace(depth int) (node, error) {
	rest := string(p.src[p.at:])
	if end := strings.IndexAny(rest, "{}|\\"); end >= 0 && rest[end] == '}' {
		body := rest[:end]
		skip := func() { p.at += len([]rune(body)) + 1 }
		if m := setForm.FindStringSubmatch(body); m != nil {
			skip()
			return node{kind: remember, text: m[1], rule: m[2], cap: body[0] == '~'}, nil
		}
		if m := callForm.FindStringSubmatch(body); m != nil {
			skip()
			return node{kind: call, text: m[1], rule: m[2]}, nil
		}
		if strings.HasPrefix(body, "$") {
			skip()
			return node{kind: recall, text: body[1:]}, nil
		}
		if refName.MatchString(body) {
			skip()
			return node{kind: reference, text: strings.TrimPrefix(body, "^"), cap: body[0] == '^'}, nil
		}
	}
	kind := choice
	if p.at < len(p.src) && p.src[p.at] == '?' {
		kind = optional
		p.at++
	}
	out := node{kind: kind}
	for {
		n, err := p.sequence(depth)
		if err != nil {
			return out, err
		}
		out.kids = append(out.kids, n)
		end := p.src[p.at]
		p.at++
		if end == '}' {
			break
		}
	}
	return out, nil
}
