package scim

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Bounds of a filter.
const (
	maxFilter = 2048 // bytes
	maxDepth  = 16
	maxTerms  = 64
)

// filter is a condition on a resource, or on one of several values (RFC 7644 section 3.4.2.2).
type filter interface {
	// match decides about the attributes of m, which are described by list.
	match(m map[string]any) bool
}

type (
	both   struct{ a, b filter }
	either struct{ a, b filter }
	no     struct{ f filter }
	// term compares an attribute with a value; op "pr" asks whether there is one.
	term struct {
		at    ref
		op    string
		value any // string, float64, bool or nil
	}
	// some asks whether one of several values fits.
	some struct {
		at ref
		f  filter
	}
)

// ref is an attribute that a filter or a path names.
type ref struct {
	extension string // its schema, when it is of one
	attr      *Attribute
	sub       *Attribute // nil: the attribute itself, or its value
}

func (f both) match(m map[string]any) bool   { return f.a.match(m) && f.b.match(m) }
func (f either) match(m map[string]any) bool { return f.a.match(m) || f.b.match(m) }
func (f no) match(m map[string]any) bool     { return !f.f.match(m) }

// values are those that a reference has in m.
func (r ref) values(m map[string]any) []any {
	if r.extension != "" {
		sub, _ := m[r.extension].(map[string]any)
		m = sub
	}
	v, ok := m[r.attr.Name]
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if r.sub == nil {
		return list
	}
	var out []any
	for _, e := range list {
		if o, ok := e.(map[string]any); ok {
			if x, ok := o[r.sub.Name]; ok {
				out = append(out, x)
			}
		}
	}
	return out
}

// last is the attribute whose values are compared.
func (r ref) last() *Attribute {
	if r.sub != nil {
		return r.sub
	}
	return r.attr
}

func (f some) match(m map[string]any) bool {
	return slices.ContainsFunc(f.at.values(m), func(v any) bool {
		o, ok := v.(map[string]any)
		return ok && f.f.match(o)
	})
}

func (f term) match(m map[string]any) bool {
	vs := f.at.values(m)
	if f.op == "pr" {
		return len(vs) > 0
	}
	if f.op == "ne" { // no value is not the value, either
		return !slices.ContainsFunc(vs, func(v any) bool { return compare(f.at.last(), v, "eq", f.value) })
	}
	if f.value == nil {
		return f.op == "eq" && len(vs) == 0
	}
	return slices.ContainsFunc(vs, func(v any) bool { return compare(f.at.last(), v, f.op, f.value) })
}

func compare(a *Attribute, v any, op string, with any) bool {
	if o, ok := v.(map[string]any); ok { // of a list of objects, the value is what is compared
		if v, ok = o["value"]; !ok {
			return false
		}
	}
	switch x := v.(type) {
	case bool:
		b, ok := with.(bool)
		if s, isText := with.(string); isText { // Entra sends booleans as text
			b, ok = strings.EqualFold(s, "true"), strings.EqualFold(s, "true") || strings.EqualFold(s, "false")
		}
		return ok && op == "eq" && x == b
	case string:
		y, ok := with.(string)
		if !ok {
			return false
		}
		if a.Type == "dateTime" {
			p, err1 := time.Parse(time.RFC3339Nano, x)
			q, err2 := time.Parse(time.RFC3339Nano, y)
			return err1 == nil && err2 == nil && order(p.Compare(q), op)
		}
		if !a.CaseExact {
			x, y = strings.ToLower(x), strings.ToLower(y)
		}
		switch op {
		case "co":
			return strings.Contains(x, y)
		case "sw":
			return strings.HasPrefix(x, y)
		case "ew":
			return strings.HasSuffix(x, y)
		}
		return order(strings.Compare(x, y), op)
	}
	return false
}

func order(c int, op string) bool {
	switch op {
	case "eq":
		return c == 0
	case "gt":
		return c > 0
	case "ge":
		return c >= 0
	case "lt":
		return c < 0
	case "le":
		return c <= 0
	}
	return false
}

// parser reads filters and paths.
type parser struct {
	s     string
	i     int
	terms int
	kind  *kind
	of    []Attribute // within brackets: the sub-attributes; nil: the resource's
}

var operators = []string{"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"}

func badFilter(why string) *Error { return bad("invalidFilter", "The filter cannot be read: %s.", why) }

// parseFilter reads a filter on a kind of resource.
func parseFilter(k *kind, s string) (filter, error) {
	if len(s) > maxFilter {
		return nil, badFilter("it is too long")
	}
	p := &parser{s: s, kind: k}
	f, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.space(); p.i < len(p.s) {
		return nil, badFilter("something stands after its end")
	}
	return f, nil
}

func (p *parser) space() {
	for p.i < len(p.s) && p.s[p.i] == ' ' {
		p.i++
	}
}

