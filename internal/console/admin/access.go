package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/approval"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/rbac"
)

// Access answers the interface's questions from the roles and bindings in memory.
type Access struct {
	*access.Access
	Deps *Deps
	// FourEyes are the permissions that wait for a second person. Whoever runs the gateway's own
	// machine does not wait, since these rules are theirs to change, and approves nothing.
	FourEyes approval.Rules
}

// Can implements api.Access. Whoever runs the gateway's own machine may do everything: they hold its
// keys anyway.
func (a *Access) Can(actor *api.Actor, permission string, r api.Resource) (api.Verdict, error) {
	if actor.Kind == KindLocal {
		return api.Verdict{Allowed: true, Reason: "local administrator"}, nil
	}
	d, err := a.Access.Can(Subjects(actor), rbac.Permission(permission), onWhat(actor, r), a.Deps.Now())
	if err != nil {
		return api.Verdict{}, err
	}
	return api.Verdict{Allowed: d.Allow, StepUp: d.StepUp, Approve: a.waits(permission), Reason: d.Reason}, nil
}

func (a *Access) waits(permission string) bool {
	i, ok := rbac.Lookup(rbac.Permission(permission))
	return ok && a.FourEyes.Hold(i)
}

// KindLocal is the actor that came over the socket of the data directory.
const KindLocal = "local"

// Subjects are the actor and the groups they are in.
func Subjects(a *api.Actor) []rbac.Subject {
	kind := rbac.User
	if a.Kind != "user" {
		kind = rbac.Machine
	}
	who := []rbac.Subject{{Tenant: a.Tenant, Kind: kind, ID: a.ID}}
	for _, g := range a.Groups {
		who = append(who, rbac.Subject{Tenant: a.Tenant, Kind: rbac.Group, ID: g})
	}
	return who
}

func onWhat(a *api.Actor, r api.Resource) rbac.Resource {
	on := rbac.Resource{Tenant: r.Tenant, Team: r.Team}
	if on.Tenant == "" {
		on.Tenant = rbac.System // what belongs to the installation
	}
	if r.Owner != "" && r.Owner == a.ID {
		on.Owner = Subjects(a)[0]
	}
	return on
}

// RoleSpec makes or changes a custom role.
type RoleSpec struct {
	Name        string            `json:"name"`
	Permissions []rbac.Permission `json:"permissions,omitempty"`
	Own         []rbac.Permission `json:"own,omitempty"`
}

// RoleInfo is a built-in role.
type RoleInfo struct {
	Name        string            `json:"name"`
	Permissions []rbac.Permission `json:"permissions"`
	Own         []rbac.Permission `json:"own,omitempty"`
}

// PermissionInfo is one permission.
type PermissionInfo struct {
	Permission rbac.Permission `json:"permission"`
	StepUp     bool            `json:"step_up"`
	FourEyes   bool            `json:"four_eyes"`
}

func (d *Deps) builtinRoles() []api.Route {
	return []api.Route{
		api.Do(api.Route{Method: "GET", Pattern: "/roles", Operation: "roles.builtin", Summary: "List the built-in roles", Permission: api.Self},
			func(context.Context, *api.Call, api.None) (p Page[RoleInfo], _ error) {
				for _, r := range rbac.Builtin() {
					p.Items = append(p.Items, RoleInfo{r.Name, r.Permissions, r.Own})
				}
				return p, nil
			}),
		api.Do(api.Route{Method: "GET", Pattern: "/permissions", Operation: "roles.permissions", Summary: "List the permissions that there are", Permission: api.Self},
			func(context.Context, *api.Call, api.None) (p Page[PermissionInfo], _ error) {
				for _, i := range rbac.Permissions() {
					p.Items = append(p.Items, PermissionInfo{i.Permission, i.StepUp, i.FourEyes})
				}
				return p, nil
			}),
	}
}

