package relational

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/throttle"
)

// Tries implements throttle.Store.
type Tries struct{ d *DB }

var _ throttle.Store = (*Tries)(nil)

// Tries is the database's count of tries to sign in.
func (d *DB) Tries() *Tries { return &Tries{d} }

// Look implements throttle.Store.
func (s *Tries) Look(ctx context.Context, places []throttle.Place) (now time.Time, cells []throttle.Cell, err error) {
	err = s.d.again(ctx, func(ctx context.Context) error {
		if cells, err = s.read(ctx, s.d.sql, places); err != nil {
			return err
		}
		now, err = s.d.now(ctx, s.d.sql)
		return err
	})
	return now, cells, s.d.wrap(err)
}

// Change implements throttle.Store.
func (s *Tries) Change(ctx context.Context, places []throttle.Place, f func(time.Time, []throttle.Cell) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.d.wrap(s.d.write(ctx, s.d.e.LockTries, func(tx *sql.Tx) error {
		was, err := s.read(ctx, tx, places)
		if err != nil {
			return err
		}
		now, err := s.d.now(ctx, tx)
		if err != nil {
			return err
		}
		cells := append([]throttle.Cell{}, was...)
		if !f(now, cells) {
			return nil
		}
		for i, c := range cells {
			if c == was[i] {
				continue
			}
			if err := s.put(ctx, tx, places[i], c); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (s *Tries) put(ctx context.Context, tx *sql.Tx, p throttle.Place, c throttle.Cell) error {
	if c == (throttle.Cell{}) {
		_, err := tx.ExecContext(ctx, s.d.e.Rebind(`DELETE FROM tries WHERE place = ?1`), p[:])
		return err
	}
	_, err := tx.ExecContext(ctx, s.d.e.Rebind(`INSERT INTO tries (place, n, last, ends) VALUES (?1, ?2, ?3, ?4)
		ON CONFLICT (place) DO UPDATE SET n = excluded.n, last = excluded.last, ends = excluded.ends`), p[:], c.N, micros(c.Last), micros(c.Ends))
	return err
}

func (s *Tries) read(ctx context.Context, q querier, places []throttle.Place) ([]throttle.Cell, error) {
	cells := make([]throttle.Cell, len(places))
	at := make(map[throttle.Place]int, len(places))
	args := make([]any, len(places))
	var params strings.Builder
	for i, p := range places {
		at[p], args[i] = i, p[:]
		fmt.Fprintf(&params, ", ?%d", i+1)
	}
	rows, err := q.QueryContext(ctx, s.d.e.Rebind(`SELECT place, n, last, ends FROM tries WHERE place IN (`+strings.TrimPrefix(params.String(), ", ")+`)`), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var place []byte
		var n, last, ends int64
		if err := rows.Scan(&place, &n, &last, &ends); err != nil {
			return nil, err
		}
		i, ok := at[throttle.Place(append(place, make([]byte, len(throttle.Place{}))...))]
		if !ok || n < 0 {
			return nil, errors.New("a count of tries is damaged")
		}
		cells[i] = throttle.Cell{N: n, Last: fromMicros(last), Ends: fromMicros(ends)}
	}
	return cells, errors.Join(rows.Err(), rows.Close())
}

// Sweep implements throttle.Store. Where nothing has ended nobody waits.
func (s *Tries) Sweep(ctx context.Context) (int, error) {
	n := 0
	for {
		var gone int64
		var any int
		err := s.d.again(ctx, func(ctx context.Context) error {
			now, err := s.d.now(ctx, s.d.sql)
			if err != nil {
				return err
			}
			err = s.d.sql.QueryRowContext(ctx, s.d.e.Rebind(`SELECT 1 FROM tries WHERE ends <= ?1 LIMIT 1`), micros(now)).Scan(&any)
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			return err
		})
		if err != nil || any == 0 {
			return n, s.d.wrap(err)
		}
		err = s.d.write(ctx, s.d.e.LockTries, func(tx *sql.Tx) error {
			now, err := s.d.now(ctx, tx)
			if err != nil {
				return err
			}
			res, err := tx.ExecContext(ctx, s.d.e.Rebind(`DELETE FROM tries WHERE place IN (SELECT place FROM tries WHERE ends <= ?1 LIMIT ?2)`), micros(now), page)
			if err == nil {
				gone, err = res.RowsAffected()
			}
			return err
		})
		if n += int(gone); err != nil || gone < page {
			return n, s.d.wrap(err)
		}
	}
}
