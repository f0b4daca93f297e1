package relational

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/iam/document"
)

// Documents implements document.Store.
type Documents struct{ d *DB }

var _ document.Store = (*Documents)(nil)

// Documents is the database's store of documents.
func (d *DB) Documents() *Documents { return &Documents{d} }

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// reader reads documents through either.
type reader struct {
	d *DB
	q querier
}

const docColumns = `d.kind, d.id, d.tenant, d.keys, d.body, d.revision, d.deleted`

// Get implements document.Reader.
func (s *Documents) Get(ctx context.Context, kind, id string) (document.Doc, error) {
	return s.reader().Get(ctx, kind, id)
}

// Find implements document.Reader.
func (s *Documents) Find(ctx context.Context, kind, key string) (document.Doc, error) {
	return s.reader().Find(ctx, kind, key)
}

// List implements document.Reader.
func (s *Documents) List(ctx context.Context, q document.Query) ([]document.Doc, error) {
	return s.reader().List(ctx, q)
}

func (s *Documents) reader() reader { return reader{s.d, s.d.sql} }

// Get implements document.Reader.
func (r reader) Get(ctx context.Context, kind, id string) (document.Doc, error) {
	return r.one(ctx, `SELECT `+docColumns+` FROM documents d WHERE d.kind = ?1 AND d.id = ?2 AND d.deleted = 0`, kind, id)
}

// Find implements document.Reader.
func (r reader) Find(ctx context.Context, kind, key string) (document.Doc, error) {
	if !document.ValidKey(key) {
		return document.Doc{}, document.ErrNotFound // some databases cannot even be asked
	}
	return r.one(ctx, `SELECT `+docColumns+` FROM documents d JOIN document_keys k ON k.kind = d.kind AND k.id = d.id
		WHERE k.kind = ?1 AND k.key = ?2 AND d.deleted = 0`, kind, key)
}

func (r reader) one(ctx context.Context, query string, args ...any) (document.Doc, error) {
	ds, err := r.many(ctx, query, args...)
	if err == nil && len(ds) == 0 {
		return document.Doc{}, document.ErrNotFound
	}
	if err != nil {
		return document.Doc{}, err
	}
	return ds[0], nil
}

// List implements document.Reader.
func (r reader) List(ctx context.Context, q document.Query) ([]document.Doc, error) {
	query, args := `SELECT `+docColumns+` FROM documents d WHERE d.kind = ?1 AND d.id > ?2 AND d.deleted = 0`, []any{q.Kind, q.After}
	if q.Tenant != nil {
		query, args = query+` AND d.tenant = ?3`, append(args, *q.Tenant)
	}
	query += ` ORDER BY d.id`
	return r.many(ctx, limited(query, &args, q.Limit), args...)
}

// limited adds a limit as the last parameter.
func limited(query string, args *[]any, n int) string {
	if n <= 0 {
		return query
	}
	*args = append(*args, n)
	return query + ` LIMIT ?` + string(rune('0'+len(*args)))
}

// Changes implements document.Store.
func (s *Documents) Changes(ctx context.Context, after int64, limit int) ([]document.Doc, error) {
	args := []any{after}
	query := limited(`SELECT `+docColumns+` FROM documents d WHERE d.revision > ?1 ORDER BY d.revision`, &args, limit)
	return s.reader().many(ctx, query, args...)
}

func (r reader) many(ctx context.Context, query string, args ...any) ([]document.Doc, error) {
	rows, err := r.q.QueryContext(ctx, r.d.e.Rebind(query), args...)
	if err != nil {
		return nil, r.d.wrap(err)
	}
	defer rows.Close()
	var ds []document.Doc
	for rows.Next() {
		var d document.Doc
		var deleted int
		var keys string
		if err := rows.Scan(&d.Kind, &d.ID, &d.Tenant, &keys, &d.Body, &d.Revision, &deleted); err != nil {
			return nil, r.d.wrap(err)
		}
		if err := json.Unmarshal([]byte(keys), &d.Keys); err != nil {
			return nil, r.d.wrap(fmt.Errorf("%s %s: keys: %w", d.Kind, d.ID, err))
		}
		d.Deleted = deleted != 0
		ds = append(ds, d)
	}
	return ds, r.d.wrap(errors.Join(rows.Err(), rows.Close()))
}

