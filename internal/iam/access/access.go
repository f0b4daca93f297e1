// Package access keeps roles, bindings and group mappings as documents and answers from memory who may
// do what (package rbac decides). A change counts everywhere within two seconds.
package access

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/rbac"
)

// Kinds of documents.
const (
	KindRole    = "role"
	KindBinding = "binding"
)

// Role is a custom role of a tenant.
type Role struct {
	ID          string            `json:"id"`
	Tenant      string            `json:"tenant"`
	Name        string            `json:"name"`
	Permissions []rbac.Permission `json:"permissions,omitempty"`
	Own         []rbac.Permission `json:"own,omitempty"` // only for what belongs to the subject itself
	Created     time.Time         `json:"created"`
}

// Head implements document.Entity.
func (r Role) Head() document.Head {
	return document.Head{Kind: KindRole, ID: r.ID, Tenant: r.Tenant, Keys: []string{directory.NameKey(r.Tenant, r.Name)}}
}

// RBAC is the role as package rbac takes it.
func (r Role) RBAC() rbac.Role {
	return rbac.Role{Name: r.Name, Tenant: r.Tenant, Permissions: r.Permissions, Own: r.Own}
}

// Binding gives a role to a person, group or service of a tenant, or takes its permissions away.
type Binding struct {
	ID         string    `json:"id"`
	Tenant     string    `json:"tenant"`
	Kind       rbac.Kind `json:"subject_kind"` // user, group, service (an agent too)
	Subject    string    `json:"subject"`
	Role       string    `json:"role"`
	Team       string    `json:"team,omitempty"` // empty: the whole tenant
	Deny       bool      `json:"deny,omitzero"`
	AllTenants bool      `json:"all_tenants,omitzero"` // of the system tenant only
	// Source names the identity provider whose groups gave it (a Mapping); empty: somebody made it.
	// Only a sign-in there and a change of the mappings change it.
	Source  string    `json:"source,omitempty"`
	Created time.Time `json:"created"`
}

// Head implements document.Entity. The same binding is not made twice.
func (b Binding) Head() document.Head {
	parts := []string{b.Tenant, string(b.Kind), b.Subject, b.Role, b.Team, fmt.Sprint(b.Deny, b.AllTenants)}
	if b.Source != "" {
		parts = append(parts, b.Source)
	}
	return document.Head{Kind: KindBinding, ID: b.ID, Tenant: b.Tenant, Keys: []string{document.Key("binding", parts...)}}
}

// RBAC is the binding as package rbac takes it.
func (b Binding) RBAC() rbac.Binding {
	e := rbac.Allow
	if b.Deny {
		e = rbac.Deny
	}
	return rbac.Binding{
		ID: b.ID, Subject: rbac.Subject{Tenant: b.Tenant, Kind: b.Kind, ID: b.Subject}, Role: b.Role,
		Tenant: b.Tenant, Team: b.Team, Effect: e, AllTenants: b.AllTenants,
	}
}

// Access answers from memory. It is safe for concurrent use.
type Access struct {
	m        *mirror.Mirror
	roles    *mirror.View[Role]
	bindings *mirror.View[Binding]
	set      atomic.Pointer[rbac.Set]
	index    atomic.Pointer[map[owner][]string] // names of roles that are given
	marks    atomic.Pointer[marks]
}

// New adds roles and bindings to a mirror, which its owner keeps fresh.
func New(m *mirror.Mirror) *Access {
	a := &Access{m: m, roles: mirror.Add[Role](m), bindings: mirror.Add[Binding](m)}
	a.index.Store(&map[owner][]string{})
	a.marks.Store(&marks{})
	m.After(a.rebuild, KindRole, KindBinding)
	return a
}

func (a *Access) rebuild() error {
	var roles []rbac.Role
	for _, r := range a.roles.All() {
		roles = append(roles, r.RBAC())
	}
	var bindings []rbac.Binding
	index := map[owner][]string{}
	for _, b := range a.bindings.All() {
		bindings = append(bindings, b.RBAC())
		if o := (owner{b.Tenant, b.Subject}); !b.Deny {
			index[o] = append(index[o], b.Role)
		}
	}
	s, err := rbac.NewSet(roles, bindings)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	a.set.Store(s)
	a.index.Store(&index)
	known := newMarks(roles, bindings)
	a.marks.Store(&known)
	return nil
}

// Can is rbac.Set.Can on what is known. The error is a gate.Fault when that is too old to decide by.
func (a *Access) Can(who []rbac.Subject, p rbac.Permission, on rbac.Resource, now time.Time) (rbac.Decision, error) {
	if err := a.m.Check(now); err != nil {
		return rbac.Decision{}, err
	}
	return a.set.Load().Can(who, p, on), nil
}

// Roles are the names of the roles that are given to a person or program, by themselves or by a group,
// anywhere in their tenant; denials are not counted against them.
func (a *Access) Roles(tenant, id string, groups []string) []string {
	by := a.index.Load()
	var out []string
	for _, who := range append([]string{id}, groups...) {
		for _, r := range (*by)[owner{tenant, who}] {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

// owner names a subject of a tenant.
type owner struct{ tenant, id string }

// Fresh is the set as a transaction sees it, for checks that must hold when it commits, with the
// bindings it is made of.
func Fresh(ctx context.Context, r document.Reader) (*rbac.Set, []rbac.Binding, error) {
	roles, err := document.List[Role](ctx, r, nil)
	if err != nil {
		return nil, nil, err
	}
	bindings, err := document.List[Binding](ctx, r, nil)
	if err != nil {
		return nil, nil, err
	}
	var rs []rbac.Role
	for _, x := range roles {
		rs = append(rs, x.RBAC())
	}
	var bs []rbac.Binding
	for _, x := range bindings {
		bs = append(bs, x.RBAC())
	}
	s, err := rbac.NewSet(rs, bs)
	return s, bs, err
}
