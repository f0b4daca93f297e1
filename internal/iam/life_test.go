package iam_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/secret"
)

// After any series of rotations, while a grace lasts the newest two secrets work, and after it
// exactly the newest.
func TestRotation(t *testing.T) {
	h := newHouse(t)
	rapid.Check(t, func(rt *rapid.T) {
		id, first := h.create(t, iam.NewKey{})
		secrets := []string{first}
		var until time.Time
		works := func() (n []int) {
			for i, s := range secrets {
				if code, _, _ := admit(t, h.IAM, call(s)); code == "" {
					n = append(n, i)
				} else if code != gate.CodeInvalidKey {
					rt.Fatalf("refused with %s", code)
				}
			}
			return n
		}
		for range rapid.IntRange(1, 5).Draw(rt, "rotations") {
			grace := time.Duration(rapid.IntRange(0, 3).Draw(rt, "grace")) * time.Hour
			_, s, err := h.admin.Rotate(ctx, id, grace)
			if err != nil {
				rt.Fatal(err)
			}
			if err := h.Refresh(ctx); err != nil {
				rt.Fatal(err)
			}
			secrets, until = append(secrets, s.Reveal()), h.clock().Add(grace)
			for range 2 {
				want := 1
				if h.clock().Before(until) {
					want = 2
				}
				got := works()
				if len(got) != want || got[want-1] != len(secrets)-1 || got[0] < len(secrets)-2 {
					rt.Fatalf("of %d secrets %v work, want the last %d", len(secrets), got, want)
				}
				h.advance(time.Duration(rapid.IntRange(0, 100).Draw(rt, "minutes")) * time.Minute)
				if err := h.Refresh(ctx); err != nil {
					rt.Fatal(err)
				}
			}
		}
		h.set(until) // the last moment of the grace is over
		if until.Before(h.clock()) {
			h.set(h.clock())
		}
		if err := h.Refresh(ctx); err != nil {
			rt.Fatal(err)
		}
		if got := works(); len(got) != 1 || got[0] != len(secrets)-1 {
			rt.Fatalf("after the grace %v of %d work", got, len(secrets))
		}
	})
}

// A revocation through another handle of the store, as by another process, is seen by the polling
// of Run alone. The clock is the bubble's.
func TestRevocationElsewhereIsSeenWithinTwoSeconds(t *testing.T) {
	dir := t.TempDir()
	gateway, admin := openStore(t, dir), openStore(t, dir)
	if _, err := gateway.Keys().Version(ctx); err != nil { // connections open outside the bubble
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		svc, err := iam.NewService(admin.Keys(), pepper, nil)
		if err != nil {
			t.Fatal(err)
		}
		c, tok, err := svc.Create(ctx, iam.NewKey{Name: "n", Scopes: all})
		if err != nil {
			t.Fatal(err)
		}
		m, err := iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: gateway.Keys()})
		if err != nil {
			t.Fatal(err)
		}
		run, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { m.Run(run); close(done) }()
		if code, _, _ := admit(t, m, call(tok.Reveal())); code != "" {
			t.Fatalf("refused before: %s", code)
		}
		if _, err := svc.Revoke(ctx, c.After.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1999 * time.Millisecond)
		synctest.Wait()
		if code, _, _ := admit(t, m, call(tok.Reveal())); code != gate.CodeInvalidKey {
			t.Errorf("after two seconds: %q", code)
		}
		stop()
		<-done
	})
	ks, _, err := admin.Keys().Keys(ctx) // Run noted the use when it ended
	if err != nil || len(ks) != 1 || ks[0].LastUsed.IsZero() || ks[0].LastUsed.Minute() != 0 {
		t.Errorf("%+v, %v", ks, err)
	}
}

// broken is a store that does not answer.
type broken struct{}

func (broken) Keys(context.Context) ([]iam.Key, int64, error) { return nil, 0, errors.New("no store") }
func (broken) Changed(context.Context, int64) ([]iam.Key, bool, int64, error) {
	return nil, false, 0, errors.New("no store")
}
func (broken) Version(context.Context) (int64, error) { return 0, errors.New("no store") }

// The store goes away under a running gateway: keys are served from memory for MaxAge, and then
// nobody passes, until it is back.
func TestStoreAway(t *testing.T) {
	h := newHouse(t)
	db := openStore(t, h.dir)
	m, err := iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: db.Keys(), Now: h.clock})
	if err != nil {
		t.Fatal(err)
	}
	_, tok := h.create(t, iam.NewKey{})
	if err := m.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Refresh(ctx); err == nil {
		t.Fatal("a closed store answers")
	}
	h.advance(iam.MaxAge)
	if code, _, _ := admit(t, m, call(tok)); code != "" {
		t.Errorf("refused too early: %s", code)
	}
	h.advance(time.Millisecond)
	x := call(tok)
	if _, err := m.Authenticate().Admit(ctx, x); gate.FailureOf(err) != gate.FailIdentity {
		t.Errorf("too old, and yet: %v", err)
	}
	if x.Principal.Kind != "anonymous" {
		t.Errorf("%+v", x.Principal)
	}
	// Back again: the other house's handle on the same file still answers.
	if err := h.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := admit(t, h.IAM, call(tok)); code != "" {
		t.Errorf("refused after the store came back: %s", code)
	}
}