// Write implements document.Store.
func (s *Documents) Write(ctx context.Context, f func(document.Tx) error) error {
	var own error // f's, to be returned as it is
	err := s.d.write(ctx, s.d.e.Lock, func(tx *sql.Tx) error {
		own = f(&docTx{reader{s.d, tx}, tx})
		return own
	})
	if err == nil || own != nil && errors.Is(err, own) {
		return err
	}
	return s.d.wrap(err)
}

type docTx struct {
	reader
	tx *sql.Tx
}

func (t *docTx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.tx.ExecContext(ctx, t.d.e.Rebind(query), args...)
	return t.d.wrap(err)
}

// stored is the revision of a document and whether it is a tombstone; 0 when there never was one.
func (t *docTx) stored(ctx context.Context, kind, id string) (revision int64, deleted bool, err error) {
	var gone int
	err = t.tx.QueryRowContext(ctx, t.d.e.Rebind(`SELECT revision, deleted FROM documents WHERE kind = ?1 AND id = ?2`), kind, id).Scan(&revision, &gone)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return revision, gone != 0, t.d.wrap(err)
}

func (t *docTx) next(ctx context.Context) (int64, error) {
	if err := t.exec(ctx, `UPDATE documents_version SET revision = revision + 1`); err != nil {
		return 0, err
	}
	var n int64
	err := t.tx.QueryRowContext(ctx, `SELECT revision FROM documents_version`).Scan(&n)
	return n, t.d.wrap(err)
}

// Put implements document.Tx.
func (t *docTx) Put(ctx context.Context, d document.Doc) (int64, error) {
	if err := document.Check(&d); err != nil {
		return 0, err
	}
	had, deleted, err := t.stored(ctx, d.Kind, d.ID)
	switch {
	case err != nil:
		return 0, err
	case d.Revision == 0 && had != 0:
		return 0, document.ErrExists
	case d.Revision != 0 && (had == 0 || deleted):
		return 0, document.ErrNotFound
	case d.Revision != had:
		return 0, document.ErrConflict
	}
	// All are looked at before anything is written: whoever goes on after a refusal finds nothing changed.
	for _, k := range d.Keys {
		var holder string
		err := t.tx.QueryRowContext(ctx, t.d.e.Rebind(`SELECT id FROM document_keys WHERE kind = ?1 AND key = ?2`), d.Kind, k).Scan(&holder)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, t.d.wrap(err)
		}
		if err == nil && holder != d.ID {
			return 0, document.ErrExists
		}
	}
	if err := t.exec(ctx, `DELETE FROM document_keys WHERE kind = ?1 AND id = ?2`, d.Kind, d.ID); err != nil {
		return 0, err
	}
	for _, k := range d.Keys {
		if err := t.exec(ctx, `INSERT INTO document_keys (kind, key, id) VALUES (?1, ?2, ?3)`, d.Kind, k, d.ID); err != nil {
			return 0, err
		}
	}
	keys, err := json.Marshal(append([]string{}, d.Keys...))
	if err != nil {
		return 0, t.d.wrap(err)
	}
	rev, err := t.next(ctx)
	if err != nil {
		return 0, err
	}
	return rev, t.exec(ctx, `INSERT INTO documents (kind, id, tenant, keys, body, revision, deleted) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)
		ON CONFLICT (kind, id) DO UPDATE SET tenant = excluded.tenant, keys = excluded.keys, body = excluded.body, revision = excluded.revision`,
		d.Kind, d.ID, d.Tenant, string(keys), d.Body, rev)
}

// Delete implements document.Tx.
func (t *docTx) Delete(ctx context.Context, kind, id string) error {
	had, deleted, err := t.stored(ctx, kind, id)
	if err != nil {
		return err
	}
	if had == 0 || deleted {
		return document.ErrNotFound
	}
	if err := t.exec(ctx, `DELETE FROM document_keys WHERE kind = ?1 AND id = ?2`, kind, id); err != nil {
		return err
	}
	rev, err := t.next(ctx)
	if err != nil {
		return err
	}
	return t.exec(ctx, `UPDATE documents SET keys = '[]', body = ?1, revision = ?2, deleted = 1 WHERE kind = ?3 AND id = ?4`, []byte{}, rev, kind, id)
}
