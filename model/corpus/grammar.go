package corpus

import (
	"fmt"
	"regexp"
	"strings"
)

// A grammar maps a rule to its alternatives. Its files are plain text:
//
//	@name word word   begins a rule; the words say where it fits (see fits)
//	text              one alternative a line; blank lines and lines that begin with "%% " are skipped
//	"""               alone on a line, bounds one alternative of several lines
//	{rule}            another rule            {^rule}   the same, first letter a capital
//	{a|b {c}|}        one of several          {?text}   the text or nothing
//	{=x:rule}         a rule, remembered      {$x}      what was remembered
//	{!fn} {!fn:rule}  a function of slots.go, on a rule's text
//	{@kind}           a place where a payload may stand (place.go)
//	\n \t \{ \} \| \\ as they say
//
// An alternative within braces that is a rule's name with a dot is that rule. Outside of braces a {
// before white space, a quote or a } is itself unless a | follows before its }, and so is a }: code
// and JSON need few escapes.
type grammar struct {
	rules map[string][]node
	words map[string][]string // a rule's words
	order []string
}

type kind uint8

const (
	literal kind = iota
	sequence
	choice
	optional
	reference
	remember
	recall
	call
	hole
)

type node struct {
	kind kind
	text string // literal text, rule, variable, function or kind of hole
	rule string // the rule of a remember or a call
	cap  bool
	kids []node
}

var (
	ruleName = regexp.MustCompile(`^\^?[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$`)
	setForm  = regexp.MustCompile(`^=([a-z0-9]+):([a-z][a-z0-9_.]*)$`)
	callForm = regexp.MustCompile(`^!([a-z0-9]+)(?::([a-z][a-z0-9_.]*))?$`)
	dotted   = regexp.MustCompile(`^\^?[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$`)
	holeForm = regexp.MustCompile(`^@[a-z]*$`)
)

func newGrammar() *grammar {
	return &grammar{rules: map[string][]node{}, words: map[string][]string{}}
}

// add reads one file. Errors name the file and the line.
func (g *grammar) add(file, src string) error {
	rule, block, in := "", []string(nil), false
	put := func(line int, text string) error {
		if rule == "" {
			return fmt.Errorf("%s:%d: text before the first rule", file, line)
		}
		n, err := parse(text)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, line, err)
		}
		g.rules[rule] = append(g.rules[rule], n)
		return nil
	}
	for i, line := range strings.Split(src, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == `"""` && in:
			in = false
			if err := put(i+1, strings.Join(block, "\n")); err != nil {
				return err
			}
		case trimmed == `"""`:
			in, block = true, nil
		case in:
			block = append(block, line)
		case trimmed == "" || strings.HasPrefix(trimmed, "%% "):
		case trimmed[0] == '@':
			words := strings.Fields(trimmed[1:])
			if rule = words[0]; !ruleName.MatchString(rule) {
				return fmt.Errorf("%s:%d: %q is no rule name", file, i+1, rule)
			}
			if _, seen := g.rules[rule]; !seen {
				g.order = append(g.order, rule)
				g.rules[rule] = nil
			}
			if len(words) > 1 {
				g.words[rule] = words[1:]
			}
		default:
			if err := put(i+1, trimmed); err != nil {
				return err
			}
		}
	}
	if in {
		return fmt.Errorf("%s: a block is never closed", file)
	}
	return nil
}

// check names rules that are used and never given, here or in base.
func (g *grammar) check(base *grammar) error {
	var missing []string
	var walk func(in string, n node)
	walk = func(in string, n node) {
		name := n.rule
		if n.kind == reference {
			name = n.text
		}
		if n.kind == call && functions[n.text] == nil {
			missing = append(missing, in+" calls "+n.text)
		}
		if name != "" && len(g.rules[name]) == 0 && (base == nil || len(base.rules[name]) == 0) {
			missing = append(missing, in+" uses "+name)
		}
		for _, k := range n.kids {
			walk(in, k)
		}
	}
	for _, name := range g.order {
		if len(g.rules[name]) == 0 {
			missing = append(missing, name+" is empty")
		}
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

func parse(text string) (node, error) {
	p := parser{src: []rune(text)}
	return p.sequence(0)
}

// sequence reads until the end or, within braces, until an unescaped | or }.
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
			switch n := p.src[p.at+1]; n {
			case 'n':
				lit.WriteByte('\n')
			case 't':
				lit.WriteByte('\t')
			default:
				lit.WriteRune(n)
			}
			p.at += 2
		case r == '{' && !(depth == 0 && p.plainBrace()):
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

func (p *parser) plainBrace() bool {
	if p.at+1 >= len(p.src) {
		return true
	}
	if !strings.ContainsRune(" \t\n\"'}", p.src[p.at+1]) {
		return false
	}
	depth := 0
	for i := p.at; i < len(p.src) && p.src[i] != '\n'; i++ {
		switch p.src[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return true
			}
		case '|':
			if depth == 1 {
				return false
			}
		}
	}
	return true
}

// brace reads what follows a { up to its }.
func (p *parser) brace(depth int) (node, error) {
	rest := string(p.src[p.at:])
	if end := strings.IndexAny(rest, "{}|\\"); end >= 0 && rest[end] == '}' {
		body := rest[:end]
		n, ok := node{}, true
		switch set, fn := setForm.FindStringSubmatch(body), callForm.FindStringSubmatch(body); {
		case set != nil:
			n = node{kind: remember, text: set[1], rule: set[2]}
		case fn != nil:
			n = node{kind: call, text: fn[1], rule: fn[2]}
		case holeForm.MatchString(body):
			n = node{kind: hole, text: body[1:]}
		case strings.HasPrefix(body, "$"):
			n = node{kind: recall, text: body[1:]}
		case ruleName.MatchString(body):
			n = node{kind: reference, text: strings.TrimPrefix(body, "^"), cap: body[0] == '^'}
		default:
			ok = false
		}
		if ok {
			p.at += len([]rune(body)) + 1
			return n, nil
		}
	}
	out := node{kind: choice}
	if p.at < len(p.src) && p.src[p.at] == '?' {
		out.kind = optional
		p.at++
	}
	for {
		n, err := p.sequence(depth)
		if err != nil {
			return out, err
		}
		if len(n.kids) == 1 && n.kids[0].kind == literal && dotted.MatchString(n.kids[0].text) {
			text := n.kids[0].text
			n = node{kind: reference, text: strings.TrimPrefix(text, "^"), cap: text[0] == '^'}
		}
		out.kids = append(out.kids, n)
		end := p.src[p.at]
		p.at++
		if end == '}' {
			return out, nil
		}
	}
}
