package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/durable"
	"sallyport.dev/sallyport/internal/gate"
)

func TestWriteCloseReadAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "audit")
	l := open(t, dir, Options{})
	fill(t, l, 10)
	key := l.PublicKey()
	closed(t, l)
	r := mustVerify(t, dir)
	if r.Records != 22 || r.Signed != 22 || r.Calls != 10 || r.InFlight != 0 || r.Tail != 0 {
		t.Errorf("%+v", r)
	}
	l = open(t, dir, Options{})
	if l.PublicKey() != key {
		t.Error("the key changed")
	}
	fill(t, l, 1)
	closed(t, l)
	if r := mustVerify(t, dir); r.Records != 25 {
		t.Errorf("%+v", r)
	}
	st, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key: %v %v", st, err)
	}
}

func TestConcurrentCallers(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{SegmentBytes: 64 << 10, CheckpointRecords: 50})
	const callers, each = 16, 40
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				r := record(fmt.Sprintf("c%d-%d", c, i))
				if err := l.Begin(t.Context(), r); err != nil {
					t.Error(err)
				}
				if err := l.Finish(t.Context(), r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s := l.Stats(); s.Open != 0 || s.Waiting != 0 || s.Refused != 0 || s.Failing {
		t.Errorf("%+v", s)
	}
	if r := mustVerify(t, dir); r.Calls != callers*each { // beside the open log
		t.Errorf("%+v", r)
	}
	closed(t, l)
	if r := mustVerify(t, dir); r.Calls != callers*each || r.Signed != r.Records {
		t.Errorf("%+v", r)
	}
	if firsts, _ := segments(dir); len(firsts) < 5 {
		t.Errorf("only %d files", len(firsts))
	}
}

func TestSecondWriterIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	defer l.Close()
	if _, err := Open(dir, small(Options{})); !errors.Is(err, durable.ErrLocked) {
		t.Fatalf("got %v", err)
	}
}

func TestClosedLogRefuses(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	closed(t, l)
	for what, err := range map[string]error{
		"Begin":  l.Begin(t.Context(), record("a")),
		"Finish": l.Finish(t.Context(), record("a")),
		"Note":   l.Note(t.Context(), "x", nil),
		"Close":  l.Close(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBadIDsAreRefused(t *testing.T) {
	l := open(t, t.TempDir(), Options{})
	defer closed(t, l)
	for _, id := range []string{"", "a b", `a"`, "a\n", "é", "a\x00", strings.Repeat("a", 129), "a/b"} {
		r := record(id)
		if err := l.Begin(t.Context(), r); gate.FailureOf(err) != gate.FailRecordBegin {
			t.Errorf("%q: %v", id, err)
		}
		if err := l.Finish(t.Context(), r); gate.FailureOf(err) != gate.FailRecordFinish {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestSecondBeginOfOneIDIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	if err := l.Begin(t.Context(), record("a")); err != nil {
		t.Fatal(err)
	}
	if err := l.Begin(t.Context(), record("a")); gate.FailureOf(err) != gate.FailRecordBegin {
		t.Fatalf("got %v", err)
	}
	if err := l.Finish(t.Context(), record("a")); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	if r := mustVerify(t, dir); r.Calls != 1 || r.InFlight != 0 {
		t.Errorf("%+v", r)
	}
}

// A caller who left is recorded all the same.
func TestFinishAfterCancel(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	if err := l.Begin(ctx, record("a")); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := l.Finish(ctx, record("a")); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	if r := mustVerify(t, dir); r.InFlight != 0 {
		t.Errorf("%+v", r)
	}
}

// What is in flight at the end is interrupted at the next start, also when its begin stands in a
// file that the start does not read.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	o := Options{SegmentBytes: 4 << 10}
	l := open(t, dir, o)
	for _, id := range []string{"early", "early2"} {
		if err := l.Begin(t.Context(), record(id)); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, l, 20)
	if err := l.Begin(t.Context(), record("late")); err != nil {
		t.Fatal(err)
	}
	if err := l.Finish(t.Context(), record("early2")); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	if r := mustVerify(t, dir); r.InFlight != 2 {
		t.Fatalf("%+v", r)
	}
	l = open(t, dir, o)
	closed(t, l)
	if r := mustVerify(t, dir); r.InFlight != 0 {
		t.Fatalf("%+v", r)
	}
	got := map[string]int64{}
	for _, e := range events(t, dir) {
		if e.Kind == kindFinish && e.Record.Outcome == gate.OutcomeInterrupted {
			got[e.Record.ID] = e.Begun
		}
	}
	if len(got) != 2 || got["early"] != 2 || got["late"] == 0 {
		t.Errorf("%v", got)
	}
}

func TestCheckpointsAreHandedOut(t *testing.T) {
	dir := t.TempDir()
	var notes [][]byte
	l := open(t, dir, Options{CheckpointRecords: 4, OnCheckpoint: func(n []byte) { notes = append(notes, n) }})
	fill(t, l, 10)
	closed(t, l)
	if len(notes) < 2 {
		t.Fatalf("%d checkpoints", len(notes))
	}
	for _, n := range notes {
		if r := verified(t, dir, VerifyOptions{Checkpoint: n, PublicKey: l.PublicKey()}); !r.OK {
			t.Errorf("%s\n%s", n, r.Problem)
		}
	}
	v, _ := verifierOf(l.PublicKey())
	if c, err := openCheckpoint(notes[len(notes)-1], v); err != nil || c.size != 22 || c.origin != l.Origin() {
		t.Errorf("%+v %v", c, err)
	}
}

func BenchmarkBegin(b *testing.B) {
	l := open(b, b.TempDir(), Options{})
	defer l.Close()
	r := record("x")
	r.Findings, r.Uninspected, r.Error, r.Decision = nil, nil, "", gate.Decision{}
	took := make([]time.Duration, 0, 1<<16)
	i := 0
	for b.Loop() {
		i++
		r.ID = fmt.Sprintf("call-%d", i)
		start := time.Now()
		if err := l.Begin(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkCalls is Begin and Finish from 32 callers at once; an operation is one record.
func BenchmarkCalls(b *testing.B) {
	for _, mode := range []Mode{Durable, BestEffort} {
		b.Run(mode.String(), func(b *testing.B) {
			l := open(b, b.TempDir(), Options{Mode: mode})
			var before, after syscall.Rusage
			var wg sync.WaitGroup
			var next atomic.Int64
			syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			b.ResetTimer()
			for range 32 {
				wg.Go(func() {
					r := record("")
					r.Findings, r.Uninspected, r.Error, r.Decision = nil, nil, "", gate.Decision{}
					for i := next.Add(2); i <= int64(b.N); i = next.Add(2) {
						r.ID = fmt.Sprintf("call-%d", i)
						if err := l.Begin(b.Context(), r); err != nil {
							b.Error(err)
						}
						if err := l.Finish(b.Context(), r); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(float64(cpu)/float64(b.N)/1000, "cpu-µs/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			s := l.Stats()
			b.ReportMetric(float64(s.Written)/float64(max(s.Batches, 1)), "records/batch")
			closed(b, l)
		})
	}
}
