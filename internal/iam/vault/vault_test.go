package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
)

const canary = "sk-canary-77ab-upstream-key"

type bench struct {
	t      *testing.T
	m      *memory
	dk     *dataKeys
	ring   *envelope.Keyring
	mir    *mirror.Mirror
	v      *Vault
	audit  []Change
	refuse error
	faults []error
}

func kek(t *testing.T, n byte) envelope.KEK {
	t.Helper()
	b := bytes.Repeat([]byte{n, 0x91}, 16)
	k, err := envelope.ParseKEK(secret.New(hex.EncodeToString(b)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newBench(t *testing.T, m *memory, dk *dataKeys) *bench {
	t.Helper()
	b := &bench{t: t, m: m, dk: dk}
	var err error
	if b.ring, err = envelope.New(t.Context(), envelope.Options{Store: dk, Current: kek(t, 1)}); err != nil {
		t.Fatal(err)
	}
	b.mir = mirror.New(m, nil, nil)
	b.v, err = New(Options{Store: m, Sealer: b.ring, Mirror: b.mir, Fault: func(err error) { b.faults = append(b.faults, err) }, Record: func(_ context.Context, c Change) error {
		b.audit = append(b.audit, c)
		return b.refuse
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.refresh()
	return b
}

func (b *bench) refresh() {
	b.t.Helper()
	if err := b.mir.Refresh(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) create(tenant, upstream, value string) string {
	b.t.Helper()
	c, err := b.v.Create(b.t.Context(), tenant, upstream, "main", secret.New(value))
	if err != nil {
		b.t.Fatal(err)
	}
	b.refresh()
	return c.After.ID
}

// tamper edits a row as somebody with access to the database does.
func (b *bench) tamper(id string, f func(*row)) {
	b.t.Helper()
	d := b.m.docs[Kind+"/"+id]
	r, err := document.Decode[row](&d)
	if err != nil {
		b.t.Fatal(err)
	}
	f(&r)
	b.m.rev++
	if d, err = document.Encode(r, b.m.rev); err != nil {
		b.t.Fatal(err)
	}
	b.m.docs[Kind+"/"+id] = d
}

func (b *bench) current(upstream, tenant, want string) {
	b.t.Helper()
	s, ok := b.v.Current(upstream, tenant)
	if s.Reveal() != want || ok != (want != "") {
		b.t.Fatalf("current for %s of %q: found %v, the expected one %v", upstream, tenant, ok, s.Reveal() == want)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestRotationWithoutARestart(t *testing.T) {
	m, dk := newMemory(), &dataKeys{}
	b, node2 := newBench(t, m, dk), newBench(t, m, dk)
	ok := must[Change](t)
	id := b.create("acme", "openai", "one")
	b.current("openai", "acme", "one")
	c := ok(b.v.AddVersion(t.Context(), "acme", id, secret.New("two")))
	if c.Version != 2 || c.Before.Active != 1 || len(c.Before.Versions) != 1 || len(c.After.Versions) != 2 || c.Action != "provider.add_version" {
		t.Fatalf("%+v", c)
	}
	b.refresh()
	b.current("openai", "acme", "one")
	ok(b.v.Activate(t.Context(), "acme", id, 2))
	node2.refresh()
	node2.current("openai", "acme", "two")
	b.refresh()
	b.current("openai", "acme", "two")
	if _, err := b.v.Retire(t.Context(), "acme", id, 2); !errors.Is(err, ErrActive) {
		t.Fatal(err)
	}
	ok(b.v.Activate(t.Context(), "acme", id, 1)) // back
	b.refresh()
	b.current("openai", "acme", "one")
	ok(b.v.Retire(t.Context(), "acme", id, 2))
	for _, f := range []func() (Change, error){
		func() (Change, error) { return b.v.Activate(t.Context(), "acme", id, 2) },
		func() (Change, error) { return b.v.Retire(t.Context(), "acme", id, 2) },
	} {
		if _, err := f(); !errors.Is(err, ErrRetired) {
			t.Fatal(err)
		}
	}
	if _, err := b.v.Activate(t.Context(), "acme", id, 9); !errors.Is(err, ErrNoVersion) {
		t.Fatal(err)
	}
	ok(b.v.Remove(t.Context(), "acme", id))
	b.refresh()
	b.current("openai", "acme", "")
	for n := range 40 { // numbers are not used again, and what was retired is forgotten in the end
		if n == 0 {
			id = b.create("acme", "openai", "again")
		}
		c := ok(b.v.AddVersion(t.Context(), "acme", id, secret.New("x")))
		if c.Version != n+2 {
			t.Fatal(c.Version)
		}
		c = ok(b.v.Retire(t.Context(), "acme", id, c.Version))
		if len(c.After.Versions) > keepRetired+1 {
			t.Fatal(len(c.After.Versions))
		}
	}
	b.refresh()
	b.current("openai", "acme", "again")
}

func TestWhoseCredential(t *testing.T) {
	b := newBench(t, newMemory(), &dataKeys{})
	b.create("", "openai", "shared")
	own := b.create("acme", "openai", "own")
	b.current("openai", "acme", "own")
	b.current("openai", "other", "shared")
	b.current("anthropic", "acme", "")
	if _, err := b.v.Create(t.Context(), "acme", "openai", "second", secret.New("x")); !errors.Is(err, document.ErrExists) {
		t.Error("two credentials for one upstream", err)
	}
	for name, err := range map[string]error{
		"add": second(b.v.AddVersion(t.Context(), "other", own, secret.New("x"))), "activate": second(b.v.Activate(t.Context(), "other", own, 1)),
		"retire": second(b.v.Retire(t.Context(), "other", own, 1)), "remove": second(b.v.Remove(t.Context(), "other", own)),
		"reveal": second(b.v.Reveal(t.Context(), "other", own, 1, "because I can")),
	} {
		if !errors.Is(err, document.ErrNotFound) {
			t.Errorf("%s by another tenant: %v", name, err)
		}
	}
	if len(b.audit) != 0 {
		t.Error("a refused reveal was recorded as one")
	}
	// A tenant's own that does not open is not replaced by the shared one.
	b.tamper(own, func(r *row) { r.Sealed["1"][40] ^= 1 })
	fresh := newBench(t, b.m, b.dk)
	fresh.current("openai", "acme", "")
	fresh.current("openai", "other", "shared")
	if len(fresh.faults) != 1 || !strings.Contains(fresh.faults[0].Error(), own) {
		t.Error(fresh.faults)
	}
	b.refresh()
	b.current("openai", "acme", "own") // who had it open goes on
}

func second[T any](_ T, err error) error { return err }

func TestSealedValueMovedToAnotherRowFails(t *testing.T) {
	b := newBench(t, newMemory(), &dataKeys{})
	victim := b.create("acme", "openai", canary)
	thief := b.create("acme", "thief.example", "x")
	var box []byte
	b.tamper(victim, func(r *row) { box = r.Sealed["1"] })
	b.tamper(thief, func(r *row) { r.Sealed["1"] = box })
	b = newBench(t, b.m, b.dk)
	b.current("thief.example", "acme", "")
	b.current("openai", "acme", canary)
	if _, err := b.v.Reveal(t.Context(), "acme", thief, 1, "testing a moved row"); !errors.Is(err, envelope.ErrOpen) {
		t.Error(err)
	}
}

func TestHotPathWithoutAStore(t *testing.T) {
	b := newBench(t, newMemory(), &dataKeys{})
	b.create("acme", "openai", canary)
	b.m.setDown(true)
	b.dk.setDown(true)
	b.v.mu.Lock()
	defer b.v.mu.Unlock()
	b.current("openai", "acme", canary)
	if n := testing.AllocsPerRun(100, func() { b.v.Current("openai", "acme") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOpeningIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newMemory(), &dataKeys{})
		node2 := newBench(t, b.m, b.dk)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go node2.v.Run(ctx)
		b.create("acme", "openai", canary)
		b.dk.setDown(true) // node2 has not seen the tenant's data key
		node2.refresh()
		node2.current("openai", "acme", "")
		b.dk.setDown(false)
		time.Sleep(retryEvery + time.Millisecond)
		synctest.Wait()
		node2.current("openai", "acme", canary)
		if len(node2.faults) != 2 || !errors.Is(node2.faults[0], errDown) || node2.faults[1] != nil {
			t.Error(node2.faults)
		}
	})
}

func TestRevealNeedsAReasonAndAnAudit(t *testing.T) {
	b := newBench(t, newMemory(), &dataKeys{})
	id := b.create("acme", "openai", canary)
	for _, reason := range []string{"", "       ", "short", "with\x1b[31mcolour", strings.Repeat("x", maxReason+1), "line\nbreak here"} {
		if _, err := b.v.Reveal(t.Context(), "acme", id, 1, reason); err == nil || len(b.audit) != 0 {
			t.Errorf("%q: %v", reason, err)
		}
	}
	b.refuse = errors.New("the audit is full")
	if s, err := b.v.Reveal(t.Context(), "acme", id, 1, "migration to another gateway"); !errors.Is(err, b.refuse) || !s.Empty() {
		t.Fatal("revealed without an audit", err)
	}
	b.refuse = nil
	s, err := b.v.Reveal(t.Context(), "acme", id, 1, "migration to another gateway")
	if err != nil || s.Reveal() != canary || len(b.audit) != 2 || b.audit[1].Reason == "" || b.audit[1].Version != 1 {
		t.Fatal(err, b.audit)
	}
	b.v.record = nil
	if s, err := b.v.Reveal(t.Context(), "acme", id, 1, "migration to another gateway"); err == nil || !s.Empty() {
		t.Fatal("revealed without an audit")
	}
}

func TestResealAfterDataKeyRotation(t *testing.T) {
	b := newBench(t, newMemory(), &dataKeys{})
	id := b.create("acme", "openai", canary)
	must[Change](t)(b.v.AddVersion(t.Context(), "acme", id, secret.New("two")))
	b.create("other", "openai", "o")
	if _, err := b.ring.Rotate(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if n, err := b.v.Reseal(t.Context()); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := b.v.Reseal(t.Context()); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	b.refresh()
	b.current("openai", "acme", canary)
	delete(b.dk.rows["acme"], 1) // nothing needs the old data key any more
	newBench(t, b.m, b.dk).current("openai", "acme", canary)
}

func TestNothingShowsAValue(t *testing.T) {
	b := newBench(t, newMemory(), &dataKeys{})
	id := b.create("acme", "openai", canary)
	c := must[Change](t)(b.v.AddVersion(t.Context(), "acme", id, secret.New(canary+"2")))
	must[Change](t)(b.v.Activate(t.Context(), "acme", id, 2))
	b.refresh()
	all, err := b.v.List(t.Context(), nil)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	_, _ = b.v.Reveal(t.Context(), "acme", id, 2, "to look at what is recorded")
	out := append(b.m.seen.Bytes(), b.dk.seen.Bytes()...)
	for _, x := range []any{c, all, b.audit, b.faults} {
		j, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(j, []byte("sealed")) {
			t.Error("a ciphertext is shown")
		}
		out = append(append(out, j...), fmt.Sprintf("%v %+v %#v", x, x, x)...)
	}
	s, _ := b.v.Current("openai", "acme")
	out = fmt.Appendf(out, "%v %+v %#v", s, s, s)
	if len(out) < 1500 {
		t.Fatal("too little was looked at")
	}
	for _, form := range []string{canary, hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary))[:32]} {
		if bytes.Contains(out, []byte(form)) {
			t.Errorf("shown: %s", form)
		}
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t, newMemory(), &dataKeys{})
	for _, c := range []struct{ tenant, upstream, name, value string }{
		{"acme", "", "n", canary}, {"acme", "u", "", canary}, {"acme", "u", "n", ""}, {"acme", "u", "n", canary + "\n"}, {"acme", "u", "n", canary + "\r\nX-Evil: 1"},
		{"acme", "u", "n", " " + canary}, {"acme", "u", "n", canary + "é"}, {"acme", "u", "\x1b[2J", canary}, {"a b", "u", "n", canary}, {strings.Repeat("a", 129), "u", "n", canary},
		{"acme", "u", "n", strings.Repeat("x", 17<<10)},
	} {
		if _, err := b.v.Create(t.Context(), c.tenant, c.upstream, c.name, secret.New(c.value)); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%.60q: %v", c, err)
		}
	}
	id := b.create("acme", "u", "v")
	for range maxVersions - 1 {
		must[Change](t)(b.v.AddVersion(t.Context(), "acme", id, secret.New("v")))
	}
	if _, err := b.v.AddVersion(t.Context(), "acme", id, secret.New("v")); err == nil {
		t.Error("versions without end")
	}
	b.m.setDown(true)
	if _, err := b.v.AddVersion(t.Context(), "acme", id, secret.New("v")); !errors.Is(err, errDown) {
		t.Error(err)
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a vault of nothing")
	}
}
