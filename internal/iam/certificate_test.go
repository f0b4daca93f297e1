package iam_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/roster"
	docstore "sallyport.dev/sallyport/internal/store/memory"
)

// directoryStore is a store of the directory that may go away, and counts what it is asked.
type directoryStore struct {
	docstore.Documents
	gone  bool
	asked int
}

func (d *directoryStore) Changes(ctx context.Context, at document.Position, limit int) ([]document.Doc, document.Position, error) {
	if d.asked++; d.gone {
		return nil, at, errors.New("away")
	}
	return d.Documents.Changes(ctx, at, limit)
}

// certificateHouse is a house with a directory whose programs are known by certificates.
type certificateHouse struct {
	*house
	t    *testing.T
	docs *directoryStore
	m    *mirror.Mirror
	who  *iam.IAM
}

func newCertificateHouse(t *testing.T) *certificateHouse {
	t.Helper()
	h := &certificateHouse{house: newHouse(t), t: t, docs: &directoryStore{}}
	h.m = mirror.New(h.docs, h.clock, nil)
	r := roster.New(h.m)
	for _, id := range []string{"acme", "other"} {
		store(h, directory.Tenant{ID: id, Name: id})
	}
	chats := directory.Scopes{Upstreams: []string{"openai"}, Endpoints: []string{"chat.*"}, Models: []string{"gpt-5*"}}
	spiffe := func(ids ...string) (out []directory.Subject) {
		for _, id := range ids {
			out = append(out, directory.Subject{Issuer: "spiffe", Subject: "spiffe://" + id})
		}
		return out
	}
	store(h, directory.Service{ID: "service_one", Tenant: "acme", Name: "one", Team: "team_t", Subjects: spiffe("prod.example/one"), Scopes: chats})
	store(h, directory.Agent{ID: "agent_ns", Tenant: "acme", Name: "ns", Subjects: spiffe("prod.example/ns/agents/sa/*", "prod.example/ns/agents/sa/planner"), Scopes: chats})
	store(h, directory.Service{ID: "service_empty", Tenant: "acme", Name: "empty", Subjects: spiffe("prod.example/empty")})
	store(h, directory.Service{ID: "service_half", Tenant: "acme", Name: "half", Subjects: spiffe("prod.example/half"), Scopes: directory.Scopes{Upstreams: []string{"*"}, Endpoints: []string{"*"}}})
	// Two say the same of themselves, in different words, and in different tenants.
	store(h, directory.Service{ID: "service_x", Tenant: "acme", Name: "x", Subjects: spiffe("prod.example/shared/a*"), Scopes: chats})
	store(h, directory.Service{ID: "service_y", Tenant: "other", Name: "y", Subjects: spiffe("prod.example/shared/*"), Scopes: chats})
	var err error
	h.who, err = iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: openStore(t, h.dir).Keys(), Now: h.clock, Roster: r})
	if err != nil {
		t.Fatal(err)
	}
	h.see()
	return h
}

func store[T document.Entity](h *certificateHouse, v T) {
	h.t.Helper()
	if _, err := document.Insert(ctx, &h.docs.Documents, v); err != nil {
		h.t.Fatal(err)
	}
}

func edit[T document.Entity](h *certificateHouse, id string, f func(*T)) {
	h.t.Helper()
	if _, _, _, err := document.Update(ctx, h.docs, id, 0, func(v *T) error { f(v); return nil }); err != nil {
		h.t.Fatal(err)
	}
	h.see()
}

func (h *certificateHouse) see() {
	h.t.Helper()
	if err := h.m.Refresh(ctx); err != nil {
		h.t.Fatal(err)
	}
}

// by makes a call with a certificate alone and returns why it is refused.
func (h *certificateHouse) by(id string) (*gate.Exchange, string) {
	h.t.Helper()
	x := call("")
	x.Peer = id
	for _, s := range []gate.Stage{h.who.Authenticate(), h.who.Authorize(), h.who.Data()} {
		d, err := s.Admit(ctx, x)
		if err != nil {
			h.t.Fatal(err)
		}
		if d.Denied() {
			return x, d.Reason
		}
	}
	return x, ""
}

