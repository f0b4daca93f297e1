package admin

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/vault"
	"sallyport.dev/sallyport/internal/secret"
)

// NewProvider makes a credential for an upstream. Value is not shown again but by reveal.
type NewProvider struct {
	Upstream string `json:"upstream"`
	Name     string `json:"name"`
	Value    string `json:"value"`
}

// NewValue is a further version of one. Activate has it sent at once.
type NewValue struct {
	Value    string `json:"value"`
	Activate bool   `json:"activate,omitzero"`
}

// Reason is why somebody wants to see a value.
type Reason struct {
	Reason string `json:"reason"`
}

// Revealed is a value that was shown.
type Revealed struct {
	Value string `json:"value"`
}

// providers are the sealed credentials of a tenant, and of the installation for tenants that have none.
func (d *Deps) providers() []api.Route {
	var rs []api.Route
	for base, op := range map[string]string{"/tenants/{tenant}/providers": "providers.", "/providers": "shared_providers."} {
		one := base + "/{id}"
		change := func(name, summary, permission, path string, act func(ctx context.Context, c *api.Call, number int) (vault.Change, error)) api.Route {
			return api.Do(api.Route{Method: "POST", Pattern: one + path, Operation: op + name, Summary: summary, Permission: permission},
				func(ctx context.Context, c *api.Call, _ api.None) (vault.Credential, error) {
					n, err := strconv.Atoi(c.Path("version"))
					if err != nil || n < 1 {
						return vault.Credential{}, document.ErrNotFound
					}
					ch, err := act(ctx, c, n)
					return d.changedProvider(c, ch, err)
				})
		}
		rs = append(rs,
			api.Do(api.Route{Method: "GET", Pattern: base, Operation: op + "list", Summary: "List provider credentials, without their values", Permission: "read:provider"},
				func(ctx context.Context, c *api.Call, _ api.None) (p Page[vault.Credential], err error) {
					p.Items, err = d.Vault.List(ctx, &c.Tenant)
					return p, err
				}),
			api.Do(api.Route{Method: "POST", Pattern: base, Operation: op + "create", Summary: "Keep a provider credential, sealed", Permission: "write:provider", Status: http.StatusCreated},
				func(ctx context.Context, c *api.Call, in NewProvider) (vault.Credential, error) {
					if d.Upstream != nil && !d.Upstream(in.Upstream) {
						return vault.Credential{}, api.Refuse(http.StatusUnprocessableEntity, "invalid", "There is no upstream of this name in the configuration.")
					}
					ch, err := d.Vault.Create(ctx, c.Tenant, in.Upstream, in.Name, secret.New(in.Value))
					return d.changedProvider(c, ch, err)
				}),
			api.Do(api.Route{Method: "POST", Pattern: one + "/versions", Operation: op + "add_version", Summary: "Add a value", Permission: "rotate:provider"},
				func(ctx context.Context, c *api.Call, in NewValue) (vault.Credential, error) {
					ch, err := d.Vault.AddVersion(ctx, c.Tenant, c.Path("id"), secret.New(in.Value))
					if err == nil && in.Activate {
						before := ch.Before
						if ch, err = d.Vault.Activate(ctx, c.Tenant, c.Path("id"), ch.Version); err == nil {
							ch.Before = before
						}
					}
					return d.changedProvider(c, ch, err)
				}),
			change("activate", "Have a version sent", "rotate:provider", "/versions/{version}/activate", func(ctx context.Context, c *api.Call, n int) (vault.Change, error) {
				return d.Vault.Activate(ctx, c.Tenant, c.Path("id"), n)
			}),
			change("retire", "Delete the value of a version", "rotate:provider", "/versions/{version}/retire", func(ctx context.Context, c *api.Call, n int) (vault.Change, error) {
				return d.Vault.Retire(ctx, c.Tenant, c.Path("id"), n)
			}),
			api.Do(api.Route{Method: "POST", Pattern: one + "/versions/{version}/reveal", Operation: op + "reveal", Summary: "Show a value, on the record", Permission: "reveal:provider", Secret: true},
				func(ctx context.Context, c *api.Call, in Reason) (Revealed, error) {
					n, err := strconv.Atoi(c.Path("version"))
					if err != nil {
						return Revealed{}, document.ErrNotFound
					}
					s, err := d.Vault.Reveal(ctx, c.Tenant, c.Path("id"), n, in.Reason)
					if err == nil {
						c.Changed(c.Path("id"), nil, map[string]any{"revealed": n, "reason": in.Reason})
					}
					return Revealed{s.Reveal()}, vaultError(err)
				}),
			api.Do(api.Route{Method: "DELETE", Pattern: one, Operation: op + "delete", Summary: "Delete a credential and all its values", Permission: "delete:provider"},
				func(ctx context.Context, c *api.Call, _ api.None) (api.None, error) {
					ch, err := d.Vault.Remove(ctx, c.Tenant, c.Path("id"))
					_, err = d.changedProvider(c, ch, err)
					return api.None{}, err
				}),
		)
	}
	return rs
}

func (d *Deps) changedProvider(c *api.Call, ch vault.Change, err error) (vault.Credential, error) {
	if err != nil {
		return vault.Credential{}, vaultError(err)
	}
	var before, after any
	var out vault.Credential
	if ch.Before != nil {
		before, out = ch.Before, *ch.Before
	}
	if ch.After != nil {
		after, out = ch.After, *ch.After
	}
	c.Changed(out.ID, before, after)
	return out, nil
}

// vaultError tells the caller what they can mend. The vault's own words hold no value.
func vaultError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, vault.ErrNoVersion):
		return document.ErrNotFound
	case errors.Is(err, vault.ErrActive), errors.Is(err, vault.ErrRetired):
		return api.Refuse(http.StatusConflict, "conflict", "%s", err)
	case errors.Is(err, vault.ErrInvalid):
		return invalid(err)
	}
	return err
}
