package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam"
)

// before makes a file as the release before this one left it: its only migration, its rows.
func before(t *testing.T, dir string, n int) *sql.DB {
	t.Helper()
	if err := prepare(dir, filepath.Join(dir, FileName)); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, FileName)+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	text, err := migrations.ReadFile("migrations/0001_keys.sql")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	for _, s := range []string{
		`CREATE TABLE IF NOT EXISTS migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, id TEXT NOT NULL) STRICT`, string(text),
		`INSERT INTO migrations VALUES (1, '0001_keys.sql', '` + hex.EncodeToString(sum[:]) + `')`,
	} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		hash := sha256.Sum256([]byte(fmt.Sprint("secret ", i)))
		if _, err := db.Exec(`INSERT INTO keys VALUES (?, ?, 'owner', ?, NULL, 0, '1', '{"upstreams":["openai"],"endpoints":["chat.*"],"models":["*"]}', '["10.0.0.0/8"]', ?, 0, 0, 0, 0)`,
			fmt.Sprintf("old%09d", i), fmt.Sprint("key ", i), hash[:], 1_700_000_000_000_000+i); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// The schema is brought up to date while a process of the release before reads and writes: it meets no
// error, nothing of what was there or what it writes is lost, and both see each other's changes.
func TestUpgradeBesideTheReleaseBefore(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	const n = 2000
	old := before(t, dir, n)
	var stop atomic.Bool
	var reads, writes atomic.Int64
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() { // its statements, word for word
			for i := w; !stop.Load(); i += 2 {
				rows, err := old.QueryContext(ctx, `SELECT v.version, id, name, owner, current, previous, previous_until, pepper_version, scopes, cidrs, created, not_before, expires, revoked, last_used FROM keys_version v LEFT JOIN keys ON true ORDER BY created, id LIMIT 50`)
				if err != nil {
					t.Errorf("the release before cannot read: %v", err)
					return
				}
				for rows.Next() {
				}
				if err := rows.Close(); err != nil {
					t.Error(err)
				}
				reads.Add(1)
				if _, err := old.ExecContext(ctx, `UPDATE keys SET last_used = ? WHERE id = ? AND last_used < ?`, 1_800_000_000_000_000+i, fmt.Sprintf("old%09d", i%n), 1_800_000_000_000_000+i); err != nil {
					t.Errorf("the release before cannot write: %v", err)
					return
				}
				writes.Add(1)
			}
		})
	}
	for reads.Load() < 5 {
		time.Sleep(time.Millisecond) // other goroutines
	}
	// Two processes of this release open it at once.
	var dbs [2]*DB
	var open sync.WaitGroup
	for i := range dbs {
		open.Go(func() {
			db, err := Open(ctx, dir)
			if err != nil {
				t.Error(err)
				return
			}
			dbs[i] = db
			t.Cleanup(func() { _ = db.Close() })
		})
	}
	open.Wait()
	if t.Failed() {
		t.FailNow()
	}
	after := writes.Load()
	for writes.Load() < after+20 {
		time.Sleep(time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
	ks, version, err := dbs[0].Keys().Keys(ctx)
	if err != nil || len(ks) != n {
		t.Fatalf("%d keys, %v", len(ks), err)
	}
	for i, k := range ks {
		if want := sha256.Sum256([]byte(fmt.Sprint("secret ", i))); k.Current != want || k.Tenant != "default" || len(k.CIDRs) != 1 || k.Scopes.Upstreams[0] != "openai" {
			t.Fatalf("%+v", k)
		}
	}
	// The one before revokes a key, this one makes one: each is seen.
	if _, err := old.Exec(`UPDATE keys SET revoked = 1800000000000000 WHERE id = 'old000000007'`); err != nil {
		t.Fatal(err)
	}
	changed, whole, _, err := dbs[1].Keys().Changed(ctx, version)
	if err != nil || whole || len(changed) != 1 || changed[0].ID != "old000000007" || changed[0].Revoked.IsZero() {
		t.Errorf("%+v %v %v", changed, whole, err)
	}
	if err := dbs[0].Keys().Insert(ctx, iam.Key{ID: "new000000001", Name: "new", PepperVersion: "1", Created: time.Now(), Tenant: "acme", Scopes: iam.Scopes{Upstreams: []string{"*"}}}); err != nil {
		t.Fatal(err)
	}
	var name string
	if err := old.QueryRowContext(context.Background(), `SELECT name FROM keys WHERE id = 'new000000001'`).Scan(&name); err != nil || name != "new" {
		t.Error(name, err)
	}
	t.Logf("%d reads and %d writes of the release before meanwhile", reads.Load(), writes.Load())
}
