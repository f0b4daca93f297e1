package relational

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
)

var _ document.Purger = (*Documents)(nil)

// Purge implements document.Purger. A tombstone has no time of its own, and writers of an earlier release
// would not give it one: instead there are marks of how far the revisions had come when.
//
// First, in one transaction, the purge is claimed and what it will take away is noted, so that a follower that
// misses any of it is told so before it is gone; then it is taken away, in batches. Who is killed between leaves
// tombstones to the next purge.
func (s *Documents) Purge(ctx context.Context, keep time.Duration, forever []string) (int, error) {
	but := ""
	var args []any
	for i, kind := range forever {
		but += fmt.Sprintf(", ?%d", i+3)
		args = append(args, kind)
	}
	if but != "" {
		but = ` AND kind NOT IN (` + strings.TrimPrefix(but, ", ") + `)`
	}
	var upTo int64
	err := s.d.write(ctx, s.d.e.Lock, func(tx *sql.Tx) (err error) {
		upTo, err = s.claim(ctx, tx, keep, but, args)
		return err
	})
	n := 0
	for err == nil && upTo > 0 && n < document.PurgeMost {
		var gone int64
		err = s.d.write(ctx, s.d.e.Lock, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, s.d.e.Rebind(`DELETE FROM documents WHERE revision IN
				(SELECT revision FROM documents WHERE deleted = 1 AND revision <= ?1`+but+` ORDER BY revision LIMIT ?2)`), append([]any{upTo, document.PurgeBatch}, args...)...)
			if err == nil {
				gone, err = res.RowsAffected()
			}
			return err
		})
		if err == nil {
			n += int(gone)
		}
		if gone < document.PurgeBatch {
			break
		}
	}
	return n, s.d.wrap(err)
}

// claim returns up to which revision tombstones are to be taken away now, by this caller and no other; 0: none.
func (s *Documents) claim(ctx context.Context, tx *sql.Tx, keep time.Duration, but string, args []any) (int64, error) {
	now, err := s.d.now(ctx, tx)
	if err != nil {
		return 0, err
	}
	var last sql.NullInt64
	if err := tx.QueryRowContext(ctx, s.d.e.Rebind(`SELECT max(reached) FROM documents_marks WHERE reached <= ?1`), micros(now)).Scan(&last); err != nil {
		return 0, err
	}
	if last.Valid && now.Sub(fromMicros(last.Int64)) < document.PurgeEvery {
		return 0, nil
	}
	for _, text := range []string{
		`DELETE FROM documents_marks WHERE reached >= ?1`, // the clock was set back
		`INSERT INTO documents_marks (reached, revision) SELECT ?1, revision FROM documents_version`,
	} {
		if _, err := tx.ExecContext(ctx, s.d.e.Rebind(text), micros(now)); err != nil {
			return 0, err
		}
	}
	var reached, revision int64
	err = tx.QueryRowContext(ctx, s.d.e.Rebind(`SELECT reached, revision FROM documents_marks WHERE reached <= ?1 ORDER BY reached DESC LIMIT 1`), micros(now.Add(-keep))).Scan(&reached, &revision)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, s.d.e.Rebind(`DELETE FROM documents_marks WHERE reached < ?1`), reached); err != nil {
		return 0, err
	}
	// The limit is there so that both statements have the same parameters.
	var upTo int64
	err = tx.QueryRowContext(ctx, s.d.e.Rebind(`SELECT revision FROM documents WHERE deleted = 1 AND revision <= ?1`+but+` ORDER BY revision DESC LIMIT ?2`), append([]any{revision, 1}, args...)...).Scan(&upTo)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, s.d.e.Rebind(`UPDATE documents_purged SET revision = ?1 WHERE revision < ?1`), upTo)
	return upTo, err
}