func (d *Deps) roles() resource[access.Role, RoleSpec] {
	fill := func(ctx context.Context, c *api.Call, tx document.Tx, r *access.Role, in RoleSpec) error {
		before := *r
		r.Name, r.Permissions, r.Own = in.Name, in.Permissions, in.Own
		if before.Name != "" && before.Name != in.Name {
			return api.Refuse(http.StatusUnprocessableEntity, "invalid", "A role keeps its name: bindings refer to it.")
		}
		set, all, err := access.Fresh(ctx, tx)
		if err != nil {
			return err
		}
		if c.Actor.Kind == KindLocal {
			return invalidRBAC(localRole(*r))
		}
		// Where the role is denied, to take a permission out of it is to take a denial of that away.
		if before.Name != "" && less(before, *r) {
			for _, b := range all {
				if b.Effect != rbac.Deny || b.Tenant != r.Tenant || b.Role != r.Name {
					continue
				}
				if err := set.CheckRemoval(Subjects(c.Actor), b); err != nil {
					return invalidRBAC(err)
				}
			}
		}
		return invalidRBAC(set.CheckRole(Subjects(c.Actor), r.RBAC()))
	}
	return resource[access.Role, RoleSpec]{
		name: "role", plural: "roles", doc: "a custom role",
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in RoleSpec) (access.Role, error) {
			r := access.Role{ID: directory.NewID("role"), Tenant: c.Tenant, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return r, err
			}
			return r, fill(ctx, c, tx, &r, in)
		},
		edit: fill,
		gone: func(ctx context.Context, c *api.Call, tx document.Tx, r access.Role) error {
			bs, err := document.List[access.Binding](ctx, tx, &c.Tenant)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(bs, func(b access.Binding) bool { return b.Role == r.Name }) {
				return api.Refuse(http.StatusConflict, "in_use", "There are bindings of this role; delete them first.")
			}
			return nil
		},
	}
}

// less says whether a role lost a permission.
func less(before, after access.Role) bool {
	gone := func(a, b []rbac.Permission) bool {
		return slices.ContainsFunc(a, func(p rbac.Permission) bool { return !slices.Contains(b, p) })
	}
	return gone(before.Permissions, after.Permissions) || gone(before.Own, after.Own)
}

// localRole checks the form of a role that its author needs no permission for: it is tried on somebody
// who holds everything.
func localRole(r access.Role) error {
	root := rbac.Subject{Tenant: r.Tenant, Kind: rbac.User, ID: "local"}
	s, err := rbac.NewSet(nil, []rbac.Binding{{ID: "local", Subject: root, Role: rbac.Owner, Tenant: r.Tenant, Effect: rbac.Allow}})
	if err != nil {
		return err
	}
	return s.CheckRole([]rbac.Subject{root}, r.RBAC())
}

// BindingSpec makes a binding. It is not changed: it is deleted and made anew.
type BindingSpec struct {
	Kind       rbac.Kind `json:"subject_kind"`
	Subject    string    `json:"subject"`
	Role       string    `json:"role"`
	Team       string    `json:"team,omitempty"`
	Deny       bool      `json:"deny,omitzero"`
	AllTenants bool      `json:"all_tenants,omitzero"`
}

var subjectKinds = map[rbac.Kind][]string{
	rbac.User: {directory.KindUser}, rbac.Group: {directory.KindGroup}, rbac.Machine: {directory.KindService, directory.KindAgent},
}

func (d *Deps) bindings() resource[access.Binding, BindingSpec] {
	return resource[access.Binding, BindingSpec]{
		name: "binding", plural: "bindings", doc: "a binding",
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in BindingSpec) (access.Binding, error) {
			b := access.Binding{
				ID: directory.NewID("binding"), Tenant: c.Tenant, Kind: in.Kind, Subject: in.Subject, Role: in.Role, Team: in.Team,
				Deny: in.Deny, AllTenants: in.AllTenants, Created: d.stamp(),
			}
			kinds, ok := subjectKinds[in.Kind]
			if !ok {
				return b, api.Refuse(http.StatusUnprocessableEntity, "invalid", "subject_kind is user, group or service.")
			}
			if err := belong(ctx, tx, c.Tenant, []string{in.Subject}, kinds...); err != nil {
				return b, err
			}
			if in.Team != "" {
				if err := belong(ctx, tx, c.Tenant, []string{in.Team}, directory.KindTeam); err != nil {
					return b, err
				}
			}
			set, all, err := access.Fresh(ctx, tx)
			if err != nil {
				return b, err
			}
			if c.Actor.Kind == KindLocal {
				if _, ok := set.Role(b.Tenant, b.Role); !ok {
					return b, api.Refuse(http.StatusUnprocessableEntity, "invalid", "There is no such role in this tenant.")
				}
				if _, err := rbac.NewSet(nil, []rbac.Binding{b.RBAC()}); err != nil {
					return b, invalid(err)
				}
			} else if err := set.CheckBinding(Subjects(c.Actor), b.RBAC()); err != nil {
				return b, invalidRBAC(err)
			}
			if err := d.privileges(ctx, c, tx, b.Kind, b.Subject); err != nil {
				return b, err
			}
			return b, d.keepsOwner(ctx, tx, b.Tenant, all, append(slices.Clone(all), b.RBAC()))
		},
		edit: func(context.Context, *api.Call, document.Tx, *access.Binding, BindingSpec) error {
			return api.Refuse(http.StatusMethodNotAllowed, "method_not_allowed", "A binding is not changed: delete it and make another.")
		},
		gone: func(ctx context.Context, c *api.Call, tx document.Tx, b access.Binding) error {
			if b.Source != "" {
				return api.Refuse(http.StatusConflict, "mapped", "A mapping gives this binding; change the mapping, or the groups at the identity provider.")
			}
			if err := d.privileges(ctx, c, tx, b.Kind, b.Subject); err != nil {
				return err
			}
			set, all, err := access.Fresh(ctx, tx)
			if err != nil {
				return err
			}
			if c.Actor.Kind != KindLocal {
				if err := set.CheckRemoval(Subjects(c.Actor), b.RBAC()); err != nil {
					return invalidRBAC(err)
				}
			}
			return d.keepsOwner(ctx, tx, b.Tenant, all, slices.DeleteFunc(slices.Clone(all), func(o rbac.Binding) bool { return o.ID == b.ID }))
		},
	}
}

