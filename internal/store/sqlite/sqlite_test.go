package sqlite

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/store/relational"
	"sallyport.dev/sallyport/internal/store/storetest"
)

func open(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestKeys(t *testing.T) {
	storetest.Keys(t, func(t *testing.T) func() iam.KeyStore {
		dir := filepath.Join(t.TempDir(), "data ?#%é") // a path that a careless DSN would cut
		return func() iam.KeyStore { return open(t, dir).Keys() }
	})
}

func TestDocuments(t *testing.T) {
	storetest.Documents(t, func(t *testing.T) func() document.Store {
		dir := t.TempDir()
		return func() document.Store { return open(t, dir).Documents() }
	})
}

func TestPurge(t *testing.T) {
	storetest.Purge(t, func(t *testing.T, c *storetest.Clock) func() storetest.Purged {
		dir := t.TempDir()
		return func() storetest.Purged { db := open(t, dir); db.Clock(c.Now); return db.Documents() }
	})
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	db := open(t, dir)
	if err := db.Keys().Insert(context.Background(), iam.Key{ID: "aaaaaaaaaaaa"}); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(dir); st.Mode().Perm() != 0o700 {
		t.Errorf("directory %04o", st.Mode().Perm())
	}
	files, err := filepath.Glob(filepath.Join(dir, FileName+"*"))
	if err != nil || len(files) < 2 { // the file and its log at least
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if st, _ := os.Stat(f); st.Mode().Perm() != 0o600 {
			t.Errorf("%s %04o", f, st.Mode().Perm())
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string)
		want string
	}{
		"a directory that others write to": {func(t *testing.T, dir string) { must(t, os.Chmod(dir, 0o777)) }, "can be written by others"},
		"a link instead of the file":       {func(t *testing.T, dir string) { must(t, os.Symlink("/dev/null", filepath.Join(dir, FileName))) }, "not a regular file"},
		"a file that is no database": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, FileName), []byte(strings.Repeat("not a database ", 100)), 0o600))
		}, "not a database"},
		"a newer schema": {func(t *testing.T, dir string) {
			execute(t, dir, `INSERT INTO migrations VALUES (4, '0004_future.sql', 'x')`)
		}, "newer release"},
		"another migration under the same number": {func(t *testing.T, dir string) {
			execute(t, dir, `UPDATE migrations SET id = 'x' WHERE number = 1`)
		}, "not the one that the database was made with"},
		"a gap in the migrations": {func(t *testing.T, dir string) {
			execute(t, dir, `UPDATE migrations SET number = 9 WHERE number = 1`)
		}, "gap"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Chmod(dir, 0o700))
			c.make(t, dir)
			db, err := Open(ctx, dir)
			if err == nil {
				_ = db.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestDamagedRowIsAnError(t *testing.T) {
	ctx := context.Background()
	for name, stmt := range map[string]string{
		"scopes that are no JSON":     `UPDATE keys SET scopes = 'x'`,
		"scopes with an unknown name": `UPDATE keys SET scopes = '{"upstreams":["*"],"tenants":[]}'`,
		"scopes given twice":          `UPDATE keys SET scopes = '{"models":["a"],"models":["*"]}'`,
		"a range that is none":        `UPDATE keys SET cidrs = '["10.0.0.0/99"]'`,
		"an empty range":              `UPDATE keys SET cidrs = '[""]'`,
		"no version":                  `DELETE FROM keys_version`,
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, t.TempDir())
			must(t, db.Keys().Insert(ctx, iam.Key{ID: "aaaaaaaaaaaa"}))
			if _, err := db.SQL().Exec(stmt); err != nil {
				t.Fatal(err)
			}
			if ks, _, err := db.Keys().Keys(ctx); err == nil {
				t.Errorf("read %d keys", len(ks))
			}
		})
	}
}

func TestMigrationsAreNumberedAndAtomic(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "x.db"))
	must(t, err)
	defer db.Close()
	for _, files := range []fstest.MapFS{
		{"migrations/0002_x.sql": {Data: []byte("SELECT 1")}}, // a series that begins with 2
		{
			"migrations/0001_a.sql": {Data: []byte("CREATE TABLE a (x)")},
			"migrations/0002_b.sql": {Data: []byte("CREATE TABLE b (x); SELECT * FROM nothing")},
		},
	} {
		if _, err := relational.Open(context.Background(), db, relational.Engine{Name: "test"}, files); err == nil {
			t.Fatal("a failing step passed")
		}
	}
	var n int
	must(t, db.QueryRow(`SELECT count(*) FROM sqlite_schema`).Scan(&n))
	if n != 0 {
		t.Errorf("%d objects are left of a failed migration", n)
	}
}

