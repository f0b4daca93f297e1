// Package storetest is what every store promises, as suites that each backend runs.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// Keys runs the contract of iam.KeyStore and iam.UseRecorder. open returns a handle of one and the
// same store each time it is called within one test, and a new, empty store in each test.
func Keys(t *testing.T, open func(t *testing.T) func() iam.KeyStore) {
	ctx := context.Background()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open func() iam.KeyStore)
	}{
		{"a new store has no keys and a version", func(t *testing.T, open func() iam.KeyStore) {
			s := open()
			ks, v, err := s.Keys(ctx)
			if err != nil || len(ks) != 0 {
				t.Fatalf("Keys = %v, %v", ks, err)
			}
			if w := version(t, s); w != v {
				t.Errorf("Version = %d, with Keys %d", w, v)
			}
		}},
		{"every field comes back, through another handle too", func(t *testing.T, open func() iam.KeyStore) {
			full := sample(1)
			bare := iam.Key{ID: "aaaaaaaaaaaa", Tenant: "default", Created: full.Created, Current: full.Current}
			insert(t, open(), full)
			insert(t, open(), bare)
			want := []iam.Key{bare, full} // same moment: by id
			ks, _, err := open().Keys(ctx)
			if err != nil || len(ks) != 2 {
				t.Fatalf("%d keys, %v", len(ks), err)
			}
			for i := range want {
				if !same(ks[i], want[i]) {
					t.Errorf("key %d = %#v, want %#v", i, ks[i], want[i])
				}
			}
		}},
		{"what changed after a version, and nothing else", func(t *testing.T, open func() iam.KeyStore) {
			s := open()
			insert(t, s, sample(1))
			insert(t, s, sample(2))
			v := version(t, s)
			if ks, whole, w, err := s.Changed(ctx, v); err != nil || whole || len(ks) != 0 || w != v {
				t.Errorf("nothing changed: %v, %d, %v", ks, w, err)
			}
			insert(t, s, sample(3))
			if _, err := open().Update(ctx, sample(1).ID, func(k *iam.Key) error { k.Purpose = "another"; return nil }); err != nil {
				t.Fatal(err)
			}
			ks, whole, w, err := s.Changed(ctx, v)
			if err != nil || whole || len(ks) != 2 || w <= v || ks[0].ID != sample(1).ID || ks[1].ID != sample(3).ID {
				t.Errorf("%v, %d, %v", ks, w, err)
			}
			if r, ok := s.(iam.UseRecorder); ok {
				if err := r.Used(ctx, map[string]time.Time{sample(2).ID: sample(2).LastUsed.Add(time.Hour)}); err != nil {
					t.Fatal(err)
				}
				if ks, _, _, err := s.Changed(ctx, w); err != nil || len(ks) != 0 {
					t.Errorf("use is a change: %v, %v", ks, err)
				}
			}
		}},
		{"an id is taken once", func(t *testing.T, open func() iam.KeyStore) {
			s := open()
			k := sample(1)
			insert(t, s, k)
			v := version(t, s)
			other := k
			other.Name, other.Scopes.Models = "impostor", []string{"*"}
			if err := open().Insert(ctx, other); !errors.Is(err, iam.ErrExists) {
				t.Errorf("second Insert: %v", err)
			}
			if ks, _, _ := s.Keys(ctx); len(ks) != 1 || !same(ks[0], k) {
				t.Error("a refused Insert changed the key")
			}
			if version(t, s) != v {
				t.Error("a refused Insert changed the version")
			}
		}},
		{"a missing key cannot be updated", func(t *testing.T, open func() iam.KeyStore) {
			_, err := open().Update(ctx, "bbbbbbbbbbbb", func(*iam.Key) error { t.Error("change was called"); return nil })
			if !errors.Is(err, iam.ErrNotFound) {
				t.Errorf("Update: %v", err)
			}
		}},
		{"a change that fails changes nothing", func(t *testing.T, open func() iam.KeyStore) {
			s, k := open(), sample(1)
			insert(t, s, k)
			v, boom := version(t, s), errors.New("boom")
			_, err := s.Update(ctx, k.ID, func(k *iam.Key) error { k.Name = "changed"; return boom })
			if !errors.Is(err, boom) {
				t.Errorf("Update: %v", err)
			}
			if ks, w, _ := s.Keys(ctx); !same(ks[0], k) || w != v {
				t.Error("something changed")
			}
		}},
		{"id and creation cannot be changed", func(t *testing.T, open func() iam.KeyStore) {
			s, k := open(), sample(1)
			insert(t, s, k)
			got, err := s.Update(ctx, k.ID, func(k *iam.Key) error {
				k.ID, k.Created, k.Name = "cccccccccccc", time.Now(), "new name"
				return nil
			})
			k.Name = "new name"
			if ks, _, _ := s.Keys(ctx); err != nil || !same(got, k) || len(ks) != 1 || !same(ks[0], k) {
				t.Errorf("got %#v, %v", got, err)
			}
		}},
		{"every change but that of use moves the version, for every handle", func(t *testing.T, open func() iam.KeyStore) {
			s, watch, k := open(), open(), sample(1)
			v := version(t, watch)
			moved := func(what string, want bool) {
				t.Helper()
				w := version(t, watch)
				if (w > v) != want || w < v {
					t.Errorf("%s: version %d after %d", what, w, v)
				}
				v = w
			}
			insert(t, s, k)
			moved("Insert", true)
			for what, change := range map[string]func(*iam.Key){
				"rotate": func(k *iam.Key) { k.Previous, k.Current = k.Current, apikey.Hash{9} },
				"revoke": func(k *iam.Key) { k.Revoked = k.Created.Add(time.Hour) },
				"scope":  func(k *iam.Key) { k.Scopes.Models = []string{"other"} },
				"range":  func(k *iam.Key) { k.CIDRs = nil },
			} {
				if _, err := s.Update(ctx, k.ID, func(k *iam.Key) error { change(k); return nil }); err != nil {
					t.Fatal(err)
				}
				moved(what, true)
			}
			used(t, s, k.ID, k.Created.Add(5*time.Hour))
			moved("Used", false)
		}},
		{"use moves forward only", func(t *testing.T, open func() iam.KeyStore) {
			s, k := open(), sample(1)
			k.LastUsed = time.Time{}
			insert(t, s, k)
			late, early := k.Created.Add(2*time.Hour), k.Created.Add(time.Hour)
			used(t, s, k.ID, late)
			used(t, s, k.ID, early)
			used(t, s, "zzzzzzzzzzzz", late)
			if ks, _, _ := s.Keys(ctx); len(ks) != 1 || !ks[0].LastUsed.Equal(late) {
				t.Errorf("LastUsed = %v", ks[0].LastUsed)
			}
		}},
		{"of updates at once none is lost", func(t *testing.T, open func() iam.KeyStore) {
			a, k := open(), sample(1)
			k.Name = ""
			insert(t, a, k)
			const writers, each = 4, 5
			var wg sync.WaitGroup
			for i := range writers {
				s := a
				if i%2 == 1 {
					s = open()
				}
				wg.Go(func() {
					for range each {
						if _, err := s.Update(ctx, k.ID, func(k *iam.Key) error { k.Name += "x"; return nil }); err != nil {
							t.Errorf("Update: %v", err)
						}
					}
				})
			}
			wg.Wait()
			if ks, _, _ := a.Keys(ctx); len(ks[0].Name) != writers*each {
				t.Errorf("%d of %d updates are there", len(ks[0].Name), writers*each)
			}
		}},
		{"a cancelled context changes nothing", func(t *testing.T, open func() iam.KeyStore) {
			s := open()
			gone, cancel := context.WithCancel(ctx)
			cancel()
			if err := s.Insert(gone, sample(1)); err == nil {
				t.Error("Insert passed")
			}
			if ks, _, _ := s.Keys(ctx); len(ks) != 0 {
				t.Error("the key is there")
			}
		}},
		{"text is kept as text", func(t *testing.T, open func() iam.KeyStore) {
			s, k := open(), sample(1)
			k.Name, k.Owner = `'; DROP TABLE keys; --`, "ü\"\\{}"
			insert(t, s, k)
			if ks, _, err := s.Keys(ctx); err != nil || len(ks) != 1 || !same(ks[0], k) {
				t.Errorf("%#v, %v", ks, err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// sample is a key with every field set.
func sample(n byte) iam.Key {
	at := time.Date(2031, 2, 3, 4, 5, 6, 789000, time.UTC)
	return iam.Key{
		ID: fmt.Sprintf("mmmmmmmmmmm%c", 'a'+n), Tenant: "acme", Name: "a name", Owner: "an owner",
		Current: apikey.Hash{1, n}, Previous: apikey.Hash{2, n}, PreviousUntil: at.Add(time.Hour), PepperVersion: "0a0b0c0d",
		Scopes:  iam.Scopes{Upstreams: []string{"openai"}, Endpoints: []string{"chat.*", "models"}, Models: []string{"gpt-*"}},
		CIDRs:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
		Created: at, NotBefore: at.Add(time.Minute), Expires: at.Add(48 * time.Hour), Revoked: at.Add(24 * time.Hour), LastUsed: at.Add(time.Second),
		Detail: iam.Detail{
			Team: "team_a", Principal: "user_a", Class: "ci", Purpose: "a purpose", Tools: []string{"get_*"}, Features: []string{"stream"}, Data: []string{},
			SPIFFE: []string{"spiffe://a/*"}, Budgets: []iam.Budget{{Unit: "tokens", Amount: 5, Window: quota.Hour}}, Shared: true, Rotated: at,
		},
	}
}

// same ignores the difference between no list and an empty one.
func same(a, b iam.Key) bool {
	for _, k := range []*iam.Key{&a, &b} {
		k.Scopes.Upstreams = append([]string{}, k.Scopes.Upstreams...)
		k.Scopes.Endpoints = append([]string{}, k.Scopes.Endpoints...)
		k.Scopes.Models = append([]string{}, k.Scopes.Models...)
		k.CIDRs = append([]netip.Prefix{}, k.CIDRs...)
	}
	return reflect.DeepEqual(a, b)
}

func insert(t *testing.T, s iam.KeyStore, k iam.Key) {
	t.Helper()
	if err := s.Insert(context.Background(), k); err != nil {
		t.Fatal(err)
	}
}

func version(t *testing.T, s iam.KeyStore) int64 {
	t.Helper()
	v, err := s.Version(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func used(t *testing.T, s iam.KeyStore, id string, at time.Time) {
	t.Helper()
	u, ok := s.(iam.UseRecorder)
	if !ok {
		t.Skip("does not record use")
	}
	if err := u.Used(context.Background(), map[string]time.Time{id: at}); err != nil {
		t.Fatal(err)
	}
}
