package roster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/roster"
	"sallyport.dev/sallyport/internal/store/memory"
)

var ctx = context.Background()

// away is a store that may not answer.
type away struct {
	memory.Documents
	err error
}

func (a *away) Changes(ctx context.Context, at document.Position, limit int) ([]document.Doc, document.Position, error) {
	if a.err != nil {
		return nil, at, a.err
	}
	return a.Documents.Changes(ctx, at, limit)
}

type house struct {
	t     *testing.T
	store *away
	m     *mirror.Mirror
	r     *roster.Roster
	now   time.Time
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, store: &away{}, now: time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC)}
	h.m = mirror.New(h.store, func() time.Time { return h.now }, nil)
	h.r = roster.New(h.m)
	for _, id := range []string{"acme", "other"} {
		put(h, directory.Tenant{ID: id, Name: id})
	}
	put(h, directory.User{ID: "user_a", Tenant: "acme", UserName: "a", Active: true})
	put(h, directory.User{ID: "user_o", Tenant: "other", UserName: "o", Active: true})
	put(h, directory.Service{ID: "service_s", Tenant: "acme", Name: "s", Team: "team_t", Subjects: []directory.Subject{{Issuer: "spiffe", Subject: "spiffe://acme/s"}}})
	put(h, directory.Agent{ID: "agent_g", Tenant: "acme", Name: "g", For: []string{"user_a"}})
	put(h, directory.Team{ID: "team_t", Tenant: "acme", Name: "t", Members: []string{"user_a"}})
	h.refresh()
	return h
}

func put[T document.Entity](h *house, v T) {
	h.t.Helper()
	if _, err := document.Insert(ctx, h.store, v); err != nil {
		h.t.Fatal(err)
	}
}

func change[T document.Entity](h *house, id string, f func(*T)) {
	h.t.Helper()
	if _, _, _, err := document.Update(ctx, h.store, id, 0, func(v *T) error { f(v); return nil }); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) refresh() {
	h.t.Helper()
	if err := h.m.Refresh(ctx); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) bad(tenant, id string) string {
	h.t.Helper()
	s, err := h.r.Check(tenant, id, h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Bad
}

func TestStanding(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"", "user_a", "service_s", "agent_g"} {
		if bad := h.bad("acme", id); bad != "" {
			t.Errorf("%q: %s", id, bad)
		}
	}
	for name, c := range map[string][2]string{
		"a tenant that is not there":    {"nowhere", ""},
		"a principal that is not there": {"acme", "user_x"},
		"a principal of another tenant": {"acme", "user_o"},
	} {
		if h.bad(c[0], c[1]) == "" {
			t.Errorf("%s is in good standing", name)
		}
	}
	for name, c := range map[string]struct {
		id string
		f  func()
	}{
		"deprovisioned":      {"user_a", func() { change(h, "user_a", func(u *directory.User) { u.Active = false }) }},
		"a service is off":   {"service_s", func() { change(h, "service_s", func(s *directory.Service) { s.Disabled = true }) }},
		"an agent is off":    {"agent_g", func() { change(h, "agent_g", func(a *directory.Agent) { a.Disabled = true }) }},
		"the tenant is off":  {"", func() { change(h, "acme", func(t *directory.Tenant) { t.Disabled = true }) }},
		"the person is gone": {"user_o", func() { _ = h.store.Write(ctx, func(tx document.Tx) error { return tx.Delete(ctx, "user", "user_o") }) }},
	} {
		c.f()
		h.refresh()
		tenant := "acme"
		if c.id == "user_o" {
			tenant = "other"
		}
		if h.bad(tenant, c.id) == "" {
			t.Errorf("%s: in good standing", name)
		}
	}
}

func TestTeamsAndSubjects(t *testing.T) {
	h := newHouse(t)
	s, err := h.r.Check("acme", "user_a", h.now)
	if err != nil || s.Kind != directory.KindUser || len(s.Teams) != 1 || s.Teams[0] != "team_t" {
		t.Errorf("%+v, %v", s, err)
	}
	s, ok, err := h.r.BySubject(directory.Subject{Issuer: "spiffe", Subject: "spiffe://acme/s"}, h.now)
	if err != nil || !ok || s.ID != "service_s" || s.Tenant != "acme" || s.Team != "team_t" {
		t.Errorf("%+v, %v, %v", s, ok, err)
	}
	if _, ok, _ := h.r.BySubject(directory.Subject{Issuer: "https://idp", Subject: "spiffe://acme/s"}, h.now); ok {
		t.Error("the subject of another issuer")
	}
	// Two programs with one subject cannot be told apart: what was known stays, and grows old.
	put(h, directory.Agent{ID: "agent_x", Tenant: "acme", Name: "x", Subjects: []directory.Subject{{Issuer: "spiffe", Subject: "spiffe://acme/s"}}})
	if err := h.m.Refresh(ctx); err == nil {
		t.Error("two programs have one subject")
	}
}

func TestAgentsActForWhomTheyMay(t *testing.T) {
	h := newHouse(t)
	if !h.r.MayActFor("agent_g", "user_a") || h.r.MayActFor("agent_g", "user_o") || h.r.MayActFor("service_s", "user_a") {
		t.Error("who may act for whom")
	}
	change(h, "agent_g", func(a *directory.Agent) { a.For = []string{"*"} })
	h.refresh()
	if h.r.MayActFor("agent_g", "user_o") {
		t.Error("for somebody of another tenant")
	}
	change(h, "user_a", func(u *directory.User) { u.Active = false })
	h.refresh()
	if h.r.MayActFor("agent_g", "user_a") {
		t.Error("for somebody who left")
	}
}

func TestTheStoreIsAway(t *testing.T) {
	h := newHouse(t)
	h.store.err = errors.New("connection refused")
	if err := h.m.Refresh(ctx); err == nil {
		t.Fatal("refreshed")
	}
	h.now = h.now.Add(mirror.MaxAge)
	if h.bad("acme", "user_a") != "" {
		t.Error("what is known is not served")
	}
	h.now = h.now.Add(time.Nanosecond)
	if _, err := h.r.Check("acme", "user_a", h.now); gate.FailureOf(err) != gate.FailIdentity {
		t.Errorf("%v", err)
	}
	h.store.err = nil
	change(h, "user_a", func(u *directory.User) { u.Active = false })
	h.refresh()
	if h.bad("acme", "user_a") == "" {
		t.Error("what changed meanwhile was missed")
	}
}