// word takes a keyword, letter case apart.
func (p *parser) word(w string) bool {
	p.space()
	end := p.i + len(w)
	if end > len(p.s) || !strings.EqualFold(p.s[p.i:end], w) {
		return false
	}
	if end < len(p.s) && p.s[end] != ' ' && p.s[end] != '(' && p.s[end] != ')' && p.s[end] != ']' {
		return false
	}
	p.i = end
	return true
}

func (p *parser) char(c byte) bool {
	p.space()
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *parser) or(depth int) (filter, error) {
	a, err := p.and(depth)
	for err == nil && p.word("or") {
		var b filter
		if b, err = p.and(depth); err == nil {
			a = either{a, b}
		}
	}
	return a, err
}

func (p *parser) and(depth int) (filter, error) {
	a, err := p.one(depth)
	for err == nil && p.word("and") {
		var b filter
		if b, err = p.one(depth); err == nil {
			a = both{a, b}
		}
	}
	return a, err
}

func (p *parser) one(depth int) (filter, error) {
	if p.terms++; depth > maxDepth || p.terms > maxTerms {
		return nil, badFilter("it is too deep or has too many terms")
	}
	negated := p.word("not")
	if p.char('(') {
		f, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.char(')') {
			return nil, badFilter("a parenthesis is not closed")
		}
		if negated {
			f = no{f}
		}
		return f, nil
	}
	if negated {
		return nil, badFilter("not is followed by a parenthesis")
	}
	at, err := p.reference()
	if err != nil {
		return nil, err
	}
	if p.char('[') {
		if p.of != nil || at.attr.Type != "complex" || at.sub != nil {
			return nil, badFilter("brackets stand after an attribute with sub-attributes")
		}
		p.of = at.attr.Sub
		f, err := p.or(depth + 1)
		p.of = nil
		if err != nil {
			return nil, err
		}
		if !p.char(']') {
			return nil, badFilter("a bracket is not closed")
		}
		if rest, err := p.dotted(&at); err != nil {
			return nil, err
		} else if rest {
			return nil, badFilter("nothing stands after a bracket")
		}
		return some{at, f}, nil
	}
	if p.word("pr") {
		return term{at, "pr", nil}, nil
	}
	for _, op := range operators {
		if p.word(op) {
			v, err := p.literal()
			return term{at, op, v}, err
		}
	}
	return nil, badFilter("an operator is missing")
}

// name takes the characters of an attribute's name, its schema included.
func (p *parser) name() string {
	p.space()
	from := p.i
	for p.i < len(p.s) {
		c := p.s[p.i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '$' || c == ':' || c == '.' {
			p.i++
			continue
		}
		break
	}
	return p.s[from:p.i]
}

// reference takes an attribute: name, name.sub, schema:name, schema:name.sub.
func (p *parser) reference() (r ref, err error) {
	n := p.name()
	if n == "" {
		return r, badFilter("an attribute is missing")
	}
	if p.of != nil {
		if r.attr = find(p.of, n); r.attr == nil {
			return r, badFilter("there is no such sub-attribute")
		}
		return r, nil
	}
	return p.kind.reference(n)
}

// reference resolves a whole name. The dots of a schema's version are not those before a sub-attribute.
func (k *kind) reference(n string) (r ref, err error) {
	head, sub := n, ""
	if i := strings.LastIndexByte(n, '.'); i > strings.LastIndexByte(n, ':') {
		head, sub = n[:i], n[i+1:]
	}
	if r.attr, r.extension = k.attribute(head); r.attr == nil {
		return r, badFilter("there is no such attribute")
	}
	if sub != "" {
		if r.sub = find(r.attr.Sub, sub); r.sub == nil {
			return r, badFilter("there is no such sub-attribute")
		}
	}
	return r, nil
}

// dotted takes ".sub" after a bracket.
func (p *parser) dotted(r *ref) (bool, error) {
	if p.i >= len(p.s) || p.s[p.i] != '.' {
		return false, nil
	}
	p.i++
	if r.sub = find(r.attr.Sub, p.name()); r.sub == nil {
		return false, badFilter("there is no such sub-attribute")
	}
	return true, nil
}

// literal takes a JSON string, number, boolean or null.
func (p *parser) literal() (any, error) {
	p.space()
	from := p.i
	if p.i < len(p.s) && p.s[p.i] == '"' {
		for p.i++; p.i < len(p.s) && p.s[p.i] != '"'; p.i++ {
			if p.s[p.i] == '\\' {
				p.i++
			}
		}
		p.i = min(p.i+1, len(p.s))
	} else {
		for p.i < len(p.s) && !strings.ContainsRune(" )]", rune(p.s[p.i])) {
			p.i++
		}
	}
	var v any
	text := p.s[from:p.i]
	switch strings.ToLower(text) { // some clients write True
	case "true", "false", "null":
		text = strings.ToLower(text)
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, badFilter("a value is not JSON")
	}
	switch v.(type) {
	case string, float64, bool, nil:
		return v, nil
	}
	return nil, badFilter("a value is a string, a number, a boolean or null")
}
