package scim

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
)

// MaxCount is the most resources of one answer.
const MaxCount = 200

// Query asks for resources (RFC 7644 section 3.4.2).
type Query struct {
	Filter     string
	StartIndex int // from 1
	Count      int // at most MaxCount
	SortBy     string
	Descending bool
	// Attributes, when set, are all that is returned beside id and schemas; Excluded are left out.
	Attributes, Excluded []string
}

// List is an answer to a query.
type List struct {
	Total      int
	StartIndex int
	Resources  []Resource
}

// Body is the list as a message.
func (l *List) Body() map[string]any {
	if l.Resources == nil {
		l.Resources = []Resource{}
	}
	return map[string]any{
		"schemas": []string{listMessage}, "totalResults": l.Total, "startIndex": l.StartIndex, "itemsPerPage": len(l.Resources), "Resources": l.Resources,
	}
}

// Users finds people.
func (s *Service) Users(ctx context.Context, tenant string, q Query) (*List, error) {
	return s.users().query(ctx, s, tenant, q, func(attr, v string) string {
		switch attr {
		case "userName":
			return directory.NameKey(tenant, v)
		case "externalId":
			return document.Key("external", tenant, v)
		}
		return ""
	})
}

// Groups finds groups.
func (s *Service) Groups(ctx context.Context, tenant string, q Query) (*List, error) {
	return s.groups().query(ctx, s, tenant, q, func(attr, v string) string {
		switch attr {
		case "displayName":
			return directory.NameKey(tenant, v)
		case "externalId":
			return document.Key("external", tenant, v)
		}
		return ""
	})
}

// query reads all of the tenant's, or, when the filter asks for one name, that one.
func (st *store[T]) query(ctx context.Context, s *Service, tenant string, q Query, key func(attr, value string) string) (*List, error) {
	var f filter
	var err error
	if q.Filter != "" {
		if f, err = parseFilter(&st.kind, q.Filter); err != nil {
			return nil, err
		}
	}
	var by *ref
	if q.SortBy != "" {
		r, err := st.kind.reference(q.SortBy)
		if err != nil {
			return nil, bad("invalidPath", "sortBy names no attribute.")
		}
		by = &r
	}
	if q.StartIndex < 1 {
		q.StartIndex = 1
	}
	q.Count = min(max(q.Count, 0), MaxCount)
	all, err := st.candidates(ctx, s.Docs, tenant, f, key)
	if err != nil {
		return nil, err
	}
	var found []Resource
	for i := range all {
		v, err := document.Decode[T](&all[i])
		if err != nil {
			return nil, err
		}
		if v.Head().Tenant != tenant || !st.ours(&v) {
			continue
		}
		// Where somebody is a member costs a look at every group, so it is only looked up when asked about.
		plain := *st
		if !mentions(q.Filter, "groups") {
			plain.readOnly = nil
		}
		res, err := plain.resource(ctx, s, s.Docs, &v, all[i].Revision)
		if err != nil {
			return nil, err
		}
		if f == nil || f.match(res) {
			found = append(found, res)
		}
	}
	if by != nil {
		slices.SortStableFunc(found, func(a, b Resource) int {
			c := cmp.Compare(sortKey(by, a), sortKey(by, b))
			if q.Descending {
				return -c
			}
			return c
		})
	}
	l := &List{Total: len(found), StartIndex: q.StartIndex}
	for _, res := range found[min(q.StartIndex-1, len(found)):] {
		if len(l.Resources) == q.Count {
			break
		}
		whole, _, err := st.read(ctx, s, tenant, res["id"].(string))
		if err != nil {
			continue // deleted meanwhile
		}
		l.Resources = append(l.Resources, Select(whole, q.Attributes, q.Excluded))
	}
	return l, nil
}

func mentions(s, word string) bool { return strings.Contains(strings.ToLower(s), word) }

func sortKey(by *ref, m Resource) string {
	vs := by.values(m)
	if len(vs) == 0 {
		return "\xff"
	}
	s, _ := vs[0].(string)
	if o, ok := vs[0].(map[string]any); ok {
		s, _ = o["value"].(string)
	}
	if !by.last().CaseExact {
		s = strings.ToLower(s)
	}
	return s
}

