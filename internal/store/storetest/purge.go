package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/iam/document"
)

// Purged is a store that can be purged.
type Purged interface {
	document.Store
	document.Purger
}

// Clock is a clock that tests set.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// Now is what time it is.
func (c *Clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

// Advance lets time pass.
func (c *Clock) Advance(d time.Duration) { c.mu.Lock(); c.at = c.at.Add(d); c.mu.Unlock() }

// NewClock starts one.
func NewClock() *Clock { return &Clock{at: time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)} }

// Purge runs the contract of document.Purger, and of followers beside it. open is as in Documents; its handles
// go by the clock.
func Purge(t *testing.T, open func(t *testing.T, c *Clock) func() Purged) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, c *Clock, open func() Purged)
	}{
		{"tombstones go when they are old enough, and nothing else", purgeOld},
		{"one of many nodes purges", purgeOnce},
		{"a follower that missed a tombstone is told so", purgeGap},
		{"a follower that begins between batches and pages sees everything", purgeBeginner},
		{"kinds whose ids people choose are kept", purgeForever},
		{"more than a batch", purgeMany},
		{"a clock that was set back delays and loses nothing", purgeClock},
		{"a follower ahead of the store is told so", purgeAhead},
		{"after any interleaving a follower has what the table has", purgeModel},
	} {
		t.Run(c.name, func(t *testing.T) { clock := NewClock(); c.run(t, clock, open(t, clock)) })
	}
}

const keep = time.Hour

