package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/sallyport/internal/iam/document"
)

// Documents runs the contract of document.Store. open returns a handle of one and the same store each
// time it is called within one test, and a new, empty store in each test.
func Documents(t *testing.T, open func(t *testing.T) func() document.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open func() document.Store)
	}{
		{"what was put comes back, through another handle too", docsComeBack},
		{"an id is taken once, also after it was deleted", docsIDs},
		{"a key is held by one living document of its kind", docsKeys},
		{"a change needs the revision that is stored", docsRevisions},
		{"a transaction sees what it wrote, and leaves nothing when it fails", docsTransactions},
		{"lists are of one kind and tenant, by id", docsLists},
		{"changes come in order, tombstones among them", docsChanges},
		{"a follower misses nothing that writers commit at once", docsFollower},
		{"no update is lost between handles", docsCounter},
		{"what is out of bounds is refused", docsBounds},
		{"a context that ended ends the call", docsContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

var bg = context.Background()

func doc(kind, id, tenant string, keys ...string) document.Doc {
	return document.Doc{Kind: kind, ID: id, Tenant: tenant, Keys: keys, Body: []byte(`{"id":"` + id + `"}`)}
}

func put(t *testing.T, s document.Store, d document.Doc) (rev int64) {
	t.Helper()
	if err := s.Write(bg, func(tx document.Tx) (err error) { rev, err = tx.Put(bg, d); return err }); err != nil {
		t.Fatal(err)
	}
	return rev
}

func putErr(s document.Store, d document.Doc) error {
	return s.Write(bg, func(tx document.Tx) error { _, err := tx.Put(bg, d); return err })
}

func remove(s document.Store, kind, id string) error {
	return s.Write(bg, func(tx document.Tx) error { return tx.Delete(bg, kind, id) })
}

func docsComeBack(t *testing.T, open func() document.Store) {
	d := doc("user", "u1", "acme", "name:é", "b", "a")
	d.Body = []byte("{\"x\":\"\\u0000 \\ud83d\\ude00 é\", \"n\": 1e400,\n \"n\":2}") // kept as it is, whatever it is
	d.Revision = put(t, open(), d)
	if d.Revision <= 0 {
		t.Errorf("revision %d", d.Revision)
	}
	for _, get := range []func(document.Store) (document.Doc, error){
		func(s document.Store) (document.Doc, error) { return s.Get(bg, "user", "u1") },
		func(s document.Store) (document.Doc, error) { return s.Find(bg, "user", "name:é") },
		func(s document.Store) (document.Doc, error) { return s.Find(bg, "user", "a") },
		func(s document.Store) (document.Doc, error) {
			ds, _, err := s.Changes(bg, document.Position{}, 0)
			if len(ds) != 1 {
				return document.Doc{}, fmt.Errorf("%d changes, %w", len(ds), err)
			}
			return ds[0], err
		},
	} {
		got, err := get(open())
		if err != nil || !bytes.Equal(got.Body, d.Body) || !reflect.DeepEqual(got.Keys, d.Keys) || got.Tenant != d.Tenant || got.Revision != d.Revision || got.Deleted {
			t.Errorf("%+v, %v", got, err)
		}
		got.Body[0], got.Keys[0] = '!', "!" // it is the caller's
	}
	if again, err := open().Get(bg, "user", "u1"); err != nil || again.Body[0] != '{' || again.Keys[0] != "name:é" {
		t.Errorf("what was returned is still the store's: %+v", again)
	}
	for _, miss := range [][2]string{{"user", "u2"}, {"group", "u1"}, {"user", "U1"}} {
		if _, err := open().Get(bg, miss[0], miss[1]); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("%v: %v", miss, err)
		}
	}
	for _, miss := range [][2]string{{"user", "A"}, {"group", "a"}, {"user", "u1"}} {
		if _, err := open().Find(bg, miss[0], miss[1]); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("key %v: %v", miss, err)
		}
	}
}

