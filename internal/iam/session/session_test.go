package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/memory"
)

var epoch = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time      { return epoch.Add(time.Duration(c.at.Load())) }
func (c *clock) add(d time.Duration) { c.at.Add(int64(d)) }
func start(user string) session.Start {
	return session.Start{User: user, Tenant: "acme", AMR: []string{"pwd", "otp"}, Addr: netip.MustParseAddr("::ffff:192.0.2.7"), Agent: "Firefox"}
}

func open(t *testing.T) (*session.Sessions, *memory.Documents, *clock) {
	c, store := &clock{}, &memory.Documents{}
	m, err := session.New(session.Options{Store: store, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return m, store, c
}

func create(t *testing.T, m *session.Sessions, user string) (session.Session, secret.String) {
	t.Helper()
	s, tok, err := m.Create(t.Context(), start(user))
	if err != nil {
		t.Fatal(err)
	}
	return s, tok
}

func dead(t *testing.T, m *session.Sessions, tok secret.String, why string) {
	t.Helper()
	if _, err := m.Find(t.Context(), tok); !errors.Is(err, session.ErrNone) {
		t.Errorf("%s: still alive (%v)", why, err)
	}
	if _, _, err := m.Rotate(t.Context(), tok); !errors.Is(err, session.ErrNone) {
		t.Errorf("%s: can be rotated (%v)", why, err)
	}
	if _, _, err := m.StepUp(t.Context(), tok, []string{"pwd"}); !errors.Is(err, session.ErrNone) {
		t.Errorf("%s: can be stepped up (%v)", why, err)
	}
}

func TestTheTokenIsNotAtRest(t *testing.T) {
	m, store, _ := open(t)
	s, tok := create(t, m, "u")
	ds, err := store.List(t.Context(), document.Query{Kind: session.Kind})
	if err != nil || len(ds) != 1 || strings.Contains(fmt.Sprint(ds, string(ds[0].Body)), tok.Reveal()) {
		t.Fatalf("%v %v", ds, err)
	}
	dead(t, m, secret.New(s.Hash), "the hash")
	dead(t, m, secret.New(s.ID), "the id")
	dead(t, m, secret.String{}, "nothing")
	dead(t, m, secret.New(strings.Repeat("A", 43)), "a planted token")
	if got, err := m.Find(t.Context(), tok); err != nil || got.User != "u" || got.Addr != "192.0.2.7" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestIdleEnd(t *testing.T) {
	m, _, c := open(t)
	_, tok := create(t, m, "u")
	for range 5 {
		c.add(session.Idle - time.Second)
		if _, err := m.Find(t.Context(), tok); err != nil {
			t.Fatal(err)
		}
	}
	c.add(session.Idle)
	dead(t, m, tok, "idle")
}

func TestAbsoluteEnd(t *testing.T) {
	m, _, c := open(t)
	_, tok := create(t, m, "u")
	for c.add(20 * time.Minute); c.now().Before(epoch.Add(session.Absolute)); c.add(20 * time.Minute) {
		if _, err := m.Find(t.Context(), tok); err != nil {
			t.Fatal(c.now(), err)
		}
		var err error
		if _, tok, err = m.StepUp(t.Context(), tok, []string{"otp"}); err != nil { // does not prolong
			t.Fatal(err)
		}
	}
	dead(t, m, tok, "12 h")
	if n, err := m.Sweep(t.Context(), nil); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

func TestRotationKillsTheOldTokenAtOnce(t *testing.T) {
	m, _, c := open(t)
	a, old := create(t, m, "u")
	b, tok, err := m.Rotate(t.Context(), old)
	if err != nil || a.ID != b.ID {
		t.Fatal(err)
	}
	dead(t, m, old, "rotated")
	c.add(6 * time.Minute)
	if b.IsFresh(c.now()) {
		t.Error("fresh after 6 minutes")
	}
	up, next, err := m.StepUp(t.Context(), tok, []string{"otp"})
	if err != nil || !up.IsFresh(c.now()) || up.Auth != c.now() || up.Created != a.Created {
		t.Fatalf("%+v %v", up, err)
	}
	dead(t, m, tok, "stepped up")
	if _, _, err := m.StepUp(t.Context(), next, nil); err == nil {
		t.Error("stepped up with no proof")
	}
	if _, err := m.Find(t.Context(), next); err != nil {
		t.Error(err)
	}
}

func TestOfManyRotationsOneWins(t *testing.T) {
	m, _, _ := open(t)
	_, tok := create(t, m, "u")
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := m.Rotate(context.Background(), tok); err == nil {
				won.Add(1)
			} else if !errors.Is(err, session.ErrNone) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Error(won.Load())
	}
}

func TestUseIsWrittenOnceAMinute(t *testing.T) {
	m, store, c := open(t)
	_, tok := create(t, m, "u")
	for range 180 {
		c.add(time.Second)
		if _, err := m.Find(t.Context(), tok); err != nil {
			t.Fatal(err)
		}
	}
	ds, _ := store.List(t.Context(), document.Query{Kind: session.Kind})
	if ds[0].Revision != 4 {
		t.Errorf("%d writes in 3 minutes", ds[0].Revision-1)
	}
}

func TestListAndRevoke(t *testing.T) {
	m, _, c := open(t)
	a, tokA := create(t, m, "u")
	b, tokB := create(t, m, "u")
	_, tokC := create(t, m, "u")
	_, other := create(t, m, "v")
	if l, err := m.List(t.Context(), "acme", "u"); err != nil || len(l) != 3 {
		t.Fatal(l, err)
	}
	for _, who := range [][2]string{{"acme", "v"}, {"evil", "u"}} {
		if err := m.Revoke(t.Context(), who[0], who[1], a.ID); !errors.Is(err, session.ErrNone) {
			t.Errorf("%v ends a session of another: %v", who, err)
		}
	}
	if err := m.Revoke(t.Context(), "acme", "u", a.ID); err != nil {
		t.Fatal(err)
	}
	dead(t, m, tokA, "revoked")
	if n, err := m.RevokeAll(t.Context(), "acme", "u", b.ID); n != 1 || err != nil {
		t.Error(n, err)
	}
	dead(t, m, tokC, "all revoked")
	for _, tok := range []secret.String{tokB, other} {
		if _, err := m.Find(t.Context(), tok); err != nil {
			t.Error(err)
		}
	}
	c.add(session.Idle)
	if l, _ := m.List(t.Context(), "acme", "u"); len(l) != 0 {
		t.Error("ended sessions are listed")
	}
}

func TestAHostileUserAgent(t *testing.T) {
	m, _, _ := open(t)
	in := start("u")
	in.Agent = "\x1b[2J\r\nSet-Cookie: x\u202e\xff" + strings.Repeat("ü", 1<<20)
	s, _, err := m.Create(t.Context(), in)
	if err != nil || len(s.Agent) > 200 || !utf8.ValidString(s.Agent) || strings.ContainsAny(s.Agent, "\x1b\r\n\u202e\ufffd") {
		t.Errorf("%q %v", s.Agent, err)
	}
	for _, in := range []session.Start{{}, {User: "u", Tenant: "t"}, {User: "u", AMR: []string{"pwd"}}, {Tenant: "t", AMR: []string{"pwd"}}} {
		if _, _, err := m.Create(t.Context(), in); err == nil {
			t.Errorf("%+v gets a session", in)
		}
	}
}

func TestAFailureOfTheStoreIsNoAnswer(t *testing.T) {
	m, _, _ := open(t)
	_, tok := create(t, m, "u")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Find(ctx, tok); err == nil || errors.Is(err, session.ErrNone) {
		t.Errorf("%v", err)
	}
}

func TestCookies(t *testing.T) {
	c := session.Cookie(secret.New("tok"), true)
	if got := c.String(); got != "__Host-sallyport=tok; Path=/; HttpOnly; Secure; SameSite=Lax" {
		t.Error(got)
	}
	if p := session.Cookie(secret.New("tok"), false); p.Secure || strings.HasPrefix(p.Name, "__") || !p.HttpOnly || p.SameSite != http.SameSiteLaxMode {
		t.Error(p)
	}
	if session.ClearCookie(true).MaxAge >= 0 {
		t.Error("not cleared")
	}
	for header, want := range map[string]string{"__Host-sallyport=a": "a", "": "", "sallyport-loopback=a": "", "__Host-sallyport=a; __Host-sallyport=b": "", "__Host-sallyport=": ""} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", header)
		if tok, ok := session.Token(r, true); tok.Reveal() != want || ok != (want != "") {
			t.Errorf("%q: %v", header, ok)
		}
	}
}
