package admin

import (
	"context"
	"net/http"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/rbac"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/sso"
	"sallyport.dev/sallyport/internal/secret"
)

// IdentityProviderSpec makes or changes an identity provider. The name and the protocol are chosen once.
type IdentityProviderSpec struct {
	Name     string `json:"name"`
	Title    string `json:"title,omitempty"`
	Protocol string `json:"protocol"`
	Disabled bool   `json:"disabled,omitzero"`
	Issuer   string `json:"issuer"`

	ClientID string `json:"client_id,omitempty"`
	// ClientSecret is kept sealed and never shown. Left out, the one that is there stays.
	ClientSecret string   `json:"client_secret,omitempty"`
	Scopes       []string `json:"scopes,omitempty"`
	Algorithms   []string `json:"algorithms,omitempty"`
	UserInfo     bool     `json:"user_info,omitzero"`

	Metadata string `json:"metadata,omitempty"`
	Subject  string `json:"subject,omitempty"`

	Groups          string   `json:"groups,omitempty"`
	Create          bool     `json:"create,omitzero"`
	MatchExternalID bool     `json:"match_external_id,omitzero"`
	StrongAMR       []string `json:"strong_amr,omitempty"`
	StrongACR       []string `json:"strong_acr,omitempty"`
	CA              string   `json:"ca,omitempty"`

	sealed []byte // ClientSecret
}

// SignInWith is a provider on the sign-in page.
type SignInWith struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Start string `json:"start"` // path
}

func (d *Deps) identityProviders() []api.Route {
	if d.SSO == nil {
		return nil
	}
	r := resource[sso.Provider, IdentityProviderSpec]{
		name: "identity_provider", plural: "identity-providers", doc: "an identity provider",
		before: func(ctx context.Context, c *api.Call, in *IdentityProviderSpec) (err error) {
			if in.ClientSecret != "" {
				in.sealed, err = d.SSO.Seal(ctx, c.Tenant, in.Name, secret.New(in.ClientSecret))
			}
			return err
		},
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in IdentityProviderSpec) (sso.Provider, error) {
			p := sso.Provider{ID: directory.NewID("idp"), Tenant: c.Tenant, Name: in.Name, Protocol: in.Protocol, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return p, err
			}
			return p, d.fillProvider(ctx, tx, &p, in)
		},
		edit: func(ctx context.Context, c *api.Call, tx document.Tx, p *sso.Provider, in IdentityProviderSpec) error {
			if in.Name != p.Name || in.Protocol != p.Protocol {
				return api.Refuse(http.StatusUnprocessableEntity, "invalid", "A provider keeps its name and protocol: addresses and mappings refer to them.")
			}
			moved := in.Issuer != p.Issuer
			if err := d.fillProvider(ctx, tx, p, in); err != nil {
				return err
			}
			if !moved && !p.Disabled {
				return nil
			}
			return d.forgetProvider(ctx, tx, p, moved)
		},
		gone: func(ctx context.Context, _ *api.Call, tx document.Tx, p sso.Provider) error {
			if err := d.SSO.SetSecret(ctx, tx, &p, nil); err != nil {
				return err
			}
			return d.forgetProvider(ctx, tx, &p, true)
		},
	}
	// The path of resources is their plural, whose name as an operation has no hyphen.
	rs := r.routes(d)
	for i := range rs {
		rs[i].Operation = "identity_providers" + rs[i].Operation[len("identity-providers"):]
	}
	return append(rs, api.Do(api.Route{Method: "GET", Pattern: "/signin/providers", Operation: "signin.providers", Summary: "List the identity providers that people of a tenant sign in with",
		Permission: api.Public, Query: []api.Param{{Name: "tenant", Doc: "left out: the default one"}}},
		func(ctx context.Context, c *api.Call, _ api.None) (p Page[SignInWith], err error) {
			tenant := c.Query("tenant")
			if tenant == "" {
				tenant = directory.DefaultTenant
			}
			all, err := d.SSO.List(ctx, tenant)
			for _, x := range all {
				p.Items = append(p.Items, SignInWith{x.Name, x.Title, sso.Path + x.Tenant + "/" + x.Name + "/start"})
			}
			return p, err
		}))
}

