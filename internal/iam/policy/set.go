package policy

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
)

// Tenant is what a set needs to know of a tenant beyond its policies.
type Tenant struct {
	// NoBase takes the built-in policies away: nothing passes but by a permit of the tenant's own or
	// of the platform.
	NoBase   bool
	Zone     *time.Location // of hour and weekday; nil: UTC
	Networks []Network
}

// Set is the policies of all tenants, compiled. It never changes and is safe for concurrent use.
type Set struct {
	tenants map[string]*tenant
	common  *tenant // of a tenant that has nothing of its own
	broken  map[string]error
}

type tenant struct {
	zone     *time.Location
	networks []Network
	actions  [actions]index
	closed   error // set when a policy cannot be read: nothing passes
	all      []*statement
	places   placeCache
	// lookAtTools says that a statement on tools minds which tool it is.
	lookAtTools bool
}

// index finds the statements that can match a caller: those whose head names nobody, and those
// whose head names the caller or something that it is in.
type index struct {
	any   []*statement
	by    map[cedar.EntityUID][]*statement
	types []cedar.EntityType // of those in by
}

//go:embed builtin/*.cedar builtin/*.yaml
var builtin embed.FS

// Builtin lists the policies that every tenant has unless Tenant.NoBase is set.
func Builtin() []Policy {
	files, err := fs.Glob(builtin, "builtin/*.cedar")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var out []Policy
	for _, f := range files {
		text, err := builtin.ReadFile(f)
		if err != nil {
			panic(err) // it was just listed
		}
		out = append(out, Policy{ID: strings.TrimSuffix(strings.TrimPrefix(f, "builtin/"), ".cedar"), Text: string(text)})
	}
	return out
}

// NewSet compiles policies. tenants[Platform], where given, stands for every tenant that is not named. A tenant of which one policy cannot be read is closed: nobody knows what
// it would have forbidden. The other tenants are not touched by it; see Broken. If it is one of the
// platform's, all are closed.
func NewSet(ps []Policy, tenants map[string]Tenant) *Set {
	s := &Set{tenants: map[string]*tenant{}, broken: map[string]error{}}
	parsed := map[string][]*statement{}
	have := map[[2]string]bool{}
	for _, p := range ps {
		st, err := parse(p, p.ID+".cedar")
		switch {
		case p.Tenant == "":
			p.Tenant, err = Platform, fmt.Errorf("policy: %s belongs to no tenant", p.ID)
		case err == nil && have[[2]string{p.Tenant, p.ID}]:
			err = fmt.Errorf("policy: %s stands twice in tenant %s", p.ID, p.Tenant)
		}
		have[[2]string{p.Tenant, p.ID}] = true
		if err != nil && s.broken[p.Tenant] == nil {
			s.broken[p.Tenant] = err
		}
		parsed[p.Tenant] = append(parsed[p.Tenant], st...)
	}
	base := builtinStatements()
	names := maps.Clone(tenants)
	if names == nil {
		names = map[string]Tenant{}
	}
	for t := range parsed {
		if _, ok := names[t]; !ok {
			names[t] = Tenant{}
		}
	}
	for name, o := range names {
		if name != Platform {
			s.tenants[name] = s.tenant(name, o, base, parsed[Platform], parsed[name])
		}
	}
	s.common = s.tenant("", names[Platform], base, parsed[Platform], nil)
	return s
}

var builtinStatements = sync.OnceValue(func() []*statement {
	var out []*statement
	for _, p := range Builtin() {
		ss, err := parse(p, p.ID+".cedar")
		if err != nil {
			panic(fmt.Sprintf("policy: a built-in policy cannot be read: %v", err)) // a test reads them
		}
		for _, st := range ss {
			st.id = "builtin/" + st.id
		}
		out = append(out, ss...)
	}
	return out
})

func (s *Set) tenant(name string, o Tenant, base, platform, own []*statement) *tenant {
	t := &tenant{zone: o.Zone, networks: o.Networks, closed: s.broken[Platform]}
	if t.zone == nil {
		t.zone = time.UTC
	}
	if t.closed == nil {
		t.closed = s.broken[name]
	}
	t.all = append(t.all, platform...)
	t.all = append(t.all, own...)
	if !o.NoBase {
		t.all = append(t.all, base...)
	}
	slices.SortFunc(t.all, func(a, b *statement) int { return strings.Compare(string(a.id), string(b.id)) })
	for a := range actions {
		ix := &t.actions[a]
		ix.by = map[cedar.EntityUID][]*statement{}
		for _, st := range t.all {
			t.lookAtTools = t.lookAtTools || Action(a) == UseTool && st.actions[a] && st.looks
			switch {
			case !st.actions[a]:
			case st.who.entity == cedar.EntityUID{}:
				ix.any = append(ix.any, st)
			default:
				ix.by[st.who.entity] = append(ix.by[st.who.entity], st)
				if !slices.Contains(ix.types, st.who.entity.Type) {
					ix.types = append(ix.types, st.who.entity.Type)
				}
			}
		}
	}
	return t
}

// Broken says which tenants are closed because of a policy that cannot be read; Platform: all.
func (s *Set) Broken() map[string]error { return maps.Clone(s.broken) }

// of finds a tenant's policies.
func (s *Set) of(name string) *tenant {
	if t, ok := s.tenants[name]; ok {
		return t
	}
	return s.common
}

// named adds the names of the tenant's networks that hold an address.
func (t *tenant) named(in []string, ip netip.Addr) []string {
	for _, n := range t.networks {
		for _, p := range n.Prefixes {
			if p.Contains(ip) {
				in = append(in, n.Name)
				break
			}
		}
	}
	return in
}
