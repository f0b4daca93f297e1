package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/store/memory"
)

// rights is what people may do: in the store, and as memory has it, which may be behind.
type rights struct {
	mu            sync.Mutex
	stored, known map[string]string
	err           error
}

func (r *rights) Known(_, user string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[user], r.err
}

func (r *rights) Read(_ context.Context, _ document.Reader, _, user string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stored[user], r.err
}

func (r *rights) set(user, can string, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stored[user] = can
	if known {
		r.known[user] = can
	}
}

func openWith(t *testing.T) (*session.Sessions, *rights, *clock) {
	r := &rights{stored: map[string]string{}, known: map[string]string{}}
	c := &clock{}
	m, err := session.New(session.Options{Store: &memory.Documents{}, Now: c.now, Privilege: r})
	if err != nil {
		t.Fatal(err)
	}
	return m, r, c
}

// Fails when Find does not look at what the person may do.
func TestAStolenCookieAfterAChangeOfRoles(t *testing.T) {
	m, r, _ := openWith(t)
	r.set("alice", "developer", true)
	r.set("bob", "developer", true)
	_, stolen := create(t, m, "alice")
	_, other := create(t, m, "bob")
	if _, err := m.Find(t.Context(), stolen); err != nil {
		t.Fatal(err)
	}
	r.set("alice", "admin", true)
	dead(t, m, stolen, "after the change")
	r.set("alice", "developer", true)
	dead(t, m, stolen, "after it was taken back")
	if _, err := m.Find(t.Context(), other); err != nil {
		t.Errorf("somebody else's session: %v", err)
	}
}

// Memory may be behind, either way: a session of after the change is not ended by it, and a rotation is
// of the store's word.
func TestMemoryThatIsBehind(t *testing.T) {
	m, r, c := openWith(t)
	r.set("alice", "developer", true)
	_, old := create(t, m, "alice")
	r.set("alice", "admin", false)
	_, fresh := create(t, m, "alice")
	if _, err := m.Find(t.Context(), fresh); err != nil {
		t.Errorf("a session of after the change: %v", err)
	}
	if _, _, err := m.Rotate(t.Context(), old); !errors.Is(err, session.ErrNone) {
		t.Errorf("rotated after the change: %v", err)
	}
	_, touched := create(t, m, "alice")
	r.set("alice", "owner", false)
	c.add(session.Touch)
	dead(t, m, touched, "touched after the change")
}

// Who changes what they may do themselves goes on, with another token.
func TestRenew(t *testing.T) {
	m, r, _ := openWith(t)
	r.set("alice", "developer", true)
	_, tok := create(t, m, "alice")
	_, elsewhere := create(t, m, "alice")
	if next, err := m.Renew(t.Context(), tok); err != nil || !next.Empty() {
		t.Fatalf("renewed without a change: %v", err)
	}
	r.set("alice", "admin", true)
	next, err := m.Renew(t.Context(), tok)
	if err != nil || next.Empty() {
		t.Fatal(err)
	}
	dead(t, m, tok, "the token before")
	dead(t, m, elsewhere, "their other session")
	if _, err := m.Find(t.Context(), next); err != nil {
		t.Error(err)
	}
	if next, err := m.Renew(t.Context(), tok); err != nil || !next.Empty() {
		t.Error("an ended session was renewed", err)
	}
}

func TestWhatCannotBeDecidedIsNoSession(t *testing.T) {
	m, r, _ := openWith(t)
	_, tok := create(t, m, "alice")
	r.err = errors.New("away")
	if _, err := m.Find(t.Context(), tok); err == nil || errors.Is(err, session.ErrNone) {
		t.Errorf("%v", err)
	}
	if _, _, err := m.Create(t.Context(), start("alice")); err == nil {
		t.Error("made")
	}
	r.err = nil
	if _, err := m.Find(t.Context(), tok); err != nil {
		t.Error(err)
	}
}

func TestSweepTakesWhoIsGone(t *testing.T) {
	m, _, c := openWith(t)
	_, a := create(t, m, "alice")
	_, b := create(t, m, "bob")
	gone := func(tenant, user string) bool { return tenant == "acme" && user == "bob" }
	for i, want := range []int{1, 0} { // by the other node, later: nothing is left to do
		if n, err := m.Sweep(t.Context(), gone); n != want || err != nil {
			t.Errorf("sweep %d: %d %v", i, n, err)
		}
	}
	dead(t, m, b, "gone")
	if _, err := m.Find(t.Context(), a); err != nil {
		t.Error(err)
	}
	c.add(session.Idle)
	if n, err := m.Sweep(t.Context(), nil); n != 1 || err != nil {
		t.Error(n, err)
	}
}
