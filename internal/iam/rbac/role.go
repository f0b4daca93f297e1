package rbac

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// Names of the built-in roles.
const (
	Owner        = "owner"
	Admin        = "admin"
	PolicyEditor = "policy-editor"
	Operator     = "operator"
	Auditor      = "auditor"
	Developer    = "developer"
	Service      = "service"
)

// Role is a named set of permissions. The built-in ones have no tenant; a custom one is known in its
// tenant only and cannot have a built-in name.
type Role struct {
	Name        string
	Tenant      string
	Permissions []Permission
	// Own holds only for what belongs to the subject itself: its keys, its sessions.
	Own []Permission
}

var builtin = func() map[string]Role {
	pick := func(keep func(Permission) bool) []Permission {
		var out []Permission
		for _, i := range list {
			if keep(i.Permission) {
				out = append(out, i.Permission)
			}
		}
		return out
	}
	all := pick(func(Permission) bool { return true })
	read := pick(func(p Permission) bool { return p.Verb() == "read" })
	// An admin runs a tenant but cannot end it, cannot see a provider's credential or the words of
	// calls, and cannot change the key that seals everything, nor who vouches for people: whoever does
	// that can be anybody.
	admin := pick(func(p Permission) bool {
		return p.Verb() != "reveal" && p != "delete:tenant" && p != "export:content" && p != "export:backup" && p != "rotate:kek" &&
			p != "write:identity_provider" && p != "delete:identity_provider"
	})
	with := func(ps []Permission, more ...Permission) []Permission { return append(slices.Clone(ps), more...) }
	m := map[string]Role{}
	for _, r := range []Role{
		{Name: Owner, Permissions: all},
		{Name: Admin, Permissions: admin},
		{Name: PolicyEditor, Permissions: []Permission{"read:team", "read:role", "read:group", "read:key", "read:provider", "read:policy", "write:policy", "delete:policy",
			"read:limit", "write:limit", "delete:limit", "read:pack", "read:allow", "write:allow", "delete:allow", "read:inspect_mode", "read:audit", "read:change"}},
		{Name: Operator, Permissions: []Permission{"read:tenant", "read:team", "read:user", "read:service", "read:key", "rotate:key", "delete:key", "read:provider", "rotate:provider",
			"read:policy", "read:limit", "write:limit", "read:session", "delete:session", "read:audit", "read:pack", "write:pack", "read:allow", "read:config", "read:inspect_mode",
			"read:backup", "write:backup", "read:change", "read:kek"}},
		{Name: Auditor, Permissions: with(read, "export:audit")},
		{Name: Developer, Permissions: []Permission{"read:team", "read:policy", "read:limit"},
			Own: []Permission{"read:key", "write:key", "rotate:key", "delete:key", "read:session", "delete:session"}},
		{Name: Service, Permissions: []Permission{"read:limit"}, Own: []Permission{"read:key", "rotate:key"}},
	} {
		m[r.Name] = r
	}
	return m
}()

// Builtin lists the built-in roles by name.
func Builtin() []Role {
	var out []Role
	for _, n := range []string{Owner, Admin, PolicyEditor, Operator, Auditor, Developer, Service} {
		out = append(out, builtin[n])
	}
	return out
}

var rolePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// ErrEscalation refuses to give away more than one holds.
var ErrEscalation = errors.New("rbac: this would give more than its author holds")

// CheckRole says whether a custom role may be made or changed: by somebody who holds, in the whole
// tenant and without restriction to what is their own, every permission in it.
func (s *Set) CheckRole(author []Subject, r Role) error {
	if _, ok := builtin[r.Name]; ok || !rolePattern.MatchString(r.Name) {
		return fmt.Errorf("rbac: a custom role's name is up to 63 of a-z, 0-9 and -, and no built-in role's")
	}
	if r.Tenant == "" {
		return errors.New("rbac: a custom role needs a tenant")
	}
	if len(r.Permissions)+len(r.Own) == 0 {
		return errors.New("rbac: a role needs a permission")
	}
	return s.holds(author, r, Resource{Tenant: r.Tenant})
}

// holds says whether the author holds every permission of a role where it would be given.
func (s *Set) holds(author []Subject, r Role, where Resource) error {
	for _, p := range append(slices.Clone(r.Permissions), r.Own...) {
		if _, ok := Lookup(p); !ok {
			return fmt.Errorf("rbac: there is no permission %q", p)
		}
		if !s.Can(author, p, where).Allow || where.Team == "" && s.deniedSomewhere(author, p, where.Tenant) {
			return fmt.Errorf("%w: %s", ErrEscalation, p)
		}
	}
	return nil
}

// deniedSomewhere says whether a permission is denied in any part of a tenant.
func (s *Set) deniedSomewhere(who []Subject, p Permission, tenant string) bool {
	for _, w := range who {
		for i := range s.bindings[w] {
			b := &s.bindings[w][i]
			if b.Effect == Deny && (b.Tenant == tenant || b.AllTenants) && (!b.known || b.all[p] || b.own[p]) {
				return true
			}
		}
	}
	return false
}
