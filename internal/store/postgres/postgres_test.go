package postgres_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/internal/store/postgres"
	"sallyport.dev/sallyport/internal/store/storetest"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}

func open(t testing.TB, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(ctx, secret.New(dsn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestKeys(t *testing.T) {
	storetest.Keys(t, func(t *testing.T) func() iam.KeyStore {
		dsn := pgtest.DSN(t)
		return func() iam.KeyStore { return open(t, dsn).Keys() }
	})
}

func TestDocuments(t *testing.T) {
	storetest.Documents(t, func(t *testing.T) func() document.Store {
		dsn := pgtest.DSN(t)
		return func() document.Store { return open(t, dsn).Documents() }
	})
}

func TestPurge(t *testing.T) {
	storetest.Purge(t, func(t *testing.T, c *storetest.Clock) func() storetest.Purged {
		dsn := pgtest.DSN(t)
		return func() storetest.Purged { db := open(t, dsn); db.Clock(c.Now); return db.Documents() }
	})
}

// Several gateways that start at once migrate the schema once.
func TestGatewaysThatStartAtOnce(t *testing.T) {
	dsn := pgtest.DSN(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			db, err := postgres.Open(ctx, secret.New(dsn))
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if _, _, err := db.Keys().Keys(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestAddressesThatAreRefused(t *testing.T) {
	for _, dsn := range []string{
		"", // libpq would take whatever the environment says
		"postgres://u:hunter2@db.example/x",
		"postgres://u:hunter2@db.example/x?sslmode=disable",
		"postgres://u:hunter2@db.example/x?sslmode=prefer",
		"postgres://u:hunter2@127.0.0.1,db.example/x?sslmode=disable",
		"host=db.example password=hunter2 sslmode=allow",
		"postgres://u:hunter2@[::1/x",
		"postgres://u:hunter2@127.0.0.1:1/x?sslmode=nonsense",
		"hunter2",
	} {
		if dsn == "" {
			t.Setenv("PGHOST", "db.example")
		}
		_, err := postgres.Open(ctx, secret.New(dsn))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", dsn, err)
		}
	}
}

func TestErrorsDoNotHoldThePassword(t *testing.T) {
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := postgres.Open(short, secret.New("postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable"))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// The server is killed in the middle of writes: whatever was acknowledged is there, nothing is half
// there, and the same handle goes on when the server is back.
func TestServerKilledWhileWriting(t *testing.T) {
	srv := pgtest.Start(t)
	db := open(t, srv.Database(t))
	s := db.Documents()
	const writers = 4
	var mu sync.Mutex
	acked := map[string]bool{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	write := func(id string) error {
		return s.Write(ctx, func(tx document.Tx) error {
			for _, half := range []string{"a", "b"} {
				if _, err := tx.Put(ctx, document.Doc{Kind: "user", ID: id + half, Keys: []string{id + half}, Body: []byte("1")}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	started := make(chan struct{}, writers)
	for w := range writers {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("w%d_%d_", w, n)
				if write(id) == nil {
					mu.Lock()
					acked[id] = true
					mu.Unlock()
				}
				if n == 20 {
					started <- struct{}{}
				}
			}
		})
	}
	for range writers {
		<-started
	}
	srv.Kill(t)
	if _, err := s.Get(ctx, "user", "x"); err == nil || err == document.ErrNotFound {
		t.Errorf("without a server: %v", err)
	}
	srv.Restart(t)
	close(stop)
	wg.Wait()
	ds, err := s.List(ctx, document.Query{Kind: "user"})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]int{}
	for _, d := range ds {
		there[d.ID[:len(d.ID)-1]]++
	}
	for id := range acked {
		if there[id] != 2 {
			t.Errorf("%s was acknowledged, and %d halves are there", id, there[id])
		}
	}
	for id, n := range there {
		if n != 2 {
			t.Errorf("half of %s is there", id)
		}
	}
	if err := write("after"); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	t.Logf("%d acknowledged, %d there", len(acked), len(there))
}

func TestTries(t *testing.T) {
	storetest.Tries(t, func(t *testing.T, c *storetest.Clock) func() throttle.Store {
		dsn := pgtest.DSN(t)
		return func() throttle.Store { db := open(t, dsn); db.Clock(c.Now); return db.Tries() }
	})
}

// A gateway whose clock is wrong tries no more than the others: the time is the database's.
func TestTriesGoByTheDatabasesClock(t *testing.T) {
	dsn := pgtest.DSN(t)
	db := open(t, dsn)
	c := raw(t, dsn)
	var before, after time.Time
	if err := c.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&before); err != nil {
		t.Fatal(err)
	}
	now, _, err := db.Tries().Look(ctx, []throttle.Place{{1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&after); err != nil {
		t.Fatal(err)
	}
	if now.Before(before) || now.After(after) {
		t.Errorf("%v is not between %v and %v", now, before, after)
	}
}
