package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
)

// NewTenant is what makes a tenant.
type NewTenant struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// TenantChange changes one.
type TenantChange struct {
	Name     string `json:"name"`
	Disabled bool   `json:"disabled"`
}

// tenants are of the installation: a tenant is not deleted, since its record stays; it is disabled.
func (d *Deps) tenants() []api.Route {
	return []api.Route{
		api.Do(api.Route{Method: "GET", Pattern: "/tenants", Operation: "tenants.list", Summary: "List tenants", Permission: "read:tenant"},
			func(ctx context.Context, _ *api.Call, _ api.None) (p Page[directory.Tenant], err error) {
				p.Items, err = document.List[directory.Tenant](ctx, d.Docs, nil)
				return p, err
			}),
		api.Do(api.Route{Method: "POST", Pattern: "/tenants", Operation: "tenants.create", Summary: "Make a tenant", Permission: "write:tenant", Status: http.StatusCreated},
			func(ctx context.Context, c *api.Call, in NewTenant) (directory.Tenant, error) {
				t := directory.Tenant{ID: in.ID, Name: in.Name, Created: d.stamp()}
				if err := t.Check(); err != nil {
					return t, invalid(err)
				}
				_, err := document.Insert(ctx, d.Docs, t)
				if err == nil {
					c.Changed(t.ID, nil, t)
				}
				return t, err
			}),
		api.Do(api.Route{Method: "GET", Pattern: "/tenants/{tenant}", Operation: "tenants.get", Summary: "Read a tenant", Permission: "read:tenant"},
			func(ctx context.Context, c *api.Call, _ api.None) (directory.Tenant, error) {
				t, rev, err := document.Get[directory.Tenant](ctx, d.Docs, c.Tenant)
				if err == nil {
					c.Header("ETag", api.Tag(rev))
				}
				return t, err
			}),
		api.Do(api.Route{Method: "PUT", Pattern: "/tenants/{tenant}", Operation: "tenants.update", Summary: "Rename or disable a tenant", Permission: "write:tenant"},
			func(ctx context.Context, c *api.Call, in TenantChange) (directory.Tenant, error) {
				want, err := c.IfMatch()
				if err != nil {
					return directory.Tenant{}, err
				}
				before, after, rev, err := document.Update(ctx, d.Docs, c.Tenant, want, func(t *directory.Tenant) error {
					if in.Disabled && c.Actor.Tenant == t.ID && c.Actor.Kind != "local" {
						return api.Refuse(http.StatusConflict, "own_tenant", "You would lock yourself out; somebody of another tenant has to do this.")
					}
					t.Name, t.Disabled = in.Name, in.Disabled
					return invalid(t.Check())
				})
				if err == nil {
					c.Changed(after.ID, before, after)
					c.Header("ETag", api.Tag(rev))
				}
				return after, err
			}),
	}
}

// TeamSpec makes or changes a team.
type TeamSpec struct {
	Name    string   `json:"name"`
	Members []string `json:"members,omitempty"` // ids of people, services and agents of the tenant
}

func (d *Deps) teams() resource[directory.Team, TeamSpec] {
	fill := func(ctx context.Context, c *api.Call, tx document.Tx, t *directory.Team, in TeamSpec) error {
		t.Name, t.Members = in.Name, in.Members
		if err := t.Check(); err != nil {
			return invalid(err)
		}
		return belong(ctx, tx, c.Tenant, in.Members, directory.KindUser, directory.KindService, directory.KindAgent)
	}
	return resource[directory.Team, TeamSpec]{
		name: "team", plural: "teams", doc: "a team",
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in TeamSpec) (directory.Team, error) {
			t := directory.Team{ID: directory.NewID("team"), Tenant: c.Tenant, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return t, err
			}
			return t, fill(ctx, c, tx, &t, in)
		},
		edit: fill,
	}
}

// UserSpec makes or changes a person.
type UserSpec struct {
	UserName   string `json:"user_name"`
	Name       string `json:"name"`
	Email      string `json:"email,omitempty"`
	Active     bool   `json:"active"`
	BreakGlass bool   `json:"break_glass,omitzero"`
	// Links are the accounts at identity providers that sign in as this person.
	Links []directory.Link `json:"links,omitempty"`
}

