// Package relational keeps keys and documents in an SQL database. The statements are the same for
// SQLite and PostgreSQL; what differs is an Engine. Packages sqlite and postgres open one.
package relational

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
)

// Engine is one kind of database.
type Engine struct {
	Name string // for errors
	// Rebind turns parameters ?1, ?2, … into the engine's own.
	Rebind func(statement string) string
	// Lock is the first statement of a transaction that writes documents: no other such transaction
	// comes between it and the commit. Empty where beginning a transaction does that.
	Lock string
	// ForUpdate ends a statement that reads a row which the transaction will write.
	ForUpdate string
	// Strict ends the statement that makes a table of checked types.
	Strict string
	// LockSchema is the first statement of a migration, for the same reason.
	LockSchema string
	// Snapshot are the options of a transaction that sees one moment.
	Snapshot *sql.TxOptions
	// Again says whether an error means that a transaction has to be tried again from its start.
	Again func(error) bool
	// Clean takes from an error what must not be seen, such as a password in an address.
	Clean func(error) error
}

// DB is one open database. It is safe for concurrent use.
type DB struct {
	sql *sql.DB
	e   Engine
}

// Open brings the schema up to date and returns the database. db is closed with it.
func Open(ctx context.Context, db *sql.DB, e Engine, migrations fs.FS) (*DB, error) {
	if e.Rebind == nil {
		e.Rebind = func(s string) string { return s }
	}
	if e.Again == nil {
		e.Again = func(error) bool { return false }
	}
	if e.Clean == nil {
		e.Clean = func(err error) error { return err }
	}
	d := &DB{db, e}
	if err := d.migrate(ctx, migrations); err != nil {
		return nil, d.wrap(err)
	}
	return d, nil
}

// Close waits for what is under way.
func (d *DB) Close() error { return d.sql.Close() }

// SQL is the database itself, for tests and backups.
func (d *DB) SQL() *sql.DB { return d.sql }

// tries bounds how often a transaction is begun anew.
const tries = 10

// write runs f in a transaction. f must have no effects but those on the database.
func (d *DB) write(ctx context.Context, lock string, f func(tx *sql.Tx) error) error {
	for n := 1; ; n++ {
		err := d.once(ctx, lock, f)
		if err == nil || n == tries || ctx.Err() != nil || !d.e.Again(err) {
			return err
		}
	}
}

func (d *DB) once(ctx context.Context, lock string, f func(tx *sql.Tx) error) error {
	tx, err := d.sql.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	if lock != "" {
		if _, err := tx.ExecContext(ctx, lock); err != nil {
			return err
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (d *DB) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", d.e.Name, d.e.Clean(err))
}
