package envelope

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/secret"
)

func TestRotateAndReseal(t *testing.T) {
	m := newMemory()
	k, other := ring(t, m, testKEK(t, 1)), ring(t, m, testKEK(t, 1))
	box := seal(t, k, "a", place, canary)
	if v, err := k.Rotate(t.Context(), "a"); err != nil || v != 2 {
		t.Fatal(v, err)
	}
	opens(t, k, "a", place, box, canary)
	newer, changed, err := k.Reseal("a", place, box)
	if err != nil || !changed || newer[4] != 2 {
		t.Fatal(changed, err)
	}
	if _, changed, err := k.Reseal("a", place, newer); err != nil || changed {
		t.Fatal("resealed twice", err)
	}
	if _, _, err := k.Reseal("a", Place{"x", "y", "z"}, newer); !errors.Is(err, ErrOpen) {
		t.Fatal(err)
	}
	opens(t, other, "a", place, newer, canary)
	if err := other.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b := seal(t, other, "a", place, canary); b[4] != 2 {
		t.Error("the other process still seals under the old data key")
	}
}

func TestRewrapIsResumedAfterACrash(t *testing.T) {
	old, next := testKEK(t, 1), testKEK(t, 2)
	for crash := range 12 {
		for _, late := range []bool{false, true} {
			m := newMemory()
			k := ring(t, m, old)
			boxes := map[string][]byte{}
			for i := range 6 {
				tenant := fmt.Sprint("t", i)
				boxes[tenant] = seal(t, k, tenant, place, canary)
			}
			n := 0
			f := func(string) error {
				if n++; n > crash {
					return errStore
				}
				return nil
			}
			if late {
				m.after = f
			} else {
				m.before = f
			}
			k = &Keyring{store: m, now: k.now}
			_ = k.SetKEKs(next, old)
			_, _ = k.Rewrap(t.Context())
			m.before, m.after = nil, nil
			// A new process, with both, finishes the work.
			k = ring(t, m, next, old)
			if d, err := k.Rewrap(t.Context()); err != nil || d.Keys != 6 {
				t.Fatal(d, err)
			}
			if d, err := k.Rewrap(t.Context()); err != nil || d.Changed != 0 {
				t.Fatal("not idempotent", d, err)
			}
			if use, err := k.InUse(t.Context()); err != nil || len(use) != 1 || use[next.ID()] != 6 {
				t.Fatal(use, err)
			}
			k = ring(t, m, next) // the old one is gone
			for tenant, box := range boxes {
				opens(t, k, tenant, place, box, canary)
			}
		}
	}
}

func TestRewrapReportsWhatItCannotOpen(t *testing.T) {
	m := newMemory()
	a, b, c := testKEK(t, 1), testKEK(t, 2), testKEK(t, 3)
	k := ring(t, m, a)
	seal(t, k, "good", place, canary)
	seal(t, k, "bad", place, canary)
	w := m.rows["bad"][1]
	w.KEK = c.id
	m.rows["bad"][1] = w
	_ = k.SetKEKs(b, a)
	d, err := k.Rewrap(t.Context())
	if !errors.Is(err, ErrNoKEK) || d.Changed != 1 || m.rows["good"][1].KEK != b.id {
		t.Fatal(d, err)
	}
	// A row that claims the current KEK but does not open under it is no success either.
	w.KEK = b.id
	m.rows["bad"][1] = w
	if _, err := k.Rewrap(t.Context()); !errors.Is(err, ErrWrapped) {
		t.Fatal(err)
	}
}