func docsIDs(t *testing.T, open func() document.Store) {
	s := open()
	put(t, s, doc("user", "u1", "acme"))
	put(t, s, doc("group", "u1", "acme")) // another kind
	if err := putErr(open(), doc("user", "u1", "other")); !errors.Is(err, document.ErrExists) {
		t.Errorf("again: %v", err)
	}
	if err := remove(s, "user", "u1"); err != nil {
		t.Fatal(err)
	}
	if err := putErr(s, doc("user", "u1", "acme")); !errors.Is(err, document.ErrExists) {
		t.Errorf("after it was deleted: %v", err)
	}
	if err := remove(s, "user", "u1"); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := s.Get(bg, "group", "u1"); err != nil {
		t.Errorf("the other kind: %v", err)
	}
}

func docsKeys(t *testing.T, open func() document.Store) {
	s := open()
	rev := put(t, s, doc("user", "u1", "acme", "k1", "k2"))
	put(t, s, doc("group", "g1", "acme", "k1"))
	if err := putErr(open(), doc("user", "u2", "other", "k0", "k2")); !errors.Is(err, document.ErrExists) {
		t.Errorf("a key that is taken: %v", err)
	}
	if _, err := s.Find(bg, "user", "k0"); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("a key of a document that was refused: %v", err)
	}
	d := doc("user", "u1", "acme", "k2", "k3") // gives k1 up, keeps k2
	d.Revision = rev
	put(t, s, d)
	put(t, s, doc("user", "u3", "acme", "k1"))
	if err := remove(s, "user", "u1"); err != nil {
		t.Fatal(err)
	}
	put(t, s, doc("user", "u4", "acme", "k2", "k3"))
	for key, want := range map[string]string{"k1": "u3", "k2": "u4", "k3": "u4"} {
		if got, err := open().Find(bg, "user", key); err != nil || got.ID != want {
			t.Errorf("%s: %s, %v", key, got.ID, err)
		}
	}
}

func docsRevisions(t *testing.T, open func() document.Store) {
	s := open()
	first := put(t, s, doc("user", "u1", "acme"))
	d := doc("user", "u1", "acme")
	d.Revision = first
	second := put(t, s, d)
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	if err := putErr(open(), d); !errors.Is(err, document.ErrConflict) {
		t.Errorf("the old revision: %v", err)
	}
	d.Revision = second + 100
	if err := putErr(s, d); !errors.Is(err, document.ErrConflict) {
		t.Errorf("a revision to come: %v", err)
	}
	missing := doc("user", "u2", "acme")
	missing.Revision = 1
	if err := putErr(s, missing); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("a change of what is not there: %v", err)
	}
	if err := remove(s, "user", "u1"); err != nil {
		t.Fatal(err)
	}
	d.Revision = second
	if err := putErr(s, d); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("a change of what was deleted: %v", err)
	}
}

func docsTransactions(t *testing.T, open func() document.Store) {
	s := open()
	boom := errors.New("boom")
	put(t, s, doc("user", "kept", "acme", "kept"))
	err := s.Write(bg, func(tx document.Tx) error {
		if _, err := tx.Put(bg, doc("user", "u1", "acme", "k1")); err != nil {
			return err
		}
		if d, err := tx.Find(bg, "user", "k1"); err != nil || d.ID != "u1" {
			t.Errorf("within: %+v, %v", d, err)
		}
		if ds, err := tx.List(bg, document.Query{Kind: "user"}); err != nil || len(ds) != 2 {
			t.Errorf("within: %d, %v", len(ds), err)
		}
		if err := tx.Delete(bg, "user", "kept"); err != nil {
			return err
		}
		if _, err := tx.Get(bg, "user", "kept"); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("deleted within: %v", err)
		}
		return fmt.Errorf("wrapped: %w", boom)
	})
	if !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	if _, err := open().Get(bg, "user", "u1"); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("left of what failed: %v", err)
	}
	if d, err := open().Find(bg, "user", "kept"); err != nil || d.ID != "kept" {
		t.Errorf("gone with what failed: %v", err)
	}
	// A refusal within does not spoil the rest, if f goes on.
	rev := put(t, s, doc("user", "holder", "acme", "held"))
	mine := put(t, s, doc("user", "mine", "acme", "m1", "m2"))
	err = s.Write(bg, func(tx document.Tx) error {
		d := doc("user", "mine", "acme", "m1", "m3", "held")
		d.Revision = mine
		if _, err := tx.Put(bg, d); !errors.Is(err, document.ErrExists) {
			t.Errorf("a key that is held: %v", err)
		}
		if _, err := tx.Put(bg, doc("user", "kept", "acme")); !errors.Is(err, document.ErrExists) {
			t.Errorf("%v", err)
		}
		_, err := tx.Put(bg, doc("user", "u2", "acme"))
		return err
	})
	for key, want := range map[string]string{"m1": "mine", "m2": "mine", "m3": "", "held": "holder"} {
		if d, _ := open().Find(bg, "user", key); d.ID != want {
			t.Errorf("after the refusal %s finds %q", key, d.ID)
		}
	}
	if d, _ := open().Get(bg, "user", "holder"); d.Revision != rev {
		t.Errorf("the holder changed")
	}
	if _, gerr := open().Get(bg, "user", "u2"); err != nil || gerr != nil {
		t.Errorf("%v, %v", err, gerr)
	}
}

