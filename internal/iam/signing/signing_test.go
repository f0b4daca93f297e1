package signing_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam/datakeys"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/jwks"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/signing"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
	"sallyport.dev/sallyport/internal/store/memory"
)

// node is one gateway's keys over a store.
type node struct {
	t      *testing.T
	m      *mirror.Mirror
	k      *signing.Keys
	mu     sync.Mutex
	faults []error
}

func newNode(t *testing.T, docs document.Store, master byte) *node {
	t.Helper()
	kek, err := envelope.ParseKEK(secret.New(hex.EncodeToString(bytes.Repeat([]byte{master, 7}, 16))))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := envelope.New(t.Context(), envelope.Options{Store: datakeys.Store{Docs: docs}, Current: kek})
	if err != nil {
		t.Fatal(err)
	}
	return withRing(t, docs, ring)
}

func withRing(t *testing.T, docs document.Store, ring signing.Sealer) *node {
	t.Helper()
	n := &node{t: t, m: mirror.New(docs, nil, nil)}
	var err error
	n.k, err = signing.New(signing.Options{Store: docs, Sealer: ring, Mirror: n.m, Fault: func(err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.faults = append(n.faults, err)
	}})
	if err != nil {
		t.Fatal(err)
	}
	n.see()
	return n
}

func (n *node) see() {
	n.t.Helper()
	if err := n.m.Refresh(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) upkeep() {
	n.t.Helper()
	if err := n.k.Upkeep(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
	n.see()
}

func (n *node) sign() string {
	n.t.Helper()
	s, err := n.k.Sign([]byte(`{"sub":"a"}`))
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// kid is which key signed a token.
func kid(t *testing.T, token string) string {
	t.Helper()
	j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{signing.Alg})
	if err != nil {
		t.Fatal(err)
	}
	if typ, _ := j.Signatures[0].Header.ExtraHeaders["typ"].(string); typ != "at+jwt" {
		t.Errorf("typ %q", typ)
	}
	return j.Signatures[0].Header.KeyID
}

// verifies says whether a node's published keys verify a token.
func (n *node) verifies(token string) bool {
	n.t.Helper()
	doc, err := n.k.JWKS(n.t.Context())
	if err != nil {
		return false
	}
	keys, ignored, err := jwks.Parse(doc)
	if err != nil || ignored != 0 {
		n.t.Fatalf("%s: %d ignored, %v", doc, ignored, err)
	}
	j, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{signing.Alg})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, k := range keys {
		if k.ID != j.Signatures[0].Header.KeyID {
			continue
		}
		if _, err := j.Verify(k.Public); err == nil {
			return true
		}
	}
	return false
}

// A key is published before it signs, signs for its period, and verifies until its last token has ended;
// nodes agree at every moment, and there is no moment at which none signs.
func TestKeysAreRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docs := &memory.Documents{}
		a, b := newNode(t, docs, 1), newNode(t, docs, 1)
		if _, err := a.k.Sign(nil); !errors.Is(err, signing.ErrNone) {
			t.Fatalf("without a key: %v", err)
		}
		if _, err := a.k.JWKS(t.Context()); !errors.Is(err, signing.ErrNone) {
			t.Fatalf("without a key: %v", err)
		}
		a.upkeep()
		if _, err := a.k.Sign(nil); !errors.Is(err, signing.ErrNone) {
			t.Fatalf("a key signs at once, before others could see it: %v", err)
		}
		time.Sleep(signing.First)
		b.upkeep() // sees that there is one
		first := a.sign()
		if !b.verifies(first) || kid(t, first) != kid(t, b.sign()) {
			t.Fatal("two nodes have different keys")
		}
		published := map[string]time.Time{} // when a key was first seen
		last, changes := first, 0
		type past struct {
			token string
			ends  time.Time
		}
		var tokens []past
		for range 3 * 24 * 4 {
			a.upkeep()
			b.upkeep()
			doc, _ := a.k.JWKS(t.Context())
			keys, _, _ := jwks.Parse(doc)
			for _, k := range keys {
				if published[k.ID].IsZero() {
					published[k.ID] = time.Now()
				}
			}
			if len(keys) > 2 {
				t.Errorf("%d keys at once", len(keys))
			}
			token := b.sign()
			if id := kid(t, token); id != kid(t, last) {
				changes++
				if lead := time.Since(published[id]); lead < signing.Lead-15*time.Minute {
					t.Errorf("a key signs %v after it was published", lead)
				}
			}
			last = token
			tokens = append(tokens, past{token, time.Now().Add(signing.MaxLifetime)})
			for _, p := range tokens[max(0, len(tokens)-3):] {
				if !p.ends.Before(time.Now()) && (!a.verifies(p.token) || !b.verifies(p.token)) {
					t.Errorf("a token of %v more is not verified", time.Until(p.ends))
				}
			}
			time.Sleep(15 * time.Minute)
		}
		if changes != 3 && changes != 2 {
			t.Errorf("%d rotations in three days", changes)
		}
		if a.verifies(first) {
			t.Error("the first key is still published")
		}
		rows, err := docs.List(t.Context(), document.Query{Kind: signing.Kind})
		if err != nil || len(rows) > 2 {
			t.Errorf("%d keys are kept, %v", len(rows), err)
		}
	})
}

