package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/store/memory"
)

var ctx = context.Background()

// breaking is a store whose next readings can be made to fail.
type breaking struct {
	*memory.Documents
	before func() error // each Changes
}

func (b *breaking) Changes(ctx context.Context, at document.Position, limit int) ([]document.Doc, document.Position, error) {
	if b.before != nil {
		if err := b.before(); err != nil {
			return nil, at, err
		}
	}
	return b.Documents.Changes(ctx, at, limit)
}

type house struct {
	t     *testing.T
	now   time.Time
	store *breaking
	m     *mirror.Mirror
	users *mirror.View[directory.User]
	hooks int
}

func newHouse(t *testing.T, users int) *house {
	h := &house{t: t, now: time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)}
	h.store = &breaking{Documents: &memory.Documents{Now: func() time.Time { return h.now }}}
	err := h.store.Write(ctx, func(tx document.Tx) error {
		for i := range users {
			if _, err := document.Put(ctx, tx, directory.User{ID: fmt.Sprint("user_", i), Tenant: "acme", UserName: fmt.Sprint(i), Active: true}, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h.m = mirror.New(h.store, func() time.Time { return h.now }, nil)
	h.users = mirror.Add[directory.User](h.m)
	h.m.After(func() error { h.hooks++; return nil }, directory.KindUser)
	h.refresh()
	return h
}

func (h *house) refresh() {
	h.t.Helper()
	if err := h.m.Refresh(ctx); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) remove(id string) {
	h.t.Helper()
	if err := h.store.Write(ctx, func(tx document.Tx) error { return tx.Delete(ctx, directory.KindUser, id) }); err != nil {
		h.t.Fatal(err)
	}
}

// purge takes every tombstone away, a month later.
func (h *house) purge() {
	h.t.Helper()
	for range 2 {
		if _, err := h.store.Purge(ctx, document.KeepDeleted, nil); err != nil {
			h.t.Fatal(err)
		}
		h.now = h.now.Add(30 * 24 * time.Hour)
	}
}

// A node that slept for a month does not keep who was deleted meanwhile, though nothing in the store speaks of
// them any more.
func TestWhoSleptForAMonth(t *testing.T) {
	const n = 12_000 // more than two pages
	h := newHouse(t, n)
	h.remove("user_7")
	h.purge()
	if err := h.m.Check(h.now); err == nil {
		t.Error("what is a month old is served")
	}
	h.refresh()
	if _, ok := h.users.Get("user_7"); ok || len(h.users.All()) != n-1 {
		t.Errorf("%d people are known, the deleted one among them: %v", len(h.users.All()), ok)
	}
	if h.hooks != 2 {
		t.Errorf("what is made of it was made %d times", h.hooks)
	}
	if err := h.m.Check(h.now); err != nil {
		t.Error(err)
	}
	h.refresh()
	if h.hooks != 2 {
		t.Error("it is read anew again and again")
	}
}

// The last of a kind: nothing of it comes any more when everything is read anew.
func TestTheLastOfAKind(t *testing.T) {
	h := newHouse(t, 1)
	h.remove("user_0")
	h.purge()
	h.refresh()
	if len(h.users.All()) != 0 || h.hooks != 2 {
		t.Errorf("%d, %d", len(h.users.All()), h.hooks)
	}
}

// A reading from the start that fails half way leaves what was served, and is not taken for an answer.
func TestAReadingAnewThatFails(t *testing.T) {
	const n = 12_000
	h := newHouse(t, n)
	h.remove("user_7")
	h.purge()
	boom := errors.New("boom")
	calls := 0
	h.store.before = func() error {
		if calls++; calls == 3 {
			return boom
		}
		return nil
	}
	if err := h.m.Refresh(ctx); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if len(h.users.All()) != n || h.hooks != 1 || h.m.Check(h.now) == nil {
		t.Errorf("%d people, %d hooks, %v", len(h.users.All()), h.hooks, h.m.Check(h.now))
	}
	h.refresh()
	if len(h.users.All()) != n-1 {
		t.Errorf("%d", len(h.users.All()))
	}
}

// More is purged while everything is read anew: it is begun again, and not for ever.
func TestPurgedWhileReading(t *testing.T) {
	const n = 12_000
	h := newHouse(t, n)
	h.remove("user_7")
	h.purge()
	calls, next := 0, 100
	h.store.before = func() error {
		if calls++; calls == 3 { // between two pages
			h.remove(fmt.Sprint("user_", next))
			next++
			h.purge()
		}
		return nil
	}
	h.refresh()
	if len(h.users.All()) != n-2 {
		t.Errorf("%d", len(h.users.All()))
	}
	h.remove("user_8")
	h.purge()
	h.store.before = func() error {
		h.remove(fmt.Sprint("user_", next))
		next++
		h.purge()
		return nil
	}
	if err := h.m.Refresh(ctx); !errors.Is(err, document.ErrGap) {
		t.Errorf("%v", err)
	}
	h.store.before = nil
	h.refresh()
	if _, ok := h.users.Get(fmt.Sprint("user_", next-1)); ok {
		t.Error("who was deleted is served")
	}
}

// A store that went back to an earlier state, as when it was restored.
func TestAStoreThatWentBack(t *testing.T) {
	h := newHouse(t, 3)
	h.store.Documents = &memory.Documents{}
	if _, err := document.Insert(ctx, h.store, directory.User{ID: "user_1", Tenant: "acme", UserName: "1"}); err != nil {
		t.Fatal(err)
	}
	h.refresh()
	if u, ok := h.users.Get("user_1"); !ok || u.Active || len(h.users.All()) != 1 {
		t.Errorf("%+v", h.users.All())
	}
}