func docsLists(t *testing.T, open func() document.Store) {
	s := open()
	for _, id := range []string{"b", "a", "C", "d", "a_", "a-"} {
		tenant := "acme"
		if id == "d" {
			tenant = "other"
		}
		put(t, s, doc("user", id, tenant))
	}
	put(t, s, doc("group", "a", "acme"))
	if err := remove(s, "user", "b"); err != nil {
		t.Fatal(err)
	}
	acme, none := "acme", ""
	for _, c := range []struct {
		q    document.Query
		want string
	}{
		{document.Query{Kind: "user"}, "[C a a- a_ d]"}, // by bytes
		{document.Query{Kind: "user", Tenant: &acme}, "[C a a- a_]"},
		{document.Query{Kind: "user", Tenant: &none}, "[]"},
		{document.Query{Kind: "user", Limit: 2}, "[C a]"},
		{document.Query{Kind: "user", After: "a", Limit: 2}, "[a- a_]"},
		{document.Query{Kind: "user", Tenant: &acme, After: "a-", Limit: 9}, "[a_]"},
		{document.Query{Kind: "nothing"}, "[]"},
	} {
		ds, err := open().List(bg, c.q)
		ids := []string{}
		for _, d := range ds {
			ids = append(ids, d.ID)
		}
		if got := fmt.Sprint(ids); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v; want %s", c.q, got, err, c.want)
		}
	}
}

func docsChanges(t *testing.T, open func() document.Store) {
	s := open()
	if ds, at, err := s.Changes(bg, document.Position{}, 0); err != nil || len(ds) != 0 || at != (document.Position{}) {
		t.Fatalf("of an empty store: %v, %v", ds, err)
	}
	r1 := put(t, s, doc("user", "u1", "acme", "k"))
	r2 := put(t, s, doc("role", "r1", ""))
	d := doc("user", "u1", "acme", "k")
	d.Revision = r1
	r3 := put(t, s, d)
	if err := remove(s, "role", "r1"); err != nil {
		t.Fatal(err)
	}
	ds, end, err := open().Changes(bg, document.Position{}, 0)
	if err != nil || len(ds) != 2 || ds[0].ID != "u1" || ds[0].Revision != r3 || ds[1].ID != "r1" || !ds[1].Deleted || ds[1].Revision <= r3 || end.Revision != ds[1].Revision {
		t.Fatalf("%+v, %v", ds, err)
	}
	if g := ds[1]; len(g.Body) != 0 || len(g.Keys) != 0 {
		t.Errorf("a tombstone with something in it: %+v", g)
	}
	if ds, at, err := s.Changes(bg, document.Position{Revision: r2}, 1); err != nil || len(ds) != 1 || ds[0].Revision != r3 || at.Revision != r3 {
		t.Errorf("the first after %d: %+v, %v", r2, ds, err)
	}
	if ds, at, err := s.Changes(bg, end, 0); err != nil || len(ds) != 0 || at != end {
		t.Errorf("after the last: %+v, %v", ds, err)
	}
}

