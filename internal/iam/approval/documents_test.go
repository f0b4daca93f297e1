package approval_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/approval"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/rbac"
	"sallyport.dev/sallyport/internal/iam/roster"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

var ctx = context.Background()

func database(t *testing.T) document.Store {
	t.Helper()
	db, err := sqlite.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db.Documents()
}

// Both stores keep what the interface promises.
func TestStores(t *testing.T) {
	for name, s := range map[string]approval.Store{"memory": &approval.Memory{}, "documents": approval.Documents{Docs: database(t)}} {
		t.Run(name, func(t *testing.T) {
			at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
			c := approval.Change{ID: "chg_1", Tenant: "acme", Action: "write:policy", Target: "t", Hash: approval.Hash("acme", "write:policy", "t", []byte("x")),
				Requested: "ann", Created: at, Expires: at.Add(time.Hour), State: approval.Pending}
			if err := s.Insert(ctx, c); err != nil {
				t.Fatal(err)
			}
			if err := s.Insert(ctx, c); !errors.Is(err, approval.ErrChanged) {
				t.Errorf("inserted twice: %v", err)
			}
			if got, err := s.Get(ctx, "acme", "chg_1"); err != nil || got != c {
				t.Errorf("%+v, %v", got, err)
			}
			for _, k := range [][2]string{{"other", "chg_1"}, {"acme", "chg_2"}, {"", "chg_1"}} {
				if _, err := s.Get(ctx, k[0], k[1]); !errors.Is(err, approval.ErrNotFound) {
					t.Errorf("%v: %v", k, err)
				}
			}
			foreign := c
			foreign.Tenant = "other"
			if err := s.Swap(ctx, foreign); !errors.Is(err, approval.ErrChanged) {
				t.Errorf("swapped from another tenant: %v", err)
			}
			var wins atomic.Int32
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					n := c
					n.State = approval.Done
					switch err := s.Swap(ctx, n); {
					case err == nil:
						wins.Add(1)
					case !errors.Is(err, approval.ErrChanged):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if wins.Load() != 1 {
				t.Errorf("%d of 8 took it", wins.Load())
			}
			if got, err := s.Get(ctx, "acme", "chg_1"); err != nil || got.State != approval.Done || got.Version != 1 {
				t.Errorf("%+v, %v", got, err)
			}
			d := c
			d.ID, d.Created = "chg_2", at.Add(time.Minute)
			if err := s.Insert(ctx, d); err != nil {
				t.Fatal(err)
			}
			if all, err := s.List(ctx, "acme"); err != nil || len(all) != 2 || all[0].ID != "chg_2" {
				t.Errorf("%+v, %v", all, err)
			}
			if all, err := s.List(ctx, "other"); err != nil || len(all) != 0 {
				t.Errorf("another tenant sees %+v, %v", all, err)
			}
		})
	}
}

// Nobody fills the store, and what ended long ago goes.
func TestDocumentsAreBounded(t *testing.T) {
	s := approval.Documents{Docs: database(t)}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	add := func(tenant string, i int, at time.Time) error {
		return s.Insert(ctx, approval.Change{ID: fmt.Sprintf("chg_%s%d", tenant, i), Tenant: tenant, Action: "a", Created: at, Expires: at.Add(time.Hour), State: approval.Pending})
	}
	for i := range approval.MaxWaiting {
		if err := add("acme", i, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := add("acme", 1000, at); !errors.Is(err, approval.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if err := add("other", 1, at); err != nil {
		t.Errorf("another tenant pays for it: %v", err)
	}
	if err := add("acme", 1001, at.Add(2*time.Hour)); err != nil {
		t.Errorf("expired ones still count: %v", err)
	}
	if err := add("acme", 1002, at.Add(approval.Keep+2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(ctx, "acme"); err != nil || len(all) != 2 {
		t.Errorf("%d are left, %v", len(all), err)
	}
}

// Who is a person, and may approve, by the real directory and roles.
func TestPeople(t *testing.T) {
	docs := database(t)
	put := func(v ...any) {
		t.Helper()
		for _, v := range v {
			var err error
			switch v := v.(type) {
			case directory.Tenant:
				_, err = document.Insert(ctx, docs, v)
			case directory.User:
				_, err = document.Insert(ctx, docs, v)
			case directory.Group:
				_, err = document.Insert(ctx, docs, v)
			case directory.Service:
				_, err = document.Insert(ctx, docs, v)
			case access.Role:
				_, err = document.Insert(ctx, docs, v)
			case access.Binding:
				_, err = document.Insert(ctx, docs, v)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	user := func(id, tenant string, active bool) directory.User {
		return directory.User{ID: id, Tenant: tenant, UserName: id, Origin: "local", Active: active, Email: id + "@X.example"}
	}
	bind := func(id, tenant string, kind rbac.Kind, role string) access.Binding {
		return access.Binding{ID: "b_" + id + role, Tenant: tenant, Kind: kind, Subject: id, Role: role}
	}
	put(directory.Tenant{ID: "acme", Name: "a"}, directory.Tenant{ID: "other", Name: "o"}, directory.Tenant{ID: "off", Name: "o", Disabled: true},
		user("ann", "acme", true), user("left", "acme", false), user("grouped", "acme", true), user("half", "acme", true), user("theirs", "other", true), user("dark", "off", true),
		directory.Group{ID: "g", Tenant: "acme", Name: "g", Origin: "local", Members: []string{"grouped"}}, directory.Service{ID: "svc", Tenant: "acme", Name: "svc"},
		access.Role{ID: "r", Tenant: "acme", Name: "approver", Permissions: []rbac.Permission{"approve:change"}},
		bind("ann", "acme", rbac.User, "owner"), bind("left", "acme", rbac.User, "owner"), bind("g", "acme", rbac.Group, "owner"), bind("half", "acme", rbac.User, "approver"),
		bind("theirs", "other", rbac.User, "owner"), bind("dark", "off", rbac.User, "owner"), bind("svc", "acme", rbac.Machine, "owner"))
	m := mirror.New(docs, nil, nil)
	p := approval.People{Docs: docs, Roster: roster.New(m), Access: access.New(m)}
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string][2]bool{ // a person in good standing; may approve
		"ann": {true, true}, "grouped": {true, true}, "left": {false, false}, "half": {true, false}, "theirs": {true, false},
		"dark": {false, false}, "svc": {false, false}, "local": {false, false}, "nobody": {false, false},
	} {
		who, err := p.Person(ctx, id)
		if err != nil || who.Active != want[0] || who.ID != id {
			t.Errorf("%s: %+v, %v", id, who, err)
		}
		if ok, err := p.MayApprove(ctx, who, "acme", "write:policy"); err != nil || ok != want[1] {
			t.Errorf("%s may approve: %v, %v", id, ok, err)
		}
	}
	if who, _ := p.Person(ctx, "ann"); who.Mail != "ann@x.example" {
		t.Errorf("%+v", who)
	}
}

func TestRules(t *testing.T) {
	info := func(p rbac.Permission) rbac.Info { i, _ := rbac.Lookup(p); return i }
	for _, c := range []struct {
		rules approval.Rules
		p     rbac.Permission
		want  bool
	}{
		{nil, "write:policy", false}, {approval.Rules{"*"}, "write:policy", true}, {approval.Rules{"*"}, "write:team", false}, {approval.Rules{"write:team"}, "write:team", true},
		{approval.Rules{"*", "read:policy"}, "read:policy", false}, {approval.Rules{"*", "approve:change"}, "approve:change", false}, {approval.Rules{"*:policy"}, "delete:policy", true},
		{approval.Rules{"*:policy"}, "write:config", false},
		// Who is in a group has its roles: bindings that wait would be gone around by a group.
		{approval.Rules{"write:binding"}, "write:group", true}, {approval.Rules{"*:binding"}, "write:group", true}, {approval.Rules{"*"}, "write:group", true}, {approval.Rules{"*:policy"}, "write:group", false},
		{approval.Rules{"*"}, "write:credential", true}, {approval.Rules{"*"}, "delete:credential", true},
	} {
		if got := c.rules.Hold(info(c.p)); got != c.want {
			t.Errorf("%v %s: %v", c.rules, c.p, got)
		}
	}
	for _, bad := range []string{"", "read:policy", "write:polcy", "approve:change", "*:team"} {
		if (approval.Rules{bad}).Check() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := (approval.Rules{"*", "write:team", "*:policy"}).Check(); err != nil {
		t.Error(err)
	}
}
