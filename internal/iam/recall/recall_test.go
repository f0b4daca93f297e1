package recall_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/iam/recall"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/redis"
	"sallyport.dev/sallyport/internal/store/redistest"
)

var bg = context.Background()

// database is where keys are revoked; it can be away.
type database struct {
	mu      sync.Mutex
	away    bool
	revoked map[string]int
}

func (d *database) revoke(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return errors.New("away")
	}
	d.revoked[id]++
	return nil
}

func (d *database) ended(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.away && d.revoked[id] > 0
}

func (d *database) set(away bool) { d.mu.Lock(); d.away = away; d.mu.Unlock() }

type gateway struct {
	*recall.Book
	file   string
	faults []error
	now    time.Time
}

func newGateway(t *testing.T, db *database, url secret.String, pepper string) *gateway {
	t.Helper()
	g := &gateway{file: filepath.Join(t.TempDir(), "recalled.json"), now: time.Now()}
	g.open(t, db, url, pepper)
	return g
}

func (g *gateway) open(t *testing.T, db *database, url secret.String, pepper string) {
	t.Helper()
	o := recall.Options{File: g.file, Pepper: secret.New(pepper), Revoke: db.revoke, Ended: db.ended,
		Now: func() time.Time { return g.now }, Fault: func(err error) { g.faults = append(g.faults, err) }}
	if url.Reveal() != "" {
		s, err := redis.Open(redis.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		o.Board = s.Board()
	}
	b, err := recall.New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Book = b
}

const pepper = "a pepper of at least sixteen bytes"

// Without the database a key ends here at once and on the others with their next look, survives a
// restart, and stands in the database when it is back, whoever was asked.
func TestARecallWithoutTheDatabase(t *testing.T) {
	s := redistest.Start(t)
	db := &database{revoked: map[string]int{}, away: true}
	a, b := newGateway(t, db, s.URL(), pepper), newGateway(t, db, s.URL(), pepper)
	id, other := apikey.NewID(), apikey.NewID()
	if everywhere, err := a.Recall(bg, id); err != nil || !everywhere {
		t.Fatal(everywhere, err)
	}
	if !a.Recalled(id) || a.Recalled(other) || a.Waiting() != 1 {
		t.Error("not ended here, or another is")
	}
	if err := b.Look(bg); err != nil || !b.Recalled(id) || b.Recalled(other) {
		t.Errorf("not ended on the other: %v", err)
	}
	if a.Catchup(bg) == nil || a.Waiting() != 1 {
		t.Error("it counts as told to a database that is away")
	}
	a.open(t, db, secret.String{}, pepper) // a new process, Redis away too
	if !a.Recalled(id) || a.Waiting() != 1 {
		t.Error("a restart forgets it")
	}
	db.set(false)
	if err := a.Catchup(bg); err != nil || db.revoked[id] != 1 || a.Waiting() != 0 {
		t.Errorf("%v, %d times in the database", err, db.revoked[id])
	}
	if _, err := os.Stat(a.file); !os.IsNotExist(err) {
		t.Errorf("the file stays: %v", err)
	}
	// It leaves the board when every gateway has had the time to see the database say so.
	if err := errors.Join(b.Catchup(bg), b.Look(bg)); err != nil || !b.Recalled(id) {
		t.Errorf("%v", err)
	}
	b.now = b.now.Add(recall.Keep + 2*time.Second)
	if err := errors.Join(b.Catchup(bg), b.Look(bg)); err != nil || b.Recalled(id) {
		t.Errorf("it is never forgotten: %v", err)
	}
}

// The gateway that took a recall is gone for good: another one tells the database.
func TestAnotherGatewayTellsTheDatabase(t *testing.T) {
	s := redistest.Start(t)
	db := &database{revoked: map[string]int{}, away: true}
	a, b := newGateway(t, db, s.URL(), pepper), newGateway(t, db, s.URL(), pepper)
	id := apikey.NewID()
	if _, err := a.Recall(bg, id); err != nil {
		t.Fatal(err)
	}
	if err := b.Look(bg); err != nil {
		t.Fatal(err)
	}
	db.set(false)
	if err := b.Catchup(bg); err != nil || db.revoked[id] != 0 {
		t.Errorf("who took it is not waited for: %v", err)
	}
	b.now = b.now.Add(10 * time.Second)
	if err := b.Catchup(bg); err != nil || db.revoked[id] != 1 {
		t.Errorf("%v, %d times in the database", err, db.revoked[id])
	}
}

// A Redis that lost everything is told again by those who know; one that is away is reported once, and a
// recall then says that it counts here only.
func TestTheBoardIsLost(t *testing.T) {
	s := redistest.Start(t)
	db := &database{revoked: map[string]int{}, away: true}
	a := newGateway(t, db, s.URL(), pepper)
	s.Kill()
	id := apikey.NewID()
	if everywhere, err := a.Recall(bg, id); err != nil || everywhere || !a.Recalled(id) {
		t.Error(everywhere, err)
	}
	first, second := a.Look(bg), a.Look(bg)
	if first == nil || second == nil || len(a.faults) != 1 || a.faults[0] == nil {
		t.Errorf("told %v", a.faults)
	}
	s.Up()
	b := newGateway(t, db, s.URL(), pepper)
	for end := time.Now().Add(10 * time.Second); a.Look(bg) != nil && time.Now().Before(end); {
	}
	if err := b.Look(bg); err != nil || !b.Recalled(id) {
		t.Errorf("the new board lacks it: %v", err)
	}
	if len(a.faults) != 2 || a.faults[1] != nil {
		t.Errorf("told %v", a.faults)
	}
}

// Who can write to Redis and does not have the pepper ends no key, nor makes a file count that was not
// written by a gateway.
func TestNobodyElseEndsKeys(t *testing.T) {
	s := redistest.Start(t)
	db := &database{revoked: map[string]int{}}
	a := newGateway(t, db, s.URL(), pepper)
	evil := newGateway(t, &database{away: true, revoked: map[string]int{}}, s.URL(), "another pepper of enough bytes")
	id, real := apikey.NewID(), apikey.NewID()
	if _, err := evil.Recall(bg, id); err != nil {
		t.Fatal(err)
	}
	st, err := redis.Open(redis.Options{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := a.Recall(bg, real); err != nil {
		t.Fatal(err)
	}
	ns, err := st.Board().Read(bg, 10)
	if err != nil || len(ns) != 2 {
		t.Fatal(ns, err)
	}
	for _, n := range ns { // the signature of one key under the name of another, and at another time
		swapped := n
		swapped.Key = apikey.NewID()
		later := n
		later.Key, later.At = id, n.At.Add(time.Hour)
		if err := st.Board().Post(bg, []recall.Note{swapped, later, {Key: "../x", At: n.At, MAC: n.MAC}}); err != nil {
			t.Fatal(err)
		}
		if err := a.Look(bg); err != nil || a.Recalled(id) || a.Recalled(swapped.Key) {
			t.Fatalf("a forged recall counts: %v", err)
		}
	}
	if _, err := recall.New(recall.Options{File: evil.file, Pepper: secret.New(pepper), Revoke: db.revoke, Ended: db.ended}); err == nil {
		t.Error("a file of another pepper is believed")
	}
	for _, key := range []string{"", "x", fmt.Sprint(id, "\n")} {
		if _, err := a.Recall(bg, key); err == nil {
			t.Errorf("%q can be recalled", key)
		}
	}
}

// Many keys end together or not at all, reach the others in one look, survive a restart and stand in the
// database one by one; and there is a bound.
func TestManyRecalls(t *testing.T) {
	s := redistest.Start(t)
	db := &database{revoked: map[string]int{}, away: true}
	a, b := newGateway(t, db, s.URL(), pepper), newGateway(t, db, s.URL(), pepper)
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = apikey.NewID()
	}
	if _, err := a.Recall(bg, append(ids[:3:3], "../x")...); err == nil || a.Recalled(ids[0]) || a.Waiting() != 0 {
		t.Errorf("part of a list that holds nonsense has ended: %v", err)
	}
	if everywhere, err := a.Recall(bg, ids...); err != nil || !everywhere || a.Waiting() != len(ids) {
		t.Fatal(everywhere, err, a.Waiting())
	}
	if err := b.Look(bg); err != nil {
		t.Fatal(err)
	}
	a.open(t, db, s.URL(), pepper)
	for _, id := range ids {
		if !a.Recalled(id) || !b.Recalled(id) {
			t.Fatalf("%s lives", id)
		}
	}
	db.set(false)
	if err := a.Catchup(bg); err != nil || a.Waiting() != 0 || len(db.revoked) != len(ids) {
		t.Errorf("%v, %d of %d in the database", err, len(db.revoked), len(ids))
	}

	alone := newGateway(t, &database{away: true}, secret.String{}, pepper)
	ids = make([]string, 100_000)
	for i := range ids {
		ids[i] = apikey.NewID()
	}
	if _, err := alone.Recall(bg, ids...); err != nil {
		t.Fatal(err)
	}
	more := apikey.NewID()
	if _, err := alone.Recall(bg, more); !errors.Is(err, recall.ErrFull) || alone.Recalled(more) {
		t.Errorf("beyond the bound: %v", err)
	}
	if _, err := alone.Recall(bg, ids[:10]...); err != nil {
		t.Errorf("again, at the bound: %v", err)
	}
}
