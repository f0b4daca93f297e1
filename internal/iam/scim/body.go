package scim

import (
	"slices"
	"strings"
)

// body checks a whole resource that a client sent.
func (k *kind) body(in map[string]any) (map[string]any, error) {
	schemas, err := schemasOf(in)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(schemas, func(s string) bool { return strings.EqualFold(s, k.core.ID) }) {
		return nil, bad("invalidValue", "schemas does not name %s.", k.core.ID)
	}
	return k.clean(in)
}

// Patch reads the operations of a PatchOp message.
func Patch(in map[string]any) ([]Operation, error) {
	schemas, err := schemasOf(in)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(schemas, patchMessage) {
		return nil, bad("invalidValue", "schemas does not name %s.", patchMessage)
	}
	list, ok := member(in, "Operations").([]any)
	if !ok {
		return nil, bad("invalidSyntax", "Operations is a list.")
	}
	var ops []Operation
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, bad("invalidSyntax", "An operation is an object.")
		}
		var op Operation
		op.Op, _ = member(m, "op").(string)
		if p := member(m, "path"); p != nil {
			if op.Path, ok = p.(string); !ok {
				return nil, bad("invalidPath", "A path is text.")
			}
		}
		op.Value = member(m, "value")
		ops = append(ops, op)
	}
	return ops, nil
}

// Search reads a SearchRequest message.
func Search(in map[string]any) (q Query, err error) {
	schemas, err := schemasOf(in)
	if err != nil {
		return q, err
	}
	if !slices.Contains(schemas, searchMessage) {
		return q, bad("invalidValue", "schemas does not name %s.", searchMessage)
	}
	q.Filter, _ = member(in, "filter").(string)
	q.SortBy, _ = member(in, "sortBy").(string)
	order, _ := member(in, "sortOrder").(string)
	q.Descending = strings.EqualFold(order, "descending")
	q.StartIndex, q.Count = 1, MaxCount
	if n, ok := member(in, "startIndex").(float64); ok {
		q.StartIndex = int(min(max(n, 1), 1<<30))
	}
	if n, ok := member(in, "count").(float64); ok {
		q.Count = int(min(max(n, 0), MaxCount))
	}
	q.Attributes, q.Excluded = texts(member(in, "attributes")), texts(member(in, "excludedAttributes"))
	return q, nil
}

func texts(v any) (out []string) {
	list, _ := v.([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// member finds a name, letter case apart.
func member(m map[string]any, name string) any {
	if v, ok := m[name]; ok {
		return v
	}
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

func schemasOf(in map[string]any) ([]string, error) {
	list := texts(member(in, "schemas"))
	if len(list) == 0 {
		return nil, bad("invalidValue", "schemas is required.")
	}
	return list, nil
}
