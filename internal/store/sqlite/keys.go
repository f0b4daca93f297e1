package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/iam"
)

// Keys implements iam.KeyStore and iam.UseRecorder.
type Keys struct{ db *sql.DB }

// Keys is the store of API keys in this file.
func (d *DB) Keys() *Keys { return &Keys{d.sql} }

var (
	_ iam.KeyStore    = (*Keys)(nil)
	_ iam.UseRecorder = (*Keys)(nil)
)

const keyColumns = `id, name, owner, current, previous, previous_until, pepper_version, scopes, cidrs, created, not_before, expires, revoked, last_used`

// Keys is one statement, so that keys and version belong together without a transaction.
func (s *Keys) Keys(ctx context.Context) ([]iam.Key, int64, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT v.version, `+keyColumns+` FROM keys_version v LEFT JOIN keys k ON 1 ORDER BY k.created, k.id`)
	if err != nil {
		return nil, 0, wrap(err)
	}
	defer rows.Close()
	var ks []iam.Key
	var version int64
	read := false
	for rows.Next() {
		read = true
		var r row
		if err := rows.Scan(append([]any{&version}, r.dest()...)...); err != nil {
			return nil, 0, wrap(err)
		}
		if !r.id.Valid {
			continue // the one line of an empty table
		}
		k, err := r.key()
		if err != nil {
			return nil, 0, wrap(err)
		}
		ks = append(ks, k)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, wrap(err)
	}
	if !read {
		return nil, 0, errors.New("sqlite: the version of the keys is missing")
	}
	return ks, version, nil
}

// Version implements iam.KeyReader.
func (s *Keys) Version(ctx context.Context) (int64, error) {
	var v int64
	err := s.db.QueryRowContext(ctx, `SELECT version FROM keys_version`).Scan(&v)
	return v, wrap(err)
}

// Insert implements iam.KeyStore.
func (s *Keys) Insert(ctx context.Context, k iam.Key) error {
	v, err := values(&k)
	if err != nil {
		return wrap(err)
	}
	res, err := s.db.ExecContext(ctx, `INSERT INTO keys (`+keyColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`, v...)
	if err != nil {
		return wrap(err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return wrap(err)
	}
	return iam.ErrExists
}

// Update implements iam.KeyStore.
func (s *Keys) Update(ctx context.Context, id string, change func(*iam.Key) error) (iam.Key, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return iam.Key{}, wrap(err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	var r row
	err = tx.QueryRowContext(ctx, `SELECT `+keyColumns+` FROM keys WHERE id = ?`, id).Scan(r.dest()...)
	if errors.Is(err, sql.ErrNoRows) {
		return iam.Key{}, iam.ErrNotFound
	}
	if err != nil {
		return iam.Key{}, wrap(err)
	}
	k, err := r.key()
	if err != nil {
		return iam.Key{}, wrap(err)
	}
	created := k.Created
	if err := change(&k); err != nil {
		return iam.Key{}, err
	}
	k.ID, k.Created = id, created
	v, err := values(&k)
	if err != nil {
		return iam.Key{}, wrap(err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE keys SET (`+keyColumns+`) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?`, append(v, id)...); err != nil {
		return iam.Key{}, wrap(err)
	}
	if err := tx.Commit(); err != nil {
		return iam.Key{}, wrap(err)
	}
	return k, nil
}

// Used implements iam.UseRecorder.
func (s *Keys) Used(ctx context.Context, last map[string]time.Time) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return wrap(err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing
	for id, t := range last {
		if _, err := tx.ExecContext(ctx, `UPDATE keys SET last_used = ?1 WHERE id = ?2 AND last_used < ?1`, micros(t), id); err != nil {
			return wrap(err)
		}
	}
	return wrap(tx.Commit())
}

// row is a key as SQL sees it. Everything may be NULL because of the join in Keys.
type row struct {
	id, name, owner, pepper, scopes, cidrs           sql.NullString
	current, previous                                []byte
	until, created, notBefore, expires, revoked, use sql.NullInt64
}

func (r *row) dest() []any {
	return []any{&r.id, &r.name, &r.owner, &r.current, &r.previous, &r.until, &r.pepper, &r.scopes, &r.cidrs, &r.created, &r.notBefore, &r.expires, &r.revoked, &r.use}
}

// key checks what it reads: a damaged row is an error, never a key with fewer limits.
func (r *row) key() (iam.Key, error) {
	k := iam.Key{
		ID: r.id.String, Name: r.name.String, Owner: r.owner.String, PepperVersion: r.pepper.String,
		PreviousUntil: fromMicros(r.until.Int64), Created: fromMicros(r.created.Int64),
		NotBefore: fromMicros(r.notBefore.Int64), Expires: fromMicros(r.expires.Int64),
		Revoked: fromMicros(r.revoked.Int64), LastUsed: fromMicros(r.use.Int64),
	}
	if copy(k.Current[:], r.current) != len(k.Current) || (r.previous != nil && copy(k.Previous[:], r.previous) != len(k.Previous)) {
		return k, fmt.Errorf("key %s: a hash has the wrong length", k.ID)
	}
	if err := json.Unmarshal([]byte(r.scopes.String), &k.Scopes, json.RejectUnknownMembers(true)); err != nil {
		return k, fmt.Errorf("key %s: scopes: %w", k.ID, err)
	}
	var cidrs []netip.Prefix
	if err := json.Unmarshal([]byte(r.cidrs.String), &cidrs); err != nil {
		return k, fmt.Errorf("key %s: address ranges: %w", k.ID, err)
	}
	for _, c := range cidrs {
		if !c.IsValid() {
			return k, fmt.Errorf("key %s: an address range is empty", k.ID)
		}
	}
	if len(cidrs) > 0 {
		k.CIDRs = cidrs
	}
	return k, nil
}

func values(k *iam.Key) ([]any, error) {
	scopes, err := json.Marshal(k.Scopes)
	if err != nil {
		return nil, err
	}
	cidrs, err := json.Marshal(append([]netip.Prefix{}, k.CIDRs...))
	if err != nil {
		return nil, err
	}
	var previous any
	if k.Previous != [32]byte{} {
		previous = k.Previous[:]
	}
	return []any{k.ID, k.Name, k.Owner, k.Current[:], previous, micros(k.PreviousUntil), k.PepperVersion, string(scopes), string(cidrs),
		micros(k.Created), micros(k.NotBefore), micros(k.Expires), micros(k.Revoked), micros(k.LastUsed)}, nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlite: %w", err)
}
