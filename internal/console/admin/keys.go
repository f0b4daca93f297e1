package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/console/provision"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
)

// KeySpec makes a key. A scope that is left out allows nothing.
type KeySpec struct {
	Name      string         `json:"name"`
	Owner     string         `json:"owner,omitempty"`
	Scopes    iam.Scopes     `json:"scopes"`
	CIDRs     []netip.Prefix `json:"cidrs,omitempty"`
	NotBefore time.Time      `json:"not_before,omitzero"`
	Expires   time.Time      `json:"expires,omitzero"`

	Team      string       `json:"team,omitempty"`
	Principal string       `json:"principal,omitempty"`
	Class     string       `json:"class,omitempty"`
	Purpose   string       `json:"purpose,omitempty"`
	Tools     []string     `json:"tools,omitzero"`
	Features  []string     `json:"features,omitzero"`
	Data      []string     `json:"data,omitzero"`
	SPIFFE    []string     `json:"spiffe,omitempty"`
	Budgets   []iam.Budget `json:"budgets,omitempty"`
	Shared    bool         `json:"shared,omitzero"`
}

// NewKey is a key that was made or rotated. Secret is the whole key; it is shown this once.
type NewKey struct {
	Key    KeyInfo `json:"key"`
	Secret string  `json:"secret"`
	// Warnings say what is allowed and probably not meant.
	Warnings []string `json:"warnings,omitempty"`
}

// KeyInfo is a key as it is shown: never its hashes.
type KeyInfo struct {
	iam.Key
	Status string    `json:"status"`
	Ends   time.Time `json:"ends,omitzero"` // of the current secret
	// Pending says that the key has ended, and that the database could not be told yet.
	Pending string `json:"pending,omitempty"`
}

// Rotation says how a key is rotated.
type Rotation struct {
	// Grace is how long the secret before it stays valid; left out: as the key's class says.
	Grace *document.Span `json:"grace,omitempty"`
}

// KeyFilter names many keys; see iam.Filter. All of the tenant's keys need all: true.
type KeyFilter struct {
	All       bool      `json:"all,omitzero"`
	Team      string    `json:"team,omitempty"`
	Principal string    `json:"principal,omitempty"`
	Class     string    `json:"class,omitempty"`
	IDs       []string  `json:"ids,omitempty"`
	UsedSince time.Time `json:"used_since,omitzero"`
}

// ManyKeys is what an act on many keys came to.
type ManyKeys struct {
	Done   []NewKey          `json:"done"`
	Failed map[string]string `json:"failed,omitempty"` // by id, why
	// Pending says that the database could not be told of all of them yet, and Left how many more the
	// filter names: asked again, they follow.
	Pending string `json:"pending,omitempty"`
	Left    int    `json:"left,omitzero"`
}

// FeatureAdmin is what a key must name among its features, word for word, to be used for
// administration: a key that may use every feature of the data plane administers nothing by that.
const FeatureAdmin = "admin"

func (d *Deps) keys() []api.Route {
	const base, one = "/tenants/{tenant}/keys", "/tenants/{tenant}/keys/{id}"
	return []api.Route{
		api.Do(api.Route{Method: "GET", Pattern: base, Operation: "keys.list", Summary: "List keys", Permission: "read:key", Own: true, Query: paging},
			d.listKeys),
		api.Do(api.Route{Method: "POST", Pattern: base, Operation: "keys.create", Summary: "Make a key", Permission: "write:key", Own: true, Status: http.StatusCreated, Secret: true},
			d.createKey),
		api.Do(api.Route{Method: "GET", Pattern: one, Operation: "keys.get", Summary: "Read a key", Permission: "read:key", Own: true},
			func(ctx context.Context, c *api.Call, _ api.None) (KeyInfo, error) {
				k, err := d.key(ctx, c, "read:key")
				return d.info(k), err
			}),
		api.Do(api.Route{Method: "POST", Pattern: one + "/rotate", Operation: "keys.rotate", Summary: "Give a key a new secret", Permission: "rotate:key", Own: true, Secret: true},
			func(ctx context.Context, c *api.Call, in Rotation) (NewKey, error) {
				k, err := d.key(ctx, c, "rotate:key")
				if err != nil {
					return NewKey{}, err
				}
				return d.rotate(ctx, c, k, in)
			}),
		api.Do(api.Route{Method: "POST", Pattern: one + "/revoke", Operation: "keys.revoke", Summary: "End a key for good", Permission: "delete:key", Own: true},
			func(ctx context.Context, c *api.Call, _ api.None) (KeyInfo, error) {
				return d.revoke(ctx, c)
			}),
		api.Do(api.Route{Method: "GET", Pattern: "/tenants/{tenant}/keys-due", Operation: "keys.due", Summary: "List keys that have to be rotated", Permission: "read:key"},
			func(ctx context.Context, c *api.Call, _ api.None) (p Page[iam.Due], err error) {
				due, err := d.Keys.Due(ctx, d.Classes())
				for _, x := range due {
					if x.Key.Tenant == c.Tenant {
						p.Items = append(p.Items, x)
					}
				}
				return p, err
			}),
		api.Do(api.Route{Method: "POST", Pattern: "/tenants/{tenant}/keys-rotate", Operation: "keys.rotate_many", Summary: "Rotate many keys at once, as after an incident", Permission: "rotate:key", Secret: true},
			func(ctx context.Context, c *api.Call, in KeyFilter) (ManyKeys, error) {
				return d.many(ctx, c, in, func(k iam.Key) (NewKey, error) {
					if err := d.mayHave(ctx, c, d.Docs, k.Features, k.Principal); err != nil {
						return NewKey{}, err
					}
					ch, s, err := d.Keys.Rotate(ctx, k.ID, 0)
					if err != nil {
						return NewKey{}, err
					}
					return NewKey{Key: d.info(*ch.After), Secret: s.Reveal()}, nil
				})
			}),
		api.Do(api.Route{Method: "POST", Pattern: "/tenants/{tenant}/keys-revoke", Operation: "keys.revoke_many", Summary: "End many keys at once, as after an incident", Permission: "delete:key"},
			d.revokeMany),
	}
}