func (d *Deps) users() resource[directory.User, UserSpec] {
	fill := func(ctx context.Context, c *api.Call, tx document.Tx, u *directory.User, in UserSpec) error {
		if u.Origin == directory.OriginSCIM && (u.UserName != in.UserName || u.Name != in.Name || u.Email != in.Email || u.Active != in.Active) {
			return api.Refuse(http.StatusConflict, "provisioned", "This person is kept by your identity provider (SCIM); change them there.")
		}
		if u.ID == c.Actor.ID && !in.Active {
			return api.Refuse(http.StatusConflict, "own_account", "You cannot deactivate yourself.")
		}
		if !slices.Equal(u.Links, in.Links) {
			// Whoever adds an account to a person can sign in as them.
			if err := d.holdsAll(ctx, c, tx, u.ID); err != nil {
				return err
			}
			if err := d.unlink(ctx, tx, u, in.Links); err != nil {
				return err
			}
		}
		if u.Active && !in.Active {
			if err := d.leaves(ctx, tx, u.Tenant, u.ID); err != nil {
				return err
			}
			if err := d.endSessions(ctx, c, tx, u.ID); err != nil {
				return err
			}
		}
		u.UserName, u.Name, u.Email, u.Active, u.BreakGlass, u.Links = in.UserName, in.Name, in.Email, in.Active, in.BreakGlass, in.Links
		u.Updated = d.stamp()
		return invalid(u.Check())
	}
	return resource[directory.User, UserSpec]{
		name: "user", plural: "users", doc: "a person",
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in UserSpec) (directory.User, error) {
			u := directory.User{ID: directory.NewID("user"), Tenant: c.Tenant, Origin: directory.OriginLocal, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return u, err
			}
			return u, fill(ctx, c, tx, &u, in)
		},
		edit: fill,
		gone: func(ctx context.Context, c *api.Call, tx document.Tx, u directory.User) error {
			switch {
			case u.Origin == directory.OriginSCIM:
				return api.Refuse(http.StatusConflict, "provisioned", "This person is kept by your identity provider (SCIM); delete them there.")
			case u.ID == c.Actor.ID:
				return api.Refuse(http.StatusConflict, "own_account", "You cannot delete yourself.")
			}
			if err := d.endSessions(ctx, c, tx, u.ID); err != nil {
				return err
			}
			if err := tx.Delete(ctx, account.KindLogin, u.ID); err != nil && !errors.Is(err, document.ErrNotFound) {
				return err
			}
			if err := d.leaves(ctx, tx, u.Tenant, u.ID); err != nil {
				return err
			}
			return d.unlink(ctx, tx, &u, nil)
		},
	}
}

// GroupSpec makes or changes a group.
type GroupSpec struct {
	Name    string   `json:"name"`
	Members []string `json:"members,omitempty"` // ids of people
}

func (d *Deps) groups() resource[directory.Group, GroupSpec] {
	fill := func(ctx context.Context, c *api.Call, tx document.Tx, g *directory.Group, in GroupSpec) error {
		if g.Origin == directory.OriginSCIM {
			return api.Refuse(http.StatusConflict, "provisioned", "This group is kept by your identity provider (SCIM); change it there.")
		}
		if !sameMembers(g.Members, in.Members) {
			if err := d.holdsAll(ctx, c, tx, g.ID); err != nil { // who is in a group has its roles
				return err
			}
			if err := d.endSessions(ctx, c, tx, differ(g.Members, in.Members)...); err != nil {
				return err
			}
		}
		g.Name, g.Members, g.Updated = in.Name, in.Members, d.stamp()
		if err := g.Check(); err != nil {
			return invalid(err)
		}
		return belong(ctx, tx, c.Tenant, in.Members, directory.KindUser)
	}
	return resource[directory.Group, GroupSpec]{
		name: "group", plural: "groups", doc: "a group",
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in GroupSpec) (directory.Group, error) {
			g := directory.Group{ID: directory.NewID("group"), Tenant: c.Tenant, Origin: directory.OriginLocal, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return g, err
			}
			return g, fill(ctx, c, tx, &g, in)
		},
		edit: fill,
		gone: func(ctx context.Context, c *api.Call, tx document.Tx, g directory.Group) error {
			if g.Origin == directory.OriginSCIM {
				return api.Refuse(http.StatusConflict, "provisioned", "This group is kept by your identity provider (SCIM); delete it there.")
			}
			if len(g.Members) > 0 { // they leave it, and what it gave or denied them
				if err := d.holdsAll(ctx, c, tx, g.ID); err != nil {
					return err
				}
			}
			return d.endSessions(ctx, c, tx, g.Members...)
		},
	}
}

// differ are those who are in one of two lists only.
func differ(a, b []string) (out []string) {
	in := map[string]int{}
	for _, x := range a {
		in[x] |= 1
	}
	for _, x := range b {
		in[x] |= 2
	}
	for x, lists := range in {
		if lists != 3 {
			out = append(out, x)
		}
	}
	return out
}

// ProgramSpec makes or changes a service or an agent.
type ProgramSpec struct {
	Name     string              `json:"name"`
	Team     string              `json:"team,omitempty"`
	Owner    string              `json:"owner,omitempty"`
	Subjects []directory.Subject `json:"subjects,omitempty"`
	// Scopes is what it may reach with a certificate alone; left out: nothing.
	Scopes   directory.Scopes `json:"scopes,omitzero"`
	Disabled bool             `json:"disabled,omitzero"`
	For      []string         `json:"for,omitempty"` // of an agent: ids of people, or "*"
}

