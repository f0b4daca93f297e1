package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/internal/store/storetest"
)

// raw is a connection of somebody else.
func raw(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func run(t *testing.T, c *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := c.Exec(ctx, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// until asks a question with one number for an answer, until it is not 0.
func until(t *testing.T, c *pgx.Conn, question string, args ...any) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		var n int
		if err := c.QueryRow(ctx, question, args...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
	}
	t.Fatalf("never true: %s", question)
}

// waiting is a question for how many others wait for a lock.
const waiting = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = 'sallyport'`

func putUser(s document.Store, ctx context.Context, id string, runs *int) error {
	return s.Write(ctx, func(tx document.Tx) error {
		*runs++
		_, err := tx.Put(ctx, document.Doc{Kind: "user", ID: id, Body: []byte("1")})
		return err
	})
}

const serializable = "&default_transaction_isolation=serializable"

// Where a server's transactions are serializable, those that meet fail with 40001. The contract holds all the
// same: nobody but the store sees it.
func TestTheContractUnderSerializable(t *testing.T) {
	t.Run("keys", func(t *testing.T) {
		storetest.Keys(t, func(t *testing.T) func() iam.KeyStore {
			dsn := pgtest.DSN(t) + serializable
			return func() iam.KeyStore { return open(t, dsn).Keys() }
		})
	})
	t.Run("documents", func(t *testing.T) {
		storetest.Documents(t, func(t *testing.T) func() document.Store {
			dsn := pgtest.DSN(t) + serializable
			return func() document.Store { return open(t, dsn).Documents() }
		})
	})
}

// Counting tries locks by itself, and is exact all the same.
func TestTriesUnderSerializable(t *testing.T) {
	storetest.Tries(t, func(t *testing.T, c *storetest.Clock) func() throttle.Store {
		dsn := pgtest.DSN(t) + serializable
		return func() throttle.Store { db := open(t, dsn); db.Clock(c.Now); return db.Tries() }
	})
}

// Two transactions that conflict for real: the one that waited is undone by the server, and tried again.
func TestSerializationFailure(t *testing.T) {
	dsn := pgtest.DSN(t) + serializable
	s := open(t, dsn).Documents()
	other, witness, looks := raw(t, dsn), raw(t, dsn), raw(t, dsn)
	run(t, other, `BEGIN`, `UPDATE documents_version SET revision = revision + 100`)
	runs := 0
	done, seen := make(chan error, 1), make(chan error, 1)
	go func() { done <- putUser(s, ctx, "a", &runs) }()
	go func() { // does what the store does, and is told the same, without trying again
		_, err := witness.Exec(ctx, `BEGIN; SELECT revision FROM documents_version FOR UPDATE`)
		seen <- err
	}()
	until(t, looks, waiting)
	until(t, looks, `SELECT count(*) / 2 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	run(t, other, `COMMIT`)
	if err := <-seen; code(err) != "40001" {
		t.Fatalf("the two did not conflict: %v", err)
	}
	run(t, witness, `ROLLBACK`)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d, err := s.Get(ctx, "user", "a"); err != nil || d.Revision != 101 || runs != 1 {
		t.Errorf("%+v, %d runs, %v", d, runs, err)
	}
}

// A deadlock whose victim is the store's transaction: its function runs again, on what the other wrote.
func TestDeadlock(t *testing.T) {
	dsn := pgtest.DSN(t)
	db := open(t, dsn)
	s := db.Documents()
	runs := 0
	if err := putUser(s, ctx, "a", &runs); err != nil {
		t.Fatal(err)
	}
	other := raw(t, dsn)
	// The other looks for deadlocks late, so that the store is the one to find it and to be undone.
	run(t, other, `SET deadlock_timeout = '60s'`, `BEGIN`, `UPDATE documents SET body = '2' WHERE id = 'a'`)
	took := make(chan error, 1)
	runs = 0
	var seen []string
	err := s.Write(ctx, func(tx document.Tx) error {
		if runs++; runs == 1 {
			go func() { // waits for the row that this transaction holds
				_, err := other.Exec(ctx, `UPDATE documents_version SET revision = revision; COMMIT`)
				took <- err
			}()
			looks := raw(t, dsn)
			until(t, looks, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
		}
		d, err := tx.Get(ctx, "user", "a")
		if err != nil {
			return err
		}
		seen = append(seen, string(d.Body))
		d.Body = []byte("3")
		_, err = tx.Put(ctx, d) // for which the other's row is waited for
		if runs == 1 && code(err) != "40P01" {
			t.Errorf("no deadlock: %v", err)
		}
		return err
	})
	if err != nil || runs != 2 || fmt.Sprint(seen) != "[1 2]" {
		t.Errorf("%d runs that saw %v, %v", runs, seen, err)
	}
	if err := <-took; err != nil {
		t.Errorf("the other was the victim: %v", err)
	}
}

// trip has the server fail the first n writes of a document with a code. It counts them outside of transactions.
func trip(t *testing.T, dsn, code string, n int) (count func() int) {
	t.Helper()
	c := raw(t, dsn)
	run(t, c, `CREATE SEQUENCE trips`, fmt.Sprintf(`CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('trips') <= %d THEN RAISE EXCEPTION 'the server says so' USING ERRCODE = '%s'; END IF;
			RETURN NEW;
		END $$`, n, code), `CREATE TRIGGER trip BEFORE INSERT ON documents FOR EACH ROW EXECUTE FUNCTION trip()`)
	return func() int {
		var last int
		if err := c.QueryRow(ctx, `SELECT last_value FROM trips`).Scan(&last); err != nil {
			t.Fatal(err)
		}
		return last
	}
}

// What the server undid for certain is tried again, and nothing else.
func TestWhatIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		code string
		want int // tries
	}{
		{"40001", 4}, {"40P01", 4},
		{"40003", 1}, // nobody knows whether it was done
		{"40002", 1}, {"23505", 1}, {"57014", 1}, {"53300", 1}, {"XX000", 1},
	} {
		t.Run(c.code, func(t *testing.T) {
			dsn := pgtest.DSN(t)
			s := open(t, dsn).Documents()
			count := trip(t, dsn, c.code, 3)
			runs := 0
			err := putUser(s, ctx, "a", &runs)
			if (err == nil) != (c.want > 1) || count() != c.want || runs != c.want {
				t.Errorf("%d tries, %d runs, %v", count(), runs, err)
			}
			ds, _, err := s.Changes(ctx, document.Position{}, 0)
			if want := min(1, c.want/4); err != nil || len(ds) != want || want == 1 && ds[0].Revision != 1 {
				t.Errorf("%+v, %v", ds, err)
			}
		})
	}
}

