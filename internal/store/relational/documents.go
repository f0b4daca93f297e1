package relational

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

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
	d   *DB
	q   querier
	end time.Time // of the transaction; zero outside of one
}

// bounded ends what is asked within a transaction when that ends, whatever context it is asked with.
func (r reader) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, r.end)
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

func (s *Documents) reader() reader { return reader{d: s.d, q: s.d.sql} }

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

// Changes implements document.Store. It is one statement, so that documents and what was purged belong
// together without a transaction.
func (s *Documents) Changes(ctx context.Context, at document.Position, limit int) (ds []document.Doc, next document.Position, err error) {
	args := []any{at.Revision}
	query := limited(`SELECT d.* FROM documents d WHERE d.revision > ?1 ORDER BY d.revision`, &args, limit)
	query = `SELECT p.purged, v.last, ` + docColumns + ` FROM (SELECT (SELECT revision FROM documents_purged) AS purged) p
		CROSS JOIN (SELECT (SELECT revision FROM documents_version) AS last) v LEFT JOIN (` + query + `) d ON true ORDER BY d.revision`
	err = s.d.again(ctx, func(ctx context.Context) error {
		ds, next, err = s.changes(ctx, at, query, args)
		return err
	})
	if errors.Is(err, document.ErrGap) {
		return nil, at, document.ErrGap
	}
	return ds, next, s.d.wrap(err)
}

func (s *Documents) changes(ctx context.Context, at document.Position, query string, args []any) (ds []document.Doc, next document.Position, err error) {
	rows, err := s.d.sql.QueryContext(ctx, s.d.e.Rebind(query), args...)
	if err != nil {
		return nil, at, err
	}
	defer rows.Close()
	read := false
	for rows.Next() {
		var purged, last int64
		var r docRow
		if err := rows.Scan(append([]any{&purged, &last}, r.dest()...)...); err != nil {
			return nil, at, err
		}
		if !read {
			if next, err = at.Next(purged, last); err != nil {
				return nil, at, err
			}
			read = true
		}
		if !r.id.Valid {
			continue // the one line when there is nothing
		}
		d, err := r.doc()
		if err != nil {
			return nil, at, err
		}
		ds, next.Revision = append(ds, d), d.Revision
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, at, err
	}
	if !read {
		return nil, at, errors.New("the revision of the documents is missing")
	}
	return ds, next, nil
}

func (r reader) many(ctx context.Context, query string, args ...any) (ds []document.Doc, err error) {
	if !r.end.IsZero() {
		ctx, cancel := r.bounded(ctx)
		defer cancel()
		ds, err = r.read(ctx, query, args)
		return ds, r.d.wrap(err)
	}
	err = r.d.again(ctx, func(ctx context.Context) error {
		ds, err = r.read(ctx, query, args)
		return err
	})
	return ds, r.d.wrap(err)
}

func (r reader) read(ctx context.Context, query string, args []any) ([]document.Doc, error) {
	rows, err := r.q.QueryContext(ctx, r.d.e.Rebind(query), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ds []document.Doc
	for rows.Next() {
		var row docRow
		if err := rows.Scan(row.dest()...); err != nil {
			return nil, err
		}
		d, err := row.doc()
		if err != nil {
			return nil, err
		}
		ds = append(ds, d)
	}
	return ds, errors.Join(rows.Err(), rows.Close())
}

// docRow is a document as SQL sees it. Everything may be NULL because of the join in Changes.
type docRow struct {
	kind, id, tenant, keys sql.NullString
	body                   []byte
	revision, deleted      sql.NullInt64
}

func (r *docRow) dest() []any {
	return []any{&r.kind, &r.id, &r.tenant, &r.keys, &r.body, &r.revision, &r.deleted}
}

func (r *docRow) doc() (document.Doc, error) {
	d := document.Doc{Kind: r.kind.String, ID: r.id.String, Tenant: r.tenant.String, Body: r.body, Revision: r.revision.Int64, Deleted: r.deleted.Int64 != 0}
	if err := json.Unmarshal([]byte(r.keys.String), &d.Keys); err != nil {
		return d, fmt.Errorf("%s %s: keys: %w", d.Kind, d.ID, err)
	}
	return d, nil
}

// Write implements document.Store.
func (s *Documents) Write(ctx context.Context, f func(document.Tx) error) error {
	var own error // f's, to be returned as it is
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	end, _ := ctx.Deadline()
	err := s.d.write(ctx, s.d.e.Lock, func(tx *sql.Tx) error {
		own = f(&docTx{reader{s.d, tx, end}, tx})
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
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	_, err := t.tx.ExecContext(ctx, t.d.e.Rebind(query), args...)
	return t.d.wrap(err)
}

// row reads one row within the transaction.
func (t *docTx) row(ctx context.Context, query string, args []any, dest ...any) error {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	return t.tx.QueryRowContext(ctx, t.d.e.Rebind(query), args...).Scan(dest...)
}

// stored is the revision of a document and whether it is a tombstone; 0 when there never was one.
func (t *docTx) stored(ctx context.Context, kind, id string) (revision int64, deleted bool, err error) {
	var gone int
	err = t.row(ctx, `SELECT revision, deleted FROM documents WHERE kind = ?1 AND id = ?2`, []any{kind, id}, &revision, &gone)
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
	err := t.row(ctx, `SELECT revision FROM documents_version`, nil, &n)
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
		err := t.row(ctx, `SELECT id FROM document_keys WHERE kind = ?1 AND key = ?2`, []any{d.Kind, k}, &holder)
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
