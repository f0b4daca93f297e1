package policy

import (
	"fmt"
	"slices"
	"unique"

	cedar "github.com/cedar-policy/cedar-go"
)

// Kind is what sort of caller a principal is.
type Kind string

const (
	KindUser    Kind = "user"
	KindService Kind = "service"
	KindAgent   Kind = "agent"
	KindKey     Kind = "key"
)

// Who describes a caller. Owner belongs to a key, OnBehalfOf to an agent; both must be of the same
// tenant, and their teams, roles and groups are their own: a key inherits its owner's.
type Who struct {
	Kind       Kind
	ID, Name   string
	Tenant     string
	Teams      []string
	Roles      []string
	Groups     []string
	Class      string // of a key
	Purpose    string // of a key
	Owner      *Who   // of a key: a user, a service or an agent
	OnBehalfOf *Who   // of an agent: a user
}

// Principal is a caller as policies see it, made once and used for every call. It never changes and
// is safe for concurrent use.
type Principal struct {
	tenant string
	uid    cedar.EntityUID
	// Attributes; class and purpose are a key's only.
	name, class, purpose string
	// in is the caller itself and everything it is in, at whatever remove.
	in []cedar.EntityUID
	// person is the one whom it acts for: what it may do, the person must be allowed too.
	person *Principal
}

// Tenant is the tenant whose policies apply.
func (p *Principal) Tenant() string { return p.tenant }

// String names it as policies do: Key::"k1".
func (p *Principal) String() string { return p.uid.String() }

// NewPrincipal makes a Principal.
func NewPrincipal(w Who) (*Principal, error) {
	if w.Tenant == "" || w.Tenant == Platform {
		return nil, fmt.Errorf("policy: make principal: %q is no tenant of callers", w.Tenant)
	}
	if w.ID == "" {
		return nil, fmt.Errorf("policy: make principal: no id")
	}
	for _, other := range []*Who{w.Owner, w.OnBehalfOf} {
		if other != nil && other.Tenant != w.Tenant {
			return nil, fmt.Errorf("policy: make principal %s: it would join two tenants", w.ID)
		}
	}
	p := &Principal{tenant: string(once(w.Tenant)), name: w.Name}
	var above *Principal
	var err error
	switch w.Kind {
	case KindUser:
		p.uid.Type = typeUser
	case KindService:
		p.uid.Type = typeService
	case KindAgent:
		p.uid.Type = typeAgent
		if w.OnBehalfOf != nil {
			if w.OnBehalfOf.Kind != KindUser {
				return nil, fmt.Errorf("policy: make principal %s: it can act for a user only", w.ID)
			}
			if p.person, err = NewPrincipal(*w.OnBehalfOf); err != nil {
				return nil, err
			}
		}
	case KindKey:
		p.uid.Type = typeKey
		p.class, p.purpose = string(once(w.Class)), w.Purpose
		if w.Owner != nil {
			if w.Owner.Kind == KindKey {
				return nil, fmt.Errorf("policy: make principal %s: a key cannot own a key", w.ID)
			}
			if above, err = NewPrincipal(*w.Owner); err != nil {
				return nil, err
			}
			p.person = above.person
		}
	default:
		return nil, fmt.Errorf("policy: make principal %s: unknown kind %q", w.ID, w.Kind)
	}
	if w.Owner != nil && w.Kind != KindKey || w.OnBehalfOf != nil && w.Kind != KindAgent {
		return nil, fmt.Errorf("policy: make principal %s: only a key has an owner, only an agent acts for somebody", w.ID)
	}
	p.uid.ID = cedar.String(w.ID)
	parents := []cedar.EntityUID{cedar.NewEntityUID(typeTenant, once(w.Tenant))}
	for typ, ids := range map[cedar.EntityType][]string{typeTeam: w.Teams, typeRole: w.Roles, typeGroup: w.Groups} {
		for _, id := range ids {
			parents = append(parents, cedar.NewEntityUID(typ, once(id)))
		}
	}
	if above != nil {
		parents = append(parents, above.in...)
	}
	slices.SortFunc(parents, compareUID)
	parents = slices.Compact(parents)
	p.in = make([]cedar.EntityUID, 0, 1+len(parents))
	p.in = append(append(p.in, p.uid), parents...)
	return p, nil
}

// once is the one copy of a name that many callers bear: it takes less memory, and comparing it with
// the copy in a policy's head reads neither.
func once(s string) cedar.String { return cedar.String(unique.Make(s).Value()) }

// has says whether it has an attribute, by the schema.
func (p *Principal) has(name string) bool {
	switch name {
	case "name":
		return true
	case "class", "purpose":
		return p.uid.Type == typeKey
	case "on_behalf_of":
		return p.uid.Type == typeAgent && p.person != nil
	}
	return false
}

// entity is the caller as Cedar knows it, made anew: kept, it would be most of what a caller costs,
// and Cedar is seldom asked.
func (p *Principal) entity() cedar.Entity {
	attributes := cedar.RecordMap{"name": cedar.String(p.name)}
	if p.uid.Type == typeKey {
		attributes["class"], attributes["purpose"] = cedar.String(p.class), cedar.String(p.purpose)
	}
	if p.has("on_behalf_of") {
		attributes["on_behalf_of"] = p.person.uid
	}
	return cedar.Entity{UID: p.uid, Parents: cedar.NewEntityUIDSet(p.in[1:]...), Attributes: cedar.NewRecord(attributes)}
}

func compareUID(a, b cedar.EntityUID) int {
	if a.Type != b.Type {
		if a.Type < b.Type {
			return -1
		}
		return 1
	}
	switch {
	case a.ID < b.ID:
		return -1
	case a.ID > b.ID:
		return 1
	}
	return 0
}