func (st *store[T]) candidates(ctx context.Context, r document.Reader, tenant string, f filter, key func(attr, value string) string) ([]document.Doc, error) {
	var z T
	if t, ok := f.(term); ok && t.op == "eq" && t.at.sub == nil && t.at.extension == "" {
		if v, ok := t.value.(string); ok {
			one := func(d document.Doc, err error) ([]document.Doc, error) {
				if AsError(err) == notFound {
					return nil, nil
				}
				return []document.Doc{d}, err
			}
			if t.at.attr.Name == "id" {
				return one(r.Get(ctx, z.Head().Kind, v))
			}
			if k := key(t.at.attr.Name, v); k != "" {
				return one(r.Find(ctx, z.Head().Kind, k))
			}
		}
	}
	return r.List(ctx, document.Query{Kind: z.Head().Kind, Tenant: &tenant})
}

// Select leaves of a resource what was asked for (RFC 7644 section 3.9). id and schemas always stay.
func Select(res Resource, only, without []string) Resource {
	switch {
	case len(only) > 0:
		out := Resource{"id": res["id"], "schemas": res["schemas"]}
		for _, n := range only {
			pick(res, out, n)
		}
		return out
	case len(without) > 0:
		out := Resource(copyOf(map[string]any(res)).(map[string]any))
		for _, n := range without {
			drop(out, n)
		}
		return out
	}
	return res
}

// kindOf tells people from groups.
func kindOf(res Resource) *kind {
	if l, _ := res["schemas"].([]any); len(l) > 0 && l[0] == GroupSchema {
		return &groupKind
	}
	return &userKind
}

func pick(res, out Resource, n string) {
	if x := kindOf(res).extension; x != nil && strings.EqualFold(n, x.ID) {
		if v, ok := res[x.ID]; ok {
			out[x.ID] = v
		}
		return
	}
	r, err := kindOf(res).reference(n)
	if err != nil {
		return
	}
	from, to := map[string]any(res), map[string]any(out)
	if r.extension != "" {
		if from, _ = res[r.extension].(map[string]any); from == nil {
			return
		}
		if to, _ = out[r.extension].(map[string]any); to == nil {
			to = map[string]any{}
			out[r.extension] = to
		}
	}
	v, ok := from[r.attr.Name]
	if !ok {
		return
	}
	if r.sub == nil {
		to[r.attr.Name] = v
		return
	}
	switch v := v.(type) {
	case map[string]any:
		o, _ := to[r.attr.Name].(map[string]any)
		if o == nil {
			o = map[string]any{}
			to[r.attr.Name] = o
		}
		if x, ok := v[r.sub.Name]; ok {
			o[r.sub.Name] = x
		}
	case []any:
		old, _ := to[r.attr.Name].([]any)
		list := make([]any, len(v))
		for i, e := range v {
			o := map[string]any{}
			if i < len(old) {
				o = old[i].(map[string]any)
			}
			if m, ok := e.(map[string]any); ok {
				if x, ok := m[r.sub.Name]; ok {
					o[r.sub.Name] = x
				}
			}
			list[i] = o
		}
		to[r.attr.Name] = list
	}
}

func drop(res Resource, n string) {
	k := kindOf(res)
	if k.extension != nil && strings.EqualFold(n, k.extension.ID) {
		delete(res, k.extension.ID)
		return
	}
	r, err := k.reference(n)
	if err != nil || r.attr.Name == "id" || r.attr.Name == "schemas" {
		return
	}
	box := map[string]any(res)
	if r.extension != "" {
		box, _ = res[r.extension].(map[string]any)
	}
	if r.sub == nil {
		delete(box, r.attr.Name)
		return
	}
	switch v := box[r.attr.Name].(type) {
	case map[string]any:
		delete(v, r.sub.Name)
	case []any:
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				delete(m, r.sub.Name)
			}
		}
	}
}
