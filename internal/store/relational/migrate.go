package relational

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"
)

// migration is one numbered step. Steps go forward only; one that was released never changes.
type migration struct {
	number         int
	name, text, id string // id is the SHA-256 of the text
}

func loadMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql") // in lexical order
	if err != nil {
		return nil, err
	}
	var ms []migration
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		base := path.Base(name)
		if n, err := strconv.Atoi(base[:min(4, len(base))]); err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s: expected number %04d", base, i+1)
		}
		sum := sha256.Sum256(text)
		ms = append(ms, migration{i + 1, base, string(text), hex.EncodeToString(sum[:])})
	}
	return ms, nil
}

// migrate runs the steps that are missing, all in one transaction: another process waits for it, and
// a step that fails leaves the database as it was.
func (d *DB) migrate(ctx context.Context, files fs.FS) error {
	ms, err := loadMigrations(files)
	if err != nil {
		return err
	}
	// Not by again: a step may take long, and another process that is at it is waited for.
	for end := time.Now().Add(patience); ; {
		err := d.once(ctx, d.e.LockSchema, func(tx *sql.Tx) error { return d.apply(ctx, tx, ms) })
		if err == nil || ctx.Err() != nil || !d.e.Again(err) || time.Now().After(end) {
			return err
		}
	}
}

func (d *DB) apply(ctx context.Context, tx *sql.Tx, ms []migration) error {
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, id TEXT NOT NULL)`+d.e.Strict); err != nil {
		return err
	}
	done, err := applied(ctx, tx)
	if err != nil {
		return err
	}
	if len(done) > len(ms) {
		return fmt.Errorf("the database has schema %d, and this release knows up to %d; use a newer release", len(done), len(ms))
	}
	for i, m := range ms {
		if i < len(done) {
			if done[i] != m.id {
				return fmt.Errorf("migration %s is not the one that the database was made with", m.name)
			}
			continue
		}
		if _, err := tx.ExecContext(ctx, m.text); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		if _, err := tx.ExecContext(ctx, d.e.Rebind(`INSERT INTO migrations VALUES (?1, ?2, ?3)`), m.number, m.name, m.id); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return nil
}

// applied returns the ids of the steps that were done, in order, without gaps.
func applied(ctx context.Context, tx *sql.Tx) ([]string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT number, id FROM migrations ORDER BY number`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var n int
		var id string
		if err := rows.Scan(&n, &id); err != nil {
			return nil, err
		}
		if ids = append(ids, id); n != len(ids) {
			return nil, fmt.Errorf("the list of migrations has a gap before %d", n)
		}
	}
	return ids, rows.Err()
}
