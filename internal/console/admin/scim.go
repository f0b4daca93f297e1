package admin

import (
	"context"
	"net/http"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/console/provision"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/document"
)

// SCIMTokenSpec makes a token with which a company's directory provisions people and groups.
type SCIMTokenSpec struct {
	Name    string    `json:"name"`
	Expires time.Time `json:"expires,omitzero"`
}

// scimTokens are keys that provision and do nothing else: they reach no provider and administer nothing.
func (d *Deps) scimTokens() []api.Route {
	const base, one = "/tenants/{tenant}/scim-tokens", "/tenants/{tenant}/scim-tokens/{id}"
	find := func(ctx context.Context, c *api.Call, permission string) (iam.Key, error) {
		k, err := d.key(ctx, c, permission)
		if err == nil && !slices.Contains(k.Features, provision.FeatureSCIM) {
			err = document.ErrNotFound
		}
		return k, err
	}
	return []api.Route{
		api.Do(api.Route{Method: "GET", Pattern: base, Operation: "scim_tokens.list", Summary: "List the tokens that provision people", Permission: "read:scim_token"},
			func(ctx context.Context, c *api.Call, _ api.None) (p Page[KeyInfo], err error) {
				all, err := d.Keys.Matching(ctx, iam.Filter{Tenant: c.Tenant, All: true})
				for _, k := range all {
					if slices.Contains(k.Features, provision.FeatureSCIM) {
						p.Items = append(p.Items, d.info(k))
					}
				}
				return p, err
			}),
		api.Do(api.Route{Method: "POST", Pattern: base, Operation: "scim_tokens.create", Summary: "Make a token that provisions people", Permission: "write:scim_token", Status: http.StatusCreated, Secret: true},
			func(ctx context.Context, c *api.Call, in SCIMTokenSpec) (NewKey, error) {
				if err := d.Docs.Write(ctx, func(tx document.Tx) error { return tenantExists(ctx, tx, c.Tenant) }); err != nil {
					return NewKey{}, err
				}
				ch, s, err := d.Keys.Create(ctx, iam.NewKey{
					Tenant: c.Tenant, Name: in.Name, Expires: in.Expires, Scopes: nowhere,
					Detail: iam.Detail{Purpose: "SCIM", Features: []string{provision.FeatureSCIM}, Tools: []string{}, Data: []string{}},
				})
				if err != nil {
					return NewKey{}, keyError(err)
				}
				c.Changed(ch.After.ID, nil, ch.After)
				return NewKey{Key: d.info(*ch.After), Secret: s.Reveal()}, nil
			}),
		api.Do(api.Route{Method: "POST", Pattern: one + "/rotate", Operation: "scim_tokens.rotate", Summary: "Give a token a new secret", Permission: "write:scim_token", Secret: true},
			func(ctx context.Context, c *api.Call, in Rotation) (NewKey, error) {
				k, err := find(ctx, c, "write:scim_token")
				if err != nil {
					return NewKey{}, err
				}
				return d.rotate(ctx, c, k, in)
			}),
		api.Do(api.Route{Method: "DELETE", Pattern: one, Operation: "scim_tokens.revoke", Summary: "End a token", Permission: "delete:scim_token"},
			func(ctx context.Context, c *api.Call, _ api.None) (api.None, error) {
				k, err := find(ctx, c, "delete:scim_token")
				if err != nil {
					return api.None{}, err
				}
				ch, err := d.Keys.Revoke(ctx, k.ID)
				if err != nil {
					return api.None{}, keyError(err)
				}
				c.Changed(k.ID, ch.Before, ch.After)
				return api.None{}, nil
			}),
	}
}

// nowhere reaches no upstream: no name of one has a dot.
var nowhere = iam.Scopes{Upstreams: []string{"."}, Endpoints: []string{"."}, Models: []string{"."}}
