package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/internal/store/postgres"
	"sallyport.dev/sallyport/internal/store/storetest"
)

// patience is what a test on a busy machine allows beyond a deadline.
const patience = 5 * time.Second

// back does something until it passes, or has failed for long: a call that meets a connection of before an
// outage errs.
func back(f func() error) (err error) {
	for end := time.Now().Add(2 * patience); time.Now().Before(end); {
		if err = f(); err == nil || errors.Is(err, document.ErrExists) || errors.Is(err, iam.ErrExists) {
			return err
		}
	}
	return err
}

// The server is killed with kill -9 within a transaction that has written: it was never made, and the same handle
// goes on when the server is back.
func TestKilledWithinAWrite(t *testing.T) {
	srv := pgtest.Start(t)
	db := open(t, srv.Database(t))
	s := db.Documents()
	runs := 0
	if err := putUser(s, ctx, "before", &runs); err != nil {
		t.Fatal(err)
	}
	slow, err := throttle.New(db.Tries(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	try := throttle.Try{Account: "a", Addr: netip.MustParseAddr("192.0.2.1")}
	runs = 0
	err = s.Write(ctx, func(tx document.Tx) error {
		runs++
		if _, err := tx.Put(ctx, document.Doc{Kind: "user", ID: "half", Body: []byte("1")}); err != nil {
			return err
		}
		if runs == 1 {
			srv.Kill9(t)
		}
		_, err := tx.Put(ctx, document.Doc{Kind: "user", ID: "other", Body: []byte("1")})
		return err
	})
	if err == nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
	if _, ok, err := slow.Allow(ctx, try); ok || err == nil {
		t.Errorf("a try while the server is gone: %v, %v", ok, err)
	}
	if _, err := s.Purge(ctx, time.Hour, nil); err == nil {
		t.Error("purged while the server is gone")
	}
	srv.Restart(t)
	if err := back(func() error { return putUser(s, ctx, "after", &runs) }); err != nil {
		t.Fatal(err)
	}
	ds, _, err := s.Changes(ctx, document.Position{}, 0)
	if err != nil || len(ds) != 2 || ds[0].ID != "before" || ds[1].ID != "after" || ds[1].Revision != 2 {
		t.Errorf("%+v, %v", ds, err)
	}
	if err := back(func() error {
		_, ok, err := slow.Allow(ctx, try)
		if err == nil && !ok {
			t.Error("a try is refused when it is back")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// Killed again and again while it purges: a follower that comes back has what the table has, and the purge
// comes to its end.
func TestKilledWhilePurging(t *testing.T) {
	srv := pgtest.Start(t)
	db := open(t, srv.Database(t))
	c := storetest.NewClock()
	db.Clock(c.Now)
	s := db.Documents()
	const n = 6 * document.PurgeBatch
	fill := func(f func(tx document.Tx, id string) error) {
		t.Helper()
		if err := s.Write(ctx, func(tx document.Tx) error {
			for i := range n {
				if err := f(tx, fmt.Sprint("u", i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	fill(func(tx document.Tx, id string) error {
		_, err := tx.Put(ctx, document.Doc{Kind: "user", ID: id, Body: []byte("1")})
		return err
	})
	_, follower, err := s.Changes(ctx, document.Position{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	fill(func(tx document.Tx, id string) error { return tx.Delete(ctx, "user", id) })
	left := func() (k int) {
		t.Helper()
		if err := back(func() error {
			return db.SQL().QueryRow(`SELECT count(*) FROM documents WHERE deleted = 1`).Scan(&k)
		}); err != nil {
			t.Fatal(err)
		}
		return k
	}
	if _, err := s.Purge(ctx, time.Hour, nil); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for round := 0; left() > 0; round++ {
		if round == 20 {
			t.Fatalf("%d are left after %d purges", left(), round)
		}
		c.Advance(2 * time.Hour)
		ended := make(chan error, 1)
		go func() { _, err := s.Purge(ctx, time.Hour, nil); ended <- err }()
		if round < 3 {
			for before := n; left() >= before; { // somewhere within
				select {
				case err := <-ended:
					ended <- err
					before = n + 1
				default:
				}
			}
			srv.Kill9(t)
			if err := <-ended; err != nil {
				killed++
			}
			srv.Restart(t)
		} else if err := <-ended; err != nil {
			t.Log(err) // a connection of before
		}
		// What is gone was announced before it went.
		gone := n - left()
		err := back(func() error {
			_, _, err := s.Changes(ctx, follower, 0)
			if errors.Is(err, document.ErrGap) {
				gone = 0
				return nil
			}
			return err
		})
		if err != nil || gone > 0 {
			t.Fatalf("%d are gone, and a follower is not told: %v", gone, err)
		}
	}
	t.Logf("%d purges were killed", killed)
}

// A server that stands still with its connections open: every call ends when its caller's time is over, or the
// store's own where the caller has set none, and all goes on when the server does.
func TestStalledServer(t *testing.T) {
	srv := pgtest.Start(t)
	db := open(t, srv.Database(t))
	s, keys := db.Documents(), db.Keys()
	runs := 0
	if err := putUser(s, ctx, "a", &runs); err != nil {
		t.Fatal(err)
	}
	if err := keys.Insert(ctx, iam.Key{ID: "aaaaaaaaaaaa"}); err != nil {
		t.Fatal(err)
	}
	slow, err := throttle.New(db.Tries(), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	stalled := false
	calls := map[string]func(context.Context) error{
		"get":     func(ctx context.Context) error { _, err := s.Get(ctx, "user", "a"); return err },
		"changes": func(ctx context.Context) error { _, _, err := s.Changes(ctx, document.Position{}, 0); return err },
		"write":   func(ctx context.Context) error { var n int; return putUser(s, ctx, "b", &n) },
		"purge":   func(ctx context.Context) error { _, err := s.Purge(ctx, time.Hour, nil); return err },
		"version": func(ctx context.Context) error { _, err := keys.Version(ctx); return err },
		"keys":    func(ctx context.Context) error { _, _, err := keys.Keys(ctx); return err },
		"revoke": func(ctx context.Context) error {
			_, err := keys.Update(ctx, "aaaaaaaaaaaa", func(k *iam.Key) error { k.Revoked = time.Now(); return nil })
			return err
		},
		"insert": func(ctx context.Context) error { return keys.Insert(ctx, iam.Key{ID: "bbbbbbbbbbbb"}) },
		"used": func(ctx context.Context) error {
			return keys.Used(ctx, map[string]time.Time{"aaaaaaaaaaaa": time.Now()})
		},
		"try": func(ctx context.Context) error {
			_, ok, err := slow.Allow(ctx, throttle.Try{Account: "a"})
			if ok && stalled {
				t.Error("a try is allowed while it cannot be counted")
			}
			return err
		},
		"sweep": func(ctx context.Context) error { _, err := slow.Sweep(ctx); return err },
	}
	srv.Stall(t)
	stalled = true
	var wg sync.WaitGroup
	all := func(ctx context.Context, limit time.Duration) {
		for what, f := range calls {
			wg.Go(func() {
				begin := time.Now()
				err := f(ctx)
				if took := time.Since(begin); err == nil || took > limit+patience {
					t.Errorf("%s, with %v: %v after %v", what, limit, err, took)
				}
			})
		}
		wg.Wait()
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	all(short, time.Second)
	all(ctx, 15*time.Second) // nobody set a time
	srv.Resume(t)
	stalled = false
	for what, f := range calls {
		if err := back(func() error { return f(ctx) }); err != nil && !errors.Is(err, document.ErrExists) && !errors.Is(err, iam.ErrExists) {
			t.Errorf("%s, when the server goes on: %v", what, err)
		}
	}
}

// The server stands still when a transaction is about to be committed: its caller's time ends that too.
func TestStalledAtTheCommit(t *testing.T) {
	srv := pgtest.Start(t)
	s := open(t, srv.Database(t)).Documents()
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	begin, runs := time.Now(), 0
	err := s.Write(short, func(tx document.Tx) error {
		runs++
		_, err := tx.Put(ctx, document.Doc{Kind: "user", ID: "a", Body: []byte("1")})
		srv.Stall(t)
		return err
	})
	if took := time.Since(begin); err == nil || runs != 1 || took > time.Second+patience {
		t.Errorf("%d runs, %v after %v", runs, err, took)
	}
	srv.Resume(t)
	if err := back(func() error { return putUser(s, ctx, "b", &runs) }); err != nil {
		t.Error(err)
	}
}

// gateway is what a gateway knows of callers, over one handle of the database.
type gateway struct {
	t     *testing.T
	now   time.Time
	db    *postgres.DB
	who   *iam.IAM
	m     *mirror.Mirror
	users *mirror.View[directory.User]
	slow  *throttle.Throttle
}

var everything = iam.Scopes{Upstreams: []string{"*"}, Endpoints: []string{"*"}, Models: []string{"*"}}

const offline = 20 * time.Second

var pepper = secret.New("a pepper for tests, long enough")

func newGateway(t *testing.T, dsn string) *gateway {
	t.Helper()
	g := &gateway{t: t, now: time.Now(), db: open(t, dsn)}
	clock := func() time.Time { return g.now }
	g.m = mirror.New(g.db.Documents(), clock, nil)
	g.m.Age(offline)
	g.users = mirror.Add[directory.User](g.m)
	var err error
	if g.who, err = iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: g.db.Keys(), Now: clock, MaxAge: offline}); err != nil {
		t.Fatal(err)
	}
	if g.slow, err = throttle.New(g.db.Tries(), make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	return g
}

// refresh asks the database, for half a second.
func (g *gateway) refresh() error {
	g.t.Helper()
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := errors.Join(g.who.Refresh(short), g.m.Refresh(short))
	if took := time.Since(begin); took > patience {
		g.t.Errorf("it asked for %v", took)
	}
	return err
}

// call says whether a key is let in; a fault is an error.
func (g *gateway) call(key secret.String) (bool, error) {
	x := &gate.Exchange{Header: http.Header{"Authorization": {"Bearer " + key.Reveal()}}, Record: &gate.Record{}}
	d, err := g.who.Authenticate().Admit(ctx, x)
	if err != nil {
		return false, err
	}
	return !d.Denied(), g.m.Check(g.now)
}

// One of two gateways is cut off from the database, the other is not. It goes on with what it knows for
// iam.offline and no longer, lets nobody sign in, and knows what was ended meanwhile with its first answer: also
// what was purged before it came back.
func TestOneGatewayCutOff(t *testing.T) {
	dsn := pgtest.DSN(t)
	for name, cut := range map[string]struct{ off, on func(*pgtest.Proxy) }{
		"bytes are lost":        {(*pgtest.Proxy).Hold, (*pgtest.Proxy).Release},
		"and connections break": {func(p *pgtest.Proxy) { p.Hold(); p.Cut() }, (*pgtest.Proxy).Release},
	} {
		t.Run(name, func(t *testing.T) {
			p := pgtest.NewProxy(t, dsn)
			a, b := newGateway(t, p.DSN()), newGateway(t, dsn)
			admin, err := iam.NewService(b.db.Keys(), pepper, nil)
			if err != nil {
				t.Fatal(err)
			}
			made, key, err := admin.Create(ctx, iam.NewKey{Name: name, Scopes: everything})
			if err != nil {
				t.Fatal(err)
			}
			_, stays, err := admin.Create(ctx, iam.NewKey{Name: "stays", Scopes: everything})
			if err != nil {
				t.Fatal(err)
			}
			id := directory.NewID("user")
			if _, err := document.Insert(ctx, b.db.Documents(), directory.User{ID: id, Tenant: "default", UserName: id, Active: true}); err != nil {
				t.Fatal(err)
			}
			lets := func(g *gateway, k secret.String, want bool) {
				t.Helper()
				if ok, err := g.call(k); err != nil || ok != want {
					t.Errorf("let in %v, want %v, %v", ok, want, err)
				}
			}
			for _, g := range []*gateway{a, b} {
				if err := g.refresh(); err != nil {
					t.Fatal(err)
				}
				lets(g, key, true)
			}
			cut.off(p)
			// The other goes on: it ends the key and the person, and their tombstones are purged.
			if _, err := admin.Revoke(ctx, made.After.ID); err != nil {
				t.Fatal(err)
			}
			docs := b.db.Documents()
			if err := docs.Write(ctx, func(tx document.Tx) error { return tx.Delete(ctx, directory.KindUser, id) }); err != nil {
				t.Fatal(err)
			}
			clock := storetest.NewClock()
			b.db.Clock(clock.Now)
			gone := 0
			for range 3 {
				clock.Advance(365 * 24 * time.Hour)
				n, err := docs.Purge(ctx, document.KeepDeleted, nil)
				if err != nil {
					t.Fatal(err)
				}
				gone += n
			}
			b.db.Clock(nil)
			if gone == 0 {
				t.Fatal("nothing was purged")
			}
			if err := b.refresh(); err != nil {
				t.Fatal(err)
			}
			lets(b, key, false)
			try := throttle.Try{Account: name, Addr: netip.MustParseAddr("192.0.2.1")}
			if _, ok, err := b.slow.Allow(ctx, try); !ok || err != nil {
				t.Errorf("a sign-in at the other: %v, %v", ok, err)
			}
			// This one knows nothing of it, and goes on for a while.
			if err := a.refresh(); err == nil {
				t.Fatal("it is not cut off")
			}
			a.now = a.now.Add(offline - time.Second)
			lets(a, key, true)
			short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			if _, ok, err := a.slow.Allow(short, try); ok || err == nil {
				t.Errorf("a sign-in while it is cut off: %v, %v", ok, err)
			}
			a.now = a.now.Add(2 * time.Second)
			var f *gate.Fault
			for _, k := range []secret.String{key, stays} {
				if ok, err := a.call(k); ok || !errors.As(err, &f) {
					t.Errorf("after %v: %v, %v", offline, ok, err)
				}
			}
			if err := a.m.Check(a.now); !errors.As(err, &f) {
				t.Errorf("the directory after %v: %v", offline, err)
			}
			cut.on(p)
			if err := back(a.refresh); err != nil { // connections that broke are made anew
				t.Fatal(err)
			}
			lets(a, key, false)
			lets(a, stays, true)
			if _, ok := a.users.Get(id); ok {
				t.Error("who was deleted, and purged, is known")
			}
			if _, ok, err := a.slow.Allow(ctx, try); !ok || err != nil {
				t.Errorf("a sign-in: %v, %v", ok, err)
			}
		})
	}
}

// A database that stands still is the same for all of them, and all of them come back with it.
func TestAllGatewaysWhileTheServerStandsStill(t *testing.T) {
	srv := pgtest.Start(t)
	dsn := srv.Database(t)
	gs := []*gateway{newGateway(t, dsn), newGateway(t, dsn)}
	admin, err := iam.NewService(gs[0].db.Keys(), pepper, nil)
	if err != nil {
		t.Fatal(err)
	}
	made, key, err := admin.Create(ctx, iam.NewKey{Name: "k", Scopes: everything})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gs {
		if err := g.refresh(); err != nil {
			t.Fatal(err)
		}
	}
	srv.Stall(t)
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := admin.Revoke(short, made.After.ID); err == nil {
		t.Error("a revocation that cannot be durable was said to be")
	}
	for _, g := range gs {
		if err := g.refresh(); err == nil {
			t.Error("a refresh passed")
		}
		g.now = g.now.Add(offline - time.Second)
		if ok, err := g.call(key); !ok || err != nil {
			t.Errorf("a known key: %v, %v", ok, err)
		}
		g.now = g.now.Add(2 * time.Second)
		if ok, err := g.call(key); ok || err == nil {
			t.Errorf("a known key, later: %v, %v", ok, err)
		}
	}
	srv.Resume(t)
	if err := back(func() error { _, err := admin.Revoke(ctx, made.After.ID); return err }); err != nil {
		t.Fatal(err)
	}
	for _, g := range gs {
		if err := back(g.refresh); err != nil {
			t.Fatal(err)
		}
		if ok, err := g.call(key); ok || err != nil {
			t.Errorf("a key that was revoked: %v, %v", ok, err)
		}
	}
}
