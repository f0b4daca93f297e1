package rbac

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// System is the platform's own tenant.
const System = "system"

// Kind is what sort of subject one is.
type Kind string

const (
	User  Kind = "user"
	Group Kind = "group"
	// Machine is a service or an agent.
	Machine Kind = "service"
)

// Subject is who a binding is about. The same id in two tenants is two subjects.
type Subject struct {
	Tenant string
	Kind   Kind
	ID     string
}

func (s Subject) String() string { return string(s.Kind) + " " + s.ID + " of " + s.Tenant }

// Effect is what a binding does.
type Effect uint8

const (
	Allow Effect = iota + 1
	Deny
)

// Binding gives a role to a subject, or takes its permissions away.
type Binding struct {
	ID      string
	Subject Subject
	Role    string
	Tenant  string
	Team    string // empty: the whole tenant
	Effect  Effect
	// AllTenants, in the System tenant only, makes it hold in every tenant.
	AllTenants bool
}

// Resource is what is to be read or changed. What belongs to no team has none.
type Resource struct {
	Tenant string
	Team   string
	Owner  Subject // zero: nobody in particular
}

// Decision is the answer of Can, and why.
type Decision struct {
	Allow   bool
	Binding string // the id of the one that decided; empty: none allowed it
	Role    string
	Reason  string
	// StepUp and FourEyes are what the permission asks for beyond being held.
	StepUp, FourEyes bool
}

// Set is roles and bindings, ready to be asked. It never changes and is safe for concurrent use.
type Set struct {
	roles    map[string]map[string]Role // by tenant, by name
	bindings map[Subject][]bound
}

type bound struct {
	Binding
	all, own map[Permission]bool
	known    bool
}

// NewSet makes a Set. A binding whose role does not exist allows nothing; if it denies, it denies
// everything, since nobody knows what it would have denied.
func NewSet(roles []Role, bindings []Binding) (*Set, error) {
	s := &Set{roles: map[string]map[string]Role{}, bindings: map[Subject][]bound{}}
	for _, r := range roles {
		if _, ok := builtin[r.Name]; ok || r.Tenant == "" {
			return nil, fmt.Errorf("rbac: role %q: a custom role has a tenant and no built-in name", r.Name)
		}
		if s.roles[r.Tenant] == nil {
			s.roles[r.Tenant] = map[string]Role{}
		}
		if _, twice := s.roles[r.Tenant][r.Name]; twice {
			return nil, fmt.Errorf("rbac: role %q stands twice in tenant %s", r.Name, r.Tenant)
		}
		s.roles[r.Tenant][r.Name] = r
	}
	for _, b := range bindings {
		if err := b.check(); err != nil {
			return nil, err
		}
		r, ok := s.Role(b.Tenant, b.Role)
		s.bindings[b.Subject] = append(s.bindings[b.Subject], bound{b, set(r.Permissions), set(r.Own), ok})
	}
	for _, bs := range s.bindings { // the order in which they were given decides nothing
		slices.SortFunc(bs, func(a, b bound) int { return strings.Compare(a.ID, b.ID) })
	}
	return s, nil
}

func set(ps []Permission) map[Permission]bool {
	m := make(map[Permission]bool, len(ps))
	for _, p := range ps {
		m[p] = true
	}
	return m
}

func (b Binding) check() error {
	switch {
	case b.Tenant == "" || b.Subject.ID == "" || b.Role == "":
		return fmt.Errorf("rbac: binding %q: it needs a subject, a role and a tenant", b.ID)
	case b.Subject.Kind != User && b.Subject.Kind != Group && b.Subject.Kind != Machine:
		return fmt.Errorf("rbac: binding %q: unknown kind of subject %q", b.ID, b.Subject.Kind)
	case b.Effect != Allow && b.Effect != Deny:
		return fmt.Errorf("rbac: binding %q: it neither allows nor denies", b.ID)
	case b.Subject.Tenant != b.Tenant:
		return fmt.Errorf("rbac: binding %q: the subject is of another tenant", b.ID)
	case b.AllTenants && (b.Tenant != System || b.Team != ""):
		return fmt.Errorf("rbac: binding %q: only a binding of the whole %s tenant can hold in all tenants", b.ID, System)
	}
	return nil
}

// Role finds a role as a tenant knows it.
func (s *Set) Role(tenant, name string) (Role, bool) {
	if r, ok := builtin[name]; ok {
		return r, true
	}
	r, ok := s.roles[tenant][name]
	return r, ok
}