func docsFollower(t *testing.T, open func() document.Store) {
	const writers, each = 4, 25
	var wg sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		s := open()
		wg.Go(func() {
			for n := range each {
				if err := putErr(s, doc("user", fmt.Sprintf("u%d_%d", w, n), "acme")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	seen, last, at := map[string]bool{}, int64(0), document.Position{}
	s := open()
	for ended := false; ; {
		ds, next, err := s.Changes(bg, at, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			if d.Revision <= last || seen[d.ID] {
				t.Fatalf("%s at %d after %d", d.ID, d.Revision, last)
			}
			last, seen[d.ID] = d.Revision, true
		}
		at = next
		if len(ds) > 0 {
			continue
		}
		if ended {
			break
		}
		select {
		case <-done:
			ended = true // one more look
		default:
		}
	}
	if len(seen) != writers*each {
		t.Errorf("%d of %d were seen", len(seen), writers*each)
	}
}

func docsCounter(t *testing.T, open func() document.Store) {
	put(t, open(), document.Doc{Kind: "user", ID: "n", Body: []byte("0")})
	const writers, each = 4, 20
	var wg sync.WaitGroup
	for range writers {
		s := open()
		wg.Go(func() {
			for range each {
				err := s.Write(bg, func(tx document.Tx) error {
					d, err := tx.Get(bg, "user", "n")
					if err != nil {
						return err
					}
					var n int
					if _, err := fmt.Sscan(string(d.Body), &n); err != nil {
						return err
					}
					d.Body = []byte(fmt.Sprint(n + 1))
					_, err = tx.Put(bg, d)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if d, err := open().Get(bg, "user", "n"); err != nil || string(d.Body) != fmt.Sprint(writers*each) {
		t.Errorf("%s, %v", d.Body, err)
	}
}

func docsBounds(t *testing.T, open func() document.Store) {
	s := open()
	many := make([]string, document.MaxKeys+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for name, d := range map[string]document.Doc{
		"no kind":           {ID: "x", Body: []byte("1")},
		"a kind in capital": {Kind: "User", ID: "x", Body: []byte("1")},
		"no id":             {Kind: "user", Body: []byte("1")},
		"an id with spaces": {Kind: "user", ID: "a b", Body: []byte("1")},
		"no body":           {Kind: "user", ID: "x"},
		"a large body":      {Kind: "user", ID: "x", Body: make([]byte, document.MaxBody+1)},
		"many keys":         {Kind: "user", ID: "x", Body: []byte("1"), Keys: many},
		"an empty key":      {Kind: "user", ID: "x", Body: []byte("1"), Keys: []string{""}},
		"a key with a NUL":  {Kind: "user", ID: "x", Body: []byte("1"), Keys: []string{"a\x00"}},
		"a key of no text":  {Kind: "user", ID: "x", Body: []byte("1"), Keys: []string{"\xff"}},
		"a key twice":       {Kind: "user", ID: "x", Body: []byte("1"), Keys: []string{"a", "a"}},
	} {
		if err := putErr(s, d); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, key := range []string{"", "a\x00", "\xff", strings.Repeat("x", 5000)} {
		if _, err := s.Find(bg, "user", key); !errors.Is(err, document.ErrNotFound) {
			t.Errorf("Find %.10q: %v", key, err)
		}
	}
	put(t, s, document.Doc{Kind: "user", ID: "x", Body: bytes.Repeat([]byte("1"), document.MaxBody), Keys: many[1:]})
}

func docsContext(t *testing.T, open func() document.Store) {
	s := open()
	put(t, s, doc("user", "u1", ""))
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := s.Get(ctx, "user", "u1"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if _, _, err := s.Changes(ctx, document.Position{}, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Changes: %v", err)
	}
	err := s.Write(ctx, func(tx document.Tx) error { _, err := tx.Put(ctx, doc("user", "u2", "")); return err })
	if _, gerr := s.Get(bg, "user", "u2"); err == nil || !errors.Is(gerr, document.ErrNotFound) {
		t.Errorf("Write: %v, %v", err, gerr)
	}
}
