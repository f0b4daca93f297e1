package scim

import (
	"slices"
	"strings"
)

// maxOperations bounds one patch.
const maxOperations = 1000

// Operation is one change of a patch (RFC 7644 section 3.5.2).
type Operation struct {
	Op    string
	Path  string
	Value any
}

// path is where an operation works.
type path struct {
	ref
	where filter // of several values; nil: all
}

func badPath(why string) *Error { return bad("invalidPath", "The path cannot be read: %s.", why) }

// parsePath reads name, name.sub, name[filter], name[filter].sub, each after a schema or not.
func parsePath(k *kind, s string) (path, error) {
	if len(s) > maxFilter {
		return path{}, badPath("it is too long")
	}
	p := &parser{s: s, kind: k}
	n := p.name()
	var out path
	var err error
	if out.ref, err = k.reference(strings.TrimSuffix(n, ".")); n == "" || err != nil {
		return path{}, badPath("there is no such attribute")
	}
	if p.i < len(p.s) && p.s[p.i] == '[' {
		if out.sub != nil || out.attr.Type != "complex" || !out.attr.Multi {
			return path{}, badPath("brackets stand after an attribute with several values")
		}
		p.i++
		p.of = out.attr.Sub
		if out.where, err = p.or(0); err != nil {
			return path{}, err
		}
		if !p.char(']') {
			return path{}, badPath("a bracket is not closed")
		}
		if _, err := p.dotted(&out.ref); err != nil {
			return path{}, badPath("there is no such sub-attribute")
		}
	}
	if p.space(); p.i < len(p.s) {
		return path{}, badPath("something stands after its end")
	}
	return out, nil
}

