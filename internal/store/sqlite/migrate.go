package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strconv"
)

//go:embed migrations/*.sql
var migrations embed.FS

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

func migrate(ctx context.Context, db *sql.DB) error {
	ms, err := loadMigrations(migrations)
	if err != nil {
		return err
	}
	return apply(ctx, db, ms)
}

// apply runs the steps that are missing, all in one transaction: another process waits for it, and
// a step that fails leaves the file as it was.
func apply(ctx context.Context, db *sql.DB, ms []migration) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, id TEXT NOT NULL) STRICT`); err != nil {
		return err
	}
	done, err := applied(ctx, tx)
	if err != nil {
		return err
	}
	if len(done) > len(ms) {
		return fmt.Errorf("the file has schema %d, and this release knows up to %d; use a newer release", len(done), len(ms))
	}
	for i, m := range ms {
		if i < len(done) {
			if done[i] != m.id {
				return fmt.Errorf("migration %s is not the one that the file was made with", m.name)
			}
			continue
		}
		if _, err := tx.ExecContext(ctx, m.text); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO migrations VALUES (?, ?, ?)`, m.number, m.name, m.id); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	return tx.Commit()
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
