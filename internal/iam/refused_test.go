package iam_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/leak"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/roster"
	"sallyport.dev/sallyport/internal/secret"
)

// with is another gateway on the same files.
func (h *house) with(t *testing.T, change func(*iam.Options)) *iam.IAM {
	t.Helper()
	o := iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: openStore(t, h.dir).Keys(), Now: h.clock}
	change(&o)
	m, err := iam.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func refused(t *testing.T, m *iam.IAM, x *gate.Exchange) bool {
	t.Helper()
	code, _, _ := admit(t, m, x)
	return code != ""
}

// A key that was published is refused before it calls anything; another with the same id is not the one.
func TestALeakedKeyIsRefused(t *testing.T) {
	h := newHouse(t)
	_, published := h.create(t, iam.NewKey{})
	_, other := h.create(t, iam.NewKey{})
	hasher, err := apikey.NewHasher(pepper)
	if err != nil {
		t.Fatal(err)
	}
	list, err := leak.Read(ctx, strings.NewReader(published+"\n"), hasher)
	if err != nil {
		t.Fatal(err)
	}
	m := h.with(t, func(o *iam.Options) { o.Leaked = list })
	if x := call(published); !refused(t, m, x) || x.Record.Principal.ID == "" {
		t.Errorf("a leaked key passes, or the record does not say whose it was: %+v", x.Record.Principal)
	}
	if refused(t, m, call(other)) {
		t.Error("another key is refused")
	}
}

// A key bound to a certificate is worth nothing without it.
func TestAKeyBoundToACertificate(t *testing.T) {
	const planner = "spiffe://prod.example/ns/agents/sa/planner"
	h := newHouse(t)
	_, key := h.create(t, iam.NewKey{Detail: iam.Detail{SPIFFE: []string{"spiffe://prod.example/ns/agents/sa/planner*"}}})
	for peer, pass := range map[string]bool{planner: true, planner + "-2": true, "": false, "spiffe://evil.example/ns/agents/sa/planner": false, planner + "/x": false, "spiffe://prod.example/ns/other/sa/planner": false} {
		x := call(key)
		x.Peer = peer
		x.Header.Set("X-Forwarded-Client-Cert", "URI="+planner)
		if refused(t, h.IAM, x) == pass {
			t.Errorf("%q: passes %v", peer, !pass)
		}
	}
}

// After the pepper was replaced nothing of before opens, not even within a grace: a rotation does not take a
// hash over that nobody can check any more.
func TestThePepperIsReplaced(t *testing.T) {
	h := newHouse(t)
	id, old := h.create(t, iam.NewKey{})
	fresh := secret.New("another pepper for tests, long enough")
	admin, err := iam.NewService(openStore(t, h.dir).Keys(), fresh, h.clock)
	if err != nil {
		t.Fatal(err)
	}
	ch, next, err := admin.Rotate(ctx, id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if ch.After.Previous != (apikey.Hash{}) || !ch.After.PreviousUntil.IsZero() {
		t.Error("a hash under another pepper was kept as the one before")
	}
	m := h.with(t, func(o *iam.Options) { o.Pepper = fresh })
	if !refused(t, m, call(old)) || refused(t, m, call(next.Reveal())) {
		t.Error("the old key passes, or the new one does not")
	}
}

// Of a revoked key no secret is left that a later mistake could bring back.
func TestARevokedKeyKeepsNoSecretBefore(t *testing.T) {
	h := newHouse(t)
	id, _ := h.create(t, iam.NewKey{})
	if _, _, err := h.admin.Rotate(ctx, id, time.Hour); err != nil {
		t.Fatal(err)
	}
	ch, err := h.admin.Revoke(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if ch.After.Previous != (apikey.Hash{}) || !ch.After.PreviousUntil.IsZero() {
		t.Errorf("%+v", ch.After)
	}
}

// recalls is a list of ended keys.
type recalls map[string]bool

func (r recalls) Recalled(id string) bool { return r[id] }

func TestARecalledKeyIsRefused(t *testing.T) {
	h := newHouse(t)
	id, key := h.create(t, iam.NewKey{})
	m := h.with(t, func(o *iam.Options) { o.Recalled = recalls{id: true} })
	if !refused(t, m, call(key)) || refused(t, h.with(t, func(o *iam.Options) { o.Recalled = recalls{} }), call(key)) {
		t.Error("a recalled key passes, or another does not")
	}
}

// The key of somebody who left, of a service that was switched off, of a tenant that was disabled.
func TestTheKeyOfWhoLeft(t *testing.T) {
	h := newHouse(t)
	docs := openStore(t, h.dir).Documents()
	mir := mirror.New(docs, h.clock, nil)
	who := roster.New(mir)
	put := func(vs ...any) {
		t.Helper()
		for _, v := range vs {
			var err error
			switch v := v.(type) {
			case directory.Tenant:
				_, err = document.Insert(ctx, docs, v)
			case directory.User:
				_, err = document.Insert(ctx, docs, v)
			case directory.Service:
				_, err = document.Insert(ctx, docs, v)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	put(directory.Tenant{ID: "acme", Name: "a"}, directory.Tenant{ID: "gone", Name: "g", Disabled: true},
		directory.User{ID: "in", Tenant: "acme", UserName: "in", Origin: "local", Active: true}, directory.User{ID: "out", Tenant: "acme", UserName: "out", Origin: "local"},
		directory.Service{ID: "off", Tenant: "acme", Name: "off", Disabled: true}, directory.User{ID: "other", Tenant: "gone", UserName: "o", Origin: "local", Active: true})
	if err := mir.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for name, n := range map[string]iam.NewKey{
		"here": {Tenant: "acme", Detail: iam.Detail{Principal: "in"}}, "nobody's": {Tenant: "acme"}, "left": {Tenant: "acme", Detail: iam.Detail{Principal: "out"}}, "off": {Tenant: "acme", Detail: iam.Detail{Principal: "off"}},
		"deleted": {Tenant: "acme", Detail: iam.Detail{Principal: "nosuch"}}, "of a disabled tenant": {Tenant: "gone"}, "of a tenant that there is not": {Tenant: "nosuch"}, "of another tenant's": {Tenant: "acme", Detail: iam.Detail{Principal: "other"}},
	} {
		_, keys[name] = h.create(t, n)
	}
	m := h.with(t, func(o *iam.Options) { o.Roster = who })
	for name, key := range keys {
		if pass := name == "here" || name == "nobody's"; refused(t, m, call(key)) == pass {
			t.Errorf("%s: passes %v", name, !pass)
		}
	}
	// What is known of people is too old: nobody is let in by it.
	h.advance(time.Minute)
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Authenticate().Admit(ctx, call(keys["here"])); gate.FailureOf(err) != gate.FailIdentity {
		t.Errorf("%v", err)
	}
}

// slow is a store that takes its time to answer.
type slow struct {
	iam.KeyReader
	before func()
}

func (s slow) Version(ctx context.Context) (int64, error) {
	v, err := s.KeyReader.Version(ctx)
	s.before()
	return v, err
}

// An answer that took long says how things were when it was asked for.
func TestAnAnswerThatTookLong(t *testing.T) {
	h := newHouse(t)
	_, key := h.create(t, iam.NewKey{})
	took := time.Duration(0)
	m := h.with(t, func(o *iam.Options) {
		o.Keys = slow{o.Keys, func() { h.advance(took) }}
	})
	took = iam.MaxAge + time.Second
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Authenticate().Admit(ctx, call(key)); gate.FailureOf(err) != gate.FailIdentity {
		t.Errorf("an answer of %v ago serves: %v", took, err)
	}
}