func (d *Deps) info(k iam.Key) KeyInfo {
	return KeyInfo{Key: k, Status: d.Classes().Status(&k, d.Now()), Ends: d.Classes().Ends(&k)}
}

// key reads what the path names, if the actor may have the permission for it or it is theirs.
func (d *Deps) key(ctx context.Context, c *api.Call, permission string) (iam.Key, error) {
	keys, err := d.Keys.List(ctx)
	if err != nil {
		return iam.Key{}, err
	}
	for _, k := range keys {
		if k.ID == c.Path("id") && k.Tenant == c.Tenant {
			return k, c.Can(permission, api.Resource{Tenant: k.Tenant, Team: k.Team, Owner: k.Principal})
		}
	}
	return iam.Key{}, document.ErrNotFound
}

// listKeys shows those that the actor may read: all, those of their teams, or their own.
func (d *Deps) listKeys(ctx context.Context, c *api.Call, _ api.None) (p Page[KeyInfo], err error) {
	n, err := limit(c)
	if err != nil {
		return p, err
	}
	keys, err := d.Keys.List(ctx)
	if err != nil {
		return p, err
	}
	if !slices.ContainsFunc(keys, func(k iam.Key) bool { return k.Tenant == c.Tenant }) {
		return p, emptyTenant(ctx, c, d.Docs)
	}
	after := c.Query("after")
	for _, k := range keys {
		if k.Tenant != c.Tenant {
			continue
		}
		if after != "" { // keys are in order of their making, so "after" is passed over once
			if k.ID == after {
				after = ""
			}
			continue
		}
		if c.Can("read:key", api.Resource{Tenant: k.Tenant, Team: k.Team, Owner: k.Principal}) != nil {
			continue
		}
		if len(p.Items) == n {
			p.Next = p.Items[n-1].ID
			break
		}
		p.Items = append(p.Items, d.info(k))
	}
	return p, nil
}

// createKey makes a key for whoever the caller may make one for: a role may give that for themselves
// only.
func (d *Deps) createKey(ctx context.Context, c *api.Call, in KeySpec) (NewKey, error) {
	n := iam.NewKey{
		Tenant: c.Tenant, Name: in.Name, Owner: in.Owner, Scopes: in.Scopes, CIDRs: in.CIDRs, NotBefore: in.NotBefore, Expires: in.Expires,
		Detail: iam.Detail{
			Team: in.Team, Principal: in.Principal, Class: in.Class, Purpose: in.Purpose, Tools: in.Tools, Features: in.Features,
			Data: in.Data, SPIFFE: in.SPIFFE, Budgets: in.Budgets, Shared: in.Shared,
		},
	}
	if err := c.Can("write:key", api.Resource{Tenant: c.Tenant, Team: in.Team, Owner: in.Principal}); err != nil {
		return NewKey{}, err
	}
	if _, ok := d.Classes()[in.Class]; in.Class != "" && in.Class != iam.DefaultClass && !ok {
		return NewKey{}, api.Refuse(http.StatusUnprocessableEntity, "invalid", "There is no such class of keys.")
	}
	err := d.Docs.Write(ctx, func(tx document.Tx) error {
		if err := tenantExists(ctx, tx, c.Tenant); err != nil {
			return err
		}
		if in.Principal != "" {
			if err := belong(ctx, tx, c.Tenant, []string{in.Principal}, directory.KindUser, directory.KindService, directory.KindAgent); err != nil {
				return err
			}
		}
		if err := d.mayHave(ctx, c, tx, in.Features, in.Principal); err != nil {
			return err
		}
		if in.Team != "" {
			return belong(ctx, tx, c.Tenant, []string{in.Team}, directory.KindTeam)
		}
		return nil
	})
	if err != nil {
		return NewKey{}, err
	}
	ch, s, err := d.Keys.Create(ctx, n)
	if err != nil {
		return NewKey{}, keyError(err)
	}
	c.Changed(ch.After.ID, nil, ch.After)
	made := NewKey{Key: d.info(*ch.After), Secret: s.Reveal()}
	for _, u := range in.Scopes.Upstreams {
		if d.Upstream != nil && !strings.Contains(u, "*") && !d.Upstream(u) {
			made.Warnings = append(made.Warnings, fmt.Sprintf("no upstream is called %s", u))
		}
	}
	return made, nil
}

