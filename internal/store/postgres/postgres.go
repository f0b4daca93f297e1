// Package postgres keeps what Sallyport must remember in PostgreSQL (12 or newer), which many gateways
// may share. A transaction is on disk when it returns, as far as the server's synchronous_commit says.
package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/relational"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	connectTimeout    = 5 * time.Second
	statementTimeout  = 10 * time.Second // of the server, for what a client no longer waits for
	maxConns          = 8
	idleInTransaction = 5 * time.Second
	idleTime          = time.Minute
	lifetime          = 30 * time.Minute // so that a failover or a new address is followed
)

// migrationLock is the advisory lock under which schemas are changed: the bytes of "sallypor".
const migrationLock = 0x73616c6c79706f72

// triesLock is the advisory lock under which tries to sign in are counted: the bytes of "sallytry".
const triesLock = 0x73616c6c79747279

// DB is one open database. It is safe for concurrent use. Connections that break are made anew; a call
// that meets a broken one returns an error.
type DB struct{ *relational.DB }

// Open connects, and where needed makes and migrates the schema, under a lock that keeps other gateways
// waiting. dsn is a URL or a list of words as libpq takes it. A password travels only over TLS, or to
// the same machine: with another host, sslmode must not be disable, allow or prefer. No error holds
// the dsn.
func Open(ctx context.Context, dsn secret.String) (*DB, error) {
	c, err := pgx.ParseConfig(dsn.Reveal())
	if err != nil {
		return nil, errors.New("postgres: the address cannot be read; expected postgres://user@host/database?sslmode=verify-full") // err may quote it
	}
	if err := checkTLS(&c.Config); err != nil {
		return nil, err
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if c.RuntimeParams["statement_timeout"] == "" {
		c.RuntimeParams["statement_timeout"] = fmt.Sprint(statementTimeout.Milliseconds())
	}
	if c.RuntimeParams["idle_in_transaction_session_timeout"] == "" {
		// A gateway that stands still within a transaction holds up all that write.
		c.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(idleInTransaction.Milliseconds())
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "sallyport"
	}
	db := sql.OpenDB(stdlib.GetConnector(*c))
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	db.SetConnMaxIdleTime(idleTime)
	db.SetConnMaxLifetime(lifetime)
	password := c.Password
	r, err := relational.Open(ctx, db, relational.Engine{
		Name:       "postgres",
		Rebind:     func(s string) string { return strings.ReplaceAll(s, "?", "$") },
		Lock:       `SELECT revision FROM documents_version FOR UPDATE`,
		LockSchema: fmt.Sprintf(`SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(%d)`, migrationLock),
		ForUpdate:  ` FOR UPDATE`,
		Snapshot:   &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		Again:      again,
		LockTries:  fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d)`, triesLock),
		Now:        `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`,
		Clean:      func(err error) error { return clean(err, password) },
	}, migrations)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &DB{r}, nil
}

// checkTLS refuses to send a password in the clear. pgx lists every way it would try: one without TLS
// to another machine is one too many.
func checkTLS(c *pgconn.Config) error {
	bad := func(host string, tls bool) bool { return !tls && !same(host) }
	if bad(c.Host, c.TLSConfig != nil) {
		return errTLS
	}
	for _, f := range c.Fallbacks {
		if bad(f.Host, f.TLSConfig != nil) {
			return errTLS
		}
	}
	return nil
}

var errTLS = errors.New("postgres: the address allows a connection to another machine without TLS; add sslmode=verify-full (or require)")

// same says whether a host is this machine: a socket's directory or a loopback address.
func same(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// again: serialization failures (40001) and deadlocks (40P01) are tried again from the start, since the server
// says that it undid the transaction. No others of their class: 40003 says that nobody knows.
func again(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

// clean keeps a password out of an error, wherever it came from.
func clean(err error, password string) error {
	if err == nil || password == "" || !strings.Contains(err.Error(), password) {
		return err
	}
	return &cleaned{strings.ReplaceAll(err.Error(), password, "***"), err}
}

// cleaned shows another text than the error it wraps.
type cleaned struct {
	text string
	err  error
}

func (c *cleaned) Error() string        { return c.text }
func (c *cleaned) Is(target error) bool { return errors.Is(c.err, target) }
func (c *cleaned) As(target any) bool   { return errors.As(c.err, target) } // for again, which shows nothing