func TestServiceRefuses(t *testing.T) {
	h := newHouse(t)
	now := h.clock()
	many := make([]string, 65)
	for i := range many {
		many[i] = "m"
	}
	for name, n := range map[string]iam.NewKey{
		"no name":               {Scopes: all},
		"a name that is a key":  {Name: "sp_live_abc", Scopes: all},
		"a name with an escape": {Name: "a\x1b[31m", Scopes: all},
		"an owner with a break": {Name: "a", Owner: "a\nb", Scopes: all},
		"no upstreams":          {Name: "a", Scopes: iam.Scopes{Endpoints: []string{"*"}, Models: []string{"*"}}},
		"no endpoints":          {Name: "a", Scopes: iam.Scopes{Upstreams: []string{"*"}, Models: []string{"*"}}},
		"no models":             {Name: "a", Scopes: iam.Scopes{Upstreams: []string{"*"}, Endpoints: []string{"*"}}},
		"an empty pattern":      {Name: "a", Scopes: iam.Scopes{Upstreams: []string{""}, Endpoints: []string{"*"}, Models: []string{"*"}}},
		"too many patterns":     {Name: "a", Scopes: iam.Scopes{Upstreams: []string{"*"}, Endpoints: []string{"*"}, Models: many}},
		"expired already":       {Name: "a", Scopes: all, Expires: now},
		"never valid":           {Name: "a", Scopes: all, NotBefore: now.Add(2 * time.Hour), Expires: now.Add(time.Hour)},
		"a range with more":     {Name: "a", Scopes: all, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8")}},
		"an empty range":        {Name: "a", Scopes: all, CIDRs: []netip.Prefix{{}}},
	} {
		if _, tok, err := h.admin.Create(ctx, n); err == nil || !tok.Empty() {
			t.Errorf("%s: made", name)
		}
	}
	if ks, err := h.admin.List(ctx); err != nil || len(ks) != 0 {
		t.Errorf("%d keys, %v", len(ks), err)
	}
	id, _ := h.create(t, iam.NewKey{})
	for _, grace := range []time.Duration{-1, iam.MaxGrace + 1} {
		if _, _, err := h.admin.Rotate(ctx, id, grace); err == nil {
			t.Errorf("grace %v accepted", grace)
		}
	}
	for _, id := range []string{"", "aaaaaaaaaaaa", "' OR 1=1 --"} {
		if _, _, err := h.admin.Rotate(ctx, id, 0); !errors.Is(err, iam.ErrNotFound) {
			t.Errorf("Rotate(%q): %v", id, err)
		}
		if _, err := h.admin.Revoke(ctx, id); !errors.Is(err, iam.ErrNotFound) {
			t.Errorf("Revoke(%q): %v", id, err)
		}
	}
	c, err := h.admin.Revoke(ctx, id)
	if err != nil || c.Action != "key.revoke" || c.Before.Status(now) != "active" || c.After.Status(now) != "revoked" {
		t.Errorf("%+v, %v", c, err)
	}
	h.advance(time.Hour)
	if again, err := h.admin.Revoke(ctx, id); err != nil || !again.After.Revoked.Equal(now) {
		t.Errorf("revoked again: %+v, %v", again.After, err)
	}
	if _, _, err := h.admin.Rotate(ctx, id, 0); !errors.Is(err, iam.ErrNotActive) {
		t.Errorf("rotated a revoked key: %v", err)
	}
	exp, _ := h.create(t, iam.NewKey{Expires: h.clock().Add(time.Hour)})
	h.advance(time.Hour)
	if _, _, err := h.admin.Rotate(ctx, exp, 0); !errors.Is(err, iam.ErrNotActive) {
		t.Errorf("rotated an expired key: %v", err)
	}
}

// Whoever holds the files, but not the pepper, holds no key.
func TestTheFilesHoldNoKey(t *testing.T) {
	h := newHouse(t)
	id, one := h.create(t, iam.NewKey{Name: "findable name"})
	_, two, err := h.admin.Rotate(ctx, id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(h.dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var dump []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		dump = append(dump, b...)
	}
	if !bytes.Contains(dump, []byte("findable name")) {
		t.Fatal("the dump does not hold the row, so the test shows nothing")
	}
	for _, tok := range []string{one, two.Reveal()} {
		sum := sha256.Sum256([]byte(tok))
		body := sha256.Sum256([]byte(tok[8:64]))
		sec := sha256.Sum256([]byte(tok[21:64]))
		for what, b := range map[string][]byte{"key": []byte(tok), "secret": []byte(tok[21:64]), "half": []byte(tok[21:42]), "plain hash": sum[:], "hash of body": body[:], "hash of secret": sec[:], "pepper": []byte(pepper.Reveal())} {
			if bytes.Contains(dump, b) {
				t.Errorf("the files hold the %s", what)
			}
		}
	}
	// Nor do the hashes work under another pepper.
	m, err := iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: secret.New("another pepper for tests"), Keys: openStore(t, h.dir).Keys(), Now: h.clock})
	if err != nil {
		t.Fatal(err)
	}
	if code, _, _ := admit(t, m, call(one)); code != gate.CodeInvalidKey {
		t.Errorf("under another pepper: %q", code)
	}
}

// A key that somebody takes out of the database by hand ends like one that is revoked, also when
// another key changes between the same two looks.
func TestKeyTakenOutByHand(t *testing.T) {
	h := newHouse(t)
	gone, goneKey := h.create(t, iam.NewKey{})
	db := openStore(t, h.dir)
	if _, err := db.SQL().Exec(`DELETE FROM keys WHERE id = ?`, gone); err != nil {
		t.Fatal(err)
	}
	_, other := h.create(t, iam.NewKey{})
	if code, _, _ := admit(t, h.IAM, call(goneKey)); code == "" {
		t.Error("it still passes")
	}
	if code, _, msg := admit(t, h.IAM, call(other)); code != "" {
		t.Error(msg)
	}
}