// KEK rotation under load: two processes seal, open, rotate and rewrap at once; no call is refused and
// nothing is lost.
func TestRewrapUnderLoad(t *testing.T) {
	m := newMemory()
	old, next := testKEK(t, 1), testKEK(t, 2)
	rings := []*Keyring{ring(t, m, old, next), ring(t, m, old, next)}
	var wg, rewraps sync.WaitGroup
	var stop atomic.Bool
	var done atomic.Int64
	type kept struct {
		tenant string
		box    []byte
	}
	var mu sync.Mutex
	var all []kept
	for i := range 6 {
		wg.Go(func() {
			for n := 0; !stop.Load() || n < 50; n++ {
				tenant := fmt.Sprint("t", n%37)
				box, err := rings[i%2].Seal(tenant, place, secret.New(canary))
				if err != nil {
					t.Error(err)
					return
				}
				if s, err := rings[(i+n)%2].Open(tenant, place, box); err != nil || s.Reveal() != canary {
					t.Error(err)
					return
				}
				if n%20 == 0 {
					mu.Lock()
					all = append(all, kept{tenant, box})
					mu.Unlock()
				}
				done.Add(1)
			}
		})
	}
	for i, k := range rings {
		rewraps.Go(func() {
			if err := k.SetKEKs(next, old); err != nil {
				t.Error(err)
			}
			for n := range 20 {
				if _, err := k.Rotate(t.Context(), fmt.Sprint("t", (n+i)%5)); err != nil {
					t.Error(err)
				}
				if _, err := k.Rewrap(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	rewraps.Wait()
	stop.Store(true)
	wg.Wait()
	if _, err := rings[0].Rewrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	k := ring(t, m, next)
	for _, x := range all {
		opens(t, k, x.tenant, place, x.box, canary)
	}
	t.Logf("%d seals and opens while %d rewraps ran", done.Load(), 2*20)
}

// Whatever is done to the keys, in any order and with crashes between, what was sealed opens in its
// place and nowhere else.
func TestAnySequence(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMemory()
		keks := []KEK{testKEK(t, 1), testKEK(t, 2), testKEK(t, 3)}
		cur := 0
		restart := func() *Keyring {
			k, err := New(context.Background(), Options{Store: m, Current: keks[cur], Old: keks})
			if err != nil {
				rt.Fatal(err)
			}
			return k
		}
		rings := []*Keyring{restart(), restart()}
		type sealed struct {
			tenant string
			p      Place
			text   string
			box    []byte
		}
		var all []sealed
		part := rapid.SampledFrom([]string{"a", "b", "ab", "a/b", "ba", "\x00a"})
		tenant := rapid.SampledFrom([]string{"", "a", "b", "ab"})
		crash := func() func() {
			n := rapid.IntRange(0, 9).Draw(rt, "crash after")
			f := func(string) error {
				if n--; n < 0 {
					return errStore
				}
				return nil
			}
			if rapid.Bool().Draw(rt, "late") {
				m.after = f
			} else {
				m.before = f
			}
			return func() { m.before, m.after = nil, nil }
		}
		rt.Repeat(map[string]func(*rapid.T){
			"seal": func(*rapid.T) {
				s := sealed{tenant: tenant.Draw(rt, "tenant"), p: Place{part.Draw(rt, "table"), part.Draw(rt, "row"), part.Draw(rt, "column")}, text: rapid.String().Draw(rt, "text")}
				box, err := rings[rapid.IntRange(0, 1).Draw(rt, "ring")].Seal(s.tenant, s.p, secret.New(s.text))
				if err != nil {
					rt.Fatal(err)
				}
				s.box = box
				all = append(all, s)
			},
			"rotate": func(*rapid.T) {
				if _, err := rings[0].Rotate(context.Background(), tenant.Draw(rt, "tenant")); err != nil {
					rt.Fatal(err)
				}
			},
			"rotate and crash": func(*rapid.T) {
				end := crash()
				_, _ = rings[0].Rotate(context.Background(), tenant.Draw(rt, "tenant"))
				end()
				rings[0] = restart()
			},
			"rewrap": func(*rapid.T) {
				cur = rapid.IntRange(0, 2).Draw(rt, "kek")
				_ = rings[0].SetKEKs(keks[cur], keks...)
				_ = rings[1].SetKEKs(keks[cur], keks...)
				if _, err := rings[0].Rewrap(context.Background()); err != nil {
					rt.Fatal(err)
				}
				if _, err := New(context.Background(), Options{Store: m, Current: keks[cur]}); err != nil {
					rt.Fatal("the new one alone does not do", err)
				}
			},
			"rewrap and crash": func(*rapid.T) {
				_ = rings[1].SetKEKs(keks[rapid.IntRange(0, 2).Draw(rt, "kek")], keks...)
				end := crash()
				_, _ = rings[1].Rewrap(context.Background())
				end()
				rings[1] = restart()
			},
			"reseal": func(*rapid.T) {
				if len(all) == 0 {
					return
				}
				s := &all[rapid.IntRange(0, len(all)-1).Draw(rt, "i")]
				box, _, err := rings[0].Reseal(s.tenant, s.p, s.box)
				if err != nil {
					rt.Fatal(err)
				}
				s.box = box
			},
			"": func(*rapid.T) {
				for i, s := range all {
					for _, k := range rings {
						if got, err := k.Open(s.tenant, s.p, s.box); err != nil || got.Reveal() != s.text {
							rt.Fatal(i, err)
						}
					}
				}
				if len(all) == 0 {
					return
				}
				s := all[rapid.IntRange(0, len(all)-1).Draw(rt, "moved")]
				p := Place{part.Draw(rt, "table"), part.Draw(rt, "row"), part.Draw(rt, "column")}
				to := tenant.Draw(rt, "to")
				if _, err := rings[1].Open(to, p, s.box); (err == nil) != (to == s.tenant && p == s.p) {
					rt.Fatalf("moved from %q %v to %q %v: %v", s.tenant, s.p, to, p, err)
				}
			},
		})
	})
}

// racing lets another process be faster just before each of the first swaps.
type racing struct {
	*memory
	first func()
}

func (r *racing) Swap(ctx context.Context, old []byte, w Wrapped) error {
	if f := r.first; f != nil {
		r.first = nil
		f()
	}
	return r.memory.Swap(ctx, old, w)
}

func TestRewrapLosesARace(t *testing.T) {
	a, b, c := testKEK(t, 1), testKEK(t, 2), testKEK(t, 3)
	for name, theirs := range map[string]KEK{"to the same key": b, "to another": c} {
		m := newMemory()
		box := seal(t, ring(t, m, a), "a", place, canary)
		other := ring(t, m, theirs, a)
		s := &racing{memory: m, first: func() {
			if _, err := other.Rewrap(t.Context()); err != nil {
				t.Error(err)
			}
		}}
		k := ring(t, s, b, a, c)
		d, err := k.Rewrap(t.Context())
		if err != nil || m.rows["a"][1].KEK != b.id || (d.Changed == 0) != (theirs.id == b.id) {
			t.Fatal(name, d, err)
		}
		opens(t, ring(t, m, b), "a", place, box, canary)
	}
}

// A wrap that does not open again, as of a machine that computes wrongly, does not replace the one that does.
func TestRewrapOpensBeforeItForgets(t *testing.T) {
	a, b, c := testKEK(t, 1), testKEK(t, 2), testKEK(t, 3)
	m := newMemory()
	box := seal(t, ring(t, m, a), "a", place, canary)
	k := ring(t, m, a)
	k.keks.Store(&keks{current: KEK{id: b.id, wrap: c.wrap}, all: map[string]KEK{a.id: a, b.id: b}})
	if _, err := k.Rewrap(t.Context()); !errors.Is(err, ErrWrapped) {
		t.Error(err)
	}
	opens(t, ring(t, m, a), "a", place, box, canary)
}