func purge(t require, s Purged, forever ...string) int {
	t.Helper()
	n, err := s.Purge(bg, keep, forever)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// require is a test, or a property.
type require interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// follower keeps a copy of the living, as a mirror does.
type follower struct {
	at    document.Position
	known map[string]int64 // revision by id
	anew  int
}

func (f *follower) follow(t require, s document.Store, limit int) {
	t.Helper()
	next, at := map[string]int64{}, f.at
	maps.Copy(next, f.known)
	for range 1000 {
		ds, to, err := s.Changes(bg, at, limit)
		if errors.Is(err, document.ErrGap) {
			f.anew++
			next, at = map[string]int64{}, document.Position{}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			if d.Revision <= at.Revision {
				t.Fatalf("%d after %d", d.Revision, at.Revision)
			}
			if d.Deleted {
				delete(next, d.ID)
			} else {
				next[d.ID] = d.Revision
			}
		}
		if at = to; limit <= 0 || len(ds) < limit {
			f.at, f.known = at, next
			return
		}
	}
	t.Fatal("a follower never comes to an end")
}

func living(t require, s document.Store) map[string]int64 {
	t.Helper()
	ds, err := s.List(bg, document.Query{Kind: "user"})
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int64{}
	for _, d := range ds {
		m[d.ID] = d.Revision
	}
	return m
}

func tombstones(t require, s document.Store) (ids []string) {
	t.Helper()
	ds, _, err := s.Changes(bg, document.Position{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if d.Deleted {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

func drop(t require, s document.Store, kind, id string) {
	t.Helper()
	if err := remove(s, kind, id); err != nil {
		t.Fatal(err)
	}
}

func purgeOld(t *testing.T, c *Clock, open func() Purged) {
	s := open()
	for _, id := range []string{"a", "b", "lives"} {
		put(t, s, doc("user", id, "acme", "key:"+id))
	}
	drop(t, s, "user", "a")
	if n := purge(t, s); n != 0 { // the first mark
		t.Fatalf("%d are gone at once", n)
	}
	c.Advance(keep / 2)
	drop(t, s, "user", "b")
	purge(t, s)
	c.Advance(keep/2 - time.Second)
	if n := purge(t, s); n != 0 {
		t.Fatalf("%d are gone early", n)
	}
	c.Advance(document.PurgeEvery)
	if n := purge(t, open()); n != 1 || fmt.Sprint(tombstones(t, s)) != "[b]" {
		t.Fatalf("%d, and left are %v", n, tombstones(t, s))
	}
	c.Advance(keep)
	if n := purge(t, s); n != 1 || len(tombstones(t, s)) != 0 {
		t.Fatalf("%d, and left are %v", n, tombstones(t, s))
	}
	if d, err := s.Find(bg, "user", "key:lives"); err != nil || d.ID != "lives" {
		t.Errorf("%+v, %v", d, err)
	}
	c.Advance(10 * keep)
	if n := purge(t, s); n != 0 {
		t.Errorf("%d of nothing", n)
	}
	// What was purged stays deleted, and a revision is never used twice.
	d := doc("user", "a", "acme")
	d.Revision = 1
	if err := putErr(s, d); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if rev := put(t, s, doc("user", "new", "acme")); rev != 6 {
		t.Errorf("revision %d", rev)
	}
}

func purgeOnce(t *testing.T, c *Clock, open func() Purged) {
	s := open()
	const gone = 40
	for i := range gone {
		put(t, s, doc("user", fmt.Sprint("u", i), "acme"))
		drop(t, s, "user", fmt.Sprint("u", i))
	}
	purge(t, s)
	c.Advance(2 * keep)
	var mu sync.Mutex
	var took []int
	var wg sync.WaitGroup
	for range 6 {
		node := open()
		wg.Go(func() {
			n, err := node.Purge(bg, keep, nil)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			took = append(took, n)
			mu.Unlock()
		})
	}
	wg.Wait()
	slices.Sort(took)
	if fmt.Sprint(took) != fmt.Sprintf("[0 0 0 0 0 %d]", gone) {
		t.Errorf("%v", took)
	}
}

func purgeGap(t *testing.T, c *Clock, open func() Purged) {
	s := open()
	put(t, s, doc("user", "key", "acme"))
	put(t, s, doc("user", "lives", "acme"))
	asleep, awake := &follower{}, &follower{}
	asleep.follow(t, open(), 1)
	awake.follow(t, open(), 1)
	drop(t, s, "user", "key")
	purge(t, s)
	awake.follow(t, open(), 1)
	c.Advance(30 * 24 * time.Hour)
	if n := purge(t, s); n != 1 {
		t.Fatalf("%d", n)
	}
	if _, _, err := s.Changes(bg, asleep.at, 0); !errors.Is(err, document.ErrGap) {
		t.Fatalf("who slept for a month: %v", err)
	}
	awake.follow(t, s, 1)
	if awake.anew != 0 || len(awake.known) != 1 {
		t.Errorf("who was there all the time: %+v", awake)
	}
	asleep.follow(t, s, 1)
	if asleep.anew != 1 || len(asleep.known) != 1 || asleep.known["lives"] == 0 {
		t.Errorf("after it read all anew: %+v", asleep)
	}
	asleep.follow(t, s, 1) // and goes on from there
	put(t, s, doc("user", "new", "acme"))
	asleep.follow(t, s, 1)
	if asleep.anew != 1 || len(asleep.known) != 2 {
		t.Errorf("%+v", asleep)
	}
}

// The newest tombstone that is gone is far above the first page of who begins.
func purgeBeginner(t *testing.T, c *Clock, open func() Purged) {
	s := open()
	for i := range 20 {
		put(t, s, doc("user", fmt.Sprint("u", i), "acme"))
	}
	put(t, s, doc("user", "gone", "acme"))
	drop(t, s, "user", "gone")
	purge(t, s)
	c.Advance(2 * keep)
	if n := purge(t, s); n != 1 {
		t.Fatal(n)
	}
	f := &follower{}
	f.follow(t, s, 3)
	if f.anew != 0 || len(f.known) != 20 {
		t.Errorf("%+v", f)
	}
	f.follow(t, s, 3)
	if f.anew != 0 {
		t.Error("who has everything is sent back")
	}
	// What it read living on an early page is deleted and purged before it comes to the end.
	_, at, err := s.Changes(bg, document.Position{}, 3)
	if err != nil {
		t.Fatal(err)
	}
	drop(t, s, "user", "u0")
	c.Advance(2 * keep)
	purge(t, s)
	c.Advance(2 * keep)
	if n := purge(t, s); n != 1 {
		t.Fatal(n)
	}
	if _, _, err := s.Changes(bg, at, 3); !errors.Is(err, document.ErrGap) {
		t.Errorf("a reader between its pages: %v", err)
	}
}

func purgeForever(t *testing.T, c *Clock, open func() Purged) {
	s := open()
	for _, kind := range []string{"tenant", "data_key", "user"} {
		put(t, s, doc(kind, "acme", "acme"))
		drop(t, s, kind, "acme")
	}
	purge(t, s, "tenant", "data_key")
	c.Advance(2 * keep)
	if n := purge(t, s, "tenant", "data_key"); n != 1 {
		t.Errorf("%d", n)
	}
	if err := putErr(s, doc("tenant", "acme", "acme")); !errors.Is(err, document.ErrExists) {
		t.Errorf("a tenant's id was used again: %v", err)
	}
}

func purgeMany(t *testing.T, c *Clock, open func() Purged) {
	s := open()
	const n = 2*document.PurgeBatch + 7
	err := s.Write(bg, func(tx document.Tx) error {
		for i := range n {
			if _, err := tx.Put(bg, doc("user", fmt.Sprint("u", i), "acme")); err != nil {
				return err
			}
			if i%10 == 0 {
				continue
			}
			if err := tx.Delete(bg, "user", fmt.Sprint("u", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	purge(t, s)
	c.Advance(2 * keep)
	living := (n + 9) / 10
	if got := purge(t, s); got != n-living || len(tombstones(t, s)) != 0 {
		t.Errorf("%d of %d, left %d", got, n-living, len(tombstones(t, s)))
	}
	gone, cancel := context.WithCancel(bg)
	cancel()
	c.Advance(2 * keep)
	if _, err := s.Purge(gone, keep, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func purgeClock(t *testing.T, c *Clock, open func() Purged) {
	s := open()
	put(t, s, doc("user", "a", "acme"))
	drop(t, s, "user", "a")
	purge(t, s)
	c.Advance(-10 * keep)
	purge(t, s)
	c.Advance(keep / 2)
	if n := purge(t, s); n != 0 {
		t.Errorf("%d", n)
	}
	c.Advance(keep)
	if n := purge(t, s); n != 1 {
		t.Errorf("%d after the clock went on", n)
	}
}

// A database that was restored, or a replica that was behind and took over.
func purgeAhead(t *testing.T, _ *Clock, open func() Purged) {
	s := open()
	put(t, s, doc("user", "a", "acme"))
	if _, _, err := s.Changes(bg, document.Position{Revision: 100}, 0); !errors.Is(err, document.ErrGap) {
		t.Errorf("ahead by revision: %v", err)
	}
	if _, _, err := s.Changes(bg, document.Position{Revision: 1, Purged: 1}, 0); !errors.Is(err, document.ErrGap) {
		t.Errorf("ahead by what was purged: %v", err)
	}
}

func purgeModel(t *testing.T, c *Clock, open func() Purged) {
	nodes := [2]Purged{open(), open()}
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		fs := [3]*follower{{}, {}, {}}
		made := 0
		node := func() Purged { return nodes[rapid.IntRange(0, 1).Draw(r, "node")] }
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				made++
				d := doc("user", fmt.Sprintf("r%d_%d", round, made), "acme")
				if err := putErr(node(), d); err != nil {
					r.Fatal(err)
				}
			},
			"change or delete": func(r *rapid.T) {
				all := living(r, node())
				if len(all) == 0 {
					return
				}
				id := rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(r, "id")
				if rapid.Bool().Draw(r, "delete") {
					drop(r, node(), "user", id)
					return
				}
				d := doc("user", id, "acme")
				d.Revision = all[id]
				if err := putErr(node(), d); err != nil {
					r.Fatal(err)
				}
			},
			"time":  func(r *rapid.T) { c.Advance(time.Duration(rapid.IntRange(0, 90).Draw(r, "minutes")) * time.Minute) },
			"purge": func(r *rapid.T) { purge(r, node()) },
			"follow": func(r *rapid.T) {
				f := fs[rapid.IntRange(0, 2).Draw(r, "follower")]
				f.follow(r, node(), rapid.IntRange(1, 4).Draw(r, "page"))
				if all := living(r, nodes[0]); !maps.Equal(f.known, all) {
					r.Fatalf("known %v, in the table %v", f.known, all)
				}
			},
			"page": func(r *rapid.T) { // a follower that is interrupted between two pages
				f := fs[2]
				ds, at, err := node().Changes(bg, f.at, 2)
				if errors.Is(err, document.ErrGap) {
					f.at, f.known = document.Position{}, map[string]int64{}
					return
				}
				if err != nil {
					r.Fatal(err)
				}
				if f.known == nil {
					f.known = map[string]int64{}
				}
				for _, d := range ds {
					if delete(f.known, d.ID); !d.Deleted {
						f.known[d.ID] = d.Revision
					}
				}
				f.at = at
			},
		})
	})
}