// Can says whether somebody, with the groups they are in, may do something to a resource.
func (s *Set) Can(subjects []Subject, p Permission, on Resource) Decision {
	info, ok := Lookup(p)
	if !ok || on.Tenant == "" {
		return Decision{Reason: fmt.Sprintf("there is no permission %q, or no tenant", p)}
	}
	d := Decision{StepUp: info.StepUp, FourEyes: info.FourEyes, Reason: "no binding allows it"}
	for _, who := range subjects {
		for i := range s.bindings[who] {
			b := &s.bindings[who][i]
			if !b.reaches(on) {
				continue
			}
			switch b.Effect {
			case Deny:
				// What a role allows for one's own only, a denied role denies for all.
				if !b.known || b.all[p] || b.own[p] {
					return Decision{Binding: b.ID, Role: b.Role, StepUp: d.StepUp, FourEyes: d.FourEyes,
						Reason: fmt.Sprintf("binding %s denies role %s to %s", b.ID, b.Role, who)}
				}
			case Allow:
				mine := b.own[p] && on.Owner == who && who.Kind != Group
				if b.known && (b.all[p] || mine) && (!d.Allow || b.ID < d.Binding) {
					d.Allow, d.Binding, d.Role = true, b.ID, b.Role
					d.Reason = fmt.Sprintf("binding %s gives role %s to %s", b.ID, b.Role, who)
				}
			}
		}
	}
	return d
}

// reaches says whether a binding is about a resource's tenant and team.
func (b *Binding) reaches(on Resource) bool {
	if b.Tenant != on.Tenant && !b.AllTenants {
		return false
	}
	return b.Team == "" || b.Team == on.Team
}

// CheckBinding says whether somebody may make a binding: they may write bindings there, and hold all
// that it gives there. A deny needs only the first, so that rights can be taken by who cannot give them;
// that must not lock a tenant out: see CheckOwners.
func (s *Set) CheckBinding(author []Subject, b Binding) error {
	if err := b.check(); err != nil {
		return err
	}
	where := Resource{Tenant: b.Tenant, Team: b.Team}
	if !s.Can(author, "write:binding", where).Allow {
		return fmt.Errorf("%w: write:binding", ErrEscalation)
	}
	r, ok := s.Role(b.Tenant, b.Role)
	if !ok {
		return fmt.Errorf("rbac: there is no role %q in tenant %s", b.Role, b.Tenant)
	}
	if b.Effect == Deny {
		return nil
	}
	if b.AllTenants && !s.spans(author, r) {
		return fmt.Errorf("%w: role %s in all tenants", ErrEscalation, b.Role)
	}
	return s.holds(author, r, where)
}

// CheckRemoval says whether somebody may take a binding away. To take a denial away gives what it
// denied, so it must be held; who is denied it themselves does not hold it.
func (s *Set) CheckRemoval(author []Subject, b Binding) error {
	where := Resource{Tenant: b.Tenant, Team: b.Team}
	if !s.Can(author, "delete:binding", where).Allow {
		return fmt.Errorf("%w: delete:binding", ErrEscalation)
	}
	if b.Effect == Allow {
		return nil
	}
	r, ok := s.Role(b.Tenant, b.Role)
	if !ok {
		r = builtin[Owner] // it denied everything
	}
	if b.AllTenants && !s.spans(author, r) {
		return fmt.Errorf("%w: role %s in all tenants", ErrEscalation, b.Role)
	}
	return s.holds(author, r, where)
}

// spans says whether the author holds a role's permissions in every tenant, named or not.
func (s *Set) spans(author []Subject, r Role) bool {
	for _, p := range append(slices.Clone(r.Permissions), r.Own...) {
		held := false
		for _, who := range author {
			for i := range s.bindings[who] {
				b := &s.bindings[who][i]
				if b.AllTenants && b.known && (b.all[p] || b.own[p]) && b.Effect == Deny {
					return false
				}
				held = held || b.AllTenants && b.known && b.Effect == Allow && b.all[p]
			}
		}
		if !held {
			return false
		}
	}
	return true
}

// ErrLastOwner refuses a change that would leave a tenant without an owner.
var ErrLastOwner = errors.New("rbac: a tenant needs an owner; make another one first")

// CheckOwners says whether, with these bindings, a tenant still has an owner: a person, by name and
// not through a group that somebody else may empty, who is active and to whom nothing is denied.
func CheckOwners(tenant string, bindings []Binding, active func(Subject) bool) error {
	for _, b := range bindings {
		if b.Tenant != tenant || b.Role != Owner || b.Team != "" || b.Effect != Allow || b.Subject.Kind != User || b.Subject.Tenant != tenant || !active(b.Subject) {
			continue
		}
		denied := slices.ContainsFunc(bindings, func(o Binding) bool {
			return o.Effect == Deny && o.Subject == b.Subject && o.Tenant == tenant
		})
		if !denied {
			return nil
		}
	}
	return fmt.Errorf("%w (tenant %s)", ErrLastOwner, tenant)
}
