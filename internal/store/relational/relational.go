// Package relational keeps keys and documents in an SQL database. The statements are the same for
// SQLite and PostgreSQL; what differs is an Engine. Packages sqlite and postgres open one.
package relational

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"
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
	// Again says whether an error means that a transaction was undone for certain, and may pass when it is
	// tried again from its start.
	Again func(error) bool
	// LockTries is to tries to sign in what Lock is to documents.
	LockTries string
	// Now is a question for the time, in microseconds since 1970, where the database has a clock of its
	// own that all its clients go by. Empty: the clock of this machine.
	Now string
	// Clean takes from an error what must not be seen, such as a password in an address.
	Clean func(error) error
}

// DB is one open database. It is safe for concurrent use.
type DB struct {
	sql   *sql.DB
	e     Engine
	clock func() time.Time // nil but in tests
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
	d := &DB{sql: db, e: e}
	if err := d.migrate(ctx, migrations); err != nil {
		return nil, d.wrap(err)
	}
	return d, nil
}

// Close waits for what is under way.
func (d *DB) Close() error { return d.sql.Close() }

// SQL is the database itself, for tests and backups.
func (d *DB) SQL() *sql.DB { return d.sql }

// How long a call goes on.
const (
	// patience bounds a call whose context ends later or never: a database that stands still, or that is
	// cut off, holds nobody for longer. It is more than the database's own bound on a statement.
	patience = 15 * time.Second
	// tries bounds how often a transaction is begun anew.
	tries    = 100
	pauseMin = 2 * time.Millisecond
	pauseMax = 200 * time.Millisecond
)

// write runs f in a transaction, again where that is safe and may help, until ctx ends. f must have no
// effects but those on the database.
func (d *DB) write(ctx context.Context, lock string, f func(tx *sql.Tx) error) error {
	return d.again(ctx, func(ctx context.Context) error { return d.once(ctx, lock, f) })
}

// again does what is undone when it fails until it passes, fails for good, or ctx ends. An error of a
// broken connection is for good: nobody knows whether a commit arrived.
func (d *DB) again(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pause := pauseMin
	for n := 1; ; n++ {
		err := f(ctx)
		if err == nil || n == tries || !d.e.Again(err) {
			return err
		}
		// A random time, so that those who met once do not meet again.
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(rand.N(pause)):
		}
		pause = min(2*pause, pauseMax)
	}
}

// now is what time it is, by the clock of the database.
func (d *DB) now(ctx context.Context, q querier) (time.Time, error) {
	if d.clock != nil {
		return d.clock(), nil
	}
	if d.e.Now == "" {
		return time.Now(), nil
	}
	var n int64
	err := q.QueryRowContext(ctx, d.e.Now).Scan(&n)
	return time.UnixMicro(n), err
}

// Clock has another clock than the database's decide how old things are. It is for tests; call it first.
func (d *DB) Clock(now func() time.Time) { d.clock = now }

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
