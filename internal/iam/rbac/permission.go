// Package rbac says who may do what in the administration of Sallyport: permissions from one closed
// list, roles made of them, bindings of roles to subjects within a tenant, and one question, Can.
//
// What it promises: nothing is allowed unless a binding allows it; a deny wins over every allow,
// whatever the order; a subject, a binding and a resource meet only within one tenant, except that a
// binding of the platform's tenant that says so spans all; nobody can give away more than they hold.
package rbac

import (
	"slices"
	"strings"
)

// Permission is a verb and a resource: "rotate:key".
type Permission string

// Info is a permission and what it asks for beyond being held.
type Info struct {
	Permission Permission
	// StepUp: the session must show a second factor given a moment ago.
	StepUp bool
	// FourEyes: a second person must approve, where the configuration asks for it.
	FourEyes bool
}

// Verb and Resource are its parts.
func (p Permission) Verb() string     { v, _, _ := strings.Cut(string(p), ":"); return v }
func (p Permission) Resource() string { _, r, _ := strings.Cut(string(p), ":"); return r }

// list is every permission there is. What it marks as dangerous: to turn a protection off, to take
// data out, to see a secret, to change who may do what (ASVS 5.0 8.2, 8.3).
var list = func() []Info {
	const (
		s = 1 << iota // step-up
		f             // four eyes
	)
	type marks map[string]int
	var out []Info
	for _, r := range []struct {
		resource string
		verbs    marks
	}{
		{"tenant", marks{"read": 0, "write": s, "delete": s | f}},
		{"team", marks{"read": 0, "write": 0, "delete": 0}},
		{"user", marks{"read": 0, "write": 0, "delete": s}},
		{"service", marks{"read": 0, "write": 0, "delete": 0}},
		{"group", marks{"read": 0, "write": 0, "delete": 0}},
		{"role", marks{"read": 0, "write": s, "delete": s}},
		{"binding", marks{"read": 0, "write": s | f, "delete": s | f}},
		{"mapping", marks{"read": 0, "write": s | f, "delete": s | f}},
		{"key", marks{"read": 0, "write": 0, "delete": 0, "rotate": 0}},
		{"provider", marks{"read": 0, "write": s, "delete": s, "rotate": 0, "reveal": s | f}},
		{"policy", marks{"read": 0, "write": s | f, "delete": s | f}},
		{"limit", marks{"read": 0, "write": 0, "delete": 0}},
		{"session", marks{"read": 0, "delete": 0}},
		{"credential", marks{"read": 0, "write": s | f, "delete": s | f}}, // what others sign in with: a link, second factors
		{"audit", marks{"read": 0, "export": s}},
		{"content", marks{"reveal": s | f, "export": s | f}}, // the words of calls, where they are kept
		{"pack", marks{"read": 0, "write": s}},
		{"allow", marks{"read": 0, "write": s | f, "delete": 0}},
		{"config", marks{"read": 0, "write": s | f}},
		{"inspect_mode", marks{"read": 0, "write": s | f}},
		{"scim_token", marks{"read": 0, "write": s, "delete": 0}},
		{"identity_provider", marks{"read": 0, "write": s | f, "delete": s | f}},
		{"change", marks{"read": 0, "approve": s}},
		{"backup", marks{"read": 0, "write": s, "export": s | f}},
		{"kek", marks{"read": 0, "rotate": s | f}},
	} {
		for _, v := range []string{"read", "write", "delete", "rotate", "reveal", "export", "approve"} {
			if m, ok := r.verbs[v]; ok {
				out = append(out, Info{Permission(v + ":" + r.resource), m&s != 0, m&f != 0})
			}
		}
	}
	return out
}()

var byName = func() map[Permission]Info {
	m := map[Permission]Info{}
	for _, i := range list {
		m[i.Permission] = i
	}
	return m
}()

// Permissions lists every permission there is.
func Permissions() []Info { return slices.Clone(list) }

// Lookup finds a permission. One that is not in the list is held by nobody.
func Lookup(p Permission) (Info, bool) {
	i, ok := byName[p]
	return i, ok
}
