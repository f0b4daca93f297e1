package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/document"
)

const holdIn = "SALLYPORT_TEST_HOLD_LOCK_IN"

// TestHolder is the other process of hold: it takes the write lock, says so, and keeps it until its input ends.
func TestHolder(t *testing.T) {
	dir := os.Getenv(holdIn)
	if dir == "" {
		return // only that process has something to do here
	}
	db := open(t, dir)
	tx, err := db.SQL().Begin()
	must(t, err)
	_, err = tx.Exec(`UPDATE documents_version SET revision = revision + 10`)
	must(t, err)
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	must(t, tx.Commit())
}

// hold has another process hold the write lock until free is called, which waits for its end.
func hold(t *testing.T, dir string) (free func()) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestHolder$", "-test.count=1")
	c.Env = append(os.Environ(), holdIn+"="+dir)
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	r := bufio.NewReader(out)
	var text strings.Builder
	for {
		l, err := r.ReadString('\n')
		text.WriteString(l)
		if err != nil {
			t.Fatalf("the other process ended: %v\n%s", err, text.String())
		}
		if strings.TrimSpace(l) == "held" {
			break
		}
	}
	return sync.OnceFunc(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, r)
		if err := c.Wait(); err != nil {
			t.Errorf("the other process: %v", err)
		}
	})
}

func putUser(ctx context.Context, db *DB, id string) error {
	return db.Documents().Write(ctx, func(tx document.Tx) error {
		_, err := tx.Put(ctx, document.Doc{Kind: "user", ID: id, Body: []byte("1")})
		return err
	})
}

// Longer than SQLite itself was ever told to wait: who has the time gets the lock, who has not is told so when
// theirs is over, and readers notice nothing.
func TestAnotherProcessHoldsTheLock(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	must(t, putUser(t.Context(), db, "before"))
	free := hold(t, dir)
	defer free()
	begin := time.Now()
	patient, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	results := make(chan error, 8)
	for i := range 6 { // more than there are connections
		go func() {
			if i%2 == 0 {
				results <- putUser(patient, db, fmt.Sprint("patient", i))
			} else {
				results <- db.Keys().Insert(patient, iam.Key{ID: fmt.Sprintf("aaaaaaaaaaa%d", i)})
			}
		}()
	}
	for n := 0; time.Since(begin) < 6*time.Second; n++ { // the time itself is what is tested
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		at := time.Now()
		err := putUser(short, db, "hasty")
		if took := time.Since(at); !errors.Is(err, context.DeadlineExceeded) || took > 3*time.Second {
			t.Errorf("a writer with 300 ms: after %v %v", took, err)
		}
		cancel()
		read, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if _, err := db.Documents().Get(read, "user", "before"); err != nil {
			t.Errorf("a reader: %v", err)
		}
		if ds, _, err := db.Documents().Changes(read, document.Position{}, 0); err != nil || len(ds) != 1 {
			t.Errorf("a follower: %d, %v", len(ds), err)
		}
		if _, err := db.Keys().Version(read); err != nil {
			t.Error(err)
		}
		cancel()
		if n > 0 && n%5 == 0 {
			t.Logf("%d rounds after %v", n, time.Since(begin).Round(time.Millisecond))
		}
	}
	select {
	case err := <-results:
		t.Fatalf("a patient writer ended while the lock was held: %v", err)
	default:
	}
	free()
	for range 6 {
		if err := <-results; err != nil {
			t.Errorf("a patient writer: %v", err)
		}
	}
	ds, err := db.Documents().List(t.Context(), document.Query{Kind: "user"})
	if err != nil || len(ds) != 4 || ds[1].Revision < 12 {
		t.Errorf("%+v, %v", ds, err)
	}
	if _, err := db.Documents().Get(t.Context(), "user", "hasty"); !errors.Is(err, document.ErrNotFound) {
		t.Errorf("who gave up has written: %v", err)
	}
}

// A process that starts while another holds the lock waits for it too.
func TestOpenedWhileTheLockIsHeld(t *testing.T) {
	dir := t.TempDir()
	must(t, putUser(t.Context(), open(t, dir), "before"))
	free := hold(t, dir)
	defer free()
	opened := make(chan error, 1)
	go func() {
		db, err := Open(context.WithoutCancel(t.Context()), dir)
		if err == nil {
			err = db.Close()
		}
		opened <- err
	}()
	short, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if db, err := Open(short, dir); err == nil {
		_ = db.Close()
		t.Error("opened while the lock was held")
	}
	select {
	case err := <-opened:
		t.Errorf("ended while the lock was held: %v", err)
	default:
	}
	free()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