// apply makes the changes on a copy: all of them, or an error.
func (k *kind) apply(in map[string]any, ops []Operation) (map[string]any, error) {
	if len(ops) == 0 || len(ops) > maxOperations {
		return nil, bad("invalidSyntax", "A patch has 1 to %d operations.", maxOperations)
	}
	m := copyOf(in).(map[string]any)
	for _, op := range ops {
		verb := strings.ToLower(op.Op)
		if verb != "add" && verb != "replace" && verb != "remove" {
			return nil, bad("invalidSyntax", "An operation is add, replace or remove.")
		}
		if op.Path != "" {
			if err := k.change(m, verb, op.Path, op.Value); err != nil {
				return nil, err
			}
			continue
		}
		if verb == "remove" {
			return nil, bad("noTarget", "A removal needs a path.")
		}
		// Without a path the value is a part of the resource. Its names may be paths, as Entra has them.
		o, ok := op.Value.(map[string]any)
		if !ok {
			return nil, bad("invalidValue", "Without a path the value is an object.")
		}
		for _, name := range sortedKeys(o) {
			if err := k.part(m, verb, name, o[name]); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// part applies one member of an object that was given without a path.
func (k *kind) part(m map[string]any, verb, name string, v any) error {
	if strings.EqualFold(name, "schemas") {
		return nil
	}
	if k.extension != nil && strings.EqualFold(name, k.extension.ID) {
		o, ok := v.(map[string]any)
		if !ok {
			return bad("invalidValue", "The extension is an object.")
		}
		for _, n := range sortedKeys(o) {
			if err := k.part(m, verb, k.extension.ID+":"+n, o[n]); err != nil {
				return err
			}
		}
		return nil
	}
	if at, err := parsePath(k, name); err != nil || at.attr.Mutability == "readOnly" {
		return nil // unknown or read-only: left out, as in a whole resource
	}
	return k.change(m, verb, name, v)
}

func sortedKeys(m map[string]any) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

// change applies one operation.
func (k *kind) change(m map[string]any, verb, at string, v any) error {
	p, err := parsePath(k, at)
	if err != nil {
		return err
	}
	if p.attr.Mutability == "readOnly" || p.sub != nil && p.sub.Mutability == "readOnly" {
		return bad("mutability", "%s is read-only.", p.attr.Name)
	}
	box := m
	if p.extension != "" {
		if box, _ = m[p.extension].(map[string]any); box == nil {
			if verb == "remove" {
				return nil
			}
			box = map[string]any{}
			m[p.extension] = box
		}
		defer func() {
			if len(box) == 0 {
				delete(m, p.extension)
			}
		}()
	}
	if verb != "remove" && v == nil { // to write nothing is to remove (RFC 7643 section 2.5)
		verb = "remove"
	}
	switch {
	case p.where != nil:
		return p.chosen(box, verb, v)
	case p.sub != nil:
		return p.inner(box, verb, v)
	}
	return p.whole(box, verb, v)
}

// whole changes an attribute itself.
func (p *path) whole(box map[string]any, verb string, v any) error {
	name := p.attr.Name
	if verb == "remove" {
		if p.attr.Multi && v != nil { // Entra removes members by value
			gone, err := value(p.attr, v, name)
			if err != nil {
				return err
			}
			list, _ := box[name].([]any)
			out, _ := gone.([]any)
			list = slices.DeleteFunc(slices.Clone(list), func(e any) bool {
				return slices.ContainsFunc(out, func(x any) bool { return sameValue(e, x) })
			})
			return p.set(box, list)
		}
		if p.attr.Required {
			return bad("mutability", "%s is required.", name)
		}
		delete(box, name)
		return nil
	}
	x, err := value(p.attr, v, name)
	if err != nil {
		return err
	}
	if x == nil {
		if p.attr.Required {
			return bad("invalidValue", "%s is required.", name)
		}
		if verb == "replace" {
			delete(box, name)
		}
		return nil
	}
	switch {
	case p.attr.Multi && verb == "add":
		list, _ := box[name].([]any)
		return p.set(box, join(list, x.([]any)))
	case !p.attr.Multi && p.attr.Type == "complex": // what is not named stays (RFC 7644 section 3.5.2.1, 3.5.2.3)
		old, _ := box[name].(map[string]any)
		if old == nil {
			old = map[string]any{}
		}
		for k, e := range x.(map[string]any) {
			old[k] = e
		}
		box[name] = old
		return nil
	}
	box[name] = x
	return nil
}

// join adds values that are not there. A new primary one takes the place of the one before.
func join(list, more []any) []any {
	list = slices.Clone(list)
	for _, x := range more {
		if i := slices.IndexFunc(list, func(e any) bool { return sameValue(e, x) }); i >= 0 {
			list[i] = x
		} else {
			list = append(list, x)
		}
		demote(list, x)
	}
	return list
}

// demote leaves x the only primary value, if it is one.
func demote(list []any, x any) {
	m, ok := x.(map[string]any)
	if !ok || m["primary"] != true {
		return
	}
	for i, e := range list {
		if o, ok := e.(map[string]any); ok && o["primary"] == true && !same(o, m) {
			o = copyOf(o).(map[string]any)
			delete(o, "primary")
			list[i] = o
		}
	}
}

// sameValue says whether two of several values are one: with the same value and type.
func sameValue(a, b any) bool {
	x, ok1 := a.(map[string]any)
	y, ok2 := b.(map[string]any)
	if !ok1 || !ok2 {
		return same(a, b)
	}
	if x["value"] == nil || y["value"] == nil {
		return same(a, b)
	}
	return x["value"] == y["value"] && (x["type"] == y["type"] || x["type"] == nil || y["type"] == nil)
}

func (p *path) set(box map[string]any, list []any) error {
	if len(list) == 0 {
		if p.attr.Required {
			return bad("mutability", "%s is required.", p.attr.Name)
		}
		delete(box, p.attr.Name)
		return nil
	}
	if len(list) > maxValues && p.attr.Name != "members" {
		return bad("invalidValue", "%s has more than %d values.", p.attr.Name, maxValues)
	}
	box[p.attr.Name] = list
	return nil
}

// inner changes a sub-attribute of one object, or of each of several.
func (p *path) inner(box map[string]any, verb string, v any) error {
	x, err := value(p.sub, v, p.attr.Name+"."+p.sub.Name)
	if err != nil {
		return err
	}
	if p.attr.Multi {
		list, _ := box[p.attr.Name].([]any)
		if len(list) == 0 && verb != "remove" {
			return bad("noTarget", "There is nothing in %s to change.", p.attr.Name)
		}
		return p.each(box, list, func(map[string]any) bool { return true }, verb, x)
	}
	o, _ := box[p.attr.Name].(map[string]any)
	if o == nil {
		if verb == "remove" || x == nil {
			return nil
		}
		o = map[string]any{}
		box[p.attr.Name] = o
	}
	if verb == "remove" || x == nil {
		delete(o, p.sub.Name)
	} else {
		o[p.sub.Name] = x
	}
	if len(o) == 0 {
		delete(box, p.attr.Name)
	}
	return nil
}

// chosen changes those of several values that fit.
func (p *path) chosen(box map[string]any, verb string, v any) error {
	list, _ := box[p.attr.Name].([]any)
	found := slices.ContainsFunc(list, func(e any) bool { o, ok := e.(map[string]any); return ok && p.where.match(o) })
	if !found {
		// A new value made of what the filter says it has, which is what Entra means by adding to one.
		o := map[string]any{}
		if verb != "add" || !implied(p.where, o) {
			if verb == "remove" {
				return nil
			}
			return bad("noTarget", "Nothing in %s fits the filter.", p.attr.Name)
		}
		list = append(slices.Clone(list), o)
	}
	if p.sub != nil {
		x, err := value(p.sub, v, p.attr.Name+"."+p.sub.Name)
		if err != nil {
			return err
		}
		return p.each(box, list, p.where.match, verb, x)
	}
	if verb == "remove" {
		return p.set(box, slices.DeleteFunc(slices.Clone(list), func(e any) bool { o, ok := e.(map[string]any); return ok && p.where.match(o) }))
	}
	x, err := single(p.attr, v, p.attr.Name)
	if err != nil {
		return err
	}
	part, _ := x.(map[string]any)
	if len(part) == 0 {
		return bad("invalidValue", "%s is an object with something in it.", p.attr.Name)
	}
	out := slices.Clone(list)
	for i, e := range out {
		o, ok := e.(map[string]any)
		if !ok || !p.where.match(o) {
			continue
		}
		n := map[string]any{}
		if verb == "add" || !found {
			n = copyOf(o).(map[string]any)
		}
		for k, y := range part {
			n[k] = y
		}
		out[i] = n
		demote(out, n)
	}
	return p.set(box, out)
}

// each changes a sub-attribute of those of several values that fit.
func (p *path) each(box map[string]any, list []any, fits func(map[string]any) bool, verb string, x any) error {
	var out []any
	for _, e := range list {
		o, ok := e.(map[string]any)
		if !ok || !fits(o) {
			out = append(out, e)
			continue
		}
		o = copyOf(o).(map[string]any)
		if verb == "remove" || x == nil {
			delete(o, p.sub.Name)
		} else {
			o[p.sub.Name] = x
		}
		if len(o) > 0 {
			out = append(out, o)
		}
	}
	if p.sub.Name == "primary" && x == true {
		for _, e := range slices.Clone(out) {
			if o, ok := e.(map[string]any); ok && fits(o) {
				demote(out, o)
				break
			}
		}
	}
	return p.set(box, out)
}

// implied makes the value that fits a filter of equalities.
func implied(f filter, o map[string]any) bool {
	switch f := f.(type) {
	case both:
		return implied(f.a, o) && implied(f.b, o)
	case term:
		if f.op != "eq" || f.value == nil {
			return false
		}
		x, err := single(f.at.attr, f.value, f.at.attr.Name)
		if err != nil || x == nil {
			return false
		}
		o[f.at.attr.Name] = x
		return true
	}
	return false
}
