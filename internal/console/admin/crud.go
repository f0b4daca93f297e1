package admin

import (
	"context"
	"net/http"
	"strconv"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/rbac"
)

// Page is part of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // give it as "after" to read on
}

// pageSize bounds one page.
const pageSize = 200

var paging = []api.Param{{Name: "after", Doc: "id after which to read on"}, {Name: "limit", Doc: "at most 200"}}

// resource is one kind of thing that is made, read, changed and deleted in the same way. In is what a
// caller sends to make or change one.
type resource[T document.Entity, In any] struct {
	name, plural string // as permissions and paths name it
	doc          string // for people: "a team"
	// before, when set, prepares what was sent, outside the transaction: sealing may need one of its own.
	before func(ctx context.Context, c *api.Call, in *In) error
	// make fills a new one; edit changes one. Both check what they make.
	make func(ctx context.Context, c *api.Call, tx document.Tx, in In) (T, error)
	edit func(ctx context.Context, c *api.Call, tx document.Tx, v *T, in In) error
	// gone, when set, may refuse or complete a deletion.
	gone func(ctx context.Context, c *api.Call, tx document.Tx, v T) error
	// after, when set, completes every change, within its transaction.
	after func(ctx context.Context, c *api.Call, tx document.Tx) error
}

func (r resource[T, In]) prepare(ctx context.Context, c *api.Call, in *In) error {
	if r.before == nil {
		return nil
	}
	return r.before(ctx, c, in)
}

func (r resource[T, In]) complete(ctx context.Context, c *api.Call, tx document.Tx) error {
	if r.after == nil {
		return nil
	}
	return r.after(ctx, c, tx)
}

// routes are the five usual operations.
func (r resource[T, In]) routes(d *Deps) []api.Route {
	base := "/tenants/{tenant}/" + r.plural
	id := base + "/{id}"
	return []api.Route{
		api.Do(api.Route{Method: "GET", Pattern: base, Operation: r.plural + ".list", Summary: "List " + r.plural, Permission: "read:" + r.name, Query: paging},
			func(ctx context.Context, c *api.Call, _ api.None) (Page[T], error) { return list[T](ctx, c, d.Docs) }),
		api.Do(api.Route{Method: "POST", Pattern: base, Operation: r.plural + ".create", Summary: "Make " + r.doc, Permission: "write:" + r.name, Status: http.StatusCreated},
			func(ctx context.Context, c *api.Call, in In) (v T, err error) {
				var rev int64
				if err := r.prepare(ctx, c, &in); err != nil {
					return v, err
				}
				err = d.Docs.Write(ctx, func(tx document.Tx) error {
					if v, err = r.make(ctx, c, tx, in); err != nil {
						return err
					}
					if rev, err = document.Put(ctx, tx, v, 0); err != nil {
						return err
					}
					return r.complete(ctx, c, tx)
				})
				if err == nil {
					c.Changed(v.Head().ID, nil, v)
					c.Header("ETag", api.Tag(rev))
				}
				return v, err
			}),
		api.Do(api.Route{Method: "GET", Pattern: id, Operation: r.plural + ".get", Summary: "Read " + r.doc, Permission: "read:" + r.name},
			func(ctx context.Context, c *api.Call, _ api.None) (T, error) {
				v, rev, err := get[T](ctx, c, d.Docs)
				if err == nil {
					c.Header("ETag", api.Tag(rev))
				}
				return v, err
			}),
		api.Do(api.Route{Method: "PUT", Pattern: id, Operation: r.plural + ".update", Summary: "Change " + r.doc, Permission: "write:" + r.name},
			func(ctx context.Context, c *api.Call, in In) (after T, err error) {
				want, err := c.IfMatch()
				if err != nil {
					return after, err
				}
				var before T
				var rev int64
				if err := r.prepare(ctx, c, &in); err != nil {
					return after, err
				}
				err = d.Docs.Write(ctx, func(tx document.Tx) error {
					var at int64
					if before, at, err = get[T](ctx, c, tx); err != nil {
						return err
					}
					if want != 0 && want != at {
						return document.ErrConflict
					}
					if after, _, err = get[T](ctx, c, tx); err != nil {
						return err
					}
					if err = r.edit(ctx, c, tx, &after, in); err != nil {
						return err
					}
					if rev, err = document.Put(ctx, tx, after, at); err != nil {
						return err
					}
					return r.complete(ctx, c, tx)
				})
				if err == nil {
					c.Changed(before.Head().ID, before, after)
					c.Header("ETag", api.Tag(rev))
				}
				return after, err
			}),
		api.Do(api.Route{Method: "DELETE", Pattern: id, Operation: r.plural + ".delete", Summary: "Delete " + r.doc, Permission: "delete:" + r.name},
			func(ctx context.Context, c *api.Call, _ api.None) (api.None, error) {
				var before T
				err := d.Docs.Write(ctx, func(tx document.Tx) (err error) {
					if before, _, err = get[T](ctx, c, tx); err != nil {
						return err
					}
					if r.gone != nil {
						if err := r.gone(ctx, c, tx, before); err != nil {
							return err
						}
					}
					if err := tx.Delete(ctx, before.Head().Kind, before.Head().ID); err != nil {
						return err
					}
					return r.complete(ctx, c, tx)
				})
				if err == nil {
					c.Changed(before.Head().ID, before, nil)
				}
				return api.None{}, err
			}),
	}
}

// get reads what the path names. What belongs to another tenant is not there.
func get[T document.Entity](ctx context.Context, c *api.Call, r document.Reader) (T, int64, error) {
	v, rev, err := document.Get[T](ctx, r, c.Path("id"))
	if err == nil && v.Head().Tenant != c.Tenant {
		var none T
		return none, 0, document.ErrNotFound
	}
	return v, rev, err
}

// emptyTenant tells a tenant in which there is nothing from one that is not there: a wrong name must not look
// like an empty list.
func emptyTenant(ctx context.Context, c *api.Call, r document.Reader) error {
	if c.Tenant == "" || c.Tenant == rbac.System {
		return nil
	}
	_, err := r.Get(ctx, directory.KindTenant, c.Tenant)
	return err
}

func list[T document.Entity](ctx context.Context, c *api.Call, r document.Reader) (p Page[T], err error) {
	n, err := limit(c)
	if err != nil {
		return p, err
	}
	var z T
	ds, err := r.List(ctx, document.Query{Kind: z.Head().Kind, Tenant: &c.Tenant, After: c.Query("after"), Limit: n + 1})
	if err != nil {
		return p, err
	}
	if len(ds) == 0 {
		return p, emptyTenant(ctx, c, r)
	}
	for i := range ds {
		if i == n {
			p.Next = ds[i-1].ID
			break
		}
		v, err := document.Decode[T](&ds[i])
		if err != nil {
			return p, err
		}
		p.Items = append(p.Items, v)
	}
	return p, nil
}

func limit(c *api.Call) (int, error) {
	s := c.Query("limit")
	if s == "" {
		return pageSize, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > pageSize {
		return 0, api.Refuse(http.StatusBadRequest, "invalid_parameter", "limit is a number from 1 to %d.", pageSize)
	}
	return n, nil
}
