package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/rbac"
)

// Kinds of documents.
const (
	KindMapping   = "mapping"
	KindFederated = "federated"
)

// Mapping gives a role to whoever an identity provider says is in a group, or takes it away again
// (package rbac, Rule). A denial wins over every other mapping.
type Mapping struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"`
	Provider string    `json:"provider"` // name of the identity provider
	Group    string    `json:"group"`    // as the provider writes it; * stands for any run of characters
	Role     string    `json:"role"`     // "*", in a denial: every role
	Team     string    `json:"team,omitempty"`
	Deny     bool      `json:"deny,omitzero"`
	Created  time.Time `json:"created"`
}

// Head implements document.Entity.
func (m Mapping) Head() document.Head {
	return document.Head{Kind: KindMapping, ID: m.ID, Tenant: m.Tenant}
}

// RBAC is the mapping as package rbac takes it: providers are told apart by their name, which is ours.
func (m Mapping) RBAC() rbac.Rule {
	e := rbac.Allow
	if m.Deny {
		e = rbac.Deny
	}
	return rbac.Rule{ID: m.ID, Tenant: m.Tenant, Issuer: m.Provider, Group: m.Group, Role: m.Role, Team: m.Team, Effect: e}
}

// Federated is what a provider last said of a person: kept so that a change of the mappings counts at
// once, not at the next sign-in.
type Federated struct {
	User     string    `json:"user"`
	Tenant   string    `json:"tenant"`
	Provider string    `json:"provider"`
	Groups   []string  `json:"groups,omitempty"`
	Bindings []string  `json:"bindings,omitempty"` // ids of those that the groups gave
	At       time.Time `json:"at"`
}

// Head implements document.Entity.
func (f Federated) Head() document.Head {
	return document.Head{Kind: KindFederated, ID: federatedID(f.User, f.Provider), Tenant: f.Tenant}
}

func federatedID(user, provider string) string { return user + "." + provider }

// SetGroups notes what a provider says that a person is in, and gives and takes what the mappings make
// of it. It says whether the person's roles changed.
func SetGroups(ctx context.Context, tx document.Tx, tenant, provider, user string, groups []string, at time.Time) (changed bool, err error) {
	f, rev, err := document.Get[Federated](ctx, tx, federatedID(user, provider))
	if err != nil && !errors.Is(err, document.ErrNotFound) {
		return false, err
	}
	m, err := mappings(ctx, tx, tenant)
	if err != nil {
		return false, err
	}
	f.User, f.Tenant, f.Provider, f.Groups, f.At = user, tenant, provider, groups, at
	if changed, err = f.give(ctx, tx, m, at); err != nil {
		return false, err
	}
	_, err = document.Put(ctx, tx, f, rev)
	return changed, err
}

// Remap does so for everybody of a tenant, after its mappings changed, and returns whose roles did.
func Remap(ctx context.Context, tx document.Tx, tenant string, at time.Time) (users []string, err error) {
	m, err := mappings(ctx, tx, tenant)
	if err != nil {
		return nil, err
	}
	all, err := document.List[Federated](ctx, tx, &tenant)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		changed, err := f.give(ctx, tx, m, at)
		if err != nil {
			return nil, err
		}
		if !changed {
			continue
		}
		_, rev, err := document.Get[Federated](ctx, tx, federatedID(f.User, f.Provider))
		if err != nil {
			return nil, err
		}
		if _, err := document.Put(ctx, tx, f, rev); err != nil {
			return nil, err
		}
		users = append(users, f.User)
	}
	return users, nil
}

// Forget takes away what a provider's groups gave, of one person or, when user is empty, of everybody,
// and returns whose roles changed.
func Forget(ctx context.Context, tx document.Tx, tenant, provider, user string) (users []string, err error) {
	all, err := document.List[Federated](ctx, tx, &tenant)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		if f.Provider != provider || user != "" && f.User != user {
			continue
		}
		for _, id := range f.Bindings {
			if err := remove(ctx, tx, id); err != nil {
				return nil, err
			}
		}
		if err := tx.Delete(ctx, KindFederated, federatedID(f.User, f.Provider)); err != nil {
			return nil, err
		}
		users = append(users, f.User)
	}
	return users, nil
}

func mappings(ctx context.Context, r document.Reader, tenant string) (*rbac.Mapping, error) {
	all, err := document.List[Mapping](ctx, r, &tenant)
	if err != nil {
		return nil, err
	}
	var rules []rbac.Rule
	for _, m := range all {
		rules = append(rules, m.RBAC())
	}
	return rbac.NewMapping(tenant, rules)
}

// give makes the bindings what the groups give, and nothing else.
func (f *Federated) give(ctx context.Context, tx document.Tx, m *rbac.Mapping, at time.Time) (changed bool, err error) {
	grants, err := m.Grants(f.Provider, f.Groups)
	if err != nil {
		return false, err
	}
	var ids []string
	for _, g := range grants {
		b := Binding{
			ID: mappedID(f.User, f.Provider, g), Tenant: f.Tenant, Kind: rbac.User, Subject: f.User,
			Role: g.Role, Team: g.Team, Source: f.Provider, Created: at,
		}
		ids = append(ids, b.ID)
		if _, err := tx.Get(ctx, KindBinding, b.ID); err == nil {
			continue
		} else if !errors.Is(err, document.ErrNotFound) {
			return false, err
		}
		if _, err := document.Put(ctx, tx, b, 0); err != nil {
			return false, err
		}
		changed = true
	}
	for _, id := range f.Bindings {
		if !slices.Contains(ids, id) {
			if err := remove(ctx, tx, id); err != nil {
				return false, err
			}
			changed = true
		}
	}
	f.Bindings = ids
	return changed, nil
}

// remove deletes a binding that may be gone already.
func remove(ctx context.Context, tx document.Tx, id string) error {
	if err := tx.Delete(ctx, KindBinding, id); err != nil && !errors.Is(err, document.ErrNotFound) {
		return err
	}
	return nil
}

// mappedID is the same for the same grant, so that giving it twice changes nothing.
func mappedID(user, provider string, g rbac.Grant) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{user, provider, g.Role, g.Team}, "\x00")))
	return "binding_" + hex.EncodeToString(sum[:12])
}