func (d *Deps) fillProvider(ctx context.Context, tx document.Tx, p *sso.Provider, in IdentityProviderSpec) error {
	p.Title, p.Disabled, p.Issuer, p.ClientID, p.Scopes, p.Algorithms, p.UserInfo = in.Title, in.Disabled, in.Issuer, in.ClientID, in.Scopes, in.Algorithms, in.UserInfo
	p.Metadata, p.Subject, p.Groups, p.Create, p.MatchExternalID = in.Metadata, in.Subject, in.Groups, in.Create, in.MatchExternalID
	p.StrongAMR, p.StrongACR, p.CA = in.StrongAMR, in.StrongACR, in.CA
	if p.Title == "" {
		p.Title = p.Name
	}
	if in.sealed != nil {
		if err := d.SSO.SetSecret(ctx, tx, p, in.sealed); err != nil {
			return err
		}
	}
	if err := p.Check(); err != nil {
		return invalid(err)
	}
	return invalid(d.SSO.Try(*p))
}

// forgetProvider ends what a provider gave: its sessions, and, when it is gone or another, the roles.
func (d *Deps) forgetProvider(ctx context.Context, tx document.Tx, p *sso.Provider, roles bool) error {
	if roles {
		if _, err := access.Forget(ctx, tx, p.Tenant, p.Name, ""); err != nil {
			return err
		}
	}
	_, err := session.End(ctx, tx, p.Tenant, func(s *session.Session) bool { return s.Provider == p.Name })
	return err
}

// MappingSpec makes or changes a mapping of a provider's group to a role.
type MappingSpec struct {
	Provider string `json:"provider"`
	Group    string `json:"group"`
	Role     string `json:"role"`
	Team     string `json:"team,omitempty"`
	Deny     bool   `json:"deny,omitzero"`
}

func (d *Deps) mappings() []api.Route {
	check := func(ctx context.Context, c *api.Call, tx document.Tx, m *access.Mapping) error {
		if m.Team != "" {
			if err := belong(ctx, tx, c.Tenant, []string{m.Team}, directory.KindTeam); err != nil {
				return err
			}
		}
		set, _, err := access.Fresh(ctx, tx)
		if err != nil {
			return err
		}
		if c.Actor.Kind != KindLocal {
			return invalidRBAC(set.CheckRule(Subjects(c.Actor), m.RBAC()))
		}
		if _, err := rbac.NewMapping(c.Tenant, []rbac.Rule{m.RBAC()}); err != nil {
			return invalid(err)
		}
		if _, ok := set.Role(c.Tenant, m.Role); !ok && !m.Deny {
			return api.Refuse(http.StatusUnprocessableEntity, "invalid", "There is no such role in this tenant.")
		}
		return nil
	}
	fill := func(ctx context.Context, c *api.Call, tx document.Tx, m *access.Mapping, in MappingSpec) error {
		if m.Provider != "" { // what it gave or took before, whoever changes it could take or give
			if err := check(ctx, c, tx, m); err != nil {
				return err
			}
		}
		m.Provider, m.Group, m.Role, m.Team, m.Deny = in.Provider, in.Group, in.Role, in.Team, in.Deny
		return check(ctx, c, tx, m)
	}
	r := resource[access.Mapping, MappingSpec]{
		name: "mapping", plural: "mappings", doc: "a mapping of a group to a role",
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in MappingSpec) (access.Mapping, error) {
			m := access.Mapping{ID: directory.NewID("mapping"), Tenant: c.Tenant, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return m, err
			}
			return m, fill(ctx, c, tx, &m, in)
		},
		edit: fill,
		gone: func(ctx context.Context, c *api.Call, tx document.Tx, m access.Mapping) error {
			// To take a denial away is to give what it denied.
			return check(ctx, c, tx, &m)
		},
		after: func(ctx context.Context, c *api.Call, tx document.Tx) error {
			users, err := access.Remap(ctx, tx, c.Tenant, d.stamp())
			if err != nil {
				return err
			}
			return d.endSessions(ctx, c, tx, users...)
		},
	}
	return r.routes(d)
}

// endSessions ends the sessions of people whose privileges have just changed: a token from before must
// not carry what they hold now (ASVS 5.0 7.2.4). The session that makes the change goes on.
func (d *Deps) endSessions(ctx context.Context, c *api.Call, tx document.Tx, users ...string) error {
	if len(users) == 0 {
		return nil
	}
	theirs := make(map[string]bool, len(users))
	for _, u := range users {
		theirs[u] = true
	}
	_, err := session.End(ctx, tx, c.Tenant, func(s *session.Session) bool { return theirs[s.User] && s.ID != c.Actor.Session })
	return err
}
