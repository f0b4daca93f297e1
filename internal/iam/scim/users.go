package scim

import (
	"context"
	"errors"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
)

func (s *Service) users() *store[directory.User] {
	return &store[directory.User]{
		kind: userKind, path: "Users", name: "User",
		attrs: func(u *directory.User) map[string]any {
			if u.Attributes == nil {
				return map[string]any{}
			}
			return u.Attributes
		},
		times: func(u *directory.User) (time.Time, time.Time) { return u.Created, u.Updated },
		ours:  func(u *directory.User) bool { return u.Origin == directory.OriginSCIM },
		readOnly: func(ctx context.Context, r document.Reader, u *directory.User, res map[string]any) error {
			groups, err := groupsOf(ctx, r, u.Tenant, u.ID)
			var list []any
			for _, g := range groups {
				list = append(list, map[string]any{"value": g.ID, "display": g.Name, "$ref": s.Base() + "/Groups/" + g.ID, "type": "direct"})
			}
			if len(list) > 0 {
				res["groups"] = list
			}
			return err
		},
		fill: s.fillUser,
	}
}

// fillUser takes over what decides anything from what was sent; the rest is kept as it came.
func (s *Service) fillUser(ctx context.Context, tx document.Tx, u, before *directory.User, attrs map[string]any) error {
	if _, ok := attrs["active"]; !ok {
		attrs["active"] = true // a client that says nothing of it means people who work here
	}
	u.UserName, _ = attrs["userName"].(string)
	u.Active, _ = attrs["active"].(bool)
	u.ExternalID, _ = attrs["externalId"].(string)
	u.Name, u.Email = nameOf(attrs), emailOf(attrs)
	u.Attributes, u.Updated = attrs, s.now()
	if u.Name == "" {
		u.Name = u.UserName
	}
	if err := u.Check(); err != nil {
		return bad("invalidValue", "%s", strings.TrimPrefix(err.Error(), "directory: "))
	}
	if before != nil && before.Active && !u.Active {
		return endSessions(ctx, tx, u.Tenant, map[string]bool{u.ID: true})
	}
	return nil
}

func nameOf(attrs map[string]any) string {
	if s, _ := attrs["displayName"].(string); s != "" {
		return s
	}
	n, _ := attrs["name"].(map[string]any)
	if s, _ := n["formatted"].(string); s != "" {
		return s
	}
	given, _ := n["givenName"].(string)
	family, _ := n["familyName"].(string)
	return strings.TrimSpace(given + " " + family)
}

// emailOf is the primary address, or else the first.
func emailOf(attrs map[string]any) string {
	list, _ := attrs["emails"].([]any)
	first := ""
	for _, e := range list {
		m, _ := e.(map[string]any)
		v, _ := m["value"].(string)
		if m["primary"] == true && v != "" {
			return v
		}
		if first == "" {
			first = v
		}
	}
	return first
}

// CreateUser makes a person.
func (s *Service) CreateUser(ctx context.Context, tenant string, in map[string]any) (Result, error) {
	attrs, err := userKind.body(in)
	if err != nil {
		return Result{}, err
	}
	return s.users().write(ctx, s, tenant, "", "", s.newUser(tenant), func(map[string]any) (map[string]any, error) { return attrs, nil })
}

func (s *Service) newUser(tenant string) func() directory.User {
	return func() directory.User {
		return directory.User{ID: directory.NewID("user"), Tenant: tenant, Origin: directory.OriginSCIM, Created: s.now()}
	}
}

// ReplaceUser changes a person to what is sent, and nothing else (PUT).
func (s *Service) ReplaceUser(ctx context.Context, tenant, id, ifMatch string, in map[string]any) (Result, error) {
	attrs, err := userKind.body(in)
	if err != nil {
		return Result{}, err
	}
	return s.users().write(ctx, s, tenant, id, ifMatch, s.newUser(tenant), func(now map[string]any) (map[string]any, error) {
		if _, said := attrs["active"]; !said { // not said is not switched on again
			attrs["active"] = now["active"]
		}
		return attrs, nil
	})
}

// PatchUser applies operations to a person: all of them or none.
func (s *Service) PatchUser(ctx context.Context, tenant, id, ifMatch string, ops []Operation) (Result, error) {
	return s.users().write(ctx, s, tenant, id, ifMatch, s.newUser(tenant), func(now map[string]any) (map[string]any, error) {
		return userKind.apply(now, ops)
	})
}

// User reads a person.
func (s *Service) User(ctx context.Context, tenant, id string) (Resource, int64, error) {
	return s.users().read(ctx, s, tenant, id)
}

// DeleteUser takes a person away: their sessions, how they sign in and their places in groups
// with them. Their keys are refused from then on, being nobody's.
func (s *Service) DeleteUser(ctx context.Context, tenant, id, ifMatch string) (out Result, err error) {
	err = s.Docs.Write(ctx, func(tx document.Tx) error {
		u, rev, err := s.users().get(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if ifMatch != "" && !Match(ifMatch, rev) {
			return document.ErrConflict
		}
		out = Result{Before: u}
		groups, err := groupsOf(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if err := s.leave(ctx, tx, g, id); err != nil {
				return err
			}
		}
		bs, err := document.List[access.Binding](ctx, tx, &tenant)
		if err != nil {
			return err
		}
		for _, b := range bs {
			if b.Subject == id {
				if err := tx.Delete(ctx, access.KindBinding, b.ID); err != nil {
					return err
				}
			}
		}
		if err := tx.Delete(ctx, account.KindLogin, id); err != nil && !errors.Is(err, document.ErrNotFound) {
			return err
		}
		if err := endSessions(ctx, tx, tenant, map[string]bool{id: true}); err != nil {
			return err
		}
		return tx.Delete(ctx, directory.KindUser, id)
	})
	return out, err
}
