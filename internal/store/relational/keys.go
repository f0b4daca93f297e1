package relational

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
)

// Keys implements iam.KeyStore and iam.UseRecorder.
type Keys struct{ d *DB }

// Keys is the database's store of API keys.
func (d *DB) Keys() *Keys { return &Keys{d} }

var (
	_ iam.KeyStore    = (*Keys)(nil)
	_ iam.UseRecorder = (*Keys)(nil)
)

const (
	keyColumns = `id, name, owner, current, previous, previous_until, pepper_version, scopes, cidrs, created, not_before, expires, revoked, last_used, tenant, detail`
	keyParams  = `?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16`
)

// Keys implements iam.KeyReader.
func (s *Keys) Keys(ctx context.Context) ([]iam.Key, int64, error) {
	ks, _, v, err := s.Changed(ctx, 0)
	return ks, v, err
}

// Changed implements iam.KeyReader. It is one statement, so that keys and version belong together
// without a transaction. A version from which the store went back, as when a replica that was behind took
// over, gives all keys.
func (s *Keys) Changed(ctx context.Context, after int64) (ks []iam.Key, whole bool, version int64, err error) {
	err = s.d.again(ctx, func(ctx context.Context) error {
		ks, whole, version, err = s.changed(ctx, after)
		return err
	})
	return ks, whole, version, s.d.wrap(err)
}

func (s *Keys) changed(ctx context.Context, after int64) (ks []iam.Key, whole bool, version int64, err error) {
	rows, err := s.d.sql.QueryContext(ctx, s.d.e.Rebind(`SELECT v.version, v.removed, `+keyColumns+` FROM keys_version v LEFT JOIN keys k ON k.revision > ?1 OR v.removed > ?1 OR v.version < ?1 ORDER BY k.created, k.id`), after)
	if err != nil {
		return nil, false, 0, err
	}
	defer rows.Close()
	var removed int64
	read := false
	for rows.Next() {
		read = true
		var r row
		if err := rows.Scan(append([]any{&version, &removed}, r.dest()...)...); err != nil {
			return nil, false, 0, err
		}
		if !r.id.Valid {
			continue // the one line when there is nothing
		}
		k, err := r.key()
		if err != nil {
			return nil, false, 0, err
		}
		ks = append(ks, k)
	}
	if err := rows.Err(); err != nil {
		return nil, false, 0, err
	}
	if !read {
		return nil, false, 0, errors.New("the version of the keys is missing")
	}
	return ks, after <= 0 || removed > after || version < after, version, nil
}

// Version implements iam.KeyReader.
func (s *Keys) Version(ctx context.Context) (int64, error) {
	var v int64
	err := s.d.again(ctx, func(ctx context.Context) error {
		return s.d.sql.QueryRowContext(ctx, `SELECT version FROM keys_version`).Scan(&v)
	})
	return v, s.d.wrap(err)
}

// Insert implements iam.KeyStore.
func (s *Keys) Insert(ctx context.Context, k iam.Key) error {
	v, err := values(&k)
	if err != nil {
		return s.d.wrap(err)
	}
	var n int64
	err = s.d.again(ctx, func(ctx context.Context) error {
		res, err := s.d.sql.ExecContext(ctx, s.d.e.Rebind(`INSERT INTO keys (`+keyColumns+`) VALUES (`+keyParams+`) ON CONFLICT (id) DO NOTHING`), v...)
		if err == nil {
			n, err = res.RowsAffected()
		}
		return err
	})
	if err == nil && n == 0 {
		return iam.ErrExists
	}
	return s.d.wrap(err)
}

// Update implements iam.KeyStore.
func (s *Keys) Update(ctx context.Context, id string, change func(*iam.Key) error) (iam.Key, error) {
	var k iam.Key
	var own error // the caller's, or the store's own word: returned as it is
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.d.write(ctx, "", func(tx *sql.Tx) error {
		var r row
		own = nil
		err := tx.QueryRowContext(ctx, s.d.e.Rebind(`SELECT `+keyColumns+` FROM keys WHERE id = ?1`+s.d.e.ForUpdate), id).Scan(r.dest()...)
		if errors.Is(err, sql.ErrNoRows) {
			own = iam.ErrNotFound
			return own
		}
		if err != nil {
			return err
		}
		if k, err = r.key(); err != nil {
			return err
		}
		created := k.Created
		if own = change(&k); own != nil {
			return own
		}
		k.ID, k.Created = id, created
		v, err := values(&k)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.d.e.Rebind(`UPDATE keys SET (`+keyColumns+`) = (`+keyParams+`) WHERE id = ?17`), append(v, id)...)
		return err
	})
	switch {
	case own != nil:
		return iam.Key{}, own
	case err != nil:
		return iam.Key{}, s.d.wrap(err)
	}
	return k, nil
}

// Used implements iam.UseRecorder. It is no one transaction: a time of use is none that others belong to.
func (s *Keys) Used(ctx context.Context, last map[string]time.Time) error {
	ids := slices.Sorted(maps.Keys(last)) // two nodes take the rows in one order
	for part := range slices.Chunk(ids, page) {
		if err := s.used(ctx, last, part); err != nil {
			return s.d.wrap(err)
		}
	}
	return nil
}

func (s *Keys) used(ctx context.Context, last map[string]time.Time, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.d.write(ctx, "", func(tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, s.d.e.Rebind(`UPDATE keys SET last_used = ?1 WHERE id = ?2 AND last_used < ?1`), micros(last[id]), id); err != nil {
				return err
			}
		}
		return nil
	})
}

// row is a key as SQL sees it. Everything may be NULL because of the join in Keys.
type row struct {
	id, name, owner, pepper, scopes, cidrs, tenant   sql.NullString
	detail                                           sql.NullString
	current, previous                                []byte
	until, created, notBefore, expires, revoked, use sql.NullInt64
}

func (r *row) dest() []any {
	return []any{&r.id, &r.name, &r.owner, &r.current, &r.previous, &r.until, &r.pepper, &r.scopes, &r.cidrs, &r.created, &r.notBefore, &r.expires, &r.revoked, &r.use, &r.tenant, &r.detail}
}

// key checks what it reads: a damaged row is an error, never a key with fewer limits.
func (r *row) key() (iam.Key, error) {
	k := iam.Key{
		ID: r.id.String, Tenant: r.tenant.String, Name: r.name.String, Owner: r.owner.String, PepperVersion: r.pepper.String,
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
	if err := json.Unmarshal([]byte(r.detail.String), &k.Detail, json.RejectUnknownMembers(true)); err != nil {
		return k, fmt.Errorf("key %s: detail: %w", k.ID, err)
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
	detail, err := json.Marshal(k.Detail)
	if err != nil {
		return nil, err
	}
	tenant := k.Tenant
	if tenant == "" {
		tenant = directory.DefaultTenant
	}
	var previous any
	if k.Previous != [32]byte{} {
		previous = k.Previous[:]
	}
	return []any{k.ID, k.Name, k.Owner, k.Current[:], previous, micros(k.PreviousUntil), k.PepperVersion, string(scopes), string(cidrs),
		micros(k.Created), micros(k.NotBefore), micros(k.Expires), micros(k.Revoked), micros(k.LastUsed), tenant, string(detail)}, nil
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
