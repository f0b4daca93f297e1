package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver, without what Open adds

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/pgtest"
)

// before makes a database as the release before this one left it: its only migration, n documents.
func before(t *testing.T, dsn string, n int) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	text, err := migrations.ReadFile("migrations/0001_start.sql")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	for _, s := range []string{
		`CREATE TABLE migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, id TEXT NOT NULL)`, string(text),
		`INSERT INTO migrations VALUES (1, '0001_start.sql', '` + hex.EncodeToString(sum[:]) + `')`,
		fmt.Sprintf(`INSERT INTO documents SELECT 'user', 'was' || g, 'acme', '[]', '{}', g, g %% 2 FROM generate_series(1, %d) g`, n),
		fmt.Sprintf(`UPDATE documents_version SET revision = %d`, n),
	} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// oldPut makes and deletes a document with the statements of the release before, word for word.
func oldPut(ctx context.Context, db *sql.DB, id string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	for _, s := range []struct {
		text string
		args []any
	}{
		{`SELECT revision FROM documents_version FOR UPDATE`, nil},
		{`SELECT revision, deleted FROM documents WHERE kind = $1 AND id = $2`, []any{"user", id}},
		{`DELETE FROM document_keys WHERE kind = $1 AND id = $2`, []any{"user", id}},
		{`UPDATE documents_version SET revision = revision + 1`, nil},
		{`INSERT INTO documents (kind, id, tenant, keys, body, revision, deleted) VALUES ($1, $2, $3, $4, $5, (SELECT revision FROM documents_version), 0)
		ON CONFLICT (kind, id) DO UPDATE SET tenant = excluded.tenant, keys = excluded.keys, body = excluded.body, revision = excluded.revision`, []any{"user", id, "acme", "[]", []byte("1")}},
		{`UPDATE documents_version SET revision = revision + 1`, nil},
		{`UPDATE documents SET keys = '[]', body = $1, revision = (SELECT revision FROM documents_version), deleted = 1 WHERE kind = $2 AND id = $3`, []any{[]byte{}, "user", id}},
	} {
		if _, err := tx.ExecContext(ctx, s.text, s.args...); err != nil {
			return fmt.Errorf("%s: %w", s.text, err)
		}
	}
	return tx.Commit()
}

// The schema is brought up to date while a gateway of the release before reads and writes: it meets no
// error, and what it deletes is a tombstone for this release too.
func TestUpgradeBesideTheReleaseBefore(t *testing.T) {
	dsn, ctx := pgtest.DSN(t), t.Context()
	const n = 20_000
	old := before(t, dsn, n)
	var stop atomic.Bool
	var writes, reads atomic.Int64
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				if err := oldPut(ctx, old, fmt.Sprintf("old%d_%d", w, i)); err != nil {
					t.Errorf("the release before cannot write: %v", err)
					return
				}
				writes.Add(1)
			}
		})
	}
	wg.Go(func() {
		for after := int64(0); !stop.Load(); reads.Add(1) {
			rows, err := old.QueryContext(ctx, `SELECT d.revision FROM documents d WHERE d.revision > $1 ORDER BY d.revision LIMIT 5000`, after)
			if err != nil {
				t.Errorf("the release before cannot read: %v", err)
				return
			}
			for rows.Next() {
				if err := rows.Scan(&after); err != nil {
					t.Error(err)
				}
			}
			if err := rows.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	for writes.Load() < 5 {
		time.Sleep(time.Millisecond) // other goroutines
	}
	var dbs [2]*DB
	var open sync.WaitGroup
	for i := range dbs { // two gateways of this release start at once
		open.Go(func() {
			db, err := Open(ctx, secret.New(dsn))
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
		stop.Store(true)
		wg.Wait()
		t.FailNow()
	}
	after := writes.Load()
	for writes.Load() < after+20 && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
	var gone, living int64
	if err := dbs[0].SQL().QueryRow(`SELECT count(*) FILTER (WHERE deleted = 1), count(*) FILTER (WHERE deleted = 0) FROM documents`).Scan(&gone, &living); err != nil {
		t.Fatal(err)
	}
	if gone != n/2+writes.Load() || living != n/2 {
		t.Errorf("%d tombstones and %d living of %d written", gone, living, writes.Load())
	}
	// Each sees what the other does.
	if err := dbs[1].Documents().Write(ctx, func(tx document.Tx) error { return tx.Delete(ctx, "user", "was2") }); err != nil {
		t.Fatal(err)
	}
	var deleted int
	if err := old.QueryRow(`SELECT deleted FROM documents WHERE id = 'was2'`).Scan(&deleted); err != nil || deleted != 1 {
		t.Error(deleted, err)
	}
	t.Logf("%d writes and %d reads of the release before meanwhile", writes.Load(), reads.Load())
}
