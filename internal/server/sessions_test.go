package server

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/sso"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/memory"
)

type forgetful struct{}

func (forgetful) Note(context.Context, string, map[string]string) error { return nil }

// A node among others on one store.
func newDesk(t *testing.T, docs document.Store, dir string) *desk {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir, cfg.Console.PublicURL = dir, "https://gateway.example"
	log := slog.New(slog.DiscardHandler)
	k := &desk{store: &store{docs: docs, tries: &memory.Tries{}}, note: forgetful{}, log: log, cfg: func() *config.Config { return cfg }, base: func() string { return cfg.Console.PublicURL }}
	var err error
	if k.people, err = newPeople(t.Context(), cfg, k.store, log, k.note.Note); err != nil {
		t.Fatal(err)
	}
	if k.signin, err = newSignin(cfg, &state{pepper: make([]byte, keyBytes)}, k.store, k.people, k.note, log); err != nil {
		t.Fatal(err)
	}
	if k.sso, err = k.newSSO(secret.New("a pepper of this test, long enough")); err != nil {
		t.Fatal(err)
	}
	return k
}

func living(t *testing.T, docs document.Store) map[string]int {
	t.Helper()
	ds, _, err := docs.Changes(t.Context(), document.Position{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, d := range ds {
		if !d.Deleted {
			n[d.Kind]++
		}
	}
	return n
}

// What has ended leaves the store by itself, with two nodes that sweep the same; what lives stays. A
// person who is switched off loses their sessions without using them.
func TestWhatHasEndedIsSwept(t *testing.T) {
	docs, dir := &memory.Documents{}, t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		for _, e := range []directory.Tenant{{ID: "acme", Name: "Acme"}} {
			if _, err := document.Insert(ctx, docs, e); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"usr_a", "usr_b"} {
			if _, err := document.Insert(ctx, docs, directory.User{ID: id, Tenant: "acme", UserName: id, Origin: directory.OriginLocal, Active: true}); err != nil {
				t.Fatal(err)
			}
		}
		nodes := [2]*desk{newDesk(t, docs, dir), newDesk(t, docs, dir)}
		for _, k := range nodes {
			go k.people.mirror.Run(ctx)
			go k.sweep(ctx)
		}
		k := nodes[0]
		fill := func() {
			t.Helper()
			for _, id := range []string{"usr_a", "usr_b"} {
				if _, _, err := k.signin.sessions.Create(ctx, session.Start{User: id, Tenant: "acme", AMR: []string{"pwd"}}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := k.signin.accounts.AskSignIn(ctx, account.From{Addr: netip.MustParseAddr("192.0.2.7")}); err != nil {
				t.Fatal(err)
			}
			if _, err := k.signin.accounts.Invite(ctx, "usr_a"); err != nil {
				t.Fatal(err)
			}
			if _, err := (sso.Once{Docs: docs}).First(ctx, "an assertion", time.Now().Add(10*time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		fill()
		want := func(when string, sessions, ceremonies, tickets, once int) {
			t.Helper()
			n := living(t, docs)
			if n[session.Kind] != sessions || n[account.KindCeremony] != ceremonies || n[account.KindTicket] != tickets || n[sso.KindOnce] != once {
				t.Errorf("%s: %v", when, n)
			}
		}
		time.Sleep(2 * time.Minute)
		want("while all of it lives", 2, 1, 1, 1)
		time.Sleep(5 * time.Minute)
		want("after the challenge", 2, 0, 1, 1)
		time.Sleep(5 * time.Minute)
		want("after the assertion", 2, 0, 1, 0)
		if _, _, _, err := document.Update(ctx, docs, "usr_b", 0, func(u *directory.User) error { u.Active = false; return nil }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		want("two seconds after a person was switched off", 1, 0, 1, 0)
		time.Sleep(20 * time.Minute)
		want("after the idle time", 0, 0, 1, 0)
		time.Sleep(time.Hour)
		want("after the link", 0, 0, 0, 0)
		stop()
		synctest.Wait()
	})
}

// What was deleted leaves the store for good after three days, and what was tried to sign in after its hour; a
// tenant's tombstone stays, since somebody may choose its id again. Two nodes do so beside each other, and both
// go on knowing what lives.
func TestWhatWasDeletedIsPurged(t *testing.T) {
	docs, dir := &memory.Documents{}, t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		for _, id := range []string{"acme", "gone"} {
			if _, err := document.Insert(ctx, docs, directory.Tenant{ID: id, Name: id}); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"usr_a", "usr_b"} {
			if _, err := document.Insert(ctx, docs, directory.User{ID: id, Tenant: "acme", UserName: id, Origin: directory.OriginLocal, Active: true}); err != nil {
				t.Fatal(err)
			}
		}
		nodes := [2]*desk{newDesk(t, docs, dir), newDesk(t, docs, dir)}
		for _, k := range nodes {
			go k.people.mirror.Run(ctx)
			go k.sweep(ctx)
		}
		if _, err := nodes[0].signin.accounts.SignIn(ctx, "acme", "nobody", secret.New("not the password"), account.From{}); !errors.Is(err, account.ErrRefused) {
			t.Fatal(err)
		}
		tries := nodes[0].store.tries.(*memory.Tries)
		if tries.Len() == 0 {
			t.Fatal("a try is not counted")
		}
		if err := docs.Write(ctx, func(tx document.Tx) error {
			return errors.Join(tx.Delete(ctx, directory.KindTenant, "gone"), tx.Delete(ctx, directory.KindUser, "usr_b"))
		}); err != nil {
			t.Fatal(err)
		}
		gone := func() (kinds []string) {
			ds, _, err := docs.Changes(ctx, document.Position{}, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range ds {
				if d.Deleted {
					kinds = append(kinds, d.Kind)
				}
			}
			return kinds
		}
		time.Sleep(document.KeepDeleted)
		if n := len(gone()); n != 2 {
			t.Errorf("%d tombstones before their time", n)
		}
		if n := tries.Len(); n != 0 {
			t.Errorf("%d tries are kept", n)
		}
		time.Sleep(2*document.PurgeEvery + endedEvery)
		if left := gone(); len(left) != 1 || left[0] != directory.KindTenant {
			t.Errorf("left are %v", left)
		}
		for _, k := range nodes {
			if _, known := k.people.roster.User("usr_b"); known || k.people.mirror.Check(time.Now()) != nil {
				t.Errorf("who was deleted is known: %v", known)
			}
			if _, known := k.people.roster.User("usr_a"); !known {
				t.Error("who lives is not known")
			}
		}
		stop()
		synctest.Wait()
	})
}