// The release before this one may go on working on a file that was upgraded under it.
func TestAnOlderReleaseOnAnUpgradedFile(t *testing.T) {
	ctx := context.Background()
	db := open(t, t.TempDir())
	full := iam.Key{ID: "aaaaaaaaaaaa", Name: "n", Scopes: iam.Scopes{Models: []string{"*"}}, Tenant: "acme", Detail: iam.Detail{Purpose: "p", Data: []string{}}}
	must(t, db.Keys().Insert(ctx, full))
	_, v, err := db.Keys().Keys(ctx)
	must(t, err)
	const columns = `id, name, owner, current, previous, previous_until, pepper_version, scopes, cidrs, created, not_before, expires, revoked, last_used`
	hash := make([]byte, 32)
	_, err = db.SQL().Exec(`INSERT INTO keys (`+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		"bbbbbbbbbbbb", "old", "", hash, nil, 0, "", `{"upstreams":["*"],"endpoints":["*"],"models":["*"]}`, "[]", 1, 0, 0, 0, 0)
	must(t, err)
	_, err = db.SQL().Exec(`UPDATE keys SET (`+columns+`) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?`,
		"aaaaaaaaaaaa", "renamed", "", hash, nil, 0, "", `{"upstreams":[],"endpoints":[],"models":["*"]}`, "[]", 0, 0, 0, 0, 0, "aaaaaaaaaaaa")
	must(t, err)
	ks, _, w, err := db.Keys().Changed(ctx, v)
	must(t, err)
	if len(ks) != 2 || w != v+2 {
		t.Fatalf("%d keys, version %d after %d", len(ks), w, v)
	}
	if k := ks[0]; k.Name != "renamed" || k.Tenant != "acme" || k.Purpose != "p" || k.Data == nil {
		t.Errorf("what the older release does not know is lost: %+v", k)
	}
	if k := ks[1]; k.Name != "old" || k.Tenant != "default" || k.Tools != nil {
		t.Errorf("%+v", k)
	}
}

// A key that is taken out by hand is seen, also when another changes at the same time.
func TestAKeyTakenOut(t *testing.T) {
	ctx := context.Background()
	db := open(t, t.TempDir())
	for _, id := range []string{"aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"} {
		must(t, db.Keys().Insert(ctx, iam.Key{ID: id}))
	}
	v, err := db.Keys().Version(ctx)
	must(t, err)
	_, err = db.SQL().Exec(`DELETE FROM keys WHERE id = 'aaaaaaaaaaaa'`)
	must(t, err)
	must(t, db.Keys().Insert(ctx, iam.Key{ID: "dddddddddddd"}))
	ks, whole, w, err := db.Keys().Changed(ctx, v)
	if err != nil || !whole || len(ks) != 3 || w != v+2 {
		t.Fatalf("%d keys, whole %v, version %d after %d, %v", len(ks), whole, w, v, err)
	}
	if ks, whole, _, err := db.Keys().Changed(ctx, w); err != nil || whole || len(ks) != 0 {
		t.Errorf("%d keys, whole %v, %v", len(ks), whole, err)
	}
}

// A file of the first release has all its keys after the upgrade.
func TestUpgradeKeepsKeys(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	old := open(t, dir)
	must(t, old.Keys().Insert(ctx, iam.Key{ID: "aaaaaaaaaaaa", Name: "n", Scopes: iam.Scopes{Models: []string{"*"}}}))
	for _, s := range []string{
		`DROP TRIGGER keys_insert`, `DROP TRIGGER keys_update`, `DROP INDEX keys_by_revision`, `ALTER TABLE keys DROP COLUMN tenant`, `ALTER TABLE keys DROP COLUMN detail`,
		`ALTER TABLE keys DROP COLUMN revision`, `DROP TRIGGER keys_delete`, `ALTER TABLE keys_version DROP COLUMN removed`,
		`CREATE TRIGGER keys_delete AFTER DELETE ON keys BEGIN UPDATE keys_version SET version = version + 1; END`, `DROP TABLE documents`, `DROP TABLE document_keys`, `DROP TABLE documents_version`,
		`DROP TABLE documents_purged`, `DROP TABLE documents_marks`, `DROP TABLE tries`, `DELETE FROM migrations WHERE number > 1`,
		`CREATE TRIGGER keys_insert AFTER INSERT ON keys BEGIN UPDATE keys_version SET version = version + 1; END`,
		`CREATE TRIGGER keys_update AFTER UPDATE OF id, name ON keys BEGIN UPDATE keys_version SET version = version + 1; END`,
	} {
		if _, err := old.SQL().Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	must(t, old.Close())
	db := open(t, dir)
	ks, v, err := db.Keys().Keys(ctx)
	if err != nil || len(ks) != 1 || ks[0].Name != "n" || ks[0].Tenant != "default" || v < 1 {
		t.Fatalf("%+v, %d, %v", ks, v, err)
	}
}

func TestDurabilityPragmas(t *testing.T) {
	db := open(t, t.TempDir())
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "250"} {
		var got string
		must(t, db.SQL().QueryRow("PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s = %s, want %s", pragma, got, want)
		}
	}
}

func execute(t *testing.T, dir, stmt string) {
	t.Helper()
	db := open(t, dir)
	if _, err := db.SQL().Exec(stmt); err != nil {
		t.Fatal(err)
	}
	must(t, db.Close())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTries(t *testing.T) {
	storetest.Tries(t, func(t *testing.T, c *storetest.Clock) func() throttle.Store {
		dir := t.TempDir()
		return func() throttle.Store { db := open(t, dir); db.Clock(c.Now); return db.Tries() }
	})
}
