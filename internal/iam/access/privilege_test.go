package access_test

import (
	"context"
	"testing"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/rbac"
	"sallyport.dev/sallyport/internal/store/memory"
)

// Memory and the store say the same of everybody, and each change that concerns a person, and no other,
// makes it another.
func TestPrivilege(t *testing.T) {
	ctx := context.Background()
	docs := &memory.Documents{}
	m := mirror.New(docs, nil, nil)
	a := access.New(m)
	groups := map[string][]string{}
	now := func(user string) string {
		t.Helper()
		if err := m.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		stored, err := access.PrivilegeIn(ctx, docs, "acme", user)
		if err != nil {
			t.Fatal(err)
		}
		if known := a.Privilege("acme", user, groups[user]); known != stored {
			t.Errorf("%s: in memory %s, in the store %s", user, known, stored)
		}
		return stored
	}
	alice, bob := now("alice"), now("bob")
	if alice == bob {
		t.Error("two people look the same")
	}
	expect := func(what string, changed bool) {
		t.Helper()
		next, other := now("alice"), now("bob")
		if (next != alice) != changed {
			t.Errorf("%s: changed %v, want %v", what, next != alice, changed)
		}
		if other != bob {
			t.Errorf("%s: changes somebody else", what)
		}
		alice = next
	}
	insert := func(e document.Entity) {
		t.Helper()
		err := docs.Write(ctx, func(tx document.Tx) error {
			d, err := document.Encode(e, 0)
			if err != nil {
				return err
			}
			_, err = tx.Put(ctx, d)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	remove := func(kind, id string) {
		t.Helper()
		if err := docs.Write(ctx, func(tx document.Tx) error { return tx.Delete(ctx, kind, id) }); err != nil {
			t.Fatal(err)
		}
	}
	bind := func(id, subject, role string, kind rbac.Kind) access.Binding {
		return access.Binding{ID: id, Tenant: "acme", Kind: kind, Subject: subject, Role: role}
	}
	insert(bind("b1", "alice", rbac.Developer, rbac.User))
	expect("a binding", true)
	insert(bind("b2", "carol", rbac.Owner, rbac.User))
	expect("somebody else's binding", false)
	denied := bind("b3", "alice", rbac.Auditor, rbac.User)
	denied.Deny = true
	insert(denied)
	expect("a denial", true)
	insert(access.Role{ID: "r1", Tenant: "acme", Name: "custom", Permissions: []rbac.Permission{"read:team"}})
	expect("a role that nobody has", false)
	insert(bind("b4", "alice", "custom", rbac.User))
	expect("a custom role", true)
	if _, _, _, err := document.Update(ctx, docs, "r1", 0, func(r *access.Role) error { r.Permissions = append(r.Permissions, "read:key"); return nil }); err != nil {
		t.Fatal(err)
	}
	expect("what the role permits", true)
	insert(directory.Group{ID: "g1", Tenant: "acme", Name: "G", Origin: "local", Members: []string{"alice"}})
	groups["alice"] = []string{"g1"}
	expect("a group", true)
	insert(bind("b5", "g1", rbac.Admin, rbac.Group))
	expect("a role of the group", true)
	remove(access.KindBinding, "b5")
	expect("the role of the group gone", true)
	if _, _, _, err := document.Update(ctx, docs, "g1", 0, func(g *directory.Group) error { g.Members = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	groups["alice"] = nil
	expect("out of the group", true)
	remove(access.KindBinding, "b1")
	expect("a binding gone", true)
	insert(directory.Team{ID: "t1", Tenant: "acme", Name: "T"})
	expect("a team made", false)
}