// Many nodes that start at once make one key.
func TestOneOfManyNodesMakesTheKey(t *testing.T) {
	docs := &memory.Documents{}
	kek, err := envelope.ParseKEK(secret.New(strings.Repeat("1f", 16) + strings.Repeat("07", 16)))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := envelope.New(t.Context(), envelope.Options{Store: datakeys.Store{Docs: docs}, Current: kek})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		n := withRing(t, docs, ring)
		wg.Go(func() {
			if err := n.k.Upkeep(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rows, err := docs.List(t.Context(), document.Query{Kind: signing.Kind})
	if err != nil || len(rows) != 1 {
		t.Errorf("%d keys, %v", len(rows), err)
	}
}

// What is in the store is of no use without the master key, and nothing that is put there is believed:
// no key of a stranger's, none moved to another name, none that was damaged.
func TestTheStoreAloneIsWorthNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docs := &memory.Documents{}
		n := newNode(t, docs, 1)
		n.upkeep()
		time.Sleep(signing.First)
		good := n.sign()
		rows, err := docs.List(t.Context(), document.Query{Kind: signing.Kind})
		if err != nil || len(rows) != 1 {
			t.Fatal(err)
		}
		body := string(rows[0].Body)
		for _, word := range []string{"crv", "EC", "PRIVATE", "signs"} {
			if strings.Contains(body, `"`+word) {
				t.Errorf("the store holds %s in the clear", word)
			}
		}

		// The same installation with another master key: a stranger who can write to the store.
		theirs := &memory.Documents{}
		stranger := newNode(t, theirs, 2)
		stranger.upkeep()
		time.Sleep(signing.First)
		forged := stranger.sign()
		put := func(id, body string) {
			t.Helper()
			err := docs.Write(t.Context(), func(tx document.Tx) error {
				_, err := tx.Put(t.Context(), document.Doc{Kind: signing.Kind, ID: id, Body: []byte(body)})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		own, err := theirs.List(t.Context(), document.Query{Kind: signing.Kind})
		if err != nil {
			t.Fatal(err)
		}
		put(own[0].ID, string(own[0].Body))
		put("sign_moved", strings.Replace(body, rows[0].ID, "sign_moved", 1))
		put("sign_cut", strings.Replace(strings.Replace(body, rows[0].ID, "sign_cut", 1), `AAAA`, ``, 1))
		n.see()
		if n.verifies(forged) {
			t.Error("a key that a stranger put into the store is believed")
		}
		doc, _ := n.k.JWKS(t.Context())
		if keys, _, _ := jwks.Parse(doc); len(keys) != 1 || !n.verifies(good) {
			t.Errorf("published %s", doc)
		}
		if len(n.faults) == 0 || strings.Contains(fmt.Sprint(n.faults), string(rows[0].Body)) {
			t.Errorf("nobody was told: %v", n.faults)
		}
		// They do not stop the rotation either.
		time.Sleep(signing.Period)
		n.upkeep()
		time.Sleep(signing.First)
		if kid(t, n.sign()) == kid(t, good) {
			t.Error("the key was not rotated")
		}
	})
}

// After an incident all keys are replaced: no token from before verifies, on any node.
func TestAllKeysAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docs := &memory.Documents{}
		a, b := newNode(t, docs, 1), newNode(t, docs, 1)
		if n, err := a.k.Replace(t.Context()); n != 0 || err != nil {
			t.Fatalf("of no keys: %d, %v", n, err)
		}
		a.see()
		if _, err := a.k.JWKS(t.Context()); err == nil {
			t.Error("a key was made for nothing")
		}
		a.upkeep()
		time.Sleep(signing.Period - signing.Lead/2)
		a.upkeep() // there are two now
		old := a.sign()
		b.see()
		n, err := b.k.Replace(t.Context())
		if n != 2 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		for _, x := range []*node{a, b} {
			x.see()
			if _, err := x.k.Sign(nil); !errors.Is(err, signing.ErrNone) {
				t.Errorf("the new key signs at once: %v", err)
			}
			keys, err := x.k.Set().Keys(time.Now())
			if err != nil || len(keys.Find(kid(t, old), signing.Alg)) != 0 || x.verifies(old) {
				t.Errorf("a token from before verifies: %v", err)
			}
		}
		time.Sleep(signing.First)
		a.upkeep()
		if !b.verifies(a.sign()) {
			t.Error("the new key is not everybody's")
		}
	})
}