// A caller's own refusal is no reason to run it again.
func TestOwnErrorsAreNotTriedAgain(t *testing.T) {
	s := open(t, pgtest.DSN(t)).Documents()
	runs := 0
	for want := 1; want <= 2; want++ {
		err := putUser(s, ctx, "a", &runs)
		if runs != want || (err == nil) != (want == 1) || want == 2 && !errors.Is(err, document.ErrExists) {
			t.Errorf("%d runs, %v", runs, err)
		}
	}
}

// A conflict that never ends ends with the caller's time.
func TestTriesEndWithTheCallersTime(t *testing.T) {
	dsn := pgtest.DSN(t)
	s := open(t, dsn).Documents()
	count := trip(t, dsn, "40001", 1<<30)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	runs := 0
	begin := time.Now()
	err := putUser(s, short, "a", &runs)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 5*time.Second || count() < 2 {
		t.Errorf("%d tries in %v: %v", count(), time.Since(begin), err)
	}
	if _, err := s.Get(ctx, "user", "a"); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// The answer to a commit is lost. It was done, but nobody knows: an error, and not a second time.
func TestALostCommitIsNotTriedAgain(t *testing.T) {
	dsn := pgtest.DSN(t)
	p := pgtest.NewProxy(t, dsn)
	s, direct := open(t, p.DSN()).Documents(), open(t, dsn).Documents()
	p.Lose("commit")
	runs := 0
	if err := putUser(s, ctx, "a", &runs); err == nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
	if d, err := direct.Get(ctx, "user", "a"); err != nil || d.Revision != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	if err := putUser(s, ctx, "b", &runs); err != nil { // on a new connection
		t.Error(err)
	}
}
