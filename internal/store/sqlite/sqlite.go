// Package sqlite keeps what Sallyport must remember in one SQLite file, which several processes
// of one machine may share: a gateway, and the commands that administer it.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	driver "modernc.org/sqlite" // SQLite compiled to Go: no C compiler is needed
	lib "modernc.org/sqlite/lib"

	"sallyport.dev/sallyport/internal/store/relational"
)

// FileName is the name of the file in the data directory.
const FileName = "sallyport.db"

//go:embed migrations/*.sql
var migrations embed.FS

// DB is one open file. It is safe for concurrent use.
type DB struct{ *relational.DB }

// Open opens, and where needed makes and migrates, the file in dir. The directory is made 0700 and
// the file 0600; a directory that others may write to is refused. A transaction is on disk when it
// returns (WAL with synchronous=FULL). A file written by a newer release is refused.
func Open(ctx context.Context, dir string) (*DB, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	path := filepath.Join(abs, FileName)
	if err := prepare(abs, path); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	q := url.Values{
		// SQLite sleeps for so long when another holds the lock, and does not look at a context; then it is
		// asked again, by relational, until the caller's time is over.
		"_pragma": {"busy_timeout(250)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "trusted_schema(0)"},
		// Every transaction of ours writes. To take the write lock first means to wait for it, where
		// a later upgrade would fail.
		"_txlock": {"immediate"},
	}
	dsn := (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	db.SetMaxOpenConns(4)
	// Beginning a transaction takes the write lock, so no other statement has to.
	r, err := relational.Open(ctx, db, relational.Engine{Name: "sqlite", Strict: " STRICT", Snapshot: &sql.TxOptions{ReadOnly: true}, Again: again}, migrations)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return &DB{r}, nil
}

// again: another holds the lock. Nothing was done: a transaction takes the lock when it begins, and one that
// has it is never told so.
func again(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code()&0xff == lib.SQLITE_BUSY
}

// prepare makes the file itself, since SQLite would make it readable as far as the umask allows.
// Its companions (-wal, -shm) take over the file's mode.
func prepare(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("directory %s can be written by others (mode %04o); run chmod 0700 on it", dir, st.Mode().Perm())
	}
	st, err = os.Lstat(path)
	if err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil {
		if st.Mode().Perm()&0o077 != 0 {
			return os.Chmod(path, 0o600)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
