package scim

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
)

func (s *Service) groups() *store[directory.Group] {
	return &store[directory.Group]{
		kind: groupKind, path: "Groups", name: "Group",
		attrs: groupAttributes,
		times: func(g *directory.Group) (time.Time, time.Time) { return g.Created, g.Updated },
		ours:  func(g *directory.Group) bool { return g.Origin == directory.OriginSCIM },
		readOnly: func(_ context.Context, _ document.Reader, _ *directory.Group, res map[string]any) error {
			list, _ := res["members"].([]any)
			for _, e := range list {
				m := e.(map[string]any)
				m["$ref"], m["type"] = s.Base()+"/Users/"+m["value"].(string), "User"
			}
			return nil
		},
		fill: s.fillGroup,
	}
}

// groupAttributes are made of the group itself: members are kept once.
func groupAttributes(g *directory.Group) map[string]any {
	m := map[string]any{"displayName": g.Name}
	if g.ExternalID != "" {
		m["externalId"] = g.ExternalID
	}
	var list []any
	for _, id := range g.Members {
		list = append(list, map[string]any{"value": id})
	}
	if len(list) > 0 {
		m["members"] = list
	}
	return m
}

func (s *Service) fillGroup(ctx context.Context, tx document.Tx, g, before *directory.Group, attrs map[string]any) error {
	g.Name, _ = attrs["displayName"].(string)
	g.ExternalID, _ = attrs["externalId"].(string)
	list, _ := attrs["members"].([]any)
	var ids []string
	seen := make(map[string]bool, len(list))
	for _, e := range list {
		m, _ := e.(map[string]any)
		id, _ := m["value"].(string)
		if t, _ := m["type"].(string); t != "" && !strings.EqualFold(t, "User") || id == "" {
			return bad("invalidValue", "A member is a person, named by the id in value.")
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	changed := map[string]bool{}
	was := map[string]bool{}
	if before != nil {
		for _, id := range before.Members {
			was[id] = true
			if !seen[id] {
				changed[id] = true
			}
		}
	}
	for _, id := range ids {
		if was[id] {
			continue
		}
		changed[id] = true
		u, _, err := document.Get[directory.User](ctx, tx, id)
		if errors.Is(err, document.ErrNotFound) || err == nil && (u.Tenant != g.Tenant || u.Origin != directory.OriginSCIM) {
			return bad("invalidValue", "A member is nobody that was provisioned here.")
		}
		if err != nil {
			return err
		}
	}
	g.Members, g.Updated = ids, s.now()
	if err := g.Check(); err != nil {
		return bad("invalidValue", "%s", strings.TrimPrefix(err.Error(), "directory: "))
	}
	if before == nil || len(changed) == 0 {
		return nil
	}
	// What they may do is another thing now: who had a session has none.
	if has, err := roles(ctx, tx, g.Tenant, g.ID); err != nil || !has {
		return err
	}
	return endSessions(ctx, tx, g.Tenant, changed)
}

// leave takes somebody out of a group.
func (s *Service) leave(ctx context.Context, tx document.Tx, g directory.Group, user string) error {
	_, rev, err := document.Get[directory.Group](ctx, tx, g.ID)
	if err != nil {
		return err
	}
	g.Members = slices.DeleteFunc(slices.Clone(g.Members), func(id string) bool { return id == user })
	g.Updated = s.now()
	_, err = document.Put(ctx, tx, g, rev)
	return err
}

func (s *Service) newGroup(tenant string) func() directory.Group {
	return func() directory.Group {
		return directory.Group{ID: directory.NewID("group"), Tenant: tenant, Origin: directory.OriginSCIM, Created: s.now()}
	}
}

// CreateGroup makes a group.
func (s *Service) CreateGroup(ctx context.Context, tenant string, in map[string]any) (Result, error) {
	attrs, err := groupKind.body(in)
	if err != nil {
		return Result{}, err
	}
	return s.groups().write(ctx, s, tenant, "", "", s.newGroup(tenant), func(map[string]any) (map[string]any, error) { return attrs, nil })
}

// ReplaceGroup changes a group to what is sent, its members included (PUT).
func (s *Service) ReplaceGroup(ctx context.Context, tenant, id, ifMatch string, in map[string]any) (Result, error) {
	attrs, err := groupKind.body(in)
	if err != nil {
		return Result{}, err
	}
	return s.groups().write(ctx, s, tenant, id, ifMatch, s.newGroup(tenant), func(map[string]any) (map[string]any, error) { return attrs, nil })
}

// PatchGroup applies operations to a group: all of them or none.
func (s *Service) PatchGroup(ctx context.Context, tenant, id, ifMatch string, ops []Operation) (Result, error) {
	return s.groups().write(ctx, s, tenant, id, ifMatch, s.newGroup(tenant), func(now map[string]any) (map[string]any, error) {
		return groupKind.apply(now, ops)
	})
}

// Group reads a group.
func (s *Service) Group(ctx context.Context, tenant, id string) (Resource, int64, error) {
	return s.groups().read(ctx, s, tenant, id)
}

// DeleteGroup takes a group away, and with it the sessions of those whom it gave roles.
func (s *Service) DeleteGroup(ctx context.Context, tenant, id, ifMatch string) (out Result, err error) {
	err = s.Docs.Write(ctx, func(tx document.Tx) error {
		g, rev, err := s.groups().get(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if ifMatch != "" && !Match(ifMatch, rev) {
			return document.ErrConflict
		}
		out = Result{Before: g}
		has, err := roles(ctx, tx, tenant, id)
		if err != nil {
			return err
		}
		if has {
			members := map[string]bool{}
			for _, m := range g.Members {
				members[m] = true
			}
			if err := endSessions(ctx, tx, tenant, members); err != nil {
				return err
			}
		}
		return tx.Delete(ctx, directory.KindGroup, id)
	})
	return out, err
}