// A certificate alone is an identity where the directory says exactly one service or agent of it.
func TestACertificateAlone(t *testing.T) {
	h := newCertificateHouse(t)
	x, bad := h.by("spiffe://prod.example/one")
	if p := x.Record.Principal; bad != "" || p.Kind != "service" || p.ID != "spiffe:spiffe://prod.example/one" || p.Name != "one" || p.Holder != "service_one" || p.Tenant != "acme" || p.Team != "team_t" || p.Grant != nil {
		t.Errorf("%s %+v", bad, p)
	}
	// One by itself and by a pattern is still one.
	for _, id := range []string{"spiffe://prod.example/ns/agents/sa/planner", "spiffe://prod.example/ns/agents/sa/writer"} {
		if x, bad := h.by(id); bad != "" || x.Principal.Kind != "agent" || x.Principal.Holder != "agent_ns" || x.Principal.ID != "spiffe:"+id {
			t.Errorf("%s: %s %+v", id, bad, x.Principal)
		}
	}
	for id, why := range map[string]string{
		"":                                       "no key",
		"spiffe://prod.example/two":              "no key, and no service or agent has this SPIFFE id",
		"spiffe://prod.example/ns/agents/sa/a/b": "no key, and no service or agent has this SPIFFE id",
		"spiffe://prod.example/ns/agents/sa":     "no key, and no service or agent has this SPIFFE id",
		"spiffe://evil.example/one":              "no key, and no service or agent has this SPIFFE id",
		"spiffe://prod.example.evil/one":         "no key, and no service or agent has this SPIFFE id",
		"spiffe://prod.example/ONE":              "no key, and no service or agent has this SPIFFE id",
		"spiffe://prod.example/shared/ab":        "more than one service or agent has this SPIFFE id",
		"spiffe://prod.example/empty":            "upstream outside the key's scope",
		"spiffe://prod.example/half":             "model outside the key's scope",
	} {
		if x, bad := h.by(id); bad != why {
			t.Errorf("%s: %q, want %q", id, bad, why)
		} else if x.Principal.Grant != nil && bad != "upstream outside the key's scope" && bad != "model outside the key's scope" {
			t.Errorf("%s: refused, with a grant", id)
		}
	}
	if _, bad := h.by("spiffe://prod.example/shared/b"); bad != "" {
		t.Errorf("one of two patterns: %s", bad)
	}
	// A credential that is wrong is not made up for by a certificate.
	for _, cred := range []string{"sp_live_wrong", "nonsense"} {
		x := call(cred)
		x.Peer = "spiffe://prod.example/one"
		if d, err := h.who.Authenticate().Admit(ctx, x); err != nil || !d.Denied() {
			t.Errorf("%s: %+v %v", cred, d, err)
		}
	}
	// Other limits are those of the scopes.
	x, _ = h.by("spiffe://prod.example/one")
	x.Upstream = "anthropic"
	if d, _ := h.who.Authorize().Admit(ctx, x); !d.Denied() {
		t.Error("another upstream")
	}
}

// What the directory says later counts from the next look at it.
func TestACertificateIsTakenAway(t *testing.T) {
	h := newCertificateHouse(t)
	const one = "spiffe://prod.example/one"
	if _, bad := h.by(one); bad != "" {
		t.Fatal(bad)
	}
	edit(h, "service_one", func(s *directory.Service) { s.Disabled = true })
	if _, bad := h.by(one); bad != "service is disabled" {
		t.Error(bad)
	}
	edit(h, "service_one", func(s *directory.Service) { s.Disabled, s.Scopes.Models = false, []string{"gpt-4"} })
	if _, bad := h.by(one); bad != "model outside the key's scope" {
		t.Errorf("narrower scopes: %q", bad)
	}
	edit(h, "service_one", func(s *directory.Service) { s.Scopes.Models = []string{"*"} })
	if _, bad := h.by(one); bad != "" {
		t.Error(bad)
	}
	store(h, directory.Agent{ID: "agent_two", Tenant: "other", Name: "two", Subjects: []directory.Subject{{Issuer: "spiffe", Subject: "spiffe://prod.example/on*"}}})
	h.see()
	if _, bad := h.by(one); bad != "more than one service or agent has this SPIFFE id" {
		t.Errorf("two have it: %q", bad)
	}
	// It is nobody's while two have it, also when one of them is switched off.
	edit(h, "agent_two", func(a *directory.Agent) { a.Disabled = true })
	if _, bad := h.by(one); bad != "more than one service or agent has this SPIFFE id" {
		t.Error(bad)
	}
	edit(h, "agent_two", func(a *directory.Agent) { a.Subjects = nil })
	edit(h, "acme", func(t *directory.Tenant) { t.Disabled = true })
	if _, bad := h.by(one); bad != "tenant is disabled" {
		t.Error(bad)
	}
	edit(h, "acme", func(t *directory.Tenant) { t.Disabled = false })
	edit(h, "service_one", func(s *directory.Service) { s.Subjects = nil })
	if _, bad := h.by(one); bad != "no key, and no service or agent has this SPIFFE id" {
		t.Error(bad)
	}
}

// A call asks no database and makes no identity anew; who is known goes on without the database, for as
// long as keys do.
func TestACertificateOnTheHotPath(t *testing.T) {
	h := newCertificateHouse(t)
	const planner = "spiffe://prod.example/ns/agents/sa/planner"
	x, bad := h.by(planner)
	if bad != "" {
		t.Fatal(bad)
	}
	first, asked := x.Principal.Grant, h.docs.asked
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				x := &gate.Exchange{Header: http.Header{}, Peer: planner}
				if n%4 == 3 {
					x.Peer = fmt.Sprintf("spiffe://prod.example/ns/agents/sa/w%d-%d", i, n)
				}
				if d, err := h.who.Authenticate().Admit(ctx, x); err != nil || d.Denied() || x.Peer == planner && x.Principal.Grant != first {
					t.Errorf("%+v %v", d, err)
				}
			}
		})
	}
	wg.Wait()
	if h.docs.asked != asked {
		t.Errorf("%d questions to the store", h.docs.asked-asked)
	}
	h.docs.gone = true
	h.advance(29 * time.Second)
	if _, bad := h.by(planner); bad != "" {
		t.Error(bad)
	}
	h.advance(2 * time.Second)
	z := call("")
	z.Peer = planner
	if d, err := h.who.Authenticate().Admit(ctx, z); err == nil {
		t.Errorf("an old directory is believed: %+v", d)
	}
}