// privileges ends the sessions of those whose roles a change of a binding concerns.
func (d *Deps) privileges(ctx context.Context, c *api.Call, tx document.Tx, kind rbac.Kind, subject string) error {
	switch kind {
	case rbac.User:
		return d.endSessions(ctx, c, tx, subject)
	case rbac.Group:
		g, _, err := document.Get[directory.Group](ctx, tx, subject)
		if errors.Is(err, document.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return d.endSessions(ctx, c, tx, g.Members...)
	}
	return nil
}

// keepsOwner refuses a change that takes a tenant's last owner away.
func (d *Deps) keepsOwner(ctx context.Context, r document.Reader, tenant string, before, after []rbac.Binding) error {
	active := func(s rbac.Subject) bool {
		u, _, err := document.Get[directory.User](ctx, r, s.ID)
		return err == nil && u.Active && u.Tenant == s.Tenant
	}
	if rbac.CheckOwners(tenant, before, active) != nil {
		return nil // it has none to lose
	}
	if err := rbac.CheckOwners(tenant, after, active); err != nil {
		return api.Refuse(http.StatusConflict, "last_owner", "The tenant would have no owner left; make another one first.")
	}
	return nil
}

// leaves refuses that a person stops to be an owner when nobody else is one.
func (d *Deps) leaves(ctx context.Context, r document.Reader, tenant, user string) error {
	_, all, err := access.Fresh(ctx, r)
	if err != nil {
		return err
	}
	return d.keepsOwner(ctx, r, tenant, all, slices.DeleteFunc(slices.Clone(all), func(b rbac.Binding) bool { return b.Subject.ID == user }))
}

// holdsAll says whether the actor holds everything that is bound to a person, a group, or a program, by
// themselves or by a group they are in: only then may the actor act as them, or have others do so. Where
// anything is bound, it takes a fresh second factor, as giving the roles themselves does.
func (d *Deps) holdsAll(ctx context.Context, c *api.Call, r document.Reader, id string) error {
	if c.Actor.Kind == KindLocal || c.Actor.ID == id {
		return nil
	}
	set, all, err := access.Fresh(ctx, r)
	if err != nil {
		return err
	}
	groups, err := document.List[directory.Group](ctx, r, &c.Tenant)
	if err != nil {
		return err
	}
	theirs := map[string]bool{id: true}
	for _, g := range groups {
		if slices.Contains(g.Members, id) {
			theirs[g.ID] = true
		}
	}
	for _, b := range all {
		if b.Tenant != c.Tenant || !theirs[b.Subject.ID] {
			continue
		}
		if err := c.Fresh("who has roles"); err != nil {
			return err
		}
		// As if the actor made the binding, or, of a denial, took it away.
		err := set.CheckBinding(Subjects(c.Actor), b)
		if b.Effect == rbac.Deny {
			err = set.CheckRemoval(Subjects(c.Actor), b)
		}
		if err != nil {
			return invalidRBAC(err)
		}
	}
	return nil
}

func sameMembers(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// invalidRBAC makes refusals of what package rbac found wrong with a change.
func invalidRBAC(err error) error {
	if errors.Is(err, rbac.ErrEscalation) {
		e := api.Refuse(http.StatusForbidden, "escalation", "You cannot give away what you do not hold.")
		e.Reason = err.Error()
		return e
	}
	return invalid(err)
}