func (d *Deps) services() resource[directory.Service, ProgramSpec] {
	fill := func(ctx context.Context, c *api.Call, tx document.Tx, s *directory.Service, in ProgramSpec) error {
		if len(in.For) > 0 {
			return api.Refuse(http.StatusUnprocessableEntity, "invalid", "A service acts for itself; an agent acts for others.")
		}
		if !slices.Equal(s.Subjects, in.Subjects) {
			if err := d.holdsAll(ctx, c, tx, s.ID); err != nil { // whoever has the subject's token is the service
				return err
			}
		}
		if err := mayCall(c, s.Scopes, s.Subjects, in); err != nil {
			return err
		}
		s.Name, s.Team, s.Owner, s.Subjects, s.Scopes, s.Disabled = in.Name, in.Team, in.Owner, in.Subjects, in.Scopes, in.Disabled
		if err := s.Check(); err != nil {
			return invalid(err)
		}
		return program(ctx, tx, c.Tenant, directory.KindAgent, in)
	}
	return resource[directory.Service, ProgramSpec]{
		name: "service", plural: "services", doc: "a service",
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in ProgramSpec) (directory.Service, error) {
			s := directory.Service{ID: directory.NewID("service"), Tenant: c.Tenant, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return s, err
			}
			return s, fill(ctx, c, tx, &s, in)
		},
		edit: fill,
	}
}

func (d *Deps) agents() resource[directory.Agent, ProgramSpec] {
	fill := func(ctx context.Context, c *api.Call, tx document.Tx, a *directory.Agent, in ProgramSpec) error {
		if !slices.Equal(a.Subjects, in.Subjects) {
			if err := d.holdsAll(ctx, c, tx, a.ID); err != nil {
				return err
			}
		}
		if err := mayCall(c, a.Scopes, a.Subjects, in); err != nil {
			return err
		}
		a.Name, a.Team, a.Owner, a.Subjects, a.Scopes, a.Disabled, a.For = in.Name, in.Team, in.Owner, in.Subjects, in.Scopes, in.Disabled, in.For
		if err := a.Check(); err != nil {
			return invalid(err)
		}
		if !slices.Equal(in.For, []string{"*"}) {
			if err := belong(ctx, tx, c.Tenant, in.For, directory.KindUser); err != nil {
				return err
			}
		}
		return program(ctx, tx, c.Tenant, directory.KindService, in)
	}
	return resource[directory.Agent, ProgramSpec]{
		name: "service", plural: "agents", doc: "an agent", // the same permissions: both are programs
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in ProgramSpec) (directory.Agent, error) {
			a := directory.Agent{ID: directory.NewID("agent"), Tenant: c.Tenant, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return a, err
			}
			return a, fill(ctx, c, tx, &a, in)
		},
		edit: fill,
	}
}

// mayCall says whether the actor may have a program's certificate open the data plane, where that changes: it
// is as good as giving it a key.
func mayCall(c *api.Call, scopes directory.Scopes, subjects []directory.Subject, in ProgramSpec) error {
	before, after := iam.Scopes(scopes), iam.Scopes(in.Scopes)
	if len(after.Upstreams) == 0 || before.Text() == after.Text() && slices.Equal(subjects, in.Subjects) {
		return nil
	}
	return c.Can("write:key", api.Resource{Tenant: c.Tenant, Team: in.Team})
}

// program checks what a service or agent refers to. A subject speaks for one of them only, so none may
// be known to the other kind.
func program(ctx context.Context, tx document.Tx, tenant, other string, in ProgramSpec) error {
	for _, s := range in.Subjects {
		_, err := tx.Find(ctx, other, directory.SubjectKey(s))
		if err == nil {
			return document.ErrExists
		}
		if !errors.Is(err, document.ErrNotFound) {
			return err
		}
	}
	if in.Team == "" {
		return nil
	}
	return belong(ctx, tx, tenant, []string{in.Team}, directory.KindTeam)
}

// belong refuses ids that are nothing of these kinds in the tenant.
func belong(ctx context.Context, tx document.Tx, tenant string, ids []string, kinds ...string) error {
next:
	for _, id := range ids {
		for _, k := range kinds {
			doc, err := tx.Get(ctx, k, id)
			if err == nil && doc.Tenant == tenant {
				continue next
			}
			if err != nil && !errors.Is(err, document.ErrNotFound) {
				return err
			}
		}
		return api.Refuse(http.StatusUnprocessableEntity, "unknown_reference", "Something that is referred to does not exist in this tenant.")
	}
	return nil
}

func tenantExists(ctx context.Context, tx document.Tx, tenant string) error {
	_, err := tx.Get(ctx, directory.KindTenant, tenant)
	return err
}
