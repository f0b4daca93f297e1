package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder lays a YAML tree over a Config. The library's own decoder is not used because it forgets
// where values stood, converts between types, and quotes the file in its errors, secrets included.
type decoder struct {
	file string
	errs Errors
	at   map[string]*token.Position // where each setting stands, by its dotted path
}

// fail notes an error. Keep values of the file out of msg.
func (d *decoder) fail(pos *token.Position, key, msg string) {
	e := &Error{File: d.file, Key: key, Message: msg}
	if pos != nil {
		e.Line, e.Col = pos.Line, pos.Column
	}
	d.errs = append(d.errs, e)
}

// syntax turns an error of the YAML library into one that does not quote the file.
func (d *decoder) syntax(err error) {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		d.fail(nil, "", "not valid YAML")
		return
	}
	var dup *yaml.DuplicateKeyError
	if errors.As(err, &dup) || strings.Contains(e.GetMessage(), "already defined") {
		d.fail(e.GetToken().Position, "", "the key "+printable(e.GetToken().Value)+" is given twice; expected each key once")
		return
	}
	d.fail(e.GetToken().Position, "", "not valid YAML: "+safeMessage(e.GetMessage()))
}

// safeMessage lets through only messages of the library that are fixed words.
func safeMessage(m string) string {
	if len(m) > 100 || !fixedWords.MatchString(m) {
		return "the text cannot be read here"
	}
	return m
}

var (
	fixedWords = regexp.MustCompile(`^[a-zA-Z ,.'\[\]{}:-]+$`)
	plainWord  = regexp.MustCompile(`^[a-z_][a-z_.]{0,31}$`)
)

// printable quotes a word of the file if it cannot be a secret or hurt a terminal.
func printable(s string) string {
	if plainWord.MatchString(s) || namePattern.MatchString(s) && len(s) <= 16 {
		return `"` + s + `"`
	}
	return "here"
}

// into lays the document over c.
func (d *decoder) into(n ast.Node, c *Config) { d.value(n, reflect.ValueOf(c).Elem(), "") }

// defaulter is a list element that has defaults of its own.
type defaulter interface{ setDefaults() }

func (u *Upstream) setDefaults() { *u = defaultUpstream("", "", "") }

// value lays node n over v, which is the setting called key.
func (d *decoder) value(n ast.Node, v reflect.Value, key string) {
	pos := posOf(n)
	if key != "" {
		d.at[key] = pos
	}
	if scan, ok := scalars[v.Type()]; ok {
		if msg := scan(n, v); msg != "" {
			d.fail(pos, key, msg)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if isNull(n) {
			d.fail(pos, key, "no value; leave the key out, or give it one")
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		if x, ok := v.Interface().(defaulter); ok {
			x.setDefaults()
		}
		d.value(n, v.Elem(), key)
	case reflect.Struct:
		if l, ok := v.Addr().Interface().(*Listen); ok && isText(n) {
			// listen: "host:port" is short for listen: {address: "host:port"}.
			d.value(n, reflect.ValueOf(&l.Address).Elem(), key+".address")
			return
		}
		d.structure(n, v, key)
	case reflect.Slice:
		d.list(n, v, key)
	case reflect.Map:
		d.headers(n, v, key)
	default: // unreachable while every leaf type is in scalars; a test walks the schema
		d.fail(pos, key, "this setting cannot be read")
	}
}

func isText(n ast.Node) bool {
	_, ok := n.(*ast.StringNode)
	return ok
}

// pairs lists the entries of a mapping. An empty value stands for an empty mapping, as it does
// when everything under a key is commented out.
func (d *decoder) pairs(n ast.Node, key, want string) []*ast.MappingValueNode {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	case *ast.NullNode:
		if n.GetToken().Type == token.ImplicitNullType {
			return nil
		}
	}
	d.fail(posOf(n), key, "expected "+want)
	return nil
}

// keyOf reads the key of an entry; ok is false after an error.
func (d *decoder) keyOf(p *ast.MappingValueNode, key string, seen map[string]bool) (string, bool) {
	pos := p.Key.GetToken().Position
	s, ok := p.Key.(*ast.StringNode)
	if !ok {
		d.fail(pos, key, "expected a key that is a plain word")
		return "", false
	}
	if seen[s.Value] {
		d.fail(pos, key, "the key "+printable(s.Value)+" is given twice; expected each key once")
		return "", false
	}
	seen[s.Value] = true
	return s.Value, true
}

func (d *decoder) structure(n ast.Node, v reflect.Value, key string) {
	fields := fieldsOf(v.Type())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	want := "a mapping with " + strings.Join(names, ", ")
	if len(names) == 0 {
		want = "nothing, or an empty mapping {}: it is reserved"
	}
	seen := map[string]bool{}
	for _, p := range d.pairs(n, key, want) {
		name, ok := d.keyOf(p, key, seen)
		if !ok {
			continue
		}
		i := slices.Index(names, name)
		if i < 0 {
			msg := "unknown key " + printable(name) + "; expected " + oneOf(names)
			if len(names) == 0 {
				msg = "unknown key " + printable(name) + "; expected " + want
			}
			d.fail(p.Key.GetToken().Position, key, msg)
			continue
		}
		d.value(p.Value, v.Field(fields[i].index), join(key, name))
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value, key string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(posOf(n), key, "expected a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values))
	for i, e := range s.Values {
		if x, ok := out.Index(i).Addr().Interface().(defaulter); ok {
			x.setDefaults()
		}
		d.value(e, out.Index(i), fmt.Sprintf("%s[%d]", key, i))
	}
	if len(s.Values) == 0 {
		out = reflect.Zero(v.Type()) // so that an empty list equals the default of no list
	}
	v.Set(out)
}

func (d *decoder) headers(n ast.Node, v reflect.Value, key string) {
	out := map[string]HeaderValue{}
	seen := map[string]bool{}
	for _, p := range d.pairs(n, key, "a mapping of header names to values") {
		name, ok := d.keyOf(p, key, seen)
		if !ok {
			continue
		}
		var h HeaderValue
		at := join(key, name)
		if !headerName.MatchString(name) { // the name may be anything, so it is kept out of errors
			d.fail(p.Key.GetToken().Position, key, "expected a header name of letters, digits and hyphens")
			continue
		}
		d.at[at] = p.Value.GetToken().Position
		if msg := scanHeaderValue(p.Value, &h); msg != "" {
			d.fail(p.Value.GetToken().Position, at, msg)
			continue
		}
		out[name] = h
	}
	if len(out) > 0 {
		v.Set(reflect.ValueOf(out))
	}
}

// posOf is where a node begins. The library counts a block mapping from its first colon.
func posOf(n ast.Node) *token.Position {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return posOf(m.Values[0])
		}
	case *ast.MappingValueNode:
		return m.Key.GetToken().Position
	}
	return n.GetToken().Position
}

type field struct {
	name  string
	index int
}

func fieldsOf(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		fs = append(fs, field{t.Field(i).Tag.Get("yaml"), i})
	}
	return fs
}

func isNull(n ast.Node) bool { return n.Type() == ast.NullType }

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return "one of " + strings.Join(words, ", ")
}
