package relational

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
)

// KeyRow is a row of the table of keys, as both engines have it. It holds hashes, never a key.
type KeyRow struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Owner         string `json:"owner"`
	Current       []byte `json:"current"`
	Previous      []byte `json:"previous,omitempty"`
	PreviousUntil int64  `json:"previous_until"` // microseconds since 1970, as all of these; 0: none
	PepperVersion string `json:"pepper_version"`
	Scopes        string `json:"scopes"`
	CIDRs         string `json:"cidrs"`
	Created       int64  `json:"created"`
	NotBefore     int64  `json:"not_before"`
	Expires       int64  `json:"expires"`
	Revoked       int64  `json:"revoked"`
	LastUsed      int64  `json:"last_used"`
	Tenant        string `json:"tenant"`
	Detail        string `json:"detail"`
}

func (k *KeyRow) dest() []any {
	return []any{&k.ID, &k.Name, &k.Owner, &k.Current, &k.Previous, &k.PreviousUntil, &k.PepperVersion, &k.Scopes, &k.CIDRs, &k.Created, &k.NotBefore, &k.Expires, &k.Revoked, &k.LastUsed, &k.Tenant, &k.Detail}
}

func (k *KeyRow) values() []any {
	var previous any
	if k.Previous != nil {
		previous = k.Previous
	}
	return []any{k.ID, k.Name, k.Owner, k.Current, previous, k.PreviousUntil, k.PepperVersion, k.Scopes, k.CIDRs, k.Created, k.NotBefore, k.Expires, k.Revoked, k.LastUsed, k.Tenant, k.Detail}
}

// Snapshot reads everything as it is at one moment: all keys, then all documents by revision, tombstones
// among them. Writers go on meanwhile. An error of a callback ends it.
func (d *DB) Snapshot(ctx context.Context, key func(KeyRow) error, doc func(document.Doc) error) error {
	tx, err := d.sql.BeginTx(ctx, d.e.Snapshot)
	if err != nil {
		return d.wrap(err)
	}
	defer tx.Rollback() //nolint:errcheck // it only read
	if err := d.eachKey(ctx, tx, key); err != nil {
		return err
	}
	return d.eachDoc(ctx, tx, doc)
}

func (d *DB) eachKey(ctx context.Context, tx *sql.Tx, f func(KeyRow) error) error {
	rows, err := tx.QueryContext(ctx, `SELECT `+keyColumns+` FROM keys ORDER BY created, id`)
	if err != nil {
		return d.wrap(err)
	}
	defer rows.Close()
	for rows.Next() {
		var k KeyRow
		if err := rows.Scan(k.dest()...); err != nil {
			return d.wrap(err)
		}
		if err := f(k); err != nil {
			return err
		}
	}
	return d.wrap(errors.Join(rows.Err(), rows.Close()))
}

// page bounds what is in memory at once.
const page = 500

func (d *DB) eachDoc(ctx context.Context, tx *sql.Tx, f func(document.Doc) error) error {
	r := reader{d: d, q: tx}
	for after := int64(0); ; {
		ds, err := r.read(ctx, `SELECT `+docColumns+` FROM documents d WHERE d.revision > ?1 ORDER BY d.revision LIMIT ?2`, []any{after, page})
		if err != nil {
			return d.wrap(err)
		}
		for _, x := range ds {
			if err := f(x); err != nil {
				return err
			}
			after = x.Revision
		}
		if len(ds) < page {
			return nil
		}
	}
}

// ErrNotEmpty: there is something in the database already.
var ErrNotEmpty = errors.New("the database is not empty; restore into a new one")

// Restore fills an empty database, in one transaction: all of it or nothing. next returns the rows of a
// snapshot one by one, and false after the last; documents come by revision and keep it.
func (d *DB) Restore(ctx context.Context, next func() (*KeyRow, *document.Doc, bool, error)) error {
	var own error
	err := d.once(ctx, d.e.Lock, func(tx *sql.Tx) error {
		own = d.restore(ctx, tx, next)
		return own
	})
	if own != nil {
		return own
	}
	return d.wrap(err)
}

func (d *DB) restore(ctx context.Context, tx *sql.Tx, next func() (*KeyRow, *document.Doc, bool, error)) error {
	var keys, docs int
	err := tx.QueryRowContext(ctx, d.e.Rebind(`SELECT (SELECT count(*) FROM keys), (SELECT count(*) FROM documents WHERE kind <> ?1 OR id <> ?2)`), directory.KindTenant, directory.DefaultTenant).Scan(&keys, &docs)
	if err != nil {
		return d.wrap(err)
	}
	if keys+docs > 0 {
		return ErrNotEmpty
	}
	for _, s := range []string{`DELETE FROM document_keys`, `DELETE FROM documents`} { // the tenant that every new database has
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return d.wrap(err)
		}
	}
	last := int64(0)
	for {
		k, doc, ok, err := next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if k != nil {
			if _, err := tx.ExecContext(ctx, d.e.Rebind(`INSERT INTO keys (`+keyColumns+`) VALUES (`+keyParams+`)`), k.values()...); err != nil {
				return d.wrap(err)
			}
			continue
		}
		if doc.Revision <= last {
			return fmt.Errorf("%s %s: its revision is out of order", doc.Kind, doc.ID)
		}
		last = doc.Revision
		if err := d.restoreDoc(ctx, tx, doc); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, d.e.Rebind(`UPDATE documents_version SET revision = ?1 WHERE revision < ?1`), last)
	return d.wrap(err)
}

func (d *DB) restoreDoc(ctx context.Context, tx *sql.Tx, doc *document.Doc) error {
	deleted := 1
	if !doc.Deleted {
		deleted = 0
		if err := document.Check(doc); err != nil {
			return err
		}
		for _, k := range doc.Keys {
			if _, err := tx.ExecContext(ctx, d.e.Rebind(`INSERT INTO document_keys (kind, key, id) VALUES (?1, ?2, ?3)`), doc.Kind, k, doc.ID); err != nil {
				return d.wrap(err)
			}
		}
	}
	keys, err := json.Marshal(append([]string{}, doc.Keys...))
	if err != nil {
		return d.wrap(err)
	}
	body := doc.Body
	if body == nil {
		body = []byte{}
	}
	_, err = tx.ExecContext(ctx, d.e.Rebind(`INSERT INTO documents (kind, id, tenant, keys, body, revision, deleted) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`),
		doc.Kind, doc.ID, doc.Tenant, string(keys), body, doc.Revision, deleted)
	return d.wrap(err)
}
