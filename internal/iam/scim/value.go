package scim

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Bounds of one resource.
const (
	maxString = 4096 // bytes
	maxValues = 200  // of an attribute, but for members
)

// clean takes what a client sent to what is kept: names as the schema has them, read-only and unknown
// attributes left out, values of the right type. Booleans may be the strings that Entra sends, single
// values stand for lists of one.
func (k *kind) clean(in map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for name, v := range in {
		if k.extension != nil && strings.EqualFold(name, k.extension.ID) {
			sub, ok := v.(map[string]any)
			if v == nil {
				continue
			}
			if !ok {
				return nil, bad("invalidValue", "The extension %s is an object.", k.extension.ID)
			}
			x, err := object(k.extension.Attributes, sub, k.extension.Name)
			if err != nil {
				return nil, err
			}
			if len(x) > 0 {
				out[k.extension.ID] = x
			}
			continue
		}
		a, ext := k.attribute(name)
		if a == nil || a.Mutability == "readOnly" || ext != "" {
			continue
		}
		if _, twice := out[a.Name]; twice {
			return nil, bad("invalidSyntax", "%s stands twice.", a.Name)
		}
		x, err := value(a, v, a.Name)
		if err != nil {
			return nil, err
		}
		if x != nil {
			out[a.Name] = x
		}
	}
	return out, nil
}

// value checks one value. Nil and empty lists are no value (RFC 7643 section 2.5).
func value(a *Attribute, v any, where string) (any, error) {
	if v == nil {
		return nil, nil
	}
	if !a.Multi {
		return single(a, v, where)
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) > maxValues && a.Name != "members" {
		return nil, bad("invalidValue", "%s has more than %d values.", where, maxValues)
	}
	var out []any
	primary := 0
	for _, e := range list {
		x, err := single(a, e, where)
		if err != nil {
			return nil, err
		}
		if m, ok := x.(map[string]any); ok {
			if m["primary"] == true {
				primary++
			}
		}
		if x == nil && a.Name == "members" {
			return nil, bad("invalidValue", "A member is named by the id in value.")
		}
		if x != nil {
			out = append(out, x)
		}
	}
	if primary > 1 {
		return nil, bad("invalidValue", "%s has more than one primary value.", where)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func single(a *Attribute, v any, where string) (any, error) {
	switch a.Type {
	case "boolean":
		switch b := v.(type) {
		case bool:
			return b, nil
		case string:
			switch strings.ToLower(b) {
			case "true":
				return true, nil
			case "false":
				return false, nil
			}
		}
		return nil, bad("invalidValue", "%s is a boolean.", where)
	case "complex":
		if s, ok := v.(string); ok && find(a.Sub, "value") != nil { // Entra sends a manager so
			v = map[string]any{"value": s}
		}
		m, ok := v.(map[string]any)
		if !ok {
			return nil, bad("invalidValue", "%s is an object.", where)
		}
		x, err := object(a.Sub, m, where)
		if err != nil || len(x) == 0 {
			return nil, err
		}
		return x, nil
	}
	s, ok := v.(string)
	if !ok {
		return nil, bad("invalidValue", "%s is a string.", where)
	}
	if len(s) > maxString || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f }) {
		return nil, bad("invalidValue", "%s is text of at most %d bytes.", where, maxString)
	}
	if s == "" {
		return nil, nil
	}
	return s, nil
}

func object(list []Attribute, in map[string]any, where string) (map[string]any, error) {
	out := map[string]any{}
	for name, v := range in {
		a := find(list, name)
		if a == nil || a.Mutability == "readOnly" {
			continue
		}
		if _, twice := out[a.Name]; twice {
			return nil, bad("invalidSyntax", "%s.%s stands twice.", where, a.Name)
		}
		x, err := value(a, v, where+"."+a.Name)
		if err != nil {
			return nil, err
		}
		if x != nil {
			out[a.Name] = x
		}
	}
	return out, nil
}

// copyOf shares nothing with m.
func copyOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = copyOf(x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = copyOf(x)
		}
		return l
	}
	return v
}

// same says whether two values are the same, as JSON.
func same(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}
