package datakeys_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"sallyport.dev/sallyport/internal/iam/datakeys"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

// Two nodes over one database: what one seals the other opens, and both see a re-wrapping.
func TestOverADatabase(t *testing.T) {
	ctx := context.Background()
	db, err := sqlite.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := datakeys.Store{Docs: db.Documents()}
	kek := func(c string) envelope.KEK {
		k, err := envelope.ParseKEK(secret.New(fmt.Sprintf("%x", sha256.Sum256([]byte(c)))))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first, second := kek("a"), kek("b")
	node := func(current envelope.KEK, old ...envelope.KEK) *envelope.Keyring {
		r, err := envelope.New(ctx, envelope.Options{Store: s, Current: current, Old: old})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, two := node(first), node(first, second)
	at := envelope.Place{Table: "provider", Row: "r", Column: "v"}
	for _, tenant := range []string{"", "acme"} {
		box, err := one.Seal(tenant, at, secret.New("hunter2"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := two.Open(tenant, at, box); err != nil || got.Reveal() != "hunter2" {
			t.Errorf("%q: %v", tenant, err)
		}
		if _, err := two.Open(tenant+"x", at, box); err == nil {
			t.Error("opened for another tenant")
		}
	}
	if err := two.SetKEKs(second, first); err != nil {
		t.Fatal(err)
	}
	if n, err := two.Rewrap(ctx); err != nil || n.Changed != 2 {
		t.Errorf("%+v, %v", n, err)
	}
	if use, err := node(second).InUse(ctx); err != nil || use[second.ID()] != 2 || len(use) != 1 {
		t.Errorf("%v, %v", use, err)
	}
	if _, err := envelope.New(ctx, envelope.Options{Store: s, Current: first}); err == nil {
		t.Error("a node without the key that is in use starts")
	}
	w, err := s.List(ctx, nil)
	if err != nil || len(w) != 2 {
		t.Fatalf("%d, %v", len(w), err)
	}
	if err := s.Put(ctx, w[0]); !errors.Is(err, envelope.ErrExists) {
		t.Errorf("Put: %v", err)
	}
	if err := s.Swap(ctx, []byte("another"), w[0]); !errors.Is(err, envelope.ErrConflict) {
		t.Errorf("Swap: %v", err)
	}
	if _, err := s.Get(ctx, "nobody", 1); !errors.Is(err, envelope.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
}