// mayHave says whether the actor may be given the secret of a key: with it they could administer as its
// principal, or provision people.
func (d *Deps) mayHave(ctx context.Context, c *api.Call, r document.Reader, features []string, principal string) error {
	if slices.Contains(features, FeatureAdmin) {
		if err := d.holdsAll(ctx, c, r, principal); err != nil {
			return err
		}
	}
	if slices.Contains(features, provision.FeatureSCIM) {
		return c.Can("write:scim_token", api.Resource{Tenant: c.Tenant})
	}
	return nil
}

func (d *Deps) rotate(ctx context.Context, c *api.Call, k iam.Key, in Rotation) (NewKey, error) {
	if err := d.mayHave(ctx, c, d.Docs, k.Features, k.Principal); err != nil {
		return NewKey{}, err
	}
	grace := d.Classes().Overlap(&k)
	if in.Grace != nil {
		grace = time.Duration(*in.Grace)
	}
	ch, s, err := d.Keys.Rotate(ctx, k.ID, grace)
	if err != nil {
		return NewKey{}, keyError(err)
	}
	c.Changed(k.ID, ch.Before, ch.After)
	return NewKey{Key: d.info(*ch.After), Secret: s.Reveal()}, nil
}

// many acts on all keys of a filter. One that fails does not stop the others: after an incident the
// rest must end all the same.
func (d *Deps) many(ctx context.Context, c *api.Call, in KeyFilter, act func(iam.Key) (NewKey, error)) (out ManyKeys, err error) {
	f, err := in.filter(c.Tenant)
	if err != nil {
		return out, err
	}
	keys, err := d.Keys.Matching(ctx, f)
	if err != nil {
		return out, err
	}
	var ids []string
	for _, k := range keys {
		n, err := act(k)
		if err != nil {
			out.fail(k.ID)
			continue
		}
		out.Done, ids = append(out.Done, n), append(ids, k.ID)
	}
	return out, d.recordMany(ctx, c, ids, &out)
}

const failedAlone = "it could not be done; try this one by itself"

// filter is the filter within a tenant; one that names nothing is refused.
func (in *KeyFilter) filter(tenant string) (iam.Filter, error) {
	f := iam.Filter{All: in.All, Team: in.Team, Principal: in.Principal, Class: in.Class, IDs: in.IDs, UsedSince: in.UsedSince}
	if err := f.Check(); err != nil {
		return f, keyError(err) // before the tenant is put in, which would make any filter name something
	}
	f.Tenant = tenant
	return f, nil
}

// recordMany names every key in the record, in as many parts as it takes, and what it came to.
func (d *Deps) recordMany(ctx context.Context, c *api.Call, ids []string, out *ManyKeys) error {
	const part = 100
	if len(ids) <= part {
		c.Changed("many", nil, map[string]any{"done": ids, "failed": out.Failed, "pending": out.Pending, "left": out.Left})
		return nil
	}
	c.Changed("many", nil, map[string]any{"done": len(ids), "failed": out.Failed, "pending": out.Pending, "left": out.Left})
	for some := range slices.Chunk(ids, part) {
		if err := c.Part(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func keyError(err error) error {
	var inv *iam.Invalid
	switch {
	case errors.As(err, &inv):
		return invalid(inv)
	case errors.Is(err, iam.ErrNotFound):
		return document.ErrNotFound
	case errors.Is(err, iam.ErrNotActive):
		return api.Refuse(http.StatusConflict, "not_active", "The key is revoked or expired.")
	}
	return err
}