// While the store is away what is in memory goes on, until the key's period is over.
func TestTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docs := &away{}
		n := newNode(t, docs, 1)
		n.upkeep()
		time.Sleep(signing.First)
		n.sign()
		docs.gone = true
		time.Sleep(signing.Period - time.Minute)
		if err := n.k.Upkeep(t.Context()); err == nil {
			t.Error("a key was made without a store")
		}
		n.sign()
		time.Sleep(2 * time.Minute)
		if _, err := n.k.Sign(nil); !errors.Is(err, signing.ErrNone) {
			t.Errorf("a key signs beyond its period: %v", err)
		}
		docs.gone = false
		n.upkeep()
		time.Sleep(signing.First)
		n.sign()
	})
}

type away struct {
	memory.Documents
	gone bool
}

var errGone = errors.New("the store is away")

func (a *away) List(ctx context.Context, q document.Query) ([]document.Doc, error) {
	if a.gone {
		return nil, errGone
	}
	return a.Documents.List(ctx, q)
}

// Run makes the first key by itself, and Set follows.
func TestRunKeepsTheKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := newNode(t, &memory.Documents{}, 1)
		var wg sync.WaitGroup
		wg.Go(func() { n.m.Run(ctx) })
		wg.Go(func() { n.k.Run(ctx) })
		time.Sleep(signing.First + 2*mirror.PollEvery)
		id := kid(t, n.sign())
		keys, err := n.k.Set().Keys(time.Now())
		if err != nil || len(keys.Find(id, signing.Alg)) != 1 || len(keys.Find(id, "RS256")) != 0 {
			t.Errorf("%v, %v", keys, err)
		}
		time.Sleep(signing.Period + time.Minute)
		again := kid(t, n.sign())
		if keys, err = n.k.Set().Keys(time.Now()); err != nil || again == id || len(keys.Find(again, signing.Alg)) != 1 || len(keys.Find(id, signing.Alg)) != 1 {
			t.Errorf("after a day: %v", err)
		}
		cancel()
		wg.Wait()
		if i := slices.IndexFunc(n.faults, func(err error) bool { return err != nil }); i >= 0 {
			t.Error(n.faults[i])
		}
	})
}
