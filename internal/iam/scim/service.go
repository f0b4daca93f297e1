package scim

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/session"
)

// Resource is a person or a group as a client sees it, with its id, meta and schemas.
type Resource map[string]any

// Service changes and reads what a tenant's directory keeps here. It is safe for concurrent use, also by
// several processes on one store.
type Service struct {
	Docs document.Store
	// Base is the address that locations begin with, such as https://sallyport.example/scim/v2.
	Base func() string
	Now  func() time.Time // nil: time.Now
}

// Result is what a change came to. Before and After are for the record; nil where there is none.
type Result struct {
	Resource      Resource
	Revision      int64
	Before, After any
}

func (s *Service) now() time.Time {
	t := time.Now()
	if s.Now != nil {
		t = s.Now()
	}
	return t.UTC().Truncate(time.Microsecond)
}

// Tag is the version of a revision (RFC 7644 section 3.14).
func Tag(revision int64) string { return `W/"` + strconv.FormatInt(revision, 10) + `"` }

// Match says whether an If-Match or If-None-Match header names a revision. Weak and strong tags are one.
func Match(header string, revision int64) bool {
	for _, t := range strings.Split(header, ",") {
		if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == strings.TrimPrefix(Tag(revision), "W/") {
			return true
		}
	}
	return false
}

// store is one kind of resource: how it is read, checked and kept.
type store[T document.Entity] struct {
	kind     kind
	path     string // below Base
	name     string // resourceType
	attrs    func(*T) map[string]any
	times    func(*T) (created, updated time.Time)
	ours     func(*T) bool
	readOnly func(ctx context.Context, r document.Reader, v *T, res map[string]any) error
	// fill takes clean attributes over into v; before is nil for a new one.
	fill func(ctx context.Context, tx document.Tx, v, before *T, attrs map[string]any) error
}

func (st *store[T]) resource(ctx context.Context, s *Service, r document.Reader, v *T, rev int64) (Resource, error) {
	res := copyOf(st.attrs(v)).(map[string]any)
	id := (*v).Head().ID
	created, updated := st.times(v)
	if updated.IsZero() {
		updated = created
	}
	schemas := []any{st.kind.core.ID}
	if x := st.kind.extension; x != nil {
		if _, ok := res[x.ID]; ok {
			schemas = append(schemas, x.ID)
		}
	}
	res["schemas"], res["id"] = schemas, id
	res["meta"] = map[string]any{
		"resourceType": st.name, "created": created.Format(time.RFC3339Nano), "lastModified": updated.Format(time.RFC3339Nano),
		"location": s.Base() + "/" + st.path + "/" + id, "version": Tag(rev),
	}
	if st.readOnly != nil {
		if err := st.readOnly(ctx, r, v, res); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// get reads one of the tenant's that a directory keeps; all others are not there.
func (st *store[T]) get(ctx context.Context, r document.Reader, tenant, id string) (T, int64, error) {
	v, rev, err := document.Get[T](ctx, r, id)
	if err == nil && (v.Head().Tenant != tenant || !st.ours(&v)) {
		err = document.ErrNotFound
	}
	return v, rev, err
}

func (st *store[T]) read(ctx context.Context, s *Service, tenant, id string) (Resource, int64, error) {
	v, rev, err := st.get(ctx, s.Docs, tenant, id)
	if err != nil {
		return nil, 0, err
	}
	res, err := st.resource(ctx, s, s.Docs, &v, rev)
	return res, rev, err
}

// write makes or changes one: next makes the new attributes of the present ones.
func (st *store[T]) write(ctx context.Context, s *Service, tenant, id, ifMatch string, fresh func() T, next func(map[string]any) (map[string]any, error)) (out Result, err error) {
	err = s.Docs.Write(ctx, func(tx document.Tx) error {
		var before *T
		var rev int64
		v := fresh()
		now := map[string]any{}
		if id != "" {
			old, at, err := st.get(ctx, tx, tenant, id)
			if err != nil {
				return err
			}
			if ifMatch != "" && !Match(ifMatch, at) {
				return document.ErrConflict
			}
			before, rev, v, now = &old, at, old, st.attrs(&old)
		}
		attrs, err := next(now)
		if err != nil {
			return err
		}
		if before != nil && same(attrs, now) { // nothing changed: no new version
			out.Resource, err = st.resource(ctx, s, tx, before, rev)
			out.Revision, out.Before, out.After = rev, *before, *before
			return err
		}
		for _, a := range st.kind.core.Attributes {
			if _, ok := attrs[a.Name]; a.Required && !ok {
				return bad("invalidValue", "%s is required.", a.Name)
			}
		}
		if err := st.fill(ctx, tx, &v, before, attrs); err != nil {
			return err
		}
		if rev, err = document.Put(ctx, tx, v, rev); err != nil {
			return err
		}
		out = Result{Revision: rev, After: v}
		if before != nil {
			out.Before = *before
		}
		out.Resource, err = st.resource(ctx, s, tx, &v, rev)
		return err
	})
	return out, err
}

// roles says whether bindings give a group roles, so that who is in it matters to sessions.
func roles(ctx context.Context, r document.Reader, tenant, group string) (bool, error) {
	bs, err := document.List[access.Binding](ctx, r, &tenant)
	return slices.ContainsFunc(bs, func(b access.Binding) bool { return b.Subject == group }), err
}

// endSessions ends those of people within the transaction.
func endSessions(ctx context.Context, tx document.Tx, tenant string, users map[string]bool) error {
	if len(users) == 0 {
		return nil
	}
	_, err := session.End(ctx, tx, tenant, func(x *session.Session) bool { return users[x.User] })
	return err
}

// groupsOf are the groups that somebody is in.
func groupsOf(ctx context.Context, r document.Reader, tenant, user string) ([]directory.Group, error) {
	all, err := document.List[directory.Group](ctx, r, &tenant)
	return slices.DeleteFunc(all, func(g directory.Group) bool { return !slices.Contains(g.Members, user) }), err
}
